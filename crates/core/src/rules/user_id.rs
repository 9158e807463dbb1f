//! The canonical spelling of a user id.
//!
//! A user id is opaque. It is stored, looked up and sealed as its canonical text, so that
//! `42::bigint` and `'42'` are one user, and so are all spellings of a UUID that PostgreSQL reads.

/// The longest user id, in bytes of UTF-8.
pub const MAX_BYTES: usize = 255;

/// A user id in its canonical spelling: 1 to [`MAX_BYTES`] bytes of UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId(String);

/// Why a text is not a user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAUserId {
    /// The text is empty.
    Empty,
    /// The text has more than [`MAX_BYTES`] bytes of UTF-8.
    TooLong,
}

impl UserId {
    /// Spells a number in decimal.
    pub fn from_bigint(id: i64) -> Self {
        Self(id.to_string())
    }

    /// Spells a UUID in lower case with hyphens (RFC 9562 section 4).
    pub fn from_uuid(id: [u8; 16]) -> Self {
        let mut text = String::with_capacity(36);
        for (i, byte) in id.into_iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        Self(text)
    }

    /// Takes the text as it is, unless it is a UUID in another spelling.
    ///
    /// # Errors
    /// [`NotAUserId`] when the text is empty or longer than [`MAX_BYTES`].
    pub fn from_text(id: &str) -> Result<Self, NotAUserId> {
        match id.len() {
            0 => Err(NotAUserId::Empty),
            1..=MAX_BYTES => Ok(parse_uuid(id).map_or_else(|| Self(id.into()), Self::from_uuid)),
            _ => Err(NotAUserId::TooLong),
        }
    }

    /// The canonical spelling.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads what PostgreSQL's `uuid_in` reads: 32 hexadecimal digits in either case, with an optional
/// hyphen after each group of four, and optional braces around them.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'))?;
    let mut digits = 0;
    let mut after_hyphen = false;
    let mut id = [0u8; 16];
    for byte in text.bytes() {
        if byte == b'-' && digits > 0 && digits < 32 && digits % 4 == 0 && !after_hyphen {
            after_hyphen = true;
            continue;
        }
        let nibble = char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok())?;
        let slot = id.get_mut(digits / 2)?;
        *slot = *slot << 4 | nibble;
        digits += 1;
        after_hyphen = false;
    }
    (digits == 32 && !after_hyphen).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: &str = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";

    #[test]
    fn a_number_and_its_digits_are_one_user() {
        assert_eq!(UserId::from_text("42"), Ok(UserId::from_bigint(42)));
        assert_eq!(UserId::from_bigint(i64::MIN).as_str(), "-9223372036854775808");
        assert_ne!(UserId::from_text("042"), Ok(UserId::from_bigint(42)));
    }

    #[test]
    fn spellings_of_one_uuid_are_one_user() {
        for spelling in [
            UUID,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
        ] {
            assert_eq!(UserId::from_text(spelling).unwrap().as_str(), UUID, "{spelling}");
        }
    }

    #[test]
    fn what_is_not_quite_a_uuid_is_kept_as_it_is() {
        for text in [
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "a0eebc99--9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            "-a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0e-ebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380g11",
            "Alice@example.com",
            " ",
        ] {
            assert_eq!(UserId::from_text(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn bounds() {
        assert_eq!(UserId::from_text(""), Err(NotAUserId::Empty));
        assert!(UserId::from_text(&"x".repeat(255)).is_ok());
        assert_eq!(UserId::from_text(&"x".repeat(256)), Err(NotAUserId::TooLong));
        assert_eq!(UserId::from_text(&"é".repeat(128)), Err(NotAUserId::TooLong));
    }

    proptest! {
        #[test]
        fn canonical_text_stays_what_it_is(text in ".{1,60}") {
            if let Ok(id) = UserId::from_text(&text) {
                prop_assert_eq!(UserId::from_text(id.as_str()), Ok(id.clone()));
            }
        }

        #[test]
        fn a_uuid_and_its_text_are_one_user(bytes: [u8; 16]) {
            let id = UserId::from_uuid(bytes);
            prop_assert_eq!(UserId::from_text(id.as_str()), Ok(id.clone()));
            prop_assert_eq!(UserId::from_text(&id.as_str().to_uppercase()), Ok(id.clone()));
        }
    }
}
