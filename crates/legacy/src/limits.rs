//! The ceilings of what a hash may cost. Every ceiling is in this file.
//!
//! Time ceilings keep one verification below some 10 s on a common server core, even with a
//! password of 4096 bytes where the work grows with the password.

use crate::Refusal;

/// The longest text that is parsed, in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;
/// The longest salt, key or separator, in bytes. Three of them fit into a scheme's text.
pub const MAX_SALT_BYTES: usize = 512;
/// The shortest output in bytes, if the text sets the length: less than 128 bits match by chance.
pub const MIN_OUTPUT_BYTES: usize = 16;
/// The longest output, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 512;

/// Ceilings of memory and of work. A hash above one of them is [`Refusal::OverLimit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Argon2, scrypt and yescrypt: memory of one computation, in KiB.
    pub memory_kib: u32,
    /// Argon2: KiB written over all passes, m · t.
    pub argon2_kib_passes: u64,
    /// Argon2: lanes, p. More lanes do not make a hash slower, they only raise the minimum memory.
    pub argon2_lanes: u32,
    /// scrypt and Firebase: N · r · p. Each is 128 bytes that are mixed twice.
    pub scrypt_blocks: u64,
    /// yescrypt: N · r · p · (t + 1).
    pub yescrypt_blocks: u64,
    /// bcrypt and hashes built on it: binary logarithm of the rounds.
    pub bcrypt_cost: u32,
    /// PBKDF2, SCRAM, sha1-crypt and FSHP: iterations times blocks of output. A block is as long as
    /// a digest; with SHA-512 it counts twice.
    pub pbkdf2_iterations: u64,
    /// SHA-crypt: rounds, each of which hashes the password again. passlib uses 656,000.
    pub sha_crypt_rounds: u32,
    /// Solaris MD5: rounds beside the first 4096. About every other round hashes 1.5 KB.
    pub sun_md5_rounds: u32,
    /// phpass and Drupal: binary logarithm of the rounds, each of which hashes the password again.
    pub phpass_log2: u32,
    /// Extended DES: rounds (the traditional hash has 25). This is the format's own maximum too.
    pub des_rounds: u32,
}

impl Limits {
    /// The documented ceilings of work, with this ceiling of memory in KiB.
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

    /// Requires that this many bytes of memory are allowed.
    pub(crate) fn memory(&self, bytes: u64) -> Result<(), Refusal> {
        ceiling(bytes, u64::from(self.memory_kib) * 1024)
    }
}

/// Requires at most `most`.
pub(crate) fn ceiling(value: impl Into<u64>, most: impl Into<u64>) -> Result<(), Refusal> {
    if value.into() > most.into() { Err(Refusal::OverLimit) } else { Ok(()) }
}

/// Requires at least `least`, below which the hash cannot be computed.
pub(crate) fn floor(value: impl Into<u64>, least: impl Into<u64>) -> Result<(), Refusal> {
    if value.into() < least.into() { Err(Refusal::Malformed) } else { Ok(()) }
}

/// Requires an output length between [`MIN_OUTPUT_BYTES`] and [`MAX_OUTPUT_BYTES`].
pub(crate) fn output_length(bytes: u32) -> Result<(), Refusal> {
    floor(bytes, MIN_OUTPUT_BYTES as u64)?;
    ceiling(bytes, MAX_OUTPUT_BYTES as u64)
}

/// The number of KiB for this many bytes, rounded up.
pub(crate) fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}
