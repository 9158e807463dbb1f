//! Password hashes of other systems, so that users can be imported without new passwords.
//!
//! [`parse()`] recognises a hash by its text alone and splits it into a [`Scheme`] (algorithm,
//! parameters and salt) and an [`Output`] (what the other system compares). [`Scheme::compute`]
//! computes the output of a password. Nothing here may be used for new passwords.
//!
//! docs/import-formats.md lists all formats. [`Limits`] has a ceiling for everything that costs
//! memory or time. They are enforced when a text is parsed and again when a scheme is read back: no
//! text makes this crate panic, run for long or allocate much.
#![forbid(unsafe_code)]
// The code that the formats share is unused without them.
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
    /// No supported format begins like that, or this variant cannot be computed here.
    UnsupportedFormat,
    /// The text begins like a format, but is not written as the systems write it.
    Malformed,
    /// The hash costs more memory or time than [`Limits`] allow, or exceeds [`MAX_TEXT_BYTES`].
    OverLimit,
    /// This build reads no formats, because it lacks the feature `formats`.
    NotBuilt,
}

/// The operating system refused the memory for a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;
