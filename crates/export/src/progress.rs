//! How far it is: a bar on standard error, where that is a terminal, and lines that do not disturb it.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// Gone when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many bytes, if that is known.
    pub fn of(total: Option<u64>) -> Self {
        let (bar, template) = match total {
            _ if !io::stderr().is_terminal() => (ProgressBar::hidden(), ""),
            Some(total) => (
                ProgressBar::new(total),
                "reading [{wide_bar}] {binary_bytes} of {binary_total_bytes}, {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "reading {binary_bytes} {spinner}"),
        };
        let style = ProgressStyle::with_template(template);
        Self { bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())) }
    }

    /// Nobody looks.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// So many bytes are read.
    pub fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// A line on standard error.
    pub fn say(&self, text: &str) {
        self.bar.suspend(|| crate::say(text));
    }
}

impl Drop for Progress {
    /// The results come in its place.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
