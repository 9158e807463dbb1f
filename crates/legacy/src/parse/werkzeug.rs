//! Werkzeug's `generate_password_hash`, which Flask uses. Salts are text.

use super::{Found, length, log2, need, parts};
use crate::codec::{decimal, hex};
use crate::method::{Cost, Keyed, Pbkdf2, Prf, Scrypt};
use crate::{Refusal, Site};

/// `scrypt:32768:8:1$salt$hex`
pub fn scrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [method, salt, hash] = parts(text, '$')?;
    let [_, n, r, p] = parts(method, ':')?;
    let [n, r, p] = [need(decimal(n))?, need(decimal(r))?, need(decimal(p))?];
    let (cost, hash) = (Cost { log_n: log2(n)?, r, p }, need(hex(hash))?);
    Ok(Found::new(Scrypt { cost, length: length(&hash), salt: salt.into() }, hash))
}

/// Before 2.3: `sha256$salt$hex`, `sha512$salt$hex`.
pub fn keyed(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [name, salt, hash] = parts(text, '$')?;
    let long = name == "sha512";
    let output = need(hex(hash).filter(|hash| hash.len() == if long { 64 } else { 32 }))?;
    // Without a salt, Werkzeug did not use HMAC.
    if salt.is_empty() {
        return Err(Refusal::UnsupportedFormat);
    }
    Ok(Found::new(Keyed { long, salt: salt.into() }, output))
}

/// `pbkdf2:sha256:1000000$salt$hex`
pub fn pbkdf2(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [method, salt, hash] = parts(text, '$')?;
    let [_, name, iterations] = parts(method, ':')?;
    let prf = match name {
        "sha1" => Prf::Sha1,
        "sha256" => Prf::Sha256,
        _ => Prf::Sha512,
    };
    let (iterations, hash) = (need(decimal(iterations))?, need(hex(hash))?);
    Ok(Found::new(Pbkdf2 { prf, iterations, length: length(&hash), salt: salt.into() }, hash))
}
