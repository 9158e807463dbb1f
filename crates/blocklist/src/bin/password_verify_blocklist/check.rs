//! Checks a filter, and looks passwords up in it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use password_verify_blocklist::Filter;

use crate::failure::Failure;
use crate::lines::{Line, Lines};
use crate::list::word;

/// Verifies the file and describes it. With `stdin`, also looks up each line of standard input.
///
/// # Errors
/// [`Failure::Damaged`], and [`Failure::Failed`] if something cannot be read or written.
pub fn run(file: &Path, stdin: bool) -> Result<(), Failure> {
    let bytes =
        fs::read(file).map_err(|error| Failure::read(&file.display().to_string(), &error))?;
    let filter = Filter::open(&bytes).map_err(|damaged| Failure::damaged(file, damaged))?;
    crate::say(&summary(&filter, bytes.len() as u64))?;
    if stdin { answer(&filter) } else { Ok(()) }
}

pub fn summary(filter: &Filter, bytes: u64) -> String {
    let (entries, rate) = (filter.entries(), filter.false_positive_rate());
    let each = bytes as f64 * 8.0 / entries as f64;
    format!(
        "entries              {entries}\n\
         file size            {bytes} bytes, {each:.1} bits per entry\n\
         false-positive rate  {rate:.7}, 1 in {:.0}",
        1.0 / rate
    )
}

/// Answers each line of standard input with one line, which does not repeat the password.
fn answer(filter: &Filter) -> Result<(), Failure> {
    let unread = |error| Failure::read("standard input", &error);
    let unwritten = |error| Failure::write("standard output", &error);
    let mut lines = Lines::open(None).map_err(unread)?;
    let mut out = BufWriter::new(io::stdout().lock());
    while let Some(line) = lines.next().map_err(unread)? {
        let said = match line {
            Line::TooLong => "too long for a password",
            Line::Text(text) => match word(text) {
                None => "not utf-8",
                Some(key) if filter.contains_key(key) => "listed",
                Some(_) => "not listed",
            },
        };
        writeln!(out, "{said}").map_err(unwritten)?;
    }
    out.flush().map_err(unwritten)
}
