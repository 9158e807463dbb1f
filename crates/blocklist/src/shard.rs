//! One binary fuse filter of the file. The crate's documentation explains the arithmetic.

/// The longest segment, in fingerprints.
const MAX_SEGMENT: u32 = 1 << 18;
/// The most fingerprints of a shard, so that sums over shards do not overflow.
const MAX_FINGERPRINTS: u64 = u32::MAX as u64;

/// A record of the directory as stored: three numbers.
pub(crate) type Record = [[u8; 8]; 3];

/// The parameters of one filter. After [`Shard::checked`], its indices are in bounds.
pub(crate) struct Shard {
    pub(crate) seed: u64,
    /// The index of its first fingerprint in the file.
    pub(crate) first: u64,
    /// The length of a segment in fingerprints.
    pub(crate) length: u32,
    /// The number of segments that a first index may fall in: two fewer than there are.
    pub(crate) count: u32,
}

impl Shard {
    /// Reads any record, without checking it.
    pub(crate) fn read(record: &Record) -> Self {
        let [seed, first, shape] = record.map(u64::from_le_bytes);
        // The low half is the length, the high half the count.
        Self { seed, first, length: shape as u32, count: (shape >> 32) as u32 }
    }

    #[cfg(feature = "build")]
    pub(crate) fn record(&self) -> Record {
        let shape = u64::from(self.length) | u64::from(self.count) << 32;
        [self.seed, self.first, shape].map(u64::to_le_bytes)
    }

    /// The shard, if no index of its shape can be out of bounds.
    pub(crate) fn checked(self) -> Option<Self> {
        let segment = self.length.is_power_of_two() && self.length <= MAX_SEGMENT;
        let size = self.count >= 1 && self.fingerprints() <= MAX_FINGERPRINTS;
        (segment && size).then_some(self)
    }

    pub(crate) fn fingerprints(&self) -> u64 {
        (u64::from(self.count) + 2) * u64::from(self.length)
    }

    /// Whether the shard has the key. Requires a checked shard and all of its fingerprints.
    pub(crate) fn contains(&self, key: u64, fingerprints: &[[u8; 2]]) -> bool {
        let hash = mix(key.wrapping_add(self.seed));
        let length = u64::from(self.length);
        let range = u64::from(self.count) * length;
        let first = ((u128::from(hash) * u128::from(range)) >> 64) as u64;
        // Invariant: first < count · length, and XOR with less than the power of two stays in a
        // segment.
        let second = (first + length) ^ ((hash >> 18) & (length - 1));
        let third = (first + 2 * length) ^ (hash & (length - 1));
        let at = |index: u64| u16::from_le_bytes(fingerprints[index as usize]);
        at(first) ^ at(second) ^ at(third) == (hash ^ (hash >> 32)) as u16
    }
}

/// The finalizer of MurmurHash3 (Austin Appleby, public domain).
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shard(seed: u64, length: u32, count: u32) -> Option<Shard> {
        Shard { seed, first: 0, length, count }.checked()
    }

    #[test]
    fn shapes_are_checked() {
        let most = u32::MAX / MAX_SEGMENT - 2;
        for (length, count) in [
            (0, 1),
            (3, 1),
            (MAX_SEGMENT * 2, 1),
            (u32::MAX, 1),
            (4, 0),
            (MAX_SEGMENT, most + 1),
            (1, u32::MAX),
        ] {
            assert!(shard(0, length, count).is_none(), "{length} {count}");
        }
        for (length, count) in [(1, 1), (1, u32::MAX - 2), (MAX_SEGMENT, most)] {
            assert!(shard(0, length, count).is_some(), "{length} {count}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = [1, 2, 3 | 4 << 32].map(u64::to_le_bytes);
        let shard = Shard::read(&record);
        assert_eq!((shard.seed, shard.first, shard.length, shard.count), (1, 2, 3, 4));
        #[cfg(feature = "build")]
        assert_eq!(shard.record(), record);
    }

    proptest! {
        /// An index out of bounds would panic.
        #[test]
        fn no_index_is_out_of_bounds(
            key: u64, seed: u64, bits in 0..=12u32, count in 1..=64u32,
        ) {
            let shard = shard(seed, 1 << bits, count).unwrap();
            let zeros = vec![[0; 2]; shard.fingerprints() as usize];
            shard.contains(key, &zeros);
        }
    }
}
