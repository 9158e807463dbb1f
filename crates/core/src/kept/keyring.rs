//! The keyring, which is the pepper: secret keys outside the database, from which the keys for
//! sealing, for the audit chain and for log lines are derived.
//!
//! It is a text of lines `id:base64`, the last of which is active. An older key must stay in it as
//! long as stored rows were made with it.

use std::fmt;

use base64ct::{Base64, Encoding};
use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U32};
use zeroize::Zeroizing;

/// Length of a [`Key`] in bytes.
pub const KEY_BYTES: usize = 32;
/// Longest key id, in characters.
pub const MAX_ID: usize = 32;
/// Purpose of the key for the audit chain.
pub const AUDIT: &str = "audit chain v1";

/// Purpose of the key for lines of the server log.
pub const LOG: &str = "log line v1";

/// One key of the ring. It is never used itself, only the keys of [`Key::derive`] are.
// Boxed, because a growing `Vec` moves its elements and leaves the old ones unwiped.
pub struct Key(Box<Zeroizing<[u8; KEY_BYTES]>>);

impl Key {
    /// Derives the key for one purpose, as [`derive()`] does.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        derive(&self.0, purpose)
    }

    /// Reads exactly [`KEY_BYTES`] in strict standard base64 with padding.
    fn from_base64(text: &str) -> Option<Self> {
        let mut bytes = Box::new(Zeroizing::new([0; KEY_BYTES]));
        let decoded = Base64::decode(text, &mut bytes[..]).ok()?.len();
        (decoded == KEY_BYTES).then_some(Self(bytes))
    }
}

/// Derives the key for one purpose, unrelated to those for others: BLAKE2b-256 (RFC 7693), keyed with
/// `key`, over `password_verify ` and the purpose.
pub(crate) fn derive(key: &[u8; KEY_BYTES], purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
    #[allow(clippy::expect_used)]
    let mut mac = Blake2bMac::<U32>::new_from_slice(key).expect("a 32-byte key");
    mac.update(b"password_verify ");
    mac.update(purpose.as_bytes());
    let mut derived = Zeroizing::new([0; KEY_BYTES]);
    mac.finalize_into((&mut *derived).into());
    derived
}

/// The keys of one keyring, at least one.
pub struct Keyring {
    older: Vec<(String, Key)>,
    active: (String, Key),
}

/// Where and why a text is not a [`Keyring`]. Never says what the line contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKeyring {
    /// Line number, counted from 1; 0 for [`Why::Empty`].
    pub line: usize,
    pub why: Why,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The line has no colon.
    Malformed,
    /// The id is not 1 to [`MAX_ID`] characters of `A-Z a-z 0-9 _ . -`.
    BadId,
    /// The key is not [`KEY_BYTES`] bytes in base64 with padding.
    BadKey,
    /// Two keys have the same id, so the id would be ambiguous.
    RepeatedId,
    /// The text has no key at all.
    Empty,
}

impl fmt::Display for NotAKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Malformed => "not of the form id:base64",
            Why::BadId => "the id is not 1 to 32 letters, digits, underscores, dots or hyphens",
            Why::BadKey => "the key is not 32 bytes in base64 with padding",
            Why::RepeatedId => "the id was used before",
            Why::Empty => return f.write_str("there is no key"),
        };
        write!(f, "line {}: {why}", self.line)
    }
}

impl Keyring {
    /// Parses one key per line, the last one active. Blank lines and lines that begin with `#` are
    /// ignored; lines end with LF or CRLF. The caller must wipe the text.
    ///
    /// # Errors
    /// [`NotAKeyring`] for the first line that is not valid, or for a text without keys.
    pub fn parse(text: &str) -> Result<Self, NotAKeyring> {
        let mut keys: Vec<(String, Key)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let refused = |why| NotAKeyring { line: index + 1, why };
            let (id, key) = line.split_once(':').ok_or(refused(Why::Malformed))?;
            if !is_id(id) {
                return Err(refused(Why::BadId));
            }
            let key = Key::from_base64(key).ok_or(refused(Why::BadKey))?;
            if keys.iter().any(|(other, _)| other == id) {
                return Err(refused(Why::RepeatedId));
            }
            keys.push((id.into(), key));
        }
        let active = keys.pop().ok_or(NotAKeyring { line: 0, why: Why::Empty })?;
        Ok(Self { older: keys, active })
    }

    /// The id and the key for new rows.
    pub fn active(&self) -> (&str, &Key) {
        (&self.active.0, &self.active.1)
    }

    /// The keys before the active one.
    pub fn older(&self) -> impl Iterator<Item = &Key> {
        self.older.iter().map(|(_, key)| key)
    }

    /// Every key and its id.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Key)> {
        self.older.iter().chain([&self.active]).map(|(id, key)| (id.as_str(), key))
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.all().find(|(other, _)| *other == id).map(|(_, key)| key)
    }
}

/// The id of a key, as a value that can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId {
    bytes: [u8; MAX_ID],
    len: u8,
}

impl KeyId {
    /// `None` if the text is not a valid id.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        let (id, len) = (is_id(text).then_some(text)?, u8::try_from(text.len()).ok()?);
        bytes[..id.len()].copy_from_slice(id.as_bytes());
        Some(Self { bytes, len })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len.into()]).unwrap_or_default()
    }
}

/// Whether the text is a valid key id.
pub fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.chars().all(in_ids)
}

/// Whether ids may contain this character. JSON, SQL and shells need no quotes for any that may.
pub const fn in_ids(c: char) -> bool {
    matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes 0 to 31, and 32 bytes of 7.
    const COUNTING: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const SEVENS: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn refused(text: &str) -> (usize, Why) {
        let NotAKeyring { line, why } = Keyring::parse(text).err().unwrap();
        (line, why)
    }

    #[test]
    fn the_last_key_is_active_and_the_others_are_there() {
        let text = format!("# of 2025\na:{COUNTING}\n\n  \nB_.-9:{SEVENS}\n# the end");
        let ring = Keyring::parse(&text).unwrap();
        assert_eq!(ring.active().0, "B_.-9");
        assert_eq!(ring.active().1.0[..], [7; 32]);
        assert!(ring.get("a").unwrap().0.iter().copied().eq(0..32));
        assert_eq!(ring.get("B_.-9").unwrap().0[..], [7; 32]);
        assert!(ring.get("b_.-9").is_none());
    }

    #[test]
    fn lines_may_end_as_windows_ends_them() {
        let ring = Keyring::parse(&format!("#\r\n\r\na:{COUNTING}\r\nb:{SEVENS}\r\n")).unwrap();
        assert_eq!(ring.active().0, "b");
        assert!(ring.get("a").is_some());
    }

    #[test]
    fn known_answer() {
        // python3 -c "import hashlib; print(hashlib.blake2b(b'password_verify audit chain v1', key=bytes(range(32)), digest_size=32).hexdigest())"
        let ring = Keyring::parse(&format!("a:{COUNTING}")).unwrap();
        let expected = "7eb7661512a11a05ef2f28742bc1b2fd6b0f0036ab4509b4383e7dd04bd7b3a9";
        assert_eq!(crate::trail::chain::hex(&ring.active().1.derive(AUDIT)[..]), expected);
        assert_ne!(ring.active().1.derive(AUDIT), ring.active().1.derive("audit chain v2"));
    }

    #[test]
    fn a_text_without_keys_is_none() {
        for text in ["", "\n", "# a:b\n\r\n"] {
            assert_eq!(refused(text), (0, Why::Empty));
        }
    }

    #[test]
    fn a_line_is_an_id_and_a_key() {
        assert_eq!(refused(&format!("#\na:{COUNTING}\n{SEVENS}")), (3, Why::Malformed));
        assert_eq!(refused("\u{feff}#"), (1, Why::Malformed));
        let long = "x".repeat(33);
        for id in ["", " a", "a ", "ä", "a\"", &long] {
            assert_eq!(refused(&format!("{id}:{COUNTING}")), (1, Why::BadId), "{id:?}");
        }
        assert!(Keyring::parse(&format!("{}:{COUNTING}", &long[1..])).is_ok());
    }

    #[test]
    fn a_key_is_32_bytes_of_strict_base64() {
        let unpadded = &COUNTING[..43];
        // The two lowest bits of the last digit belong to no byte.
        let loose = format!("{}9=", &COUNTING[..42]);
        let url = format!("{}_w=", &COUNTING[..41]);
        let longer = format!("{}AAAA", &COUNTING[..40]);
        let shorter = format!("{}==", &COUNTING[..42]);
        let (spaced, trailing) = (format!(" {COUNTING}"), format!("{COUNTING} "));
        let twice = format!("{COUNTING}{SEVENS}");
        let bad =
            [unpadded, &loose, &url, &longer, &shorter, &spaced, &trailing, &twice, "", "x:y"];
        for key in bad {
            assert_eq!(refused(&format!("a:{key}")), (1, Why::BadKey), "{key:?}");
        }
    }

    #[test]
    fn an_id_is_used_once() {
        let text = format!("a:{COUNTING}\nb:{COUNTING}\na:{COUNTING}");
        assert_eq!(refused(&text), (3, Why::RepeatedId));
        assert!(Keyring::parse(&format!("a:{COUNTING}\nA:{COUNTING}")).is_ok());
    }

    #[test]
    fn a_refusal_does_not_tell_the_line() {
        let said = Keyring::parse("secret").err().unwrap().to_string();
        assert_eq!(said, "line 1: not of the form id:base64");
        assert_eq!(Keyring::parse("").err().unwrap().to_string(), "there is no key");
    }

    #[test]
    fn a_key_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&*Keyring::parse(&format!("a:{COUNTING}")).unwrap().active().1.0);
    }
}
