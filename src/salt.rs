//! Randomness, from the operating system and nowhere else.

use password_verify_core::verifier::SALT_BYTES;
use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::Error;

/// 16 bytes of getrandom(2).
///
/// # Errors
/// [`Error::NoRandomness`]; there is no weaker fallback.
pub fn fresh() -> Result<[u8; SALT_BYTES], Error> {
    let mut salt = [0; SALT_BYTES];
    SysRng.try_fill_bytes(&mut salt).map_err(|_| Error::NoRandomness)?;
    Ok(salt)
}
