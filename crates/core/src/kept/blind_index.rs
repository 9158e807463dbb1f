//! The place of a user's record: a keyed hash of the user id (a *blind index*).
//!
//! Records are ordered by it, and a look-up takes the record at or before it: for a known user the
//! user's own, for an unknown one another user's, chosen by the key, in steps that read as much.
//! Without the key an attacker cannot place a record next to a victim's and watch it.

use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U16};
use zeroize::Zeroizing;

use crate::kept::row_mac::Installation;
use crate::rules::user_id::UserId;

/// Length of an [`IndexKey`] in bytes.
pub const KEY_BYTES: usize = 32;

/// The key of one database's blind index. Wiped on drop.
pub struct IndexKey(Zeroizing<[u8; KEY_BYTES]>);

impl IndexKey {
    /// `None` unless `bytes` is exactly [`KEY_BYTES`] long.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for the table of the key only.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether both keys are the same. Compares in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0[..]).into()
    }

    /// Keyed BLAKE2b with a 128-bit tag (RFC 7693 section 3.3) over the canonical user id.
    pub fn blind_index(&self, user: &UserId) -> [u8; 16] {
        self.mac(&[user.as_str().as_bytes()])
    }

    /// The tag of the lock on a user's place, which `pg_locks` shows. It is unrelated to the place,
    /// because no user id begins with the byte 0xFF, which is not UTF-8.
    pub fn lock_tag(&self, user: &UserId) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h, ..] = self.mac(&[&[0xFF], user.as_str().as_bytes()]);
        [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
    }

    /// Selects the cell of an unknown user ([`crate::decoys::cells`]). Computed for known users
    /// too; unrelated to the place.
    pub fn decoy(&self, user: &UserId) -> [u8; 16] {
        self.mac(&[&[0xFD], user.as_str().as_bytes()])
    }

    /// What distinguishes the rows of this installation from those of every other.
    pub fn installation(&self) -> Installation {
        Installation(self.mac(&[&[0xFC]]))
    }

    /// The key of a throttle budget: of an account, a client address, both, or a login role.
    /// `about` must have the same length for all budgets of one `kind`.
    pub fn budget(&self, kind: u8, about: &[u8], user: Option<&UserId>) -> [u8; 16] {
        let user = user.map_or(&[][..], |user| user.as_str().as_bytes());
        self.mac(&[&[0xFE, kind], about, user])
    }

    /// The place of a kept secret: half of it is of the user, so that a user's secrets lie together.
    pub fn secret(&self, user: &UserId, name: &str) -> [u8; 16] {
        let mut place = self.secrets(user);
        let of_name =
            self.mac(&[&[0xFA], &place, user.as_str().as_bytes(), &[0xFF], name.as_bytes()]);
        place[8..].copy_from_slice(&of_name[..8]);
        place
    }

    /// Where the secrets of a user begin.
    pub fn secrets(&self, user: &UserId) -> [u8; 16] {
        let mut place = self.mac(&[&[0xFB], user.as_str().as_bytes()]);
        place[8..].fill(0);
        place
    }

    fn mac(&self, message: &[&[u8]]) -> [u8; 16] {
        // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
        #[allow(clippy::expect_used)]
        let mut mac = Blake2bMac::<U16>::new_from_slice(&self.0[..]).expect("a 32-byte key");
        message.iter().for_each(|part| mac.update(part));
        mac.finalize_fixed().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(key: u8, user: &str) -> [u8; 16] {
        IndexKey::new(&[key; KEY_BYTES]).unwrap().blind_index(&UserId::from_text(user).unwrap())
    }

    #[test]
    fn known_answer() {
        // python3 -c "import hashlib; print(hashlib.blake2b(b'42', key=bytes([7]*32), digest_size=16).hexdigest())"
        let expected = 0xba7e_0c3d_8ba9_089a_061a_ae16_b9a4_a1c1_u128;
        assert_eq!(u128::from_be_bytes(index(7, "42")), expected);
    }

    #[test]
    fn it_depends_on_the_key_and_on_the_user() {
        assert_eq!(index(1, "a"), index(1, "a"));
        assert_ne!(index(1, "a"), index(2, "a"));
        assert_ne!(index(1, "a"), index(1, "b"));
    }

    #[test]
    fn the_lock_tag_tells_nothing_of_the_place() {
        let key = IndexKey::new(&[7; KEY_BYTES]).unwrap();
        let user = UserId::from_bigint(42);
        let [a, b] = key.lock_tag(&user);
        let place = u128::from_be_bytes(key.blind_index(&user));
        assert!(![(place >> 96) as u32, (place >> 64) as u32, place as u32].contains(&a));
        assert!(![(place >> 96) as u32, (place >> 64) as u32, place as u32].contains(&b));
        assert_eq!(key.lock_tag(&user), [a, b]);
    }

    #[test]
    fn a_budget_is_nobody_elses() {
        let key = IndexKey::new(&[7; KEY_BYTES]).unwrap();
        let (a, b) = (UserId::from_bigint(1), UserId::from_bigint(2));
        let all = [
            key.budget(0, &[], Some(&a)),
            key.budget(0, &[], Some(&b)),
            key.budget(1, &[4; 17], Some(&a)),
            key.budget(1, &[6; 17], Some(&a)),
            key.budget(1, &[4; 17], Some(&b)),
            key.budget(2, &[4; 17], None),
            key.budget(3, &[4; 4], None),
            key.budget(6, &[], Some(&a)),
            key.budget(7, &[4; 16], None),
            // Of vaults, beside those of passwords.
            key.budget(0x41, &[4; 17], Some(&a)),
            key.budget(0x42, &[4; 17], None),
            key.secrets(&a),
            key.secrets(&b),
            key.secret(&a, "mail"),
            key.secret(&a, "mails"),
            key.secret(&b, "mail"),
            key.blind_index(&a),
            key.decoy(&a),
            key.decoy(&b),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one), "{i}");
        }
    }

    #[test]
    fn secrets_of_a_user_lie_together() {
        let key = IndexKey::new(&[7; KEY_BYTES]).unwrap();
        let (a, b) = (UserId::from_bigint(1), UserId::from_bigint(2));
        let (first, mail, chat) = (key.secrets(&a), key.secret(&a, "mail"), key.secret(&a, "chat"));
        assert_eq!((&first[..8], &first[8..]), (&mail[..8], &[0; 8][..]));
        assert_eq!(mail[..8], chat[..8]);
        assert_ne!(mail[8..], chat[8..]);
        // Neither half tells that two users have a secret of the same name.
        let other = key.secret(&b, "mail");
        assert_ne!(mail[..8], other[..8]);
        assert_ne!(mail[8..], other[8..]);
        // Nor where a user's password is.
        assert_ne!(mail[..8], key.blind_index(&a)[..8]);
    }

    #[test]
    fn a_key_has_one_length() {
        assert!(IndexKey::new(&[0; 31]).is_none());
        assert!(IndexKey::new(&[0; 33]).is_none());
        assert!(IndexKey::new(&[]).is_none());
    }

    #[test]
    fn keys_compare() {
        let key = |byte| IndexKey::new(&[byte; KEY_BYTES]).unwrap();
        assert!(key(1).same_as(&key(1)));
        assert!(!key(1).same_as(&key(2)));
    }
}
