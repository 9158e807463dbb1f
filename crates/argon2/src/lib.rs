//! Argon2id v1.3 (RFC 9106) at the machine's limit, in memory that the caller supplies.
//!
//! ```text
//! let mut arena = Arena::new(params.blocks())?;             // private, huge pages, gone on drop
//! hash(arena.blocks(), params, &inputs, &mut tag)?;         // on the best path of this CPU
//! ```
//!
//! | module | idea |
//! | --- | --- |
//! | [`params`](Params) | what is hashed and how: bounded, so that it can be computed |
//! | [`path`](Path) | the kernels: AVX-512, AVX2, and RustCrypto `argon2` everywhere else |
//! | [`arena`](Arena) | the memory of one hash |
//!
//! Inside: `prehash` makes the first and the last bytes (BLAKE2b), `shape` says which block refers
//! to which, `fill` goes through the memory with the kernel of a path.
//!
//! What is wiped: everything password-derived that this crate keeps on the stack. What is not: the
//! caller's memory, which goes away with its [`Arena`], and registers that the compiler spilled.

mod arena;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod fill;
mod params;
mod path;
#[cfg(target_arch = "x86_64")]
mod prehash;
mod self_test;
#[cfg(target_arch = "x86_64")]
mod shape;

/// 1 KiB of Argon2's memory: 128 words, aligned to a cache line. What is in it before does not matter.
pub use argon2::Block;

pub use arena::{Arena, Refused};
pub use params::{
    Error, Inputs, MAX_ASSOCIATED_DATA_BYTES, MAX_LANES, MAX_MEMORY_KIB, MIN_SALT_BYTES,
    MIN_TAG_BYTES, Params,
};
pub use path::Path;
pub use self_test::self_test;

/// Computes the tag that fills `tag`, on the best path of this CPU.
///
/// # Errors
/// [`Error`]: lengths and memory, nothing that depends on what the bytes are.
pub fn hash(
    memory: &mut [Block],
    params: Params,
    inputs: &Inputs,
    tag: &mut [u8],
) -> Result<(), Error> {
    hash_on(Path::best(), memory, params, inputs, tag)
}

/// The same on a certain path, for tests, benchmarks and a server that found a path wanting.
///
/// # Errors
/// [`Error`], and [`Error::NotOnThisCpu`].
pub fn hash_on(
    path: Path,
    memory: &mut [Block],
    params: Params,
    inputs: &Inputs,
    tag: &mut [u8],
) -> Result<(), Error> {
    inputs.check(tag)?;
    let memory = memory.get_mut(..params.blocks()).ok_or(Error::MemoryTooSmall)?;
    path.run(memory, params, inputs, tag)
}
