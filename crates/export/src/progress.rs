//! Shows progress as a bar on standard error, if that is a terminal, between lines of text.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar, which disappears when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts a bar for `total` bytes, if that number is known.
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

    /// A bar that is never shown.
    #[cfg(test)]
    pub fn none() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Sets the number of bytes read so far.
    pub fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    pub fn say(&self, text: &str) {
        self.bar.suspend(|| crate::say(text));
    }
}

impl Drop for Progress {
    /// Clears the bar, to make room for the results.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
