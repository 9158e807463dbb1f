//! How far it is: a bar on a terminal, plain lines elsewhere, both on standard error.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// One stage of the work.
pub struct Progress {
    stage: &'static str,
    /// How much work there is, where it is known.
    total: Option<u64>,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    /// The last tenth that a plain line told of.
    tenth: u64,
}

impl Progress {
    /// Begins a stage: of so many bytes, if that is known.
    pub fn of_bytes(stage: &'static str, total: Option<u64>) -> Self {
        Self::begin(stage, total, "{binary_bytes}", "{binary_total_bytes}")
    }

    /// Begins a stage: of so many entries.
    pub fn of_entries(stage: &'static str, total: u64) -> Self {
        Self::begin(stage, Some(total), "{human_pos}", "{human_len}")
    }

    fn begin(stage: &'static str, total: Option<u64>, at: &str, of: &str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let (bar, template) = match total {
                Some(total) => (
                    ProgressBar::new(total),
                    format!("{{msg}} [{{wide_bar}}] {at} of {of}, {{eta}} left"),
                ),
                None => (ProgressBar::new_spinner(), format!("{{msg}} {at} {{spinner}}")),
            };
            let style = ProgressStyle::with_template(&template);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                .with_message(stage)
        });
        if bar.is_none() {
            plain(stage);
        }
        Self { stage, total, bar, tenth: 0 }
    }

    /// So much is done.
    pub fn at(&mut self, done: u64) {
        match (&self.bar, self.total) {
            (Some(bar), _) => bar.set_position(done),
            (None, Some(total)) => {
                let tenth = (u128::from(done) * 10 / u128::from(total.max(1))) as u64;
                if tenth > self.tenth {
                    self.tenth = tenth;
                    plain(&format!("{} {} %", self.stage, tenth * 10));
                }
            }
            (None, None) => {}
        }
    }
}

impl Drop for Progress {
    /// The results come in its place.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn plain(text: &str) {
    // How far it is matters to nobody who cannot be told.
    let _ = writeln!(io::stderr(), "{text}");
}
