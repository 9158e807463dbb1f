//! The PHC string format (github.com/P-H-C/phc-string-format), and passlib's, which resembles it.

use super::{Found, length, need, parts};
use crate::codec::{decimal, unpadded, unpadded_or_ab64};
use crate::method::{Argon2, Cost, Pbkdf2, Prf, Scrypt, Variant};
use crate::{Refusal, Site};

/// `$argon2id$v=19$m=65536,t=3,p=4$salt$tag`. A text without a version means 16, as the reference
/// implementation wrote before version 19.
pub fn argon2(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, name, rest] = split3(text)?;
    let variant = match name {
        "argon2id" => Variant::Id,
        "argon2i" => Variant::I,
        _ => Variant::D,
    };
    let (version, rest) = match rest.strip_prefix("v=") {
        Some(rest) => need(rest.split_once('$'))?,
        None => ("16", rest),
    };
    let [params, salt, tag] = parts(rest, '$')?;
    // A hash with a key or with associated data cannot be computed from the password.
    if params.split(',').any(|pair| pair.starts_with("keyid=") || pair.starts_with("data=")) {
        return Err(Refusal::UnsupportedFormat);
    }
    let [memory_kib, iterations, parallelism] = numbers(params, ["m", "t", "p"])?;
    let (salt, tag) = (need(unpadded(salt))?, need(unpadded(tag))?);
    let method = Argon2 {
        variant,
        version: need(decimal(version))?,
        memory_kib,
        iterations,
        parallelism,
        length: length(&tag),
        salt,
    };
    Ok(Found::new(method, tag))
}

/// `$scrypt$ln=16,r=8,p=1$salt$hash`
pub fn scrypt(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, hash] = parts(text, '$')?;
    let [log_n, r, p] = numbers(params, ["ln", "r", "p"])?;
    let (salt, hash) = (need(unpadded(salt))?, need(unpadded(hash))?);
    Ok(Found::new(Scrypt { cost: Cost { log_n, r, p }, length: length(&hash), salt }, hash))
}

/// `$pbkdf2-sha256$i=600000,l=32$salt$hash`, where `l` is optional, or passlib's
/// `$pbkdf2-sha256$600000$salt$hash`. `$pbkdf2$` without a hash name means SHA-1.
pub fn pbkdf2(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, name, params, salt, hash] = parts(text, '$')?;
    let prf = match name {
        "pbkdf2-sha256" => Prf::Sha256,
        "pbkdf2-sha512" => Prf::Sha512,
        _ => Prf::Sha1,
    };
    let (salt, hash) = (need(unpadded_or_ab64(salt))?, need(unpadded_or_ab64(hash))?);
    let length = length(&hash);
    let iterations = if !params.contains('=') {
        need(decimal(params))?
    } else if params.contains(',') {
        let [iterations, told] = numbers(params, ["i", "l"])?;
        if told != length {
            return Err(Refusal::Malformed);
        }
        iterations
    } else {
        let [iterations] = numbers(params, ["i"])?;
        iterations
    };
    Ok(Found::new(Pbkdf2 { prf, iterations, length, salt }, hash))
}

/// The empty text before the first `$`, a name, and everything after it.
fn split3(text: &str) -> Result<[&str; 3], Refusal> {
    need(text.splitn(3, '$').collect::<Vec<_>>().try_into().ok())
}

/// The values of these keys, each present once, in any order, without other keys.
pub fn numbers<const N: usize>(params: &str, keys: [&str; N]) -> Result<[u32; N], Refusal> {
    let pairs: [&str; N] = parts(params, ',')?;
    let mut values = [0; N];
    for (value, key) in values.iter_mut().zip(keys) {
        let mut found = pairs.iter().filter_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        *value = need(found.next().and_then(decimal))?;
    }
    Ok(values)
}
