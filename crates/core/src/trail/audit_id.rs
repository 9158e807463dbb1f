//! How events name users, where `password_verify.audit_user_ids` is `digest`: by a keyed hash of the id.
//!
//! Every id is hashed, whether it is somebody's or not: what somebody has typed into the wrong field is not legible, and an
//! auditor who does not know an id cannot tell from the trail who exists. Whoever knows an id finds its events with the
//! key. That key is no key of the keyring, so that rotating those leaves it alone; it is kept in the anchor, sealed.

use std::rc::Rc;

use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use zeroize::Zeroizing;

use super::chain::hex;

pub const KEY_BYTES: usize = 32;

/// No user id of an application looks like this by accident.
const PREFIX: &str = "digest:";

/// The key of one database. Wiped on drop; whoever needs it as well shares it.
pub struct AuditIdKey(Zeroizing<[u8; KEY_BYTES]>);

impl AuditIdKey {
    pub fn new(bytes: [u8; KEY_BYTES]) -> Rc<Self> {
        Rc::new(Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for the anchor only.
    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The name of a user, given the id as it is compared. 128 bits: no two of them will ever meet.
    pub fn digest(&self, user_id: &str) -> String {
        // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
        #[allow(clippy::expect_used)]
        let mut mac = Blake2bMac::<U16>::new_from_slice(&self.0[..]).expect("a 32-byte key");
        mac.update(user_id.as_bytes());
        let digest: [u8; 16] = mac.finalize_fixed().into();
        format!("{PREFIX}{}", hex(&digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_the_id_and_on_the_key() {
        let (one, two) = (AuditIdKey::new([1; KEY_BYTES]), AuditIdKey::new([2; KEY_BYTES]));
        assert_eq!(one.digest("alice"), one.digest("alice"));
        assert_ne!(one.digest("alice"), one.digest("bob"));
        assert_ne!(one.digest("alice"), two.digest("alice"));
        assert_eq!(one.digest("").len(), PREFIX.len() + 32);
        assert!(one.digest("alice").starts_with(PREFIX));
    }
}
