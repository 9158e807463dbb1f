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

/// How a digest begins.
const DIGEST: &str = "digest:";
/// How the text of an id begins that would otherwise look like a digest, or like such a text.
const TEXT: &str = "text:";

/// The name of a user as text, given the id as it is compared: the id itself, unless that looks like a digest. So nobody
/// can have an id that stands for another user in events.
pub fn as_text(user_id: &str) -> String {
    let marked = user_id.starts_with(DIGEST) || user_id.starts_with(TEXT);
    if marked { format!("{TEXT}{user_id}") } else { user_id.to_owned() }
}

/// The id that was given for a name, if it is text.
pub fn id_of(name: &str) -> Option<&str> {
    if name.starts_with(DIGEST) { None } else { Some(name.strip_prefix(TEXT).unwrap_or(name)) }
}

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
        format!("{DIGEST}{}", hex(&digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_looks_like_a_digest() {
        let digest = AuditIdKey::new([1; KEY_BYTES]).digest("alice");
        for id in
            ["alice", "", &digest, "digest:", "text:", "text:alice", &format!("text:{digest}")]
        {
            let name = as_text(id);
            assert_eq!(id_of(&name), Some(id));
            assert!(!name.starts_with(DIGEST), "{name}");
        }
        assert_eq!(as_text("alice"), "alice");
        assert_eq!(id_of(&digest), None);
    }

    #[test]
    fn a_digest_depends_on_the_id_and_on_the_key() {
        let (one, two) = (AuditIdKey::new([1; KEY_BYTES]), AuditIdKey::new([2; KEY_BYTES]));
        assert_eq!(one.digest("alice"), one.digest("alice"));
        assert_ne!(one.digest("alice"), one.digest("bob"));
        assert_ne!(one.digest("alice"), two.digest("alice"));
        assert_eq!(one.digest("").len(), DIGEST.len() + 32);
        assert!(one.digest("alice").starts_with(DIGEST));
    }
}
