//! Password hashes that other systems made, so that users can be imported without new passwords.
//!
//! [`parse`] tells from a text alone what it is and takes it apart: a [`Scheme`] (algorithm,
//! parameters and salt) and an [`Output`] (what the other system compared with). Later,
//! [`Scheme::compute`] makes the output of a password. Nothing here is for new passwords.
//!
//! What is read is listed in docs/import-formats.md. Everything that costs memory or time has a
//! ceiling in [`Limits`], which is held when a text is parsed and again when a scheme is read back:
//! no text makes this crate panic, run for long or allocate much.
#![forbid(unsafe_code)]
// What the formats share has no use without them.
#![cfg_attr(not(feature = "formats"), allow(dead_code))]

#[cfg(not(feature = "formats"))]
mod absent;
#[cfg(feature = "formats")]
mod codec;
#[cfg(feature = "formats")]
mod fields;
mod limits;
#[cfg(feature = "formats")]
mod method;
mod output;
#[cfg(feature = "formats")]
mod parse;
#[cfg(feature = "formats")]
mod scheme;
mod site;

#[cfg(not(feature = "formats"))]
pub use absent::{Argon2id, Imported, Scheme, parse};
pub use limits::{Limits, MAX_OUTPUT_BYTES, MAX_SALT_BYTES, MAX_TEXT_BYTES, MIN_OUTPUT_BYTES};
pub use output::Output;
#[cfg(feature = "formats")]
pub use parse::parse;
#[cfg(feature = "formats")]
pub use scheme::{Argon2id, Imported, Scheme};
pub use site::{FirebaseParams, Site};

/// Why a text is not imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing that this crate reads begins like that, or a variant of it that nothing here computes.
    UnsupportedFormat,
    /// It begins like a format but is not written as the systems write it.
    Malformed,
    /// It would cost more memory or time than [`Limits`] allow, or is longer than [`MAX_TEXT_BYTES`].
    OverLimit,
    /// This build reads no formats (feature `formats`).
    NotBuilt,
}

/// The operating system refused the memory for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;
