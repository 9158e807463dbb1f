//! The shape of one response of IMAP, as far as the parser's safety depends on it.
//!
//! The parser calls itself for brackets within brackets of a mail's structure, and a stack that overflows ends the
//! process. It also takes values that it does not know as they come, with ends of lines and announcements of literals in
//! them. So whoever reads along has to be strict, or what is a literal here is something else there. Responses that begin
//! with a number are the only ones that have a structure, literals, or more than one line.

/// Brackets within brackets. What is asked for has two or three.
const DEEPEST: u8 = 20;
/// Spaces in a response that begins with a number, but for those in values with quotes. The parser makes half a kilobyte
/// of each value, however short it is. What is asked for has ten, and a mail may have many flags.
const MOST_SPACES: u16 = 500;
/// Literals in a response. What is asked for has two.
const MOST_LITERALS: u8 = 8;

/// How the list of numbers begins that a search finds.
const SEARCH: &[u8] = b"* SEARCH";

/// It has not the shape of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Misshapen;

/// Reads along, outside of literals.
#[derive(Debug, Default)]
pub struct Shape {
    /// How many of `* ` and a digit have come; one more if something else has.
    begun: u8,
    /// How much of [`SEARCH`] has come; more than that if something else has.
    search: usize,
    depth: u8,
    quoted: Quoted,
    spaces: u16,
    literals: u8,
    /// The byte before, and the one before the last `{`.
    before: u8,
    before_brace: u8,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    #[default]
    Not,
    /// A value of its own: anything may be in it.
    Value,
    /// The same, after `\`.
    Escape,
    /// Within brackets, where the parser may not see that it is quoted.
    Inner,
}

impl Shape {
    /// The next byte, which is no end of a line.
    pub fn read(&mut self, byte: u8) -> Result<(), Misshapen> {
        self.begun = match (self.begun, byte) {
            (0, b'*') | (1, b' ') | (2, b'0'..=b'9') => self.begun + 1,
            (3, _) => 3,
            _ => 4,
        };
        if let Some(expected) = SEARCH.get(self.search) {
            self.search += if byte.eq_ignore_ascii_case(expected) { 1 } else { SEARCH.len() + 1 };
        }
        if self.is_numbered() {
            self.quoted = self.next(byte).ok_or(Misshapen)?;
        }
        if byte == b'{' {
            self.before_brace = self.before;
        }
        self.before = byte;
        Ok(())
    }

    fn next(&mut self, byte: u8) -> Option<Quoted> {
        match (self.quoted, byte) {
            (Quoted::Not, b'(') => self.depth = Some(self.depth + 1).filter(|it| *it <= DEEPEST)?,
            (Quoted::Not, b')') => self.depth = self.depth.checked_sub(1)?,
            (Quoted::Not, b'"') if self.depth == 1 && self.before == b' ' => {
                return Some(Quoted::Value);
            }
            (Quoted::Not, b'"') => return Some(Quoted::Inner),
            (Quoted::Value | Quoted::Inner, b'"') => return Some(Quoted::Not),
            (Quoted::Value, b'\\') => return Some(Quoted::Escape),
            (Quoted::Escape, b'\\' | b'"') => return Some(Quoted::Value),
            (Quoted::Inner, b'(' | b')' | b'\\') | (Quoted::Escape, _) => return None,
            (Quoted::Value | Quoted::Inner, b'\0' | b'\r') => return None,
            // At any depth: within brackets that it does not know, the parser's depth is another.
            (Quoted::Not | Quoted::Inner, b' ') => {
                self.spaces = Some(self.spaces + 1).filter(|it| *it <= MOST_SPACES)?;
            }
            _ => {}
        }
        Some(self.quoted)
    }

    /// Is it a list of numbers?
    pub const fn is_search(&self) -> bool {
        self.search == SEARCH.len()
    }

    const fn is_numbered(&self) -> bool {
        self.begun == 3
    }

    /// A line ends with the announcement of a literal.
    pub fn literal(&mut self) -> Result<(), Misshapen> {
        let is_value = self.depth == 1 && self.quoted == Quoted::Not && self.before_brace == b' ';
        let fits = self.literals < MOST_LITERALS;
        self.literals += 1;
        if self.is_numbered() && is_value && fits { Ok(()) } else { Err(Misshapen) }
    }

    /// A line ends without one, and the response with it.
    pub fn end(&mut self) -> Result<(), Misshapen> {
        let whole = self.depth == 0 && self.quoted == Quoted::Not;
        *self = Self::default();
        if whole { Ok(()) } else { Err(Misshapen) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts are divided by literals.
    fn read(parts: &[&str]) -> Result<(), Misshapen> {
        let mut shape = Shape::default();
        for (number, part) in parts.iter().enumerate() {
            part.bytes().try_for_each(|byte| shape.read(byte))?;
            if number + 1 < parts.len() {
                shape.literal()?;
            }
        }
        shape.end()
    }

    #[test]
    fn what_servers_send() {
        for parts in [
            &["* OK [ALERT] (((: \"\\"][..],
            &["A1 NO )"],
            &["* 3 EXISTS"],
            &["* 1 FETCH (UID 5 FLAGS (\\Seen $x) RFC822.SIZE 3 INTERNALDATE \"x\")"],
            &["* 1 FETCH (UID 5 BODY[]<0> {3}\r", ")"],
            &["* 1 FETCH (BODY[1.MIME] {3}\r", " BODY[HEADER.FIELDS (A B)] {3}\r", " UID 5) "],
            &["* 1 FETCH (BODY[1] \"a (b) \\\"c\\\" \\\\\" UID 5)"],
        ] {
            assert_eq!(read(parts), Ok(()), "{parts:?}");
        }
    }

    #[test]
    fn what_hides_brackets_from_whoever_reads_along() {
        for parts in [
            // Literals where the parser has none.
            &["* OK {9}\r", ""][..],
            &["* LIST () NIL {9}\r", ""],
            &["* 1 FETCH {9}\r", ""],
            &["* 1 FETCH (X ({9}\r", "))"],
            &["* 1 FETCH (X (a {9}\r", "))"],
            &["* 1 FETCH (X a{9}\r", ")"],
            &["* 1 FETCH (X \"{9}\r", "\")"],
            &["* 1 FETCH (X \")\" Y (a {9}\r", "))", ""],
            &["* 1 FETCH (X (\")\" {9}\r", ")"],
            &["* 1 FETCH (X \"\\\"\" Y \")\" Z (a {9}\r", ")"],
            &["* 1 FETCH (X \"\\a\" Y (\") {9}\r", ")"],
            // Ends of lines where the parser has none.
            &["* 1 FETCH (X (\r"],
            &["* 1 FETCH (X a\r"],
            &["* 1 FETCH (X \"a\r"],
            &["* 1 FETCH (X \")\" Y (\r"],
            // More ends than beginnings.
            &["* 1 FETCH )("],
        ] {
            assert_eq!(read(parts), Err(Misshapen), "{parts:?}");
        }
    }

    #[test]
    fn values_have_an_end() {
        let spaces = |many: u16| format!("* 1 FETCH ({}X 1)", "X ".repeat(usize::from(many) - 3));
        assert_eq!(read(&[&spaces(MOST_SPACES)]), Ok(()));
        assert_eq!(read(&[&spaces(MOST_SPACES + 1)]), Err(Misshapen));
        let many = "X 1 ".repeat(MOST_SPACES.into());
        for text in [
            // The first end of a bracket is for the parser that of the first beginning.
            format!("* 1 FETCH (X (a(b) {many}X 1))"),
            format!("* 1 FETCH (X a\"{many}\")"),
            format!("* 1 FETCH (X 1) {many}"),
        ] {
            assert_eq!(read(&[&text]), Err(Misshapen), "{text}");
        }
        assert_eq!(read(&[&format!("* 1 FETCH (BODY[1] \"{many}\")")]), Ok(()));
        assert_eq!(read(&[&format!("* OK {many}")]), Ok(()));
        let literals = |many: u8| {
            let mut parts = vec!["* 1 FETCH (X {0}\r"];
            parts.extend(vec![" X {0}\r"; usize::from(many) - 1]);
            parts.push(")");
            read(&parts)
        };
        assert_eq!(literals(MOST_LITERALS), Ok(()));
        assert_eq!(literals(MOST_LITERALS + 1), Err(Misshapen));
    }

    #[test]
    fn brackets_have_an_end() {
        let nested = |deep: usize| format!("* 1 FETCH {}{}", "(".repeat(deep), ")".repeat(deep));
        assert_eq!(read(&[&nested(DEEPEST.into())]), Ok(()));
        assert_eq!(read(&[&nested(usize::from(DEEPEST) + 1)]), Err(Misshapen));
        assert_eq!(
            read(&[&nested(100_000).replace("* 1", "* 0000000000000000000001")]),
            Err(Misshapen)
        );
    }
}
