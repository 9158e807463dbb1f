//! Builds a file: sorts the keys, constructs one shard after another, verifies each, and writes it.
//!
//! Building takes 8 bytes of memory per key, and about 27 bytes per key of the current shard. A
//! shard has about a million keys at most, which keeps the second part below 40 MB.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use blake2::{Blake2b256, Digest};
use xorf::BinaryFuse16;

use crate::filter::{MAGIC, MAX_SHARD_BITS, VERSION};
use crate::key::Key;
use crate::shard::Shard;

/// The most keys of a shard on average, so that the work on one stays near the processor's caches.
const PER_SHARD: usize = 1 << 20;
/// The most keys of one shard, since `xorf` counts in 32 bits. Real hashes never reach it.
const MAX_PER_SHARD: usize = 1 << 31;

/// Keys of passwords: sorted, without duplicates, at least one.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Sorts the keys in place and removes duplicates.
    ///
    /// # Errors
    /// [`NotBuilt::Empty`] without keys.
    pub fn new(mut keys: Vec<Key>) -> Result<Self, NotBuilt> {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() { Err(NotBuilt::Empty) } else { Ok(Self(keys)) }
    }

    pub fn entries(&self) -> u64 {
        self.0.len() as u64
    }

    /// Writes the file. The same keys give the same bytes. Calls `done` after every shard with the
    /// number of keys written so far.
    ///
    /// # Errors
    /// [`NotBuilt`]. The bytes written until then are not a filter.
    pub fn write(&self, out: impl Write, mut done: impl FnMut(u64)) -> Result<(), NotBuilt> {
        let bits = shard_bits(self.0.len());
        let mut out = Summed { out, sum: Blake2b256::new() };
        out.write(&MAGIC)?;
        out.write(&VERSION.to_le_bytes())?;
        out.write(&bits.to_le_bytes())?;
        out.write(&self.entries().to_le_bytes())?;
        let mut directory = Vec::with_capacity(1 << bits);
        let (mut rest, mut first) = (&self.0[..], 0);
        for number in 0..1 << bits {
            let (keys, others) =
                rest.split_at(rest.partition_point(|key| key.shard(bits) <= number));
            let (shard, fingerprints) = construct(keys, first)?;
            out.write(&fingerprints)?;
            directory.push(shard.record());
            first += shard.fingerprints();
            rest = others;
            done(self.entries() - rest.len() as u64);
        }
        out.write(directory.as_flattened().as_flattened())?;
        out.finish()
    }
}

/// The binary logarithm of the fewest shards that keep to [`PER_SHARD`].
fn shard_bits(entries: usize) -> u32 {
    entries.div_ceil(PER_SHARD).next_power_of_two().ilog2().min(MAX_SHARD_BITS)
}

/// Constructs one shard and its fingerprints, and looks each key up in it once.
fn construct(keys: &[Key], first: u64) -> Result<(Shard, Vec<u8>), NotBuilt> {
    if keys.len() > MAX_PER_SHARD {
        return Err(NotBuilt::Skewed);
    }
    let filter = BinaryFuse16::try_from_iterator(keys.iter().map(|key| key.number()))
        .map_err(|_| NotBuilt::Construction)?;
    let made = &filter.descriptor;
    let shard = Shard {
        seed: made.seed,
        first,
        length: made.segment_length,
        count: made.segment_count_length / made.segment_length.max(1),
    };
    let shard = shard.checked().ok_or(NotBuilt::Construction)?;
    // xorf has them in the byte order of the machine.
    let bytes: Vec<u8> = filter.fingerprints.iter().flat_map(|print| print.to_le_bytes()).collect();
    let fingerprints = bytes.as_chunks().0;
    let complete = fingerprints.len() as u64 == shard.fingerprints()
        && keys.iter().all(|key| shard.contains(key.number(), fingerprints));
    if complete { Ok((shard, bytes)) } else { Err(NotBuilt::Construction) }
}

/// Writes bytes and adds them to the checksum.
struct Summed<W> {
    out: W,
    sum: Blake2b256,
}

impl<W: Write> Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), NotBuilt> {
        self.sum.update(bytes);
        self.out.write_all(bytes).map_err(NotBuilt::Io)
    }

    fn finish(mut self) -> Result<(), NotBuilt> {
        self.out.write_all(&self.sum.finalize()).map_err(NotBuilt::Io)?;
        self.out.flush().map_err(NotBuilt::Io)
    }
}

/// Why no file was built.
#[derive(Debug)]
pub enum NotBuilt {
    /// There is no key at all, so it must be the wrong list.
    Empty,
    /// More than 2^31 keys share their beginning.
    Skewed,
    /// A constructed shard does not find all of its keys.
    Construction,
    Io(io::Error),
}

impl fmt::Display for NotBuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the lists hold no password"),
            Self::Skewed => f.write_str("too many hashes begin alike: they are not SHA-1"),
            Self::Construction => f.write_str("the filter cannot be constructed from these hashes"),
            Self::Io(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl Error for NotBuilt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Io(error) = self { Some(error) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_as_few_as_they_may_be() {
        let cases = [
            (1, 0),
            (PER_SHARD, 0),
            (PER_SHARD + 1, 1),
            (PER_SHARD * 2, 1),
            (10_000_000, 4),
            (1_000_000_000, 10),
            (usize::MAX, MAX_SHARD_BITS),
        ];
        for (entries, bits) in cases {
            assert_eq!(shard_bits(entries), bits, "{entries}");
        }
    }

    #[test]
    fn no_keys_are_no_list() {
        assert!(matches!(Keys::new(Vec::new()), Err(NotBuilt::Empty)));
    }

    #[test]
    fn keys_are_sorted_and_each_is_there_once() {
        let keys = ["b", "a", "b", "c", "a"].map(Key::of);
        let keys = Keys::new(keys.to_vec()).ok().unwrap();
        assert_eq!(keys.entries(), 3);
        assert!(keys.0.is_sorted());
    }
}
