//! The handle of an unlocked vault: 256 bits from the operating system's generator.
//!
//! ```text
//! pvh_<base64url without padding>
//! ```
//!
//! The vault key stays in memory only as long as the vault is unlocked, and even there it is sealed
//! under a key that only the handle gives. The digest finds it; whoever reads that memory finds
//! neither the handle nor the key.

use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use crate::keeper::cipher::{self, KEY_BYTES, NONCE_BYTES, SEALED_KEY_BYTES};
use crate::keeper::vault::VaultKey;
use crate::kept::keyring::derive;
use crate::rules::secret::Secret;

/// The beginning of every handle.
pub const PREFIX: &str = "pvh_";
/// Length of a hidden vault key in bytes.
pub const HIDDEN_BYTES: usize = SEALED_KEY_BYTES;

/// Length of the text of a handle in bytes.
const TEXT_BYTES: usize = PREFIX.len() + 43;
/// Purpose of the digest.
const DIGEST: &str = "vault handle v1";
/// Purpose of the key that hides a vault key, and what the associated data are.
const HIDING: &str = "vault key of a handle v1";

/// The handle of an unlocked vault. Wiped on drop.
pub struct Handle(Zeroizing<[u8; KEY_BYTES]>);

impl Handle {
    /// Makes a handle of `bytes`, which must be fresh from the operating system's generator.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(cipher::take_over(bytes))
    }

    /// The text of the handle. Only the client that unlocked the vault may see it.
    pub fn expose(&self) -> Secret {
        let encoded = Zeroizing::new(Base64UrlUnpadded::encode_string(&self.0[..]));
        let mut text = String::with_capacity(TEXT_BYTES);
        text.push_str(PREFIX);
        text.push_str(&encoded);
        Secret::new(text)
    }

    /// Reads what [`Handle::expose`] wrote. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() == TEXT_BYTES)?;
        let read = Base64UrlUnpadded::decode(encoded, &mut bytes[..]).ok()?.len();
        (read == KEY_BYTES).then_some(Self(bytes))
    }

    /// Finds the unlocked vault: BLAKE2b-256 keyed with the handle. A handle with 256 bits of
    /// entropy needs no slow hash.
    pub fn digest(&self) -> [u8; 32] {
        *derive(&self.0, DIGEST)
    }

    /// Seals a vault key under a key that is derived from the handle: nonce, ciphertext and tag,
    /// [`HIDDEN_BYTES`] long. `nonce` must come from the operating system's generator.
    pub fn hide(&self, key: &VaultKey, nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        cipher::seal(key.bytes(), &[HIDING.as_bytes()], &derive(&self.0, HIDING), nonce)
    }

    /// Opens what [`Handle::hide`] made. `None` for any other bytes.
    pub fn reveal(&self, hidden: &[u8]) -> Option<VaultKey> {
        let hiding = derive(&self.0, HIDING);
        cipher::open_key(hidden, &[HIDING.as_bytes()], &hiding).map(VaultKey::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::chain::hex;
    use proptest::prelude::*;

    fn handle() -> Handle {
        Handle::new([3; 32])
    }

    #[test]
    fn known_answers() {
        // crates/core/tests/keeper.py: BLAKE2b of Python, and libsodium's XChaCha20-Poly1305.
        assert_eq!(hex(&handle().digest()), DIGESTED);
        assert_eq!(hex(&handle().hide(&VaultKey::new([7; 32]), [9; 24])), HIDDEN);
    }
    const DIGESTED: &str = "5716aeb66ef49a9eda50f80f3ae8464c1503cdb9d71e072d7de2c73986103c91";
    const HIDDEN: &str = "090909090909090909090909090909090909090909090909e7b4a0a40ef5291097a6bcd8a8a18228542f4d962435b9649cb52cba209e9d8040034b74155bda2236bbce29df456305";

    #[test]
    fn a_handle_is_47_characters_that_no_url_has_to_quote_and_reads_back() {
        for byte in [0, 0xfb, 0xff] {
            let text = Handle::new([byte; 32]).expose();
            let text = text.expose();
            assert_eq!(text.len(), 47);
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
            assert_eq!(Handle::parse(text).unwrap().0[..], [byte; 32]);
        }
    }

    #[test]
    fn other_texts_are_no_handles() {
        let text = Handle::new([0xff; 32]).expose();
        let text = text.expose();
        // The two lowest bits of the last digit belong to no byte.
        let loose = format!("{}9", &text[..46]);
        let (standard, padded) = (text.replace('_', "/"), format!("{}=", &text[..46]));
        let capital = text.replace("pvh", "PVH");
        for other in ["", PREFIX, &text[1..], &text[4..], &loose, &standard, &padded, &capital] {
            assert!(Handle::parse(other).is_none(), "{other}");
        }
        assert!(Handle::parse(&format!("{text}A")).is_none());
    }

    #[test]
    fn a_key_is_revealed_by_its_handle_only() {
        let hidden = handle().hide(&VaultKey::new([7; 32]), [9; 24]);
        assert_eq!(hidden.len(), HIDDEN_BYTES);
        assert_eq!(handle().reveal(&hidden).unwrap().bytes(), &[7; 32]);
        for bit in 0..256 {
            let mut other = [3; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            let other = Handle::new(other);
            assert!(other.reveal(&hidden).is_none() && other.digest() != handle().digest());
        }
        for bit in 0..HIDDEN_BYTES * 8 {
            let mut changed = hidden.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(handle().reveal(&changed).is_none(), "{bit}");
        }
        assert!(handle().reveal(&[]).is_none());
        assert!(handle().reveal(&hidden[..HIDDEN_BYTES - 1]).is_none());
    }

    #[test]
    fn a_handle_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&handle().0);
    }

    proptest! {
        #[test]
        fn only_what_was_written_is_read(bytes: [u8; 32], text in "pvh_[A-Za-z0-9_-]{43}") {
            let written = Handle::new(bytes).expose();
            prop_assert_eq!(Handle::parse(written.expose()).unwrap().0[..].to_vec(), bytes.to_vec());
            if let Some(read) = Handle::parse(&text) {
                let read = read.expose();
                prop_assert_eq!(read.expose(), text);
            }
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "(pvh_)?\\PC{0,60}") {
            prop_assert!(Handle::parse(&text).is_none_or(|it| it.expose().expose() == text));
        }
    }
}
