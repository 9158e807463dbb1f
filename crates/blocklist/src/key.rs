//! The key under which the list has a password.

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

/// The key of a password: the first 8 bytes of its SHA-1, as a big-endian number.
///
/// It is SHA-1 because published lists contain nothing else. It protects nothing here, so
/// collisions are harmless: an attacker who makes two passwords collide only gets both refused.
/// Eight bytes are enough: in a list of a billion, another password has a listed key with
/// probability 10^9 / 2^64, or one in 10^10, while fingerprints already err once in 65,536.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// Length of a SHA-1 in bytes.
    pub const SHA1_BYTES: usize = 20;

    /// The key of a password, which must be in NFC, the normal form of the list.
    pub fn of(password: &str) -> Self {
        let mut digest = Zeroizing::new([0; Self::SHA1_BYTES]);
        Sha1::new_with_prefix(password).finalize_into((&mut *digest).into());
        Self::from_sha1(&digest)
    }

    /// The key of the password with this SHA-1.
    pub fn from_sha1(digest: &[u8; Self::SHA1_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The key as filters use it.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The number of its shard, of 2^`bits` shards.
    pub(crate) fn shard(self, bits: u32) -> usize {
        // Invariant: `bits` is at most 16, so the cast loses nothing.
        self.0.checked_shr(u64::BITS - bits).unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // printf password | sha1sum
        assert_eq!(Key::of("password").0, 0x5baa_61e4_c9b9_3f3f);
        // printf pässwörd | sha1sum
        assert_eq!(Key::of("pässwörd").0, 0xf517_ddf1_d32a_112f);
    }

    #[test]
    fn shards_go_by_the_highest_bits() {
        let key = Key(0xabcd_0000_0000_0000);
        assert_eq!([0, 1, 4, 16].map(|bits| key.shard(bits)), [0, 1, 0xa, 0xabcd]);
    }
}
