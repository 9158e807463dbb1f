//! bcrypt as every library writes it, and behind prehashes.

use super::{Found, need, parts};
use crate::codec;
use crate::method::{BCRYPT_OUTPUT_BYTES, Bcrypt, Prehash};
use crate::{Refusal, Site};

/// `$2b$12$`, 22 characters of salt, 31 of output.
pub fn plain(text: &str, _: &Site) -> Result<Found, Refusal> {
    let prehash = if text.starts_with("$2x$") { Prehash::SignBug } else { Prehash::None };
    after(text, prehash)
}

/// `$wp$2y$10$...`: WordPress since 6.8.
pub fn wordpress(text: &str, _: &Site) -> Result<Found, Refusal> {
    after(need(text.strip_prefix("$wp"))?, Prehash::WordPress)
}

/// Parses the bcrypt text behind a prehash.
pub fn after(text: &str, prehash: Prehash) -> Result<Found, Refusal> {
    let ["", ident, cost, rest] = parts(text, '$')? else { return Err(Refusal::Malformed) };
    if !matches!(ident, "2a" | "2b" | "2x" | "2y") || cost.len() != 2 {
        return Err(Refusal::Malformed);
    }
    let (salt, output) = need(rest.split_at_checked(22))?;
    make(prehash, cost.strip_prefix('0').unwrap_or(cost), salt, output)
}

/// passlib: `$bcrypt-sha256$v=2,t=2b,r=12$salt$output`, and before 1.7.3
/// `$bcrypt-sha256$2a,12$salt$output`.
pub fn passlib(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, output] = parts(text, '$')?;
    let pairs: Vec<&str> = params.split(',').collect();
    match pairs[..] {
        ["2a" | "2b" | "2y", cost] => make(Prehash::Sha256, cost, salt, output),
        ["v=2", "t=2a" | "t=2b" | "t=2y", cost] => {
            make(Prehash::HmacSha256, need(cost.strip_prefix("r="))?, salt, output)
        }
        [version, ..] if version.starts_with("v=") && version != "v=2" => {
            Err(Refusal::UnsupportedFormat)
        }
        _ => Err(Refusal::Malformed),
    }
}

fn make(prehash: Prehash, cost: &str, salt: &str, output: &str) -> Result<Found, Refusal> {
    let cost = need(codec::decimal(cost))?;
    let salt = need(codec::bcrypt(salt).and_then(|salt| salt.try_into().ok()))?;
    let output = need(codec::bcrypt(output))?;
    if output.len() != BCRYPT_OUTPUT_BYTES {
        return Err(Refusal::Malformed);
    }
    Ok(Found::new(Bcrypt { prehash, cost, salt }, output))
}
