//! How the list names a password.

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

/// A password's name in the list: the first 8 bytes of its SHA-1, as a big-endian number.
///
/// SHA-1 because published lists hold nothing else. It protects nothing here, so that its collisions
/// do no harm: whoever makes two passwords of one name only gets both of them refused. And 8 bytes
/// are enough: a list of a billion has the name of another password with probability 10^9 / 2^64,
/// one in 10^10, where fingerprints already err once in 65536.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(u64);

impl Key {
    /// Bytes of a SHA-1.
    pub const SHA1_BYTES: usize = 20;

    /// The name of a password, in UTF-8 and in the normal form that the list is in: NFC.
    pub fn of(password: &str) -> Self {
        let mut digest = Zeroizing::new([0; Self::SHA1_BYTES]);
        Sha1::new_with_prefix(password).finalize_into((&mut *digest).into());
        Self::from_sha1(&digest)
    }

    /// The name of the password that has this SHA-1.
    pub fn from_sha1(digest: &[u8; Self::SHA1_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest;
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The number that filters hold.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// Of 2^`bits` shards the one that it belongs to.
    pub(crate) fn shard(self, bits: u32) -> usize {
        // Invariant: at most 16 bits, so that nothing is cut off.
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
