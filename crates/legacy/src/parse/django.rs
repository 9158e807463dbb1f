//! Django's hashers (django.contrib.auth.hashers), from 1.0 to today. Salts are text.

use super::{Found, bcrypt as plain, length, log2, need, parts, phc};
use crate::codec::{decimal, hex, padded};
use crate::method::{Cost, Digest, Hash, Pbkdf2, Prehash, Prf, SaltAt, Scrypt};
use crate::{Refusal, Site};

/// `argon2$argon2id$v=19$...`
pub fn argon2(text: &str, site: &Site) -> Result<Found, Refusal> {
    let phc = need(text.strip_prefix("argon2"))?;
    if ["$argon2id$", "$argon2i$", "$argon2d$"].iter().any(|name| phc.starts_with(name)) {
        phc::argon2(phc, site)
    } else {
        Err(Refusal::Malformed)
    }
}

/// `bcrypt$$2b$12$...`
pub fn bcrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    plain::after(need(text.strip_prefix("bcrypt$"))?, Prehash::None)
}

/// `bcrypt_sha256$$2b$12$...`
pub fn bcrypt_sha256(text: &str, _: &Site) -> Result<Found, Refusal> {
    plain::after(need(text.strip_prefix("bcrypt_sha256$"))?, Prehash::HexSha256)
}

/// `pbkdf2_sha256$1000000$salt$hash`
pub fn pbkdf2(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [name, iterations, salt, hash] = parts(text, '$')?;
    let prf = if name == "pbkdf2_sha1" { Prf::Sha1 } else { Prf::Sha256 };
    let (iterations, hash) = (need(decimal(iterations))?, need(padded(hash))?);
    Ok(Found::new(Pbkdf2 { prf, iterations, length: length(&hash), salt: salt.into() }, hash))
}

/// `scrypt$16384$salt$8$5$hash`
pub fn scrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, n, salt, r, p, hash] = parts(text, '$')?;
    let [n, r, p] = [need(decimal(n))?, need(decimal(r))?, need(decimal(p))?];
    let (cost, hash) = (Cost { log_n: log2(n)?, r, p }, need(padded(hash))?);
    Ok(Found::new(Scrypt { cost, length: length(&hash), salt: salt.into() }, hash))
}

/// `crypt$salt$hash`: crypt(3) with DES, whose hash contains the salt too.
pub fn crypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, salt, hash] = parts(text, '$')?;
    let repeats = salt.is_empty() || salt.get(..2) == hash.get(..2);
    need(super::crypt::des(hash).filter(|_| repeats))
}

/// `sha1$salt$hex`, `md5$salt$hex`. Werkzeug before 2.0 wrote HMACs that look the same.
pub fn digest(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [name, salt, output] = parts(text, '$')?;
    let hash = if name == "md5" { Hash::Md5 } else { Hash::Sha1 };
    let output = need(hex(output).filter(|output| output.len() == hash.bytes()))?;
    Ok(Found::new(Digest { hash, salt_at: SaltAt::Start, salt: salt.into() }, output))
}
