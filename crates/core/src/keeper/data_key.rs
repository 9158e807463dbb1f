//! The random key of one kept secret.
//!
//! ```text
//! $kept$v=1$<base64 of nonce, ciphertext and tag>
//! ```
//!
//! The associated data are the id of the secret and its destination: a secret that is moved to
//! another row, or whose destination is changed, does not open. The key is stored apart from the
//! secret, wrapped by others.

use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroizing;

use crate::keeper::cipher::{self, KEY_BYTES, NONCE_BYTES};
use crate::rules::secret::Secret;

/// The beginning of every kept secret.
pub const PREFIX: &str = "$kept$v=1$";
/// What the associated data begin with.
const PURPOSE: &str = "kept secret v1";
/// Length of a key in base64 without padding.
const TEXT_BYTES: usize = 43;

/// The random key of one kept secret. Wiped on drop.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// Makes a key of `bytes`, which must be fresh from the operating system's generator.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(cipher::take_over(bytes))
    }

    pub(super) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals a secret, and binds it to its id and to the canonical text of its
    /// [`crate::keeper::destination::Destination`]. `nonce` must come from the operating system's
    /// generator.
    pub fn seal(
        &self,
        secret: &Secret,
        id: &[u8; 16],
        destination: &str,
        nonce: [u8; NONCE_BYTES],
    ) -> String {
        let parts: [&[u8]; 3] = [PURPOSE.as_bytes(), id, destination.as_bytes()];
        cipher::to_text(PREFIX, &cipher::seal(secret.expose().as_bytes(), &parts, &self.0, nonce))
    }

    /// Opens what [`DataKey::seal`] wrote. `None` for any other text, id or destination.
    pub fn open(&self, sealed: &str, id: &[u8; 16], destination: &str) -> Option<Secret> {
        let parts: [&[u8]; 3] = [PURPOSE.as_bytes(), id, destination.as_bytes()];
        let secret = cipher::open(&cipher::from_text(PREFIX, sealed)?, &parts, &self.0)?;
        Some(Secret::new(std::str::from_utf8(&secret).ok()?.to_owned()))
    }

    /// The key in base64 without padding, for wrapping it only.
    pub fn expose(&self) -> Secret {
        Secret::new(Base64Unpadded::encode_string(&self.0[..]))
    }

    /// Reads what [`DataKey::expose`] wrote. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if text.len() != TEXT_BYTES {
            return None;
        }
        let read = Base64Unpadded::decode(text, &mut bytes[..]).ok()?.len();
        (read == KEY_BYTES).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: [u8; 16] = [4; 16];
    const THERE: &str = r#"{"host":"mail.example"}"#;

    fn key() -> DataKey {
        DataKey::new(std::array::from_fn(|i| i as u8))
    }

    fn sealed(text: &str) -> String {
        key().seal(&Secret::new(text.into()), &ID, THERE, [9; 24])
    }

    #[test]
    fn known_answer() {
        // crates/core/tests/keeper.py: libsodium's crypto_aead_xchacha20poly1305_ietf.
        assert_eq!(sealed("secret"), KNOWN);
    }
    const KNOWN: &str = "$kept$v=1$CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJZkVXDdk7jEnaRLEeiRe6mwxnbPtfgA";

    #[test]
    fn it_opens_with_this_key_id_and_destination_only() {
        let text = sealed("secret");
        assert_eq!(key().open(&text, &ID, THERE).unwrap().expose(), "secret");
        assert!(DataKey::new([0; 32]).open(&text, &ID, THERE).is_none());
        assert!(key().open(&text, &[5; 16], THERE).is_none());
        assert!(key().open(&text, &ID, "").is_none());
        assert!(key().open(&text, &ID, &THERE.replace("mail", "evil")).is_none());
        for bit in 0..128 {
            let mut id = ID;
            id[bit / 8] ^= 1 << (bit % 8);
            assert!(key().open(&text, &id, THERE).is_none(), "{bit}");
        }
    }

    #[test]
    fn every_character_matters() {
        let text = sealed("secret");
        for at in 0..text.len() {
            assert!(key().open(&text[..at], &ID, THERE).is_none(), "{at}");
            for to in (b' '..=b'~').filter(|to| *to != text.as_bytes()[at]) {
                let mut changed = text.clone().into_bytes();
                changed[at] = to;
                let changed = String::from_utf8(changed).unwrap();
                assert!(key().open(&changed, &ID, THERE).is_none(), "{changed}");
            }
        }
        for other in
            [format!("{text}A"), format!("{text}="), format!(" {text}"), format!("{text}\n")]
        {
            assert!(key().open(&other, &ID, THERE).is_none(), "{other}");
        }
    }

    #[test]
    fn only_its_text_is_a_key() {
        let text = key().expose();
        let text = text.expose();
        assert_eq!(text, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert_eq!(DataKey::parse(text).unwrap().bytes(), key().bytes());
        // The two lowest bits of the last digit belong to no byte.
        let loose = format!("{}9", &text[..42]);
        let url = format!("{}_w", &text[..41]);
        for other in ["", &text[1..], &format!("{text}="), &format!("{text}A"), &loose, &url] {
            assert!(DataKey::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn a_key_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&key().0);
    }

    proptest! {
        #[test]
        fn any_secret_comes_back(text in "\\PC{0,300}", destination in "\\PC{0,100}", id: [u8; 16]) {
            let sealed = key().seal(&Secret::new(text.clone()), &id, &destination, [9; 24]);
            let opened = key().open(&sealed, &id, &destination).unwrap();
            prop_assert_eq!(opened.expose(), text);
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC{0,200}") {
            prop_assert!(DataKey::parse(&text).is_none() || text.len() == TEXT_BYTES);
            let sealed = format!("{PREFIX}{text}");
            prop_assert!(key().open(&sealed, &ID, THERE).is_none());
        }
    }
}
