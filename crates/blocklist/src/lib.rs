//! A site's list of breached passwords, as a compact filter in a file.
//!
//! ```text
//! let filter = Filter::open(bytes)?;         // once: refuses a damaged file
//! if filter.contains(password.expose()) { }  // no copy, no allocation
//! ```
//!
//! | module | subject |
//! | --- | --- |
//! | [`key`](Key) | the key of a password: 8 bytes of its SHA-1 |
//! | [`filter`](Filter) | the file, verified as a whole, and lookups in it |
//! | `shard` | one binary fuse filter of the file, and its lookup |
//! | [`damaged`](Damaged) | why a file is refused |
//! | `build` | builds the file (feature `build`) |
//!
//! The command `password_verify_blocklist` (feature `command`) reads lists and writes the file.
//!
//! # What an answer is worth
//!
//! A listed password is always found. Any other password is found with probability 1/65,536,
//! because a filter stores fingerprints of 16 bits, not keys. The answer is not secret and does not
//! take constant time: which cells are read depends on the password.
//!
//! # The file, version 1
//!
//! Numbers are unsigned and little-endian.
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | magic number: `PVBLIST` and a zero byte |
//! | 4 | version of the format: 1 |
//! | 4 | `s`, 0 to 16: there are 2^s shards |
//! | 8 | number of entries, at least 1 |
//! | 2 each | fingerprints of all shards, in order |
//! | 24 each | directory: for each shard the record below |
//! | 32 | BLAKE2b-256 of everything before it |
//!
//! | bytes of a record | content |
//! | --- | --- |
//! | 8 | seed |
//! | 8 | index of the shard's first fingerprint in the file |
//! | 4 | length `l` of a segment in fingerprints: a power of two, at most 262144 |
//! | 4 | number `c` of segments that a first index may fall in, at least 1 |
//!
//! The `s` highest bits of a key are the number of its shard. The shard has (c + 2) · l
//! fingerprints. Each of its keys owns three of them, in consecutive segments, whose XOR is the
//! key's own fingerprint (Graf and Lemire, Binary Fuse Filters, 2022). Key and seed are added and
//! mixed by the finalizer of MurmurHash3; the hash gives
//!
//! - the fingerprint: the low 16 bits of hash XOR (hash >> 32);
//! - the first index: the high 64 bits of hash · c · l;
//! - the second: first + l, its low bits XORed with those of hash >> 18;
//! - the third: first + 2l, its low bits XORed with those of hash.
//!
//! The crate `xorf` constructs the shards. Its `BinaryFuse16Ref` could look up in borrowed memory
//! too, but it panics on damaged files, depends on byte order and alignment, and may hash
//! differently in its next release, while files stay. So the lookup is here, and the tests compare
//! it with `xorf`'s.
#![forbid(unsafe_code)]

#[cfg(feature = "build")]
pub mod build;
mod damaged;
mod filter;
mod key;
mod shard;

pub use damaged::Damaged;
pub use filter::Filter;
pub use key::Key;
