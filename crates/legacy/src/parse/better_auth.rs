//! better-auth, a TypeScript library. Its parameters are fixed and not in the text.

use super::{Found, length};
use crate::codec::hex;
use crate::method::{AfterPreparation, Cost, Prepared, Scrypt};

/// Hexadecimal digits of the salt, which is hashed as text.
const SALT: usize = 32;
/// Bytes of output.
const OUTPUT: usize = 64;

/// 32 digits of salt, `:`, 128 digits of output.
pub fn parse(text: &str) -> Option<Found> {
    let (salt, output) = text.split_once(':').filter(|(salt, _)| salt.len() == SALT)?;
    let output = hex(output).filter(|output| output.len() == OUTPUT)?;
    hex(salt)?;
    let cost = Cost { log_n: 14, r: 16, p: 1 };
    let method = Scrypt { cost, length: length(&output), salt: salt.into() };
    let method = AfterPreparation::new(Prepared::Nfkc, Box::new(method))?;
    Some(Found::new(method, output))
}
