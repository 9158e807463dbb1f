//! userPassword of LDAP servers (RFC 2307, and OpenLDAP). The name in braces is written as one likes.

use super::{Found, length, need, parts};
use crate::codec::{any_base64, decimal, unpadded_or_ab64};
use crate::method::{Digest, Hash, Pbkdf2, Prf, SaltAt};
use crate::{Refusal, Site};

/// `{SSHA}` and base64 of digest and salt; `{SHA}` without; `{CRYPT}` and `{ARGON2}` before a text of
/// their own; `{PBKDF2-SHA256}iterations$salt$hash`.
pub fn parse(text: &str, site: &Site) -> Result<Found, Refusal> {
    let (name, rest) = need(text.strip_prefix('{').and_then(|text| text.split_once('}')))?;
    let (hash, salted) = match name.to_ascii_uppercase().as_str() {
        "MD5" => (Hash::Md5, false),
        "SMD5" => (Hash::Md5, true),
        "SHA" => (Hash::Sha1, false),
        "SSHA" => (Hash::Sha1, true),
        "SHA256" => (Hash::Sha256, false),
        "SSHA256" => (Hash::Sha256, true),
        "SHA384" => (Hash::Sha384, false),
        "SSHA384" => (Hash::Sha384, true),
        "SHA512" => (Hash::Sha512, false),
        "SSHA512" => (Hash::Sha512, true),
        "PBKDF2" | "PBKDF2-SHA1" => return pbkdf2(Prf::Sha1, rest),
        "PBKDF2-SHA256" => return pbkdf2(Prf::Sha256, rest),
        "PBKDF2-SHA512" => return pbkdf2(Prf::Sha512, rest),
        "ARGON2" if rest.starts_with("$argon2") => return super::found(rest, site),
        // crypt(3) alone: no braces in braces, which would nest as deep as the text is long.
        "CRYPT" if rest.starts_with(['$', '_']) || rest.len() == 13 => {
            return super::found(rest, site);
        }
        "CRYPT" | "ARGON2" => return Err(Refusal::Malformed),
        _ => return Err(Refusal::UnsupportedFormat),
    };
    let mut output = need(any_base64(rest).filter(|bytes| bytes.len() >= hash.bytes()))?;
    let salt = output.split_off(hash.bytes());
    if !salted && !salt.is_empty() {
        return Err(Refusal::Malformed);
    }
    Ok(Found::new(Digest { hash, salt_at: SaltAt::End, salt }, output))
}

fn pbkdf2(prf: Prf, text: &str) -> Result<Found, Refusal> {
    let [iterations, salt, hash] = parts(text, '$')?;
    let (salt, hash) = (need(unpadded_or_ab64(salt))?, need(unpadded_or_ab64(hash))?);
    let iterations = need(decimal(iterations))?;
    Ok(Found::new(Pbkdf2 { prf, iterations, length: length(&hash), salt }, hash))
}
