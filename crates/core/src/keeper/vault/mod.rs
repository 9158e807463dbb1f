//! A user's vault: its key, which locks the data keys in it.
//!
//! ```text
//! $locked$v=1$<base64 of nonce, ciphertext and tag>
//! ```
//!
//! The vault key itself is stored in a [`Lock`], which opens with the vault password.

mod lock;

use zeroize::Zeroizing;

use crate::keeper::cipher::{self, KEY_BYTES, NONCE_BYTES};
use crate::keeper::data_key::DataKey;
use crate::rules::secret::Secret;

pub use lock::Lock;

/// The beginning of every data key in a vault.
pub const PREFIX: &str = "$locked$v=1$";
/// What the associated data begin with.
const PURPOSE: &str = "data key in a vault v1";

/// The key of a vault. Wiped on drop.
pub struct VaultKey(Zeroizing<[u8; KEY_BYTES]>);

impl VaultKey {
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

    /// Locks the key of the secret with that id. `nonce` must come from the operating system's
    /// generator.
    pub fn lock(&self, data_key: &DataKey, id: &[u8; 16], nonce: [u8; NONCE_BYTES]) -> Secret {
        let parts: [&[u8]; 2] = [PURPOSE.as_bytes(), id];
        let sealed = cipher::seal(data_key.bytes(), &parts, &self.0, nonce);
        Secret::new(cipher::to_text(PREFIX, &sealed))
    }

    /// Unlocks what [`VaultKey::lock`] wrote. `None` for any other text or id.
    pub fn unlock(&self, text: &str, id: &[u8; 16]) -> Option<DataKey> {
        let parts: [&[u8]; 2] = [PURPOSE.as_bytes(), id];
        let sealed = cipher::from_text(PREFIX, text)?;
        cipher::open_key(&sealed, &parts, &self.0).map(DataKey::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 16] = [4; 16];

    fn locked() -> Secret {
        VaultKey::new([7; 32]).lock(&DataKey::new([8; 32]), &ID, [9; 24])
    }

    #[test]
    fn known_answer() {
        // crates/core/tests/keeper.py: libsodium's crypto_aead_xchacha20poly1305_ietf.
        assert_eq!(locked().expose(), KNOWN);
    }
    const KNOWN: &str = "$locked$v=1$CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJtnrqgnSicWr8GgA0YHsP4yL7v5JIaZXproUQVNsuW1MUuTI4vul1hhiWKE6VVJuU";

    #[test]
    fn a_data_key_unlocks_in_its_vault_and_under_its_id_only() {
        let key = VaultKey::new([7; 32]);
        let text = locked();
        let locked = text.expose();
        assert_eq!(key.unlock(locked, &ID).unwrap().bytes(), &[8; 32]);
        assert!(key.unlock(locked, &[5; 16]).is_none());
        assert!(VaultKey::new([8; 32]).unlock(locked, &ID).is_none());
        for at in 0..locked.len() {
            assert!(key.unlock(&locked[..at], &ID).is_none(), "{at}");
            let to = if locked.as_bytes()[at] == b'A' { "B" } else { "A" };
            let changed = format!("{}{to}{}", &locked[..at], &locked[at + 1..]);
            assert!(key.unlock(&changed, &ID).is_none(), "{changed}");
        }
    }

    #[test]
    fn what_is_no_data_key_is_not_unlocked() {
        let key = VaultKey::new([7; 32]);
        let parts: [&[u8]; 2] = [PURPOSE.as_bytes(), &ID];
        for length in [31, 33] {
            let sealed = cipher::seal(&vec![8; length], &parts, key.bytes(), [9; 24]);
            assert!(key.unlock(&cipher::to_text(PREFIX, &sealed), &ID).is_none(), "{length}");
        }
        // A kept secret sealed with the very same key is something else.
        let secret = Secret::new("x".repeat(32));
        let kept = DataKey::new([7; 32]).seal(&secret, &ID, "", [9; 24]);
        let kept = kept.replace("$kept$v=1$", PREFIX);
        assert!(key.unlock(&kept, &ID).is_none());
    }

    #[test]
    fn a_key_is_wiped_when_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        wiped(&VaultKey::new([7; 32]).0);
    }
}
