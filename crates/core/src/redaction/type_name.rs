//! Numbers that are a part of a type's name, as in `varchar(20)` and `integer[3]`: no literal may
//! stand there.

/// Keywords that a modifier may follow. None of them is a function's name.
const MODIFIED: [&[u8]; 13] = [
    b"bit",
    b"char",
    b"character",
    b"dec",
    b"decimal",
    b"float",
    b"interval",
    b"nchar",
    b"numeric",
    b"second",
    b"time",
    b"timestamp",
    b"varchar",
];
/// Further names after which an array's bounds may follow.
const OTHERS: [&[u8]; 10] = [
    b"bigint",
    b"boolean",
    b"date",
    b"integer",
    b"int",
    b"precision",
    b"real",
    b"smallint",
    b"text",
    b"varying",
];

/// Where in a type's name the last token was.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum TypeName {
    /// Nowhere.
    #[default]
    Outside,
    /// At its end, where modifiers may follow.
    Modified,
    /// At its end.
    Other,
    /// In parentheses.
    Modifiers,
    /// In brackets.
    Bounds,
}

impl TypeName {
    /// Where the next token is; spaces are none.
    pub fn next(self, token: &[u8]) -> Self {
        let is = |words: &[&[u8]]| words.iter().any(|word| word.eq_ignore_ascii_case(token));
        match (self, token) {
            (Self::Modified, b"(") => Self::Modifiers,
            (Self::Modified | Self::Other, b"[") => Self::Bounds,
            (Self::Modifiers, b")") | (Self::Bounds, b"]") => Self::Other,
            (Self::Modifiers | Self::Bounds, _) if token == b"," || is_small(token) => self,
            _ if is(&MODIFIED) => Self::Modified,
            // `character varying(20)`
            (Self::Modified, _) if token.eq_ignore_ascii_case(b"varying") => Self::Modified,
            _ if is(&OTHERS) => Self::Other,
            _ => Self::Outside,
        }
    }

    /// Is this number a part of the name?
    pub fn has(self, number: &[u8]) -> bool {
        matches!(self, Self::Modifiers | Self::Bounds) && is_small(number)
    }
}

/// No larger than any modifier that says something, and too short for a secret.
fn is_small(number: &[u8]) -> bool {
    number.len() <= 3 && number.iter().all(u8::is_ascii_digit)
}
