//! Reads a dump piece by piece, because a line can hold a value of a gigabyte from another table.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::args::Stream;

/// The longest piece, in bytes. The longest row of ours is a kept secret, with 8192 bytes for a
/// destination of 16384: three quarters of that, with every byte of the texts escaped.
pub const MAX_PIECE: usize = 1 << 16;

/// The dump as a sequence of pieces.
pub struct Input {
    reader: Box<dyn BufRead>,
    piece: Vec<u8>,
    /// Whether the last piece ended a line.
    at_start: bool,
    /// The number of the line that the last piece belongs to, counted from 1.
    pub line: u64,
    /// The number of bytes read so far.
    pub bytes: u64,
}

/// A line, or a part of a long line, including its line end if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    /// Whether a line begins with this piece.
    pub begins: bool,
}

impl<'a> Piece<'a> {
    /// The line without its end, LF or CRLF. `None` for a part of a line, which includes a line
    /// that the end of the input cuts off.
    pub fn line(&self) -> Option<&'a [u8]> {
        let line = self.bytes.strip_suffix(b"\n").filter(|_| self.begins)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl Input {
    /// Opens a file, or standard input.
    ///
    /// # Errors
    /// The operating system's.
    pub fn open(stream: &Stream) -> io::Result<Self> {
        let input: Box<dyn Read> = match stream {
            Stream::File(file) => Box::new(File::open(file)?),
            Stream::Standard => Box::new(io::stdin()),
        };
        Ok(Self::of(BufReader::with_capacity(1 << 18, input)))
    }

    pub fn of(reader: impl BufRead + 'static) -> Self {
        Self { reader: Box::new(reader), piece: Vec::new(), at_start: true, line: 0, bytes: 0 }
    }

    /// Reads the next piece; `None` at the end.
    ///
    /// # Errors
    /// The operating system's.
    pub fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.piece.clear();
        let most = MAX_PIECE as u64;
        let read = (&mut *self.reader).take(most).read_until(b'\n', &mut self.piece)?;
        if read == 0 {
            return Ok(None);
        }
        let begins = self.at_start;
        self.at_start = self.piece.ends_with(b"\n");
        self.line += u64::from(begins);
        self.bytes += read as u64;
        Ok(Some(Piece { bytes: &self.piece, begins }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_and_parts_of_lines() {
        let long = "x".repeat(MAX_PIECE);
        let text = format!("a\r\n\n{long}yz\nend");
        let mut input = Input::of(Cursor::new(text.clone().into_bytes()));
        for (bytes, begins, line, number) in [
            ("a\r\n", true, Some("a"), 1),
            ("\n", true, Some(""), 2),
            (&long[..], true, None, 3),
            ("yz\n", false, None, 3),
            ("end", true, None, 4),
        ] {
            let piece = input.next().unwrap().unwrap();
            assert_eq!(piece, Piece { bytes: bytes.as_bytes(), begins });
            assert_eq!(piece.line(), line.map(str::as_bytes));
            assert_eq!(input.line, number);
        }
        assert_eq!(input.next().unwrap(), None);
        assert_eq!(input.bytes, text.len() as u64);
    }
}
