//! Names of mailboxes in modified UTF-7 (RFC 3501 section 5.1.3).

use base64ct::{Base64Unpadded, Encoding};

/// As it is sent.
pub fn encode(name: &str) -> String {
    let (mut encoded, mut wide) = (String::with_capacity(name.len()), Vec::new());
    let flush = |wide: &mut Vec<u8>, encoded: &mut String| {
        if !wide.is_empty() {
            let text = Base64Unpadded::encode_string(wide).replace('/', ",");
            encoded.extend(["&", &text, "-"]);
            wide.clear();
        }
    };
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut wide, &mut encoded);
            encoded.push(c);
            if c == '&' {
                encoded.push('-');
            }
        } else {
            let mut units = [0; 2];
            wide.extend(c.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()));
        }
    }
    flush(&mut wide, &mut encoded);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        for (name, sent) in [
            ("INBOX", "INBOX"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("R&D", "R&-D"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("☺!", "&Jjo-!"),
            ("🔑", "&2D3dEQ-"),
            ("", ""),
        ] {
            assert_eq!(encode(name), sent);
        }
    }
}
