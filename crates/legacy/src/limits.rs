//! What a text may cost. Every ceiling is in this file.
//!
//! Ceilings of time are set so that one verification takes at most some 10 s on a common server core,
//! for the ones whose work grows with the password too: with 4096 bytes of it.

use crate::Refusal;

/// The longest text that is looked at, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;
/// The longest salt, key or separator, in bytes: three of them fit into a scheme's text.
pub const MAX_SALT_BYTES: usize = 512;
/// The shortest output where the text decides, in bytes: less than 128 bits would match by chance.
pub const MIN_OUTPUT_BYTES: usize = 16;
/// The longest output, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 512;

/// Ceilings of memory and of work. Beyond one of them is [`Refusal::OverLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one computation, in KiB: Argon2, scrypt and yescrypt.
    pub memory_kib: u32,
    /// Argon2: KiB written over all passes, m · t.
    pub argon2_kib_passes: u64,
    /// Argon2: lanes, p. More of them make no hash slower, only the least memory larger.
    pub argon2_lanes: u32,
    /// scrypt and Firebase: N · r · p, mixed twice, 128 bytes each.
    pub scrypt_blocks: u64,
    /// yescrypt: N · r · p · (t + 1).
    pub yescrypt_blocks: u64,
    /// bcrypt and what is built on it: the binary logarithm of its rounds.
    pub bcrypt_cost: u32,
    /// PBKDF2, SCRAM, sha1-crypt and FSHP: iterations times blocks of output. A block is a digest long; one of SHA-512
    /// counts twice.
    pub pbkdf2_iterations: u64,
    /// SHA-crypt: rounds. Each hashes the password again. passlib has 656,000.
    pub sha_crypt_rounds: u32,
    /// MD5 of Solaris: rounds beside the first 4096. Every other one hashes 1.5 KB.
    pub sun_md5_rounds: u32,
    /// phpass and Drupal: the binary logarithm of rounds. Each hashes the password again.
    pub phpass_log2: u32,
    /// Extended DES: rounds, of 25 in the traditional one. The format ends here, too.
    pub des_rounds: u32,
}

impl Limits {
    /// The ceilings of work as they are documented, and this one of memory, in KiB.
    pub const fn new(memory_kib: u32) -> Self {
        Self {
            memory_kib,
            argon2_kib_passes: 8 << 20,
            argon2_lanes: 64,
            scrypt_blocks: 1 << 24,
            yescrypt_blocks: 1 << 24,
            bcrypt_cost: 16,
            pbkdf2_iterations: 10_000_000,
            sha_crypt_rounds: 700_000,
            sun_md5_rounds: 2_000_000,
            phpass_log2: 20,
            des_rounds: (1 << 24) - 1,
        }
    }

    /// Is that much memory, in bytes, allowed?
    pub(crate) fn memory(&self, bytes: u64) -> Result<(), Refusal> {
        ceiling(bytes, u64::from(self.memory_kib) * 1024)
    }
}

/// Requires at most `most`.
pub(crate) fn ceiling(value: impl Into<u64>, most: impl Into<u64>) -> Result<(), Refusal> {
    if value.into() > most.into() { Err(Refusal::OverLimit) } else { Ok(()) }
}

/// Requires at least `least`: there is no computing with less.
pub(crate) fn floor(value: impl Into<u64>, least: impl Into<u64>) -> Result<(), Refusal> {
    if value.into() < least.into() { Err(Refusal::Malformed) } else { Ok(()) }
}

/// Requires an output of a length that is worth storing.
pub(crate) fn output_length(bytes: u32) -> Result<(), Refusal> {
    floor(bytes, MIN_OUTPUT_BYTES as u64)?;
    ceiling(bytes, MAX_OUTPUT_BYTES as u64)
}

/// KiB that this many bytes take, rounded up.
pub(crate) fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
