//! Identifiers as PostgreSQL understands them: without quotation marks, in lower case where they
//! have none, cut at 63 bytes.

use super::lexer::{Kind, Lexer, Token};

/// The longest identifier in bytes (NAMEDATALEN - 1).
const LONGEST: usize = 63;

/// The identifier that a token is; `None` if it is none. `after`, what follows the token, is moved
/// behind its UESCAPE, if it has one.
pub fn identifier(text: &[u8], token: Token, after: &mut Lexer<'_>) -> Option<Vec<u8>> {
    let part = &text[token.start..token.end];
    let mut name = match token.kind {
        Kind::Word => part.to_ascii_lowercase(),
        Kind::Delimited => undouble(&part[1..part.len() - 1]),
        Kind::UnicodeDelimited => {
            unescape(&undouble(&part[3..part.len() - 1]), escape(text, after))
        }
        _ => return None,
    };
    name.truncate(LONGEST);
    Some(name)
}

/// The escape that UESCAPE names, or a backslash.
pub fn escape(text: &[u8], after: &mut Lexer<'_>) -> u8 {
    let mut ahead = after.clone();
    if ahead.significant().is_some_and(|next| next.is(text, b"uescape"))
        && let Some(literal) = ahead.significant()
        && literal.kind == Kind::Literal
    {
        *after = ahead;
        return text[literal.end - 2];
    }
    b'\\'
}

fn undouble(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        plain.push(*byte);
        if *byte == b'"' {
            bytes.next();
        }
    }
    plain
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
        assert_eq!(of(&"a".repeat(70)), Some("a".repeat(63)));
        assert_eq!(of("'a'"), None);
    }
}
