//! Finds the ends of the statements in a dump. Text inside a literal, a comment or a function body
//! must never count as a statement, whatever it looks like, because its author need not be trusted.

use crate::input::Piece;

/// The most bytes of a statement that are kept: more than a COPY of the most columns of a table.
const MAX_STATEMENT: usize = 1 << 20;
/// The longest tag of a dollar-quoted literal, in bytes.
const MAX_TAG: usize = 1 << 10;

/// Reads SQL byte by byte.
pub struct Sql {
    state: State,
    /// The beginning of the current statement, without comments.
    statement: Vec<u8>,
    /// Whether the statement begins at the start of a line.
    begins_line: bool,
    /// The last two bytes, the last one first; blanks if they are no part of the next token.
    tail: [u8; 2],
    depth: u32,
    /// `standard_conforming_strings = off`: backslashes escape in every literal.
    pub escapes: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Plain,
    /// After `--`, or a backslash command of psql.
    Line,
    /// Between `/*` and `*/`, which nest. `last` is the last byte if it may begin one of these.
    Block {
        depth: u32,
        last: u8,
    },
    /// Between single quotes. `escaped`: the last byte was an escaping backslash.
    Literal {
        escapes: bool,
        escaped: bool,
    },
    /// After a single quote, which a second one would undo.
    LiteralEnd {
        escapes: bool,
    },
    /// Between double quotes.
    Name,
    /// After `$`, inside what may become a tag.
    Tag(Vec<u8>),
    /// In a dollar-quoted literal: its tag with both `$`, and the bytes of it just seen again.
    Dollar {
        tag: Vec<u8>,
        seen: usize,
    },
}

impl Sql {
    pub fn new() -> Self {
        Self {
            state: State::Plain,
            statement: Vec::new(),
            begins_line: false,
            tail: [b' '; 2],
            depth: 0,
            escapes: false,
        }
    }

    /// Reads `piece` from offset `from` until a statement ends. Returns the statement without
    /// comments and semicolon, and the offset after it; `None` at the end of the piece. Skips
    /// statements that do not begin a line, because `pg_dump` writes those only inside bodies.
    pub fn next(&mut self, piece: &Piece, from: usize) -> Option<(Vec<u8>, usize)> {
        for (at, &byte) in piece.bytes.iter().enumerate().skip(from) {
            if self.statement.is_empty() {
                self.begins_line = at == 0 && piece.begins;
            }
            if self.read(byte) {
                self.tail = [b' '; 2];
                let statement = std::mem::take(&mut self.statement);
                if self.begins_line {
                    return Some((statement, at + 1));
                }
            }
        }
        None
    }

    /// Reads one byte. True for the semicolon that ends a statement.
    fn read(&mut self, byte: u8) -> bool {
        match &mut self.state {
            State::Plain => return self.plain(byte),
            State::Line if byte == b'\n' => self.state = State::Plain,
            State::Line => {}
            State::Block { depth, last } => {
                match (*last, byte) {
                    (b'*', b'/') => *depth -= 1,
                    (b'/', b'*') => *depth += 1,
                    _ => {}
                }
                let pair = matches!((*last, byte), (b'*', b'/') | (b'/', b'*'));
                *last = if pair { b' ' } else { byte };
                if *depth == 0 {
                    self.state = State::Plain;
                }
            }
            State::Literal { escapes, escaped } => {
                let (may, ends) = (*escapes, byte == b'\'' && !*escaped);
                *escaped = may && byte == b'\\' && !*escaped;
                if ends {
                    self.state = State::LiteralEnd { escapes: may };
                }
                self.keep(byte);
            }
            State::LiteralEnd { escapes } if byte == b'\'' => {
                self.state = State::Literal { escapes: *escapes, escaped: false };
                self.keep(byte);
            }
            State::LiteralEnd { .. } => {
                self.state = State::Plain;
                return self.plain(byte);
            }
            State::Name => {
                // A doubled quote ends one name and begins another, with the same result.
                if byte == b'"' {
                    self.state = State::Plain;
                }
                self.keep(byte);
            }
            State::Tag(tag) => {
                let may_be = is_in_name(byte) && !(tag.len() == 1 && byte.is_ascii_digit());
                if byte == b'$' {
                    let mut tag = std::mem::take(tag);
                    tag.push(byte);
                    self.state = State::Dollar { tag, seen: 0 };
                    self.keep(byte);
                } else if may_be && tag.len() < MAX_TAG {
                    tag.push(byte);
                    self.keep(byte);
                } else {
                    self.state = State::Plain;
                    return self.plain(byte);
                }
            }
            State::Dollar { tag, seen } => {
                // A tag has `$` only at its ends, so only `$` can begin another match.
                *seen = if byte == tag[*seen] { *seen + 1 } else { usize::from(byte == b'$') };
                let ends = *seen == tag.len();
                self.keep(byte);
                if ends {
                    self.state = State::Plain;
                    self.tail = [b' '; 2];
                }
            }
        }
        false
    }

    fn plain(&mut self, byte: u8) -> bool {
        let [before, earlier] = self.tail;
        match byte {
            b';' if self.depth == 0 => return true,
            b'\\' => return self.skip(State::Line, 0),
            b'-' if before == b'-' => return self.skip(State::Line, 1),
            b'*' if before == b'/' => return self.skip(State::Block { depth: 1, last: b' ' }, 1),
            b'(' => self.depth += 1,
            b')' => self.depth = self.depth.saturating_sub(1),
            b'"' => self.state = State::Name,
            b'\'' => {
                let e = matches!(before, b'e' | b'E') && !is_in_name(earlier) && earlier != b'$';
                self.state = State::Literal { escapes: e || self.escapes, escaped: false };
            }
            b'$' if !is_in_name(before) && before != b'$' => self.state = State::Tag(vec![b'$']),
            _ if self.statement.is_empty() && byte.is_ascii_whitespace() => return false,
            _ => {}
        }
        self.keep(byte);
        false
    }

    /// Enters a state that keeps no bytes, and forgets the `bytes` that led there.
    fn skip(&mut self, state: State, bytes: usize) -> bool {
        self.state = state;
        self.tail = [b' '; 2];
        if self.statement.len() < MAX_STATEMENT {
            self.statement.truncate(self.statement.len().saturating_sub(bytes));
        }
        false
    }

    fn keep(&mut self, byte: u8) {
        self.tail = [byte, self.tail[0]];
        if self.statement.len() < MAX_STATEMENT {
            self.statement.push(byte);
        }
    }
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The statements at line starts in a text that is read in pieces of this many bytes.
    fn in_pieces(text: &str, size: usize, escapes: bool) -> Vec<String> {
        let (mut sql, mut found) = (Sql { escapes, ..Sql::new() }, Vec::new());
        for line in text.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            for (index, bytes) in line.chunks(size).enumerate() {
                let (piece, mut from) = (Piece { bytes, begins: index == 0 }, 0);
                while let Some((statement, end)) = sql.next(&piece, from) {
                    found.push(String::from_utf8_lossy(&statement).into_owned());
                    from = end;
                }
            }
        }
        found
    }

    fn statements(text: &str) -> Vec<String> {
        let found = in_pieces(text, usize::MAX, false);
        for size in 1..9 {
            assert_eq!(in_pieces(text, size, false), found, "{size}");
        }
        found
    }

    #[test]
    fn statements_end_with_a_semicolon() {
        assert_eq!(
            statements("SET a = 1;\n\n--\n-- Name: x; Type: y\n--\n\nCOPY a (b)\n FROM stdin;\n"),
            ["SET a = 1", "COPY a (b)\n FROM stdin"]
        );
        assert_eq!(statements("\\restrict it's\nA;\n\\connect \"b\nB;\n"), ["A", "B"]);
        assert_eq!(statements("A; B;\n C;\n/* x */D;\nE"), ["A"]);
    }

    #[test]
    fn what_looks_like_a_statement_inside_of_another_is_none() {
        for inside in [
            "'\nFAKE;\n'",
            "'it''s \\'';\nFAKE;\n--'",
            "E'\\'\nFAKE;\n'",
            "(E'a'' \\'\nFAKE;\n')",
            "e'\\\\\\'\nFAKE;\n'",
            "\"a\"\"\nFAKE;\n\"",
            "$$\nFAKE;\n$_$ $ $a$\nFAKE;\n$$",
            "$_$\nFAKE;\n$$;\nFAKE;\n$$$_$",
            "$a$ $$a$ $$\nFAKE;\n$$",
            "a$$ + $1 + $$\nFAKE;\n$$",
            "$a$$a$$b$\nFAKE;\n$b$",
            "(a;\nFAKE;\nb)",
            "/* /* */ ' */ /*\nFAKE;\n*/",
            "/*/\nFAKE;\n*/",
            "-- ' $$ (\n",
        ] {
            let found = statements(&format!("BEGIN {inside};\nREAL;\n"));
            assert_eq!(found.len(), 2, "{inside}: {found:?}");
            assert_eq!(found[1], "REAL", "{inside}");
        }
        let found = in_pieces("A '\\'\nFAKE;\n';\nREAL;\n", usize::MAX, true);
        assert_eq!(found[1..], ["REAL"]);
    }

    #[test]
    fn a_long_statement_takes_little_memory_and_ends_where_it_ends() {
        let long =
            format!("A '{}--'';\nFAKE;\n', 1 - 2, 'x';\nREAL;\n", "-x".repeat(MAX_STATEMENT));
        let found = in_pieces(&long, 1 << 16, false);
        assert_eq!((found.len(), found[0].len()), (2, MAX_STATEMENT));
        assert_eq!(found[1], "REAL");
    }

    proptest! {
        #[test]
        fn literals_hide_whatever_is_in_them(text in "[a$'\";()\\\\\n*/-]{0,40}") {
            let literal = text.replace('\'', "''");
            let found = statements(&format!("A '{literal}', $q${text} $q$;\nREAL;\n"));
            prop_assert_eq!(found.len(), 2, "{:?}", found);
            prop_assert_eq!(&found[1], "REAL");
        }
    }
}
