//! The MAC of a row: who can write the tables but has no key can neither make nor change a row, nor move it
//! to another place, table or database.
//!
//! It covers every column, the primary key among them, the name of the table, and the installation. One keyed
//! BLAKE2b gives 256 bits: the first half is stored with the row, the second is not stored anywhere. Sums of
//! these hidden halves stand for the content of a whole table ([`RowMac::hidden`]), and somebody who sees all
//! rows cannot find others with the same sum.

use blake2::Blake2bMac;
use blake2::digest::{FixedOutput, KeyInit, Update, consts::U32};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::kept::keyring::{KEY_BYTES, Key, Keyring};
use crate::kept::seal::fingerprint_bytes;

/// Length of a stored MAC in bytes: which key, and the MAC.
pub const STORED_BYTES: usize = FINGERPRINT_BYTES + TAG_BYTES;

const FINGERPRINT_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// Purpose of the keys for rows.
const ROW: &str = "row v1";

/// One installation of the extension in one database, kept by dumps: a keyed hash of nothing else than that
/// ([`crate::kept::blind_index::IndexKey::installation`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation(pub [u8; 16]);

impl Installation {
    /// For rows from which the installation is computed.
    pub const UNKNOWN: Self = Self([0; 16]);
}

/// The key for rows that is derived from one key of the ring. Wiped on drop.
pub struct RowKey {
    fingerprint: [u8; FINGERPRINT_BYTES],
    key: Zeroizing<[u8; KEY_BYTES]>,
}

/// Both halves.
#[derive(Clone, Copy)]
pub struct RowMac {
    fingerprint: [u8; FINGERPRINT_BYTES],
    tag: [u8; TAG_BYTES],
    /// What the row adds to the sum of its table.
    pub hidden: u128,
}

impl RowKey {
    pub fn new(key: &Key) -> Self {
        Self { fingerprint: fingerprint_bytes(key), key: key.derive(ROW) }
    }

    /// Begins the MAC of a row of that table.
    pub fn begin(&self, of: Installation, table: &[u8]) -> Unfinished {
        // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
        #[allow(clippy::expect_used)]
        let mut mac = Blake2bMac::<U32>::new_from_slice(&self.key[..]).expect("a 32-byte key");
        mac.update(&of.0);
        let mut unfinished = Unfinished { fingerprint: self.fingerprint, mac };
        unfinished.column(Some(table));
        unfinished
    }

    /// Did this key make the MAC that is stored?
    pub fn made(&self, stored: &[u8]) -> bool {
        stored.len() == STORED_BYTES && stored.starts_with(&self.fingerprint)
    }
}

/// The MAC of a row whose columns follow.
pub struct Unfinished {
    fingerprint: [u8; FINGERPRINT_BYTES],
    mac: Blake2bMac<U32>,
}

impl Unfinished {
    /// The next column; `None` is NULL. That of the MAC itself is left out.
    pub fn column(&mut self, column: Option<&[u8]>) {
        // Each part follows its length, and NULL has a mark of its own: no two rows give the same bytes.
        let mut before = [0; 9];
        before[0] = u8::from(column.is_some());
        let Some(column) = column else { return self.mac.update(&before[..1]) };
        before[1..].copy_from_slice(&(column.len() as u64).to_be_bytes());
        self.mac.update(&before);
        self.mac.update(column);
    }

    pub fn finish(self) -> RowMac {
        let output: [u8; 2 * TAG_BYTES] = self.mac.finalize_fixed().into();
        let (halves, _) = output.as_chunks::<TAG_BYTES>();
        let (tag, hidden) = (halves[0], u128::from_be_bytes(halves[1]));
        RowMac { fingerprint: self.fingerprint, tag, hidden }
    }
}

impl RowMac {
    /// What is stored with the row.
    pub fn stored(&self) -> [u8; STORED_BYTES] {
        let mut stored = [0; STORED_BYTES];
        stored[..FINGERPRINT_BYTES].copy_from_slice(&self.fingerprint);
        stored[FINGERPRINT_BYTES..].copy_from_slice(&self.tag);
        stored
    }

    /// Whether this is what is stored. Compares in constant time.
    pub fn is(&self, stored: &[u8]) -> bool {
        self.stored()[..].ct_eq(stored).into()
    }
}

/// The keys for rows of a whole ring.
pub struct RowKeys {
    older: Vec<RowKey>,
    active: RowKey,
}

impl RowKeys {
    pub fn new(ring: &Keyring) -> Self {
        let older = ring.older().map(RowKey::new).collect();
        Self { older, active: RowKey::new(ring.active().1) }
    }

    /// The key for new rows.
    pub fn active(&self) -> &RowKey {
        &self.active
    }

    /// The key that made a stored MAC, if the ring has it.
    pub fn of(&self, stored: &[u8]) -> Option<&RowKey> {
        std::iter::once(&self.active).chain(&self.older).find(|key| key.made(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RING: &str = "old:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\
                        new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const HERE: Installation = Installation([3; 16]);

    fn keys() -> RowKeys {
        RowKeys::new(&Keyring::parse(RING).unwrap())
    }

    fn mac(key: &RowKey, columns: &[Option<&[u8]>]) -> RowMac {
        with(key.begin(HERE, b"throttle"), columns)
    }

    fn with(mut mac: Unfinished, columns: &[Option<&[u8]>]) -> RowMac {
        columns.iter().for_each(|column| mac.column(*column));
        mac.finish()
    }

    #[test]
    fn known_answer() {
        // python3 -c "
        // import hashlib; b = lambda m, k: hashlib.blake2b(m, key=k, digest_size=32).digest()
        // ring = bytes(range(32)); part = lambda p: b'\1' + len(p).to_bytes(8, 'big') + p
        // m = b(bytes([3]*16) + part(b'throttle') + part(b'ab') + b'\0', b(b'password_verify row v1', ring))
        // print((b(b'password_verify fingerprint v1', ring)[:8] + m[:16]).hex(), m[16:].hex())"
        let keys = keys();
        let mac = mac(keys.active(), &[Some(b"ab"), None]);
        assert_eq!(
            crate::trail::chain::hex(&mac.stored()),
            "cdfc35df61804b54f379776b94ee84bd9233803e0d54421f"
        );
        assert_eq!(mac.hidden, 0xa31f_ff78_e081_44d2_bd74_c98e_ea4d_7812);
    }

    #[test]
    fn a_mac_says_which_key_made_it() {
        let keys = keys();
        let stored = mac(&keys.older[0], &[None]).stored();
        let key = keys.of(&stored).unwrap();
        assert!(mac(key, &[None]).is(&stored));
        assert!(!mac(keys.active(), &[None]).is(&stored));
        assert!(keys.of(&stored[1..]).is_none());
        assert!(keys.of(&[0; STORED_BYTES]).is_none());
        assert!(keys.of(&[]).is_none());
    }

    #[test]
    fn it_covers_the_table_and_the_installation() {
        let keys = keys();
        let (key, row) = (keys.active(), [Some(&b"a"[..])]);
        let here = mac(key, &row);
        for other in [
            with(key.begin(Installation([4; 16]), b"throttle"), &row),
            with(key.begin(HERE, b"account"), &row),
        ] {
            assert!(!other.is(&here.stored()));
            assert_ne!(other.hidden, here.hidden);
        }
    }

    proptest! {
        #[test]
        fn other_columns_have_another_mac(
            one in proptest::collection::vec(proptest::option::of(".{0,9}"), 0..4),
            other in proptest::collection::vec(proptest::option::of(".{0,9}"), 0..4),
        ) {
            let keys = keys();
            let of = |row: &[Option<String>]| {
                let row: Vec<_> = row.iter().map(|c| c.as_deref().map(str::as_bytes)).collect();
                mac(keys.active(), &row)
            };
            let (a, b) = (of(&one), of(&other));
            prop_assert_eq!(one == other, a.is(&b.stored()));
            prop_assert_eq!(one == other, a.hidden == b.hidden);
        }
    }
}
