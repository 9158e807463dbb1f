//! PBKDF2 in formats that only one system uses.

use super::{Found, length, need, parts, phc};
use crate::codec::{any_base64, decimal, hex, unpadded, unpadded_or_ab64};
use crate::method::{AfterPreparation, Method, Pbkdf2, Prepared, Prf};
use crate::{Refusal, Site};

const ATLASSIAN_ITERATIONS: u32 = 10_000;
/// dlitz's iterations if the text names none.
const DLITZ_ITERATIONS: u32 = 400;
/// The length of Cryptacular's only output, in characters.
const CRYPTACULAR_OUTPUT: usize = 28;

/// Mattermost: `$pbkdf2$f=SHA256,w=600000,l=32$salt$hash`.
pub fn mattermost(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, hash] = parts(text, '$')?;
    let (prf, rest) = need(params.strip_prefix("f=").and_then(|rest| rest.split_once(',')))?;
    let prf = match prf {
        "SHA1" => Prf::Sha1,
        "SHA256" => Prf::Sha256,
        "SHA512" => Prf::Sha512,
        _ => return Err(Refusal::UnsupportedFormat),
    };
    let [iterations, told] = phc::numbers(rest, ["w", "l"])?;
    let (salt, hash) = (need(unpadded(salt))?, need(unpadded(hash))?);
    if told != length(&hash) {
        return Err(Refusal::Malformed);
    }
    Ok(found(prf, iterations, salt, hash))
}

/// `$p5k2$iterations in hexadecimal$salt$hash`. Cryptacular writes salt and hash in base64; dlitz
/// uses the text of everything before the hash as salt.
pub fn p5k2(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, iterations, salt, hash] = parts(text, '$')?;
    let cryptacular = hash.len() == CRYPTACULAR_OUTPUT && hash.ends_with('=');
    let iterations = match iterations {
        "" if !cryptacular => DLITZ_ITERATIONS,
        digits if digits.starts_with(['0', '+']) => return Err(Refusal::Malformed),
        digits => need(u32::from_str_radix(digits, 16).ok())?,
    };
    if cryptacular {
        let (salt, hash) = (need(any_base64(salt))?, need(any_base64(hash))?);
        return Ok(found(Prf::Sha1, iterations, salt, hash));
    }
    let hash = need(unpadded_or_ab64(hash).filter(|hash| hash.len() == 24))?;
    let (config, _) = need(text.rsplit_once('$'))?;
    Ok(found(Prf::Sha1, iterations, config.into(), hash))
}

/// GRUB: `grub.pbkdf2.sha512.10000.SALT.HASH`, in upper-case hexadecimal digits.
pub fn grub(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, _, iterations, salt, hash] = parts(text, '.')?;
    let digits = |text: &str| need(hex(&text.to_ascii_lowercase()));
    let hash = digits(hash)?;
    if hash.len() != 64 {
        return Err(Refusal::Malformed);
    }
    Ok(found(Prf::Sha512, need(decimal(iterations))?, digits(salt)?, hash))
}

/// passlib: `$scram$4096$salt$sha-1=hash,sha-256=hash`. One known hash is enough.
pub fn passlib_scram(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, iterations, salt, hashes] = parts(text, '$')?;
    let (iterations, salt) = (need(decimal(iterations))?, need(unpadded_or_ab64(salt))?);
    let known =
        [("sha-256=", Prf::Sha256, 32), ("sha-512=", Prf::Sha512, 64), ("sha-1=", Prf::Sha1, 20)];
    // There may be other hashes, which are only checked for their form.
    if !hashes.split(',').all(|hash| hash.split_once('=').is_some()) {
        return Err(Refusal::Malformed);
    }
    let mut best = None;
    for (name, prf, bytes) in known {
        if let Some(hash) = hashes.split(',').find_map(|hash| hash.strip_prefix(name)) {
            let hash = need(unpadded_or_ab64(hash).filter(|hash| hash.len() == bytes))?;
            best = best.or(Some((prf, hash)));
        }
    }
    let (prf, hash) = best.ok_or(Refusal::UnsupportedFormat)?;
    let method: Box<dyn Method> = Box::new(Pbkdf2 { prf, iterations, length: length(&hash), salt });
    let method = need(AfterPreparation::new(Prepared::Sasl, method))?;
    Ok(Found::new(method, hash))
}

/// Atlassian: `{PKCS5S2}` and base64 of salt and hash.
pub fn atlassian(text: &str) -> Result<Found, Refusal> {
    let mut salt = need(any_base64(text).filter(|bytes| bytes.len() == 48))?;
    let hash = salt.split_off(16);
    Ok(found(Prf::Sha1, ATLASSIAN_ITERATIONS, salt, hash))
}

/// `{PBKDF2}`: Dovecot's `$1$salt$rounds$digits`, or passlib's and OpenDJ's `iterations$salt$hash`.
pub fn braced(prf: Prf, text: &str) -> Result<Found, Refusal> {
    if let Some(rest) = text.strip_prefix('$') {
        let [version, salt, iterations, hash] = parts(rest, '$')?;
        if version != "1" || prf != Prf::Sha1 {
            return Err(Refusal::UnsupportedFormat);
        }
        let hash = need(hex(hash).filter(|hash| hash.len() == 20))?;
        return Ok(found(prf, need(decimal(iterations))?, salt.into(), hash));
    }
    let [iterations, salt, hash] = parts(text, '$')?;
    let (salt, hash) = (need(unpadded_or_ab64(salt))?, need(unpadded_or_ab64(hash))?);
    Ok(found(prf, need(decimal(iterations))?, salt, hash))
}

/// Spring Security: digits of `salt` bytes of salt and 32 of output.
pub fn spring(prf: Prf, iterations: u32, salt: usize, text: &str) -> Result<Found, Refusal> {
    let mut bytes = need(hex(text).filter(|bytes| bytes.len() == salt + 32))?;
    let hash = bytes.split_off(salt);
    Ok(found(prf, iterations, bytes, hash))
}

fn found(prf: Prf, iterations: u32, salt: Vec<u8>, hash: Vec<u8>) -> Found {
    Found::new(Pbkdf2 { prf, iterations, length: length(&hash), salt }, hash)
}
