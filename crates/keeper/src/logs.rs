//! The log: a line of JSON for each event, to standard error. Numbers of jobs and codes only; nothing that a server, a
//! user or an application has written.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

use crate::settings::Level;

/// Changes the level while the keeper runs.
pub struct Log(Handle<LevelFilter, Registry>);

impl Log {
    /// Begins. Only the keeper's own events are in it: libraries have a filter of their own, which is off.
    pub fn begin(level: Level) -> Self {
        let (filter, handle) = Layer::new(filter(level));
        let own = tracing_subscriber::filter::filter_fn(|it| it.target().starts_with("pv_keeper"));
        let lines = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        tracing_subscriber::registry()
            .with(filter)
            .with(tracing_subscriber::Layer::with_filter(lines, own))
            .init();
        // Not the message: that of a library may quote what a server or a mail has said.
        std::panic::set_hook(Box::new(|what| {
            let place = what.location().map(|it| format!("{}:{}", it.file(), it.line()));
            tracing::error!(place, "gave up in the middle");
        }));
        Self(handle)
    }

    /// From now on this level.
    pub fn set(&self, level: Level) {
        // It is gone with the program only.
        let _ = self.0.modify(|it| *it = filter(level));
    }
}

const fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}
