//! Shows progress on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one stage.
pub struct Progress {
    stage: &'static str,
    /// The amount of work, if it is known.
    total: Option<u64>,
    /// `None` if standard error is not a terminal.
    bar: Option<ProgressBar>,
    /// The last tenth that a plain line has reported.
    tenth: u64,
}

impl Progress {
    /// Begins a stage of `total` bytes, if that number is known.
    pub fn of_bytes(stage: &'static str, total: Option<u64>) -> Self {
        Self::begin(stage, total, "{binary_bytes}", "{binary_total_bytes}")
    }

    /// Begins a stage of `total` entries.
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

    /// Sets the amount of work that is done.
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
    /// Clears the bar, to make room for the results.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn plain(text: &str) {
    // Progress that cannot be written does not matter.
    let _ = writeln!(io::stderr(), "{text}");
}
