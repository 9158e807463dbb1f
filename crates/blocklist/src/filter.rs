//! The file, verified as a whole before anything is looked up in it.

use blake2::{Blake2b256, Digest};

use crate::damaged::Damaged;
use crate::key::Key;
use crate::shard::{Record, Shard};

/// What a file begins with.
pub(crate) const MAGIC: [u8; 8] = *b"PVBLIST\0";
/// The format that this crate reads and writes.
pub(crate) const VERSION: u32 = 1;
/// Most shards, as a power of two.
pub(crate) const MAX_SHARD_BITS: u32 = 16;

/// A list of passwords in borrowed memory. Copying it copies no entries.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    entries: u64,
    fingerprints: &'a [[u8; 2]],
    /// 2^s of them, whose fingerprints lie in the slice above one after the other.
    directory: &'a [Record],
}

impl<'a> Filter<'a> {
    /// Requires: the whole file, which must not change afterwards. Produces: the list in it, with
    /// nothing copied. Reads all of it once for the checksum, about a second per gigabyte.
    ///
    /// # Errors
    /// [`Damaged`] for every file that is not, byte for byte, one that was written; no panic on any.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let filter = Self::reopen(bytes)?;
        let (content, checksum) = bytes.split_last_chunk::<32>().ok_or(Damaged::Length)?;
        if Blake2b256::digest(content)[..] != checksum[..] {
            return Err(Damaged::Checksum);
        }
        Ok(filter)
    }

    /// The same for a file that somebody has opened before and that has not changed since: nothing is read
    /// but its head and its directory.
    ///
    /// # Errors
    /// [`Damaged`] for what is no filter; what was changed inside of one is not noticed. No panic on any.
    pub fn reopen(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(Damaged::NotAFilter)?;
        if *magic != MAGIC {
            return Err(Damaged::NotAFilter);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(Damaged::Length)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(Damaged::Version(version));
        }
        let (bits, rest) = rest.split_first_chunk().ok_or(Damaged::Length)?;
        let (entries, rest) = rest.split_first_chunk().ok_or(Damaged::Length)?;
        let (rest, _) = rest.split_last_chunk::<32>().ok_or(Damaged::Length)?;
        let (bits, entries) = (u32::from_le_bytes(*bits), u64::from_le_bytes(*entries));
        if bits > MAX_SHARD_BITS {
            return Err(Damaged::Parameters);
        }
        let directory = size_of::<Record>() << bits;
        let directory = rest.len().checked_sub(directory).ok_or(Damaged::Length)?;
        let (fingerprints, directory) = rest.split_at(directory);
        // Invariant: cut to a multiple of a record, so that no bytes remain.
        let directory = directory.as_chunks().0.as_chunks().0;
        let (fingerprints, odd) = fingerprints.as_chunks();
        let expected = total(directory)?;
        if !odd.is_empty() || fingerprints.len() as u64 != expected {
            return Err(Damaged::Length);
        }
        // Each entry has more than one fingerprint.
        if !(1..=expected).contains(&entries) {
            return Err(Damaged::Parameters);
        }
        Ok(Self { entries, fingerprints, directory })
    }

    /// Is the password listed? Always yes if it is; if it is not, yes with the probability
    /// [`false_positive_rate`](Self::false_positive_rate).
    ///
    /// Requires: the password as it is hashed, in NFC. What is derived from it is wiped, except for
    /// registers and 8 bytes of its SHA-1.
    pub fn contains(&self, password: &str) -> bool {
        self.contains_key(Key::of(password))
    }

    /// The same for a password whose SHA-1 is known.
    pub fn contains_key(&self, key: Key) -> bool {
        // Invariants of open(): a power of two of shards, each with its fingerprints in the slice.
        let shard = Shard::read(&self.directory[key.shard(self.directory.len().ilog2())]);
        shard.contains(key.number(), &self.fingerprints[shard.first as usize..])
    }

    /// How many passwords are listed.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The probability with which a password that is not listed is taken for one that is: that of two
    /// fingerprints of 16 bits being equal.
    pub fn false_positive_rate(&self) -> f64 {
        1.0 / f64::from(1u32 << u16::BITS)
    }
}

/// How many fingerprints the shards of a directory have.
///
/// # Errors
/// [`Damaged::Parameters`] unless each has a shape and begins where the one before it ends.
fn total(directory: &[Record]) -> Result<u64, Damaged> {
    let mut next = 0;
    for record in directory {
        let shard = Shard::read(record).checked().ok_or(Damaged::Parameters)?;
        if shard.first != next {
            return Err(Damaged::Parameters);
        }
        // Invariant: at most 2^16 times 2^32.
        next += shard.fingerprints();
    }
    Ok(next)
}
