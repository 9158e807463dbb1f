//! Bounds on what a server may send, kept before any parser sees a byte.
//!
//! The parser of IMAP reads a response as a whole, and makes room for a literal as soon as it is announced. So the
//! stream is read here first: lines and literals are counted, and the answer to one command has an allowance.

use std::io;

use super::shape::{Misshapen, Shape};

/// The most of one response beside its literals, in bytes, unless it is the list of numbers of a search: the parser begins
/// anew with every 4 KiB of a response.
pub const LONGEST_LINE: usize = 64 << 10;
/// What a server may send before it is asked for anything, and beside what it was asked for, in bytes.
pub const SMALL_TALK: usize = 64 << 10;

/// What a server has sent too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    /// A literal is announced that is longer than what is allowed.
    Literal,
    /// A line goes on and on.
    Line,
    /// The answer as a whole.
    Answer,
    /// It looks like nothing that was asked for.
    Misshapen,
}

impl From<TooMuch> for io::Error {
    fn from(why: TooMuch) -> Self {
        let text = match why {
            TooMuch::Literal => "a literal is longer than allowed",
            TooMuch::Line => "a line is longer than allowed",
            TooMuch::Answer => "an answer is longer than allowed",
            // What the parser says of what it cannot read is of this kind.
            TooMuch::Misshapen => {
                return Self::other("an answer has a shape that nobody asked for");
            }
        };
        Self::new(io::ErrorKind::FileTooLarge, text)
    }
}

impl From<Misshapen> for TooMuch {
    fn from(_: Misshapen) -> Self {
        Self::Misshapen
    }
}

/// Reads along with the parser.
#[derive(Debug)]
pub struct Guard {
    /// Bytes that may still come in answer to this command.
    allowance: usize,
    /// Bytes of the present literal that are still to come.
    literal: usize,
    /// Length of the present response so far, without its literals.
    line: usize,
    /// What may be the announcement of a literal at the end of the present line: its number, once `{` has come.
    announced: Option<Announced>,
    /// `None` where it is not IMAP, and nothing announces a literal.
    shape: Option<Shape>,
}

/// `{`, digits, `}`, as far as they have come.
#[derive(Debug, Clone, Copy)]
struct Announced {
    number: usize,
    closed: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            allowance: SMALL_TALK,
            literal: 0,
            line: 0,
            announced: None,
            shape: Some(Shape::default()),
        }
    }
}

impl Guard {
    /// For other protocols: bounds in bytes only.
    pub fn of_bytes() -> Self {
        Self { shape: None, ..Self::default() }
    }

    /// A command is sent, whose answer may have so many bytes.
    pub fn allow(&mut self, bytes: usize) {
        self.allowance = bytes.saturating_add(SMALL_TALK);
    }

    /// More has come. So many of these bytes, from the first, belong to responses that are whole now.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub fn see(&mut self, bytes: &[u8]) -> Result<usize, TooMuch> {
        self.allowance = self.allowance.checked_sub(bytes.len()).ok_or(TooMuch::Answer)?;
        if self.shape.is_none() {
            return Ok(bytes.len());
        }
        let (mut rest, mut whole) = (bytes, 0);
        while !rest.is_empty() {
            let of_literal = self.literal.min(rest.len());
            self.literal -= of_literal;
            rest = &rest[of_literal..];
            let Some((byte, after)) = rest.split_first() else { break };
            rest = after;
            if self.read(*byte)? {
                whole = bytes.len() - rest.len();
            }
        }
        Ok(whole)
    }

    /// Is it the last byte of a response?
    fn read(&mut self, byte: u8) -> Result<bool, TooMuch> {
        let Some(shape) = &mut self.shape else { return Ok(false) };
        if byte != b'\n' {
            shape.read(byte)?;
            self.line += 1;
            if self.line > LONGEST_LINE && !shape.is_search() {
                return Err(TooMuch::Line);
            }
        }
        let mut is_last = false;
        self.announced = match (byte, self.announced) {
            (b'{', _) => Some(Announced { number: 0, closed: false }),
            (b'0'..=b'9', Some(it)) if !it.closed => {
                let number = it.number.saturating_mul(10).saturating_add(usize::from(byte - b'0'));
                Some(Announced { number, ..it })
            }
            // A server must not send `{5+}`, but parsers read it.
            (b'+', Some(it)) if !it.closed => Some(it),
            (b'}', Some(it)) => Some(Announced { closed: true, ..it }),
            (b'\r', it) => it,
            (b'\n', it) => {
                match it.filter(|it| it.closed) {
                    Some(it) if it.number > self.allowance => return Err(TooMuch::Literal),
                    Some(it) => {
                        shape.literal()?;
                        self.literal = it.number;
                    }
                    None => {
                        shape.end()?;
                        self.line = 0;
                        is_last = true;
                    }
                }
                None
            }
            _ => None,
        };
        Ok(is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first byte with which it is too much, and why; all at once, and byte by byte.
    fn seen(allowed: usize, text: &[u8]) -> Result<(), TooMuch> {
        let (mut whole, mut single) = (Guard::default(), Guard::default());
        whole.allow(allowed);
        single.allow(allowed);
        let at_once = whole.see(text).map(drop);
        let one_by_one = text.iter().try_for_each(|byte| single.see(&[*byte]).map(drop));
        assert_eq!(at_once.is_err(), one_by_one.is_err());
        at_once
    }

    #[test]
    fn a_literal_is_refused_before_it_comes() {
        assert_eq!(seen(0, b"* 1 FETCH (BODY[] {4294967295}\r\n"), Err(TooMuch::Literal));
        assert_eq!(
            seen(0, b"* 1 FETCH (BODY[] {99999999999999999999999}\r\n"),
            Err(TooMuch::Literal)
        );
        assert_eq!(seen(0, b"* 1 FETCH (BODY[] {99999999+}\r\n"), Err(TooMuch::Literal));
        assert_eq!(seen(1 << 20, b"* 1 FETCH (BODY[] {1000000}\r\n"), Ok(()));
    }

    #[test]
    fn what_is_inside_a_literal_announces_nothing() {
        assert_eq!(seen(0, b"* 1 FETCH (X {14}\r\n{4294967295}\r\n)\r\n"), Ok(()));
        assert_eq!(
            seen(0, b"* 1 FETCH (X {14}\r\n{4294967295}\r\n {4294967295}\r\n"),
            Err(TooMuch::Literal)
        );
    }

    #[test]
    fn only_the_end_of_a_line_announces_a_literal() {
        for text in [
            "* OK {4294967295} \r\n",
            "* OK {4294967295\r\n",
            "* OK {42949x67295}\r\n",
            "* OK 4294967295}\r\n",
        ] {
            assert_eq!(seen(0, text.as_bytes()), Ok(()), "{text}");
        }
        assert_eq!(seen(0, b"* OK {1{4294967295}\n"), Err(TooMuch::Literal));
    }

    #[test]
    fn what_is_whole_ends_with_a_response() {
        let whole = |text: &[u8]| Guard::default().see(text);
        assert_eq!(whole(b"* 1 EXISTS\r\n* 2 EXI"), Ok(12));
        assert_eq!(whole(b"* 1 EXISTS\r\n* 2 EXISTS\r\n"), Ok(24));
        assert_eq!(whole(b"* 1 EXISTS\r"), Ok(0));
        assert_eq!(whole(b"* 1 FETCH (X {4}\r\n\r\n\r\n"), Ok(0));
        assert_eq!(whole(b"* 1 FETCH (X {4}\r\n\r\n\r\n)\r\n"), Ok(25));
        assert_eq!(Guard::of_bytes().see(b"* 1 EXI"), Ok(7));
    }

    #[test]
    fn a_line_that_literals_divide_is_one() {
        let half = "x".repeat(LONGEST_LINE / 2);
        let text = format!("* 1 FETCH (X {{0}}\r\n {half} {{0}}\r\n {half}");
        assert_eq!(seen(LONGEST_LINE, text.as_bytes()), Err(TooMuch::Line));
        // The same in two responses.
        let text = format!("* 1 FETCH (X {{0}}\r\n {half})\r\n* 1 FETCH ({half})\r\n");
        assert_eq!(seen(LONGEST_LINE, text.as_bytes()), Ok(()));
    }

    #[test]
    fn an_answer_has_an_end() {
        let line = "* 1 EXISTS\r\n";
        let most = SMALL_TALK / line.len();
        assert_eq!(seen(0, line.repeat(most).as_bytes()), Ok(()));
        assert_eq!(seen(0, line.repeat(most + 1).as_bytes()), Err(TooMuch::Answer));
        assert_eq!(seen(usize::MAX, &vec![b'x'; LONGEST_LINE]), Ok(()));
        assert_eq!(seen(usize::MAX, &vec![b'x'; LONGEST_LINE + 1]), Err(TooMuch::Line));
        let numbers = format!("* search{}", " 1".repeat(LONGEST_LINE));
        assert_eq!(seen(2 * LONGEST_LINE, numbers.as_bytes()), Ok(()));
        assert_eq!(seen(0, numbers.as_bytes()), Err(TooMuch::Answer));
    }
}
