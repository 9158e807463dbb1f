//! A site's list of breached passwords as a compact filter in a file that all processes map.
//!
//! ```text
//! let filter = Filter::open(mapped)?;        // once: refuses a file that is damaged
//! if filter.contains(password.expose()) { }  // no copy, no allocation
//! ```
//!
//! | module | idea |
//! | --- | --- |
//! | [`key`](Key) | how the list names a password: 8 bytes of SHA-1 |
//! | [`filter`](Filter) | the file: verified as a whole, then looked up in |
//! | `shard` | one binary fuse filter of the file, and its lookup |
//! | [`damaged`](Damaged) | why a file is refused |
//! | `build` | makes the file (feature `build`) |
//!
//! The command `password_verify_blocklist` (feature `command`) reads lists and writes the file.
//!
//! # What an answer is worth
//!
//! A listed password is always found. One that is not listed is found with probability 1/65536,
//! whatever the list: a filter keeps fingerprints of 16 bits, not keys. An answer is no secret and
//! takes no constant time: which cells are read depends on the password.
//!
//! # The file, version 1
//!
//! Numbers are unsigned and little-endian.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic: `PVBLIST` and a zero byte |
//! | 4 | version of the format: 1 |
//! | 4 | `s`, 0 to 16: there are 2^s shards |
//! | 8 | entries, at least 1 |
//! | 2 each | fingerprints of all shards, in order |
//! | 24 each | directory: for each shard the record below |
//! | 32 | BLAKE2b-256 of everything before it |
//!
//! | bytes of a record | what |
//! | --- | --- |
//! | 8 | seed |
//! | 8 | index of the shard's first fingerprint in the file |
//! | 4 | length `l` of a segment, in fingerprints: a power of two, at most 262144 |
//! | 4 | count `c` of segments that a first index may fall in, at least 1 |
//!
//! A key belongs to the shard that its `s` highest bits number. The shard has (c + 2) · l
//! fingerprints, and each of its keys has three of them, in consecutive segments, whose XOR is the
//! key's own fingerprint (Graf and Lemire, Binary Fuse Filters, 2022). Of the key and the seed,
//! added and mixed by the finalizer of MurmurHash3, come
//!
//! - the fingerprint: the low 16 bits of hash XOR (hash >> 32);
//! - the first index: the high 64 bits of hash · c · l;
//! - the second: first + l, its low bits XORed with those of hash >> 18;
//! - the third: first + 2l, its low bits XORed with those of hash.
//!
//! The crate `xorf` constructs the shards. Its `BinaryFuse16Ref` could look up in borrowed memory
//! too, but panics where a damaged file has to be refused, depends on byte order and alignment, and
//! may hash otherwise in its next release, while files last. So the lookup is here, and the tests
//! hold it to `xorf`'s.
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
