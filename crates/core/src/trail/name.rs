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

/// A name or a string as SQL spells it in printable ASCII: `U&"..."`, or `U&'...'` with `mark` a single quote. `None` if it
/// is that already, and needs nothing but quotes.
///
/// Line ends, terminal escapes and letters that look like others do nothing where this is shown or pasted.
pub fn spelled(name: &str, mark: char) -> Option<String> {
    let plain = |c: char| matches!(c, ' '..='~');
    if name.chars().all(plain) {
        return None;
    }
    let mut text = format!("U&{mark}");
    for c in name.chars() {
        match c {
            '\\' => text.push_str(r"\\"),
            c if c == mark => text.extend([c, c]),
            c if plain(c) => text.push(c),
            c => text.push_str(&format!(r"\+{:06X}", u32::from(c))),
        }
    }
    text.push(mark);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printable_needs_no_spelling() {
        for name in ["", "app", "My App", r#"a";DROP TABLE x;--"#, r"a\b", "~"] {
            assert_eq!(spelled(name, '"'), None, "{name}");
        }
    }

    #[test]
    fn nothing_that_is_spelled_does_anything() {
        let spelled = |name, mark| spelled(name, mark).unwrap();
        assert_eq!(spelled("j\u{fc}rgen", '"'), r#"U&"j\+0000FCrgen""#);
        assert_eq!(spelled("a\n\"';\\\u{1b}[201~", '"'), r#"U&"a\+00000A""';\\\+00001B[201~""#);
        assert_eq!(spelled("\u{202e}'\"", '\''), "U&'\\+00202E''\"'");
        assert_eq!(spelled("\u{1f600}\u{7f}", '"'), r#"U&"\+01F600\+00007F""#);
    }

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
