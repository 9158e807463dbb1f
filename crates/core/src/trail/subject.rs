//! The subject of a certificate, for the audit: of bounded length, and ASCII.
//!
//! It comes as RFC 2253 writes it, with `\` before a special character and `\C3\BC` for the bytes of
//! one that is not ASCII. ASCII is text in every encoding of a database.

/// The most bytes of a subject that are kept.
pub const MAX_SUBJECT: usize = 200;
/// The end of a subject that was longer.
const MORE: &str = "...";

/// The subject as text of at most [`MAX_SUBJECT`] bytes. A longer one is cut between two characters,
/// not within what stands for one, and ends in `...`.
pub fn subject(dn: &[u8]) -> String {
    // OpenSSL escapes these, too; whoever does not is no reason for a row that cannot be written.
    let escaped = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\{byte:02X}"),
    };
    let mut text: String = dn.iter().map(escaped).collect();
    if text.len() > MAX_SUBJECT {
        text.truncate(end_within(&text, MAX_SUBJECT - MORE.len()));
        text.push_str(MORE);
    }
    text
}

/// The end of the last whole character that ends within so many bytes of an ASCII text.
fn end_within(text: &str, most: usize) -> usize {
    let (mut end, mut at) = (0, 0);
    while at <= most {
        let rest = &text[at..];
        let byte = rest.get(1..3).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let byte = byte.filter(|_| rest.starts_with('\\'));
        // A byte that continues a character of UTF-8 does not begin one.
        if byte.is_none_or(|byte| byte & 0xC0 != 0x80) {
            end = at;
        }
        at += match (rest.starts_with('\\'), byte) {
            (true, Some(_)) => 3,
            (true, None) => 2,
            (false, _) => 1,
        };
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(unit: &str, times: usize) -> String {
        subject(format!("CN={}", unit.repeat(times)).as_bytes())
    }

    #[test]
    fn what_fits_is_as_it_was() {
        let dn = r"CN=J\C3\BCrgen \, \#1\+,O=Example\\,C=DE";
        assert_eq!(subject(dn.as_bytes()), dn);
        assert_eq!(subject(b""), "");
        let exact = format!("CN={}", "x".repeat(MAX_SUBJECT - 3));
        assert_eq!(subject(exact.as_bytes()), exact);
    }

    #[test]
    fn what_is_longer_says_so() {
        let text = cut("x", MAX_SUBJECT);
        assert_eq!(text, format!("CN={}...", "x".repeat(MAX_SUBJECT - 6)));
        assert_eq!(text.len(), MAX_SUBJECT);
    }

    #[test]
    fn no_character_is_cut_in_two() {
        // Wherever it falls: an escape of one character, of two, three and four bytes.
        for unit in [r"\,", r"\C3\BC", r"\E2\82\AC", r"\F0\9F\98\80"] {
            for before in 0..unit.len() {
                let text = cut(&"x".repeat(before), 1);
                let text = subject(format!("{text}{}", unit.repeat(MAX_SUBJECT)).as_bytes());
                let kept = text.strip_suffix(MORE).unwrap();
                let units = &kept["CN=".len() + before..];
                assert_eq!(units, unit.repeat(units.len() / unit.len()), "{text}");
                assert!(
                    text.len() <= MAX_SUBJECT && text.len() + unit.len() > MAX_SUBJECT,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_ascii_becomes_it() {
        assert_eq!(subject("CN=ü\n".as_bytes()), r"CN=\C3\BC\0A");
        assert_eq!(subject(b"CN=\xff\x00"), r"CN=\FF\00");
        let text = cut("ü", MAX_SUBJECT);
        assert!(text.ends_with(r"\C3\BC...") && text.is_ascii(), "{text}");
    }

    #[test]
    fn an_escape_at_the_very_end_is_no_trap() {
        for end in [r"\", r"\,", r"\A", r"\AB", r"\zz", "\\\\"] {
            for length in MAX_SUBJECT - 4..MAX_SUBJECT + 4 {
                let text = subject(format!("{}{end}", "x".repeat(length)).as_bytes());
                assert!(text.len() <= MAX_SUBJECT, "{text}");
            }
        }
    }
}
