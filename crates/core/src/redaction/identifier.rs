//! Identifiers as PostgreSQL understands them: without quotation marks, in lower case where they
//! have none. It cuts them at 63 bytes, between two characters of the encoding, which is not known here.

use super::lexer::{Kind, Lexer, Token};
use super::quotes::undouble;

/// An identifier whose escapes cannot be told: it may be any.
pub const ANY: &[u8] = b"\0";

/// The identifier that a token is; `None` if it is none. `after`, what follows the token, is moved
/// behind its UESCAPE, if it has one.
pub fn identifier(text: &[u8], token: Token, after: &mut Lexer<'_>) -> Option<Vec<u8>> {
    let part = &text[token.start..token.end];
    match token.kind {
        Kind::Word => Some(part.to_ascii_lowercase()),
        Kind::Delimited => Some(undouble(&part[1..part.len() - 1], b'"')),
        Kind::UnicodeDelimited => Some(match escape(text, after) {
            Some(escape) => unescape(&undouble(&part[3..part.len() - 1], b'"'), escape),
            None => ANY.to_vec(),
        }),
        _ => None,
    }
}

/// The escape that UESCAPE names, or a backslash. `None`: it is spelt in an odd way.
pub fn escape(text: &[u8], after: &mut Lexer<'_>) -> Option<u8> {
    let mut ahead = after.clone();
    if ahead.significant().is_some_and(|next| next.is(text, b"uescape"))
        && let Some(literal) = ahead.significant()
        && matches!(literal.kind, Kind::Literal | Kind::DollarQuoted(_))
    {
        *after = ahead;
        return match &text[literal.start..literal.end] {
            [b'\'', escape, b'\''] => Some(*escape),
            _ => None,
        };
    }
    Some(b'\\')
}

/// Replaces `\XXXX` and `\+XXXXXX`; what is no escape stays as it is.
fn unescape(written: &[u8], escape: u8) -> Vec<u8> {
    let mut plain = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let (skip, digits) = if after.first() == Some(&b'+') { (1, 6) } else { (0, 4) };
        let hex = after.get(skip..skip + digits).filter(|_| *first == escape);
        let number =
            hex.and_then(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match number.and_then(char::from_u32) {
            Some(letter) => {
                plain.extend(letter.encode_utf8(&mut [0; 4]).bytes());
                rest = &after[skip + digits..];
            }
            None => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::super::lexer::Backslash;
    use super::*;

    fn of(text: &str) -> Option<String> {
        let mut lexer = Lexer::new(text.as_bytes(), Backslash::Plain);
        let first = lexer.significant()?;
        identifier(text.as_bytes(), first, &mut lexer).map(|name| String::from_utf8(name).unwrap())
    }

    #[test]
    fn identifiers() {
        for (written, meant) in [
            ("Pv_X", "pv_x"),
            ("\"Pv\"\"X\"", "Pv\"X"),
            ("U&\"p\\0076_x\"", "pv_x"),
            ("u&\"p\\+000076_x\"", "pv_x"),
            ("u&\"p!0076_x\" /* */ uescape '!'", "pv_x"),
            ("u&\"p\\0076_x\\00\"", "pv_x\\00"),
            ("\"\"", ""),
        ] {
            assert_eq!(of(written).as_deref(), Some(meant), "{written}");
        }
        for odd in ["$$!$$", "E'!'", "'!'\n''"] {
            assert_eq!(of(&format!("u&\"p!0076_x\" uescape {odd}")).as_deref(), Some("\0"));
        }
        assert_eq!(of("'a'"), None);
    }
}
