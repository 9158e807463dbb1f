//! Random bytes from the operating system and from nowhere else.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::Error;

/// `N` bytes from getrandom(2).
///
/// # Errors
/// [`Error::NoRandomness`]. There is no weaker fallback.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes)
}
