//! Tokens of SQL, cut where PostgreSQL's scanner cuts them (`src/backend/parser/scan.l`, 14 to 18).
//!
//! PostgreSQL's own scanner raises errors and allocates in its own way, so it cannot run while an
//! error is being reported, which is when most texts have to be redacted. This one does neither: a
//! text that PostgreSQL could not scan ends in a token [`Kind::Unfinished`].
//! `tests/windows/scanner.rs` compares the two.

/// What a backslash in a literal without prefix is, which `standard_conforming_strings` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backslash {
    /// A character like others.
    Plain,
    /// The beginning of an escape.
    Escape,
    /// The text is another session's: what follows `\'` may or may not be part of the literal.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// White space, or a comment.
    Space,
    /// A string or bit string, with its continuations on further lines.
    Literal,
    /// `$tag$…$tag$`, with the length of `$tag$`.
    DollarQuoted(usize),
    /// A number, with the letters that follow it at once.
    Number,
    /// An identifier or keyword.
    Word,
    /// `"…"`
    Delimited,
    /// `U&"…"`
    UnicodeDelimited,
    /// An operator, punctuation, a parameter.
    Other,
    /// A literal, identifier or comment that does not end. It reaches to the end of the text.
    Unfinished,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// Is it this word or sign, whatever its case?
    pub fn is(self, text: &[u8], word: &[u8]) -> bool {
        text[self.start..self.end].eq_ignore_ascii_case(word)
    }
}

/// The tokens of a text, which cover it from its beginning to its end.
#[derive(Clone)]
pub struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    backslash: Backslash,
}

/// Where a token ends; `None` if it does not.
type End = Option<usize>;

impl<'a> Lexer<'a> {
    pub fn new(text: &'a [u8], backslash: Backslash) -> Self {
        Self { text, at: 0, backslash }
    }

    /// The tokens of a part of the text, at their places in the whole.
    pub fn within(&self, part: std::ops::Range<usize>) -> Self {
        Self { text: &self.text[..part.end], at: part.start, backslash: self.backslash }
    }

    /// The next token that is no space.
    pub fn significant(&mut self) -> Option<Token> {
        self.find(|token| token.kind != Kind::Space)
    }

    /// What is left of the text begins here.
    pub fn at(&self) -> usize {
        self.at
    }

    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn while_true(&self, from: usize, test: impl Fn(u8) -> bool) -> usize {
        self.text[from..].iter().position(|byte| !test(*byte)).map_or(self.text.len(), |n| from + n)
    }

    fn token(&self, at: usize) -> (Kind, End) {
        let next = self.byte(at + 1);
        match self.byte(at) {
            byte if is_space(byte) => (Kind::Space, Some(self.while_true(at, is_space))),
            b'-' if next == b'-' => (Kind::Space, Some(self.line_end(at))),
            b'/' if next == b'*' => (Kind::Space, self.comment(at + 2)),
            b'\'' => (Kind::Literal, self.string(at + 1, self.backslash)),
            b'"' => (Kind::Delimited, self.delimited(at + 1)),
            b'.' if next == b'.' => (Kind::Other, Some(at + 2)),
            b'$' => self.dollar(at),
            byte if byte.is_ascii_digit() || (byte == b'.' && next.is_ascii_digit()) => {
                (Kind::Number, Some(self.number(at)))
            }
            byte if starts_word(byte) => match self.prefix(at) {
                Some(prefixed) => prefixed,
                None => (Kind::Word, Some(self.while_true(at, continues_word))),
            },
            byte if is_operator(byte) => (Kind::Other, Some(self.operator(at))),
            _ => (Kind::Other, Some(at + 1)),
        }
    }

    /// A letter that belongs to the quotation mark after it.
    fn prefix(&self, at: usize) -> Option<(Kind, End)> {
        match (self.byte(at).to_ascii_lowercase(), self.byte(at + 1), self.byte(at + 2)) {
            (b'e', b'\'', _) => Some((Kind::Literal, self.string(at + 2, Backslash::Escape))),
            (b'n', b'\'', _) => Some((Kind::Literal, self.string(at + 2, self.backslash))),
            (b'b' | b'x', b'\'', _) => Some((Kind::Literal, self.bits(at + 2))),
            (b'u', b'&', b'\'') => Some((Kind::Literal, self.string(at + 3, Backslash::Plain))),
            (b'u', b'&', b'"') => Some((Kind::UnicodeDelimited, self.delimited(at + 3))),
            _ => None,
        }
    }

    fn line_end(&self, at: usize) -> usize {
        self.while_true(at, |byte| byte != b'\n' && byte != b'\r')
    }

    /// The end of a comment, in which others may be nested.
    fn comment(&self, mut at: usize) -> End {
        let mut depth = 1;
        while depth > 0 {
            match (self.text.get(at)?, self.byte(at + 1)) {
                (b'*', b'/') => (depth, at) = (depth - 1, at + 2),
                (b'/', b'*') => (depth, at) = (depth + 1, at + 2),
                _ => at += 1,
            }
        }
        Some(at)
    }

    /// The end of a string whose content begins at `at`, continuations included.
    fn string(&self, mut at: usize, backslash: Backslash) -> End {
        loop {
            match (self.text.get(at)?, self.byte(at + 1)) {
                (b'\'', b'\'') => at += 2,
                (b'\'', _) => match self.continuation(at + 1) {
                    Some(more) => at = more,
                    None => return Some(at + 1),
                },
                (b'\\', b'\'') if backslash == Backslash::Unknown => return None,
                (b'\\', _) if backslash == Backslash::Escape => at += 2,
                _ => at += 1,
            }
        }
    }

    /// The end of a bit string, in which quotation marks cannot be doubled.
    fn bits(&self, mut at: usize) -> End {
        loop {
            at = self.while_true(at, |byte| byte != b'\'');
            self.text.get(at)?;
            match self.continuation(at + 1) {
                Some(more) => at = more,
                None => return Some(at + 1),
            }
        }
    }

    /// Where a string goes on after its quotation mark: after white space with a line's end in it,
    /// and another quotation mark.
    fn continuation(&self, mut at: usize) -> Option<usize> {
        let from = at;
        loop {
            match (self.text.get(at)?, self.byte(at + 1)) {
                (byte, _) if is_space(*byte) => at += 1,
                (b'-', b'-') => at = self.line_end(at),
                (b'\'', _) => break,
                _ => return None,
            }
        }
        self.text[from..at].iter().any(|byte| matches!(byte, b'\n' | b'\r')).then_some(at + 1)
    }

    fn delimited(&self, mut at: usize) -> End {
        loop {
            match (self.text.get(at)?, self.byte(at + 1)) {
                (b'"', b'"') => at += 2,
                (b'"', _) => return Some(at + 1),
                _ => at += 1,
            }
        }
    }

    fn dollar(&self, at: usize) -> (Kind, End) {
        if self.byte(at + 1).is_ascii_digit() {
            return (Kind::Other, Some(self.while_true(at + 1, |byte| byte.is_ascii_digit())));
        }
        let in_tag = |byte: u8| continues_word(byte) && byte != b'$';
        let tag_end = self.while_true(at + 1, in_tag);
        if self.byte(tag_end) != b'$' {
            return (Kind::Other, Some(at + 1));
        }
        let mark = &self.text[at..=tag_end];
        let end = memchr::memmem::find(&self.text[tag_end + 1..], mark);
        (Kind::DollarQuoted(mark.len()), end.map(|n| tag_end + 1 + n + mark.len()))
    }

    /// The end of a number in any notation. Letters at its end are taken for part of it, as 14 does
    /// not and later majors refuse: somebody may have forgotten the quotation marks of a password.
    fn number(&self, at: usize) -> usize {
        let digits = |at| self.while_true(at, |byte| byte.is_ascii_digit() || byte == b'_');
        let mut at = digits(at);
        if self.byte(at) == b'.' && self.byte(at + 1) != b'.' {
            at = digits(at + 1);
        }
        if self.byte(at).eq_ignore_ascii_case(&b'e') {
            let sign = usize::from(matches!(self.byte(at + 1), b'+' | b'-'));
            if self.byte(at + 1 + sign).is_ascii_digit() {
                at = digits(at + 1 + sign);
            }
        }
        if starts_word(self.byte(at)) && self.prefix(at).is_none() {
            at = self.while_true(at, continues_word);
        }
        at
    }

    /// The end of a run of operators: a comment ends it, which is not looked for behind its beginning.
    fn operator(&self, from: usize) -> usize {
        let is_comment = |at| matches!(&self.text[at..], [b'-', b'-', ..] | [b'/', b'*', ..]);
        let goes_on = |at: &usize| is_operator(self.byte(*at)) && !is_comment(*at);
        (from + 1..self.text.len()).find(|at| !goes_on(at)).unwrap_or(self.text.len())
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        if start >= self.text.len() {
            return None;
        }
        let (kind, end) = self.token(start);
        let (kind, end) = end.map_or((Kind::Unfinished, self.text.len()), |end| (kind, end));
        // A backslash may be the last byte of all.
        self.at = end.min(self.text.len());
        Some(Token { kind, start, end: self.at })
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}
