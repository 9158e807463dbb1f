//! Randomness, from the operating system and nowhere else.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::Error;

/// As many bytes of getrandom(2) as are asked for.
///
/// # Errors
/// [`Error::NoRandomness`]; there is no weaker fallback.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes)
}
