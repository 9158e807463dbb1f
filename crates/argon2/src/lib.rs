//! Argon2id v1.3 (RFC 9106) at the machine's limit, in memory that the caller supplies.
//!
//! ```text
//! let mut arena = Arena::new(params.blocks())?;             // private, huge pages, freed on drop
//! hash(arena.blocks(), params, &inputs, &mut tag)?;         // on the best path of this CPU
//! ```
//!
//! | module | subject |
//! | --- | --- |
//! | [`params`](Params) | the inputs, within bounds that can be computed |
//! | [`path`](Path) | the kernels: AVX-512, AVX2, and RustCrypto `argon2` everywhere else |
//! | [`arena`](Arena) | the memory of one hash |
//!
//! Inside, `prehash` computes the first and the last bytes (BLAKE2b), `shape` determines which
//! block refers to which, and `fill` passes over the memory with the kernel of a path.
//!
//! The crate wipes all password-derived data that it keeps on the stack, but not the caller's
//! memory, which is unmapped with its [`Arena`], or registers that the compiler spilled.

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

/// 1 KiB of Argon2's memory: 128 words, aligned to a cache line. Initial contents do not matter.
pub use argon2::Block;

pub use arena::{Arena, Refused};
pub use params::{
    Error, Inputs, MAX_ASSOCIATED_DATA_BYTES, MAX_LANES, MAX_MEMORY_KIB, MIN_SALT_BYTES,
    MIN_TAG_BYTES, Params,
};
pub use path::Path;
pub use self_test::self_test;

/// Computes `tag`, whose length is part of the hash, on the best path of this CPU.
///
/// # Errors
/// [`Error`] for lengths and memory; it never depends on the contents of the inputs.
pub fn hash(
    memory: &mut [Block],
    params: Params,
    inputs: &Inputs,
    tag: &mut [u8],
) -> Result<(), Error> {
    hash_on(Path::best(), memory, params, inputs, tag)
}

/// Like [`hash`], on a given path: for tests, benchmarks, and servers where a path has failed.
///
/// # Errors
/// Those of [`hash`], and [`Error::NotOnThisCpu`].
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
