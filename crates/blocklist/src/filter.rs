//! The file of a list. It is verified as a whole before anything is looked up in it.

use blake2::{Blake2b256, Digest};

use crate::damaged::Damaged;
use crate::key::Key;
use crate::shard::{Record, Shard};

/// The first bytes of a file.
pub(crate) const MAGIC: [u8; 8] = *b"PVBLIST\0";
/// The version of the format that this crate reads and writes.
pub(crate) const VERSION: u32 = 1;
/// Binary logarithm of the most shards.
pub(crate) const MAX_SHARD_BITS: u32 = 16;

/// A list of passwords in borrowed memory. A copy shares the entries.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    entries: u64,
    fingerprints: &'a [[u8; 2]],
    /// 2^s records. The fingerprints of their shards follow one another in `fingerprints`.
    directory: &'a [Record],
}

impl<'a> Filter<'a> {
    /// Opens the list in a whole file, without copying it; the bytes must not change afterwards.
    /// Reads all of it once for the checksum, which takes about a second per gigabyte.
    ///
    /// # Errors
    /// [`Damaged`] for any file that is not, byte for byte, one that was written. Never panics.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Damaged> {
        let filter = Self::reopen(bytes)?;
        let (content, checksum) = bytes.split_last_chunk::<32>().ok_or(Damaged::Length)?;
        if Blake2b256::digest(content)[..] != checksum[..] {
            return Err(Damaged::Checksum);
        }
        Ok(filter)
    }

    /// Like [`Filter::open`], for a file that was opened before and has not changed since: reads
    /// only its header and its directory.
    ///
    /// # Errors
    /// [`Damaged`] for bytes that are not a filter; other changes go unnoticed. Never panics.
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
        // Invariant: the length is a multiple of a record, so no bytes remain.
        let directory = directory.as_chunks().0.as_chunks().0;
        let (fingerprints, odd) = fingerprints.as_chunks();
        let expected = total(directory)?;
        if !odd.is_empty() || fingerprints.len() as u64 != expected {
            return Err(Damaged::Length);
        }
        // A filter has more fingerprints than entries.
        if !(1..=expected).contains(&entries) {
            return Err(Damaged::Parameters);
        }
        Ok(Self { entries, fingerprints, directory })
    }

    /// Whether the password is listed. Always true for a listed password; for others, true with the
    /// probability [`false_positive_rate`](Self::false_positive_rate).
    ///
    /// The password must be as it is hashed, in NFC. Copies and digests of it are wiped, except for
    /// registers and 8 bytes of its SHA-1.
    pub fn contains(&self, password: &str) -> bool {
        self.contains_key(Key::of(password))
    }

    /// Like [`Filter::contains`], for the key of a password.
    pub fn contains_key(&self, key: Key) -> bool {
        // Invariant: there are 2^s shards, and `fingerprints` holds all of theirs (see `reopen`).
        let shard = Shard::read(&self.directory[key.shard(self.directory.len().ilog2())]);
        shard.contains(key.number(), &self.fingerprints[shard.first as usize..])
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The probability that a password that is not listed is found: that two fingerprints of 16
    /// bits are equal.
    pub fn false_positive_rate(&self) -> f64 {
        1.0 / f64::from(1u32 << u16::BITS)
    }
}

/// The number of fingerprints of all shards in a directory.
///
/// # Errors
/// [`Damaged::Parameters`] unless each shard is valid and begins where the previous one ends.
fn total(directory: &[Record]) -> Result<u64, Damaged> {
    let mut next = 0;
    for record in directory {
        let shard = Shard::read(record).checked().ok_or(Damaged::Parameters)?;
        if shard.first != next {
            return Err(Damaged::Parameters);
        }
        // Invariant: no overflow, because the sum is at most 2^16 · 2^32.
        next += shard.fingerprints();
    }
    Ok(next)
}
