//! Reads the lines of a file or of standard input. None takes more memory than a password.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// The longest line without its end, in bytes: the longest password that the extension accepts.
pub const MAX_BYTES: usize = 4096;
/// The longest line end, in bytes: CR and LF.
const END: usize = 2;
/// The number of bytes that are read at once.
const BUFFER: usize = 1 << 18;

pub struct Lines {
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    /// The number of the line that was read last, counted from 1.
    pub number: u64,
    /// The number of bytes read so far.
    pub bytes: u64,
}

/// A line without its end, LF or CRLF.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Text(&'a [u8]),
    /// A line of more than [`MAX_BYTES`], whose text was skipped.
    TooLong,
}

impl Lines {
    /// Opens a file, or standard input if `file` is `None`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(file: Option<&Path>) -> io::Result<Self> {
        let input: Box<dyn Read> = match file {
            Some(file) => Box::new(File::open(file)?),
            None => Box::new(io::stdin()),
        };
        Ok(Self::of(BufReader::with_capacity(BUFFER, input)))
    }

    fn of(input: impl BufRead + 'static) -> Self {
        Self { input: Box::new(input), line: Vec::new(), number: 0, bytes: 0 }
    }

    /// Reads the next line; `None` after the last.
    ///
    /// # Errors
    /// The operating system's.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let most = (MAX_BYTES + END) as u64;
        let read = (&mut *self.input).take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        let mut text = &self.line[..];
        if let Some(rest) = text.strip_suffix(b"\n") {
            text = rest.strip_suffix(b"\r").unwrap_or(rest);
        } else if read as u64 == most {
            self.bytes += self.input.skip_until(b'\n')? as u64;
            return Ok(Some(Line::TooLong));
        }
        if self.number == 1 {
            // Strip a byte order mark, which Windows writes.
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        Ok(Some(if text.len() <= MAX_BYTES { Line::Text(text) } else { Line::TooLong }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// All lines, with `None` for too long ones, and the number of bytes read.
    fn lines(text: &[u8]) -> (Vec<Option<Vec<u8>>>, u64) {
        let mut lines = Lines::of(Cursor::new(text.to_vec()));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(if let Line::Text(text) = line { Some(text.to_vec()) } else { None });
        }
        assert_eq!(lines.number, all.len() as u64);
        (all, lines.bytes)
    }

    fn texts(text: &str) -> Vec<String> {
        let texts = lines(text.as_bytes()).0.into_iter().map(Option::unwrap);
        texts.map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_end_with_lf_or_crlf_or_the_file() {
        assert_eq!(texts("a\nb\r\n\n c \nd"), ["a", "b", "", " c ", "d"]);
        assert_eq!(texts(""), [""; 0]);
        assert_eq!(texts("\r\r\n"), ["\r"]);
        assert_eq!(texts("\u{feff}a\n\u{feff}b\n"), ["a", "\u{feff}b"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_whole() {
        let longest = "x".repeat(MAX_BYTES);
        for end in ["\n", "\r\n"] {
            let text = format!("{longest}{end}{longest}y{end}{longest}{longest}{end}z{end}");
            let (found, bytes) = lines(text.as_bytes());
            let longest = longest.clone().into_bytes();
            assert_eq!(found, [Some(longest), None, None, Some(b"z".to_vec())]);
            assert_eq!(bytes, text.len() as u64);
        }
        assert_eq!(lines(longest.as_bytes()).0, [Some(longest.clone().into_bytes())]);
        assert_eq!(lines(longest.repeat(9).as_bytes()).0, [None]);
    }
}
