//! Interprets the lines of a list.

use password_verify_blocklist::Key;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::args::Kind;
use crate::lines::Line;

/// The meaning of a line.
pub enum Entry {
    /// A password to list.
    Key(Key),
    /// An empty line.
    Blank,
    /// A password that was seen fewer times than required.
    Rare,
    /// Text that the extension never accepts as a password: not UTF-8, or too long.
    Impossible,
    /// A line that is not valid in this kind of list.
    Malformed,
}

impl Entry {
    /// Interprets a line of a list of this kind. Passwords that were seen fewer than `min_count`
    /// times are [`Entry::Rare`].
    pub fn read(kind: Kind, line: &Line, min_count: u64) -> Self {
        match (kind, line) {
            (Kind::Sha1, Line::TooLong) => Self::Malformed,
            (Kind::Sha1, Line::Text(line)) => sha1(line.trim_ascii(), min_count),
            (Kind::Words, Line::TooLong) => Self::Impossible,
            (Kind::Words, Line::Text(b"")) => Self::Blank,
            (Kind::Words, Line::Text(line)) => word(line).map_or(Self::Impossible, Self::Key),
        }
    }
}

/// `SHA1:COUNT` or `SHA1`, in hexadecimal digits of either case.
fn sha1(line: &[u8], min_count: u64) -> Entry {
    if line.is_empty() {
        return Entry::Blank;
    }
    let mut digest = [0; Key::SHA1_BYTES];
    let split = line.split_at_checked(2 * Key::SHA1_BYTES);
    let Some((digits, count)) = split else { return Entry::Malformed };
    if base16ct::mixed::decode(digits, &mut digest).is_err() {
        return Entry::Malformed;
    }
    match count {
        [] => Entry::Key(Key::from_sha1(&digest)),
        [b':', count @ ..] => match decimal(count) {
            Some(count) if count >= min_count => Entry::Key(Key::from_sha1(&digest)),
            Some(_) => Entry::Rare,
            None => Entry::Malformed,
        },
        _ => Entry::Malformed,
    }
}

/// A number of decimal digits and nothing else.
fn decimal(digits: &[u8]) -> Option<u64> {
    let text = str::from_utf8(digits).ok()?;
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The key of a password in UTF-8, in the normal form that the extension hashes.
pub fn word(line: &[u8]) -> Option<Key> {
    let text = str::from_utf8(line).ok()?;
    Some(if is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Key::of(text)
    } else {
        Key::of(&text.nfc().collect::<String>())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use password_verify_core::rules::policy::{self, Password, Submitted};
    use password_verify_core::rules::secret::Secret;
    use proptest::prelude::*;

    const SHA1: &str = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8";

    fn read(kind: Kind, line: &[u8]) -> Entry {
        Entry::read(kind, &Line::Text(line), 3)
    }

    fn is_password(entry: &Entry) -> bool {
        matches!(entry, Entry::Key(key) if *key == Key::of("password"))
    }

    #[test]
    fn lines_of_sha1() {
        for line in [
            format!("{SHA1}:3"),
            format!("{SHA1}:18446744073709551615"),
            format!("{SHA1}:0003 "),
            SHA1.to_owned(),
            SHA1.to_lowercase(),
            format!(" {}aA61{}:9\r", &SHA1[..2], &SHA1[6..]),
        ] {
            assert!(is_password(&read(Kind::Sha1, line.as_bytes())), "{line}");
        }
        assert!(matches!(read(Kind::Sha1, format!("{SHA1}:2").as_bytes()), Entry::Rare));
        assert!(matches!(read(Kind::Sha1, b""), Entry::Blank));
        assert!(matches!(read(Kind::Sha1, b" \r"), Entry::Blank));
    }

    #[test]
    fn malformed_lines_of_sha1() {
        for line in [
            &SHA1[..39],
            &SHA1[5..],
            &format!("{SHA1}0"),
            &format!("{SHA1}:"),
            &format!("{SHA1}:x"),
            &format!("{SHA1}:+3"),
            &format!("{SHA1}: 3"),
            &format!("{SHA1}:18446744073709551616"),
            &format!("G{}", &SHA1[1..]),
            "password",
            "#",
        ] {
            assert!(matches!(read(Kind::Sha1, line.as_bytes()), Entry::Malformed), "{line}");
        }
        assert!(matches!(Entry::read(Kind::Sha1, &Line::TooLong, 1), Entry::Malformed));
    }

    #[test]
    fn words_are_passwords_as_they_are() {
        assert!(is_password(&read(Kind::Words, b"password")));
        assert!(!is_password(&read(Kind::Words, b" password")));
        assert!(matches!(read(Kind::Words, b""), Entry::Blank));
        assert!(matches!(read(Kind::Words, b"p\xe4ssword"), Entry::Impossible));
        assert!(matches!(Entry::read(Kind::Words, &Line::TooLong, 1), Entry::Impossible));
    }

    #[test]
    fn the_longest_line_is_the_longest_password() {
        assert_eq!(crate::lines::MAX_BYTES, policy::MAX_BYTES);
    }

    proptest! {
        #[test]
        fn words_are_normalised_as_the_extension_does(text in "\\PC{0,64}") {
            let decomposed: String = text.nfd().collect();
            let secret = Secret::new(decomposed.clone());
            let password = Password::normalize(Submitted::Text(secret)).ok().unwrap();
            prop_assert!(word(decomposed.as_bytes()) == Some(Key::of(password.expose())));
        }

        #[test]
        fn any_line_has_a_meaning(line in prop::collection::vec(any::<u8>(), 0..100)) {
            read(Kind::Sha1, &line);
            read(Kind::Words, &line);
        }
    }
}
