//! Turns the names of roles and applications, which come as bytes, into text.

/// Writes the name as text. Different bytes give different texts.
///
/// All databases of a server share role names, whatever their encodings are, so the bytes need not
/// be valid text in this one. Bytes that are not ASCII or, if the database is UTF-8, not valid
/// UTF-8 become `\x` and two hexadecimal digits; so does a backslash.
pub fn printable(bytes: &[u8], database_is_utf8: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c != '\\' && (c.is_ascii() || database_is_utf8) {
                text.push(c);
            } else {
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_text_stays_text() {
        assert_eq!(printable(b"app", false), "app");
        assert_eq!(printable("jürgen".as_bytes(), true), "jürgen");
        assert_eq!(printable(b"", true), "");
    }

    #[test]
    fn what_is_not_can_be_told_apart() {
        assert_eq!(printable(b"j\xfcrgen", true), r"j\xfcrgen");
        assert_eq!(printable(b"j\xfcrgen", false), r"j\xfcrgen");
        assert_eq!(printable(b"j\xe4rgen", false), r"j\xe4rgen");
        assert_eq!(printable("jürgen".as_bytes(), false), r"j\xc3\xbcrgen");
    }

    #[test]
    fn nobody_can_be_named_like_an_escape() {
        assert_eq!(printable(br"j\xfcrgen", true), r"j\x5cxfcrgen");
        assert_eq!(printable(br"\", false), r"\x5c");
    }
}
