//! ASP.NET Core Identity's `PasswordHasher`: base64 of bytes that begin with a version.

use super::{Found, length};
use crate::codec::padded;
use crate::method::{Pbkdf2, Prf};
use crate::{Refusal, Site};

/// Iterations of version 2: PBKDF2 with HMAC-SHA-1, 16 bytes of salt, 32 of output.
const V2_ITERATIONS: u32 = 1000;

/// Version 2 is 0x00, salt, output. Version 3 is 0x01, then as big-endian 32-bit numbers the hash
/// (0 SHA-1, 1 SHA-256, 2 SHA-512), the iterations and the salt length, then salt and output.
pub fn parse(text: &str, _: &Site) -> Result<Found, Refusal> {
    let bytes = padded(text).ok_or(Refusal::UnsupportedFormat)?;
    match bytes.as_slice() {
        [0, rest @ ..] if rest.len() == 48 => {
            let (salt, output) = rest.split_at(16);
            Ok(found(Prf::Sha1, V2_ITERATIONS, salt, output))
        }
        // Require the three zero bytes: otherwise it could be any base64.
        [1, 0, 0, 0, prf, ..] if *prf > 2 => Err(Refusal::UnsupportedFormat),
        [1, 0, 0, 0, rest @ ..] => version3(rest).ok_or(Refusal::Malformed),
        _ => Err(Refusal::UnsupportedFormat),
    }
}

/// Parses version 3 after the first three bytes of the number of the hash.
fn version3(bytes: &[u8]) -> Option<Found> {
    let (&prf, bytes) = bytes.split_first()?;
    let prf = [Prf::Sha1, Prf::Sha256, Prf::Sha512].get(usize::from(prf)).copied()?;
    let (&iterations, bytes) = bytes.split_first_chunk()?;
    let (&salt_length, bytes) = bytes.split_first_chunk()?;
    let salt_length = usize::try_from(u32::from_be_bytes(salt_length)).ok()?;
    let (salt, output) = bytes.split_at_checked(salt_length)?;
    Some(found(prf, u32::from_be_bytes(iterations), salt, output))
}

fn found(prf: Prf, iterations: u32, salt: &[u8], output: &[u8]) -> Found {
    let method = Pbkdf2 { prf, iterations, length: length(output), salt: salt.into() };
    Found::new(method, output.into())
}
