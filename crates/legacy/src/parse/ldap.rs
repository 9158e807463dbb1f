//! A name in braces, in any case, and the hash that it names: LDAP servers (RFC 2307, OpenLDAP,
//! OpenDJ), Dovecot, Spring Security, Atlassian, FSHP.

use super::{Found, length, need, parts, pbkdf2};
use crate::codec::{any_base64, decimal, hex};
use crate::method::{Cost, Digest, Fshp, Hash, Prf, SaltAt, Scrypt};
use crate::{Refusal, Site};

/// Names before a text of crypt(3), bcrypt or Argon2, and how that text begins. None may begin with
/// a brace, because braces in braces would recurse as deep as the text is long.
const TEXTS: [(&str, &[&str]); 12] = [
    ("CRYPT", &["$", "_"]),
    ("MD5-CRYPT", &["$1$"]),
    ("SHA256-CRYPT", &["$5$"]),
    ("SHA512-CRYPT", &["$6$"]),
    ("BLF-CRYPT", &["$2"]),
    ("BCRYPT", &["$2"]),
    ("ARGON2", &["$argon2"]),
    ("ARGON2I", &["$argon2i$"]),
    ("ARGON2ID", &["$argon2id$"]),
    ("ARGON2@SPRINGSECURITY_V5_2", &["$argon2"]),
    ("ARGON2@SPRINGSECURITY_V5_8", &["$argon2"]),
    // Dovecot's meaning of the name; all others mean the digest below.
    ("MD5", &["$1$"]),
];

/// Names of digests, and whether a salt follows the digest.
const DIGESTS: [(&str, Hash, bool); 13] = [
    ("MD5", Hash::Md5, false),
    ("LDAP-MD5", Hash::Md5, false),
    ("PLAIN-MD5", Hash::Md5, false),
    ("SMD5", Hash::Md5, true),
    ("SHA", Hash::Sha1, false),
    ("SHA1", Hash::Sha1, false),
    ("SSHA", Hash::Sha1, true),
    ("SHA256", Hash::Sha256, false),
    ("SSHA256", Hash::Sha256, true),
    ("SHA384", Hash::Sha384, false),
    ("SSHA384", Hash::Sha384, true),
    ("SHA512", Hash::Sha512, false),
    ("SSHA512", Hash::Sha512, true),
];

/// `{SSHA}` and base64 of digest and salt; `{SHA}` without salt; `{CRYPT}` and others before their
/// own text. In Dovecot, `.hex` or `.b64` after a name tells the encoding of the rest.
pub fn parse(text: &str, site: &Site) -> Result<Found, Refusal> {
    let (name, rest) = need(text.strip_prefix('{').and_then(|text| text.split_once('}')))?;
    let name = name.to_ascii_uppercase();
    let (name, encoded) = match name.rsplit_once('.') {
        Some((name, "HEX")) => (name, Some(true)),
        Some((name, "B64" | "BASE64")) => (name, Some(false)),
        _ => (name.as_str(), None),
    };
    let is_hex = encoded.unwrap_or(name == "PLAIN-MD5");
    let decode: fn(&str) -> Option<Vec<u8>> =
        if is_hex { |text| hex(&text.to_ascii_lowercase()) } else { any_base64 };
    let is_text = TEXTS.iter().any(|entry| entry.0 == name);
    if is_text && encoded.is_some() && name != "MD5" {
        let decoded = String::from_utf8(need(decode(rest))?).map_err(|_| Refusal::Malformed)?;
        return of_text(name, &decoded, site);
    }
    if is_text && (name != "MD5" || rest.starts_with("$1$")) {
        return of_text(name, rest, site);
    }
    if let Some(&(_, hash, salted)) = DIGESTS.iter().find(|entry| entry.0 == name) {
        return digest(hash, salted, need(decode(rest))?);
    }
    match name {
        "DES-CRYPT" => need(super::crypt::des(rest)),
        // Spring's older form has neither a version nor dollars.
        "PBKDF2" if !rest.contains('$') => pbkdf2::spring(Prf::Sha1, 185_000, 8, rest),
        "PBKDF2@SPRINGSECURITY_V5_5" => pbkdf2::spring(Prf::Sha1, 185_000, 8, rest),
        "PBKDF2@SPRINGSECURITY_V5_8" => pbkdf2::spring(Prf::Sha256, 310_000, 16, rest),
        "PBKDF2" | "PBKDF2-SHA1" => pbkdf2::braced(Prf::Sha1, rest),
        "PBKDF2-SHA256" => pbkdf2::braced(Prf::Sha256, rest),
        "PBKDF2-SHA512" => pbkdf2::braced(Prf::Sha512, rest),
        "SCRYPT" | "SCRYPT@SPRINGSECURITY_V4_1" | "SCRYPT@SPRINGSECURITY_V5_8" => {
            spring_scrypt(rest)
        }
        "PKCS5S2" => pbkdf2::atlassian(rest),
        _ => name.strip_prefix("FSHP").map_or(Err(Refusal::UnsupportedFormat), |n| fshp(n, rest)),
    }
}

fn of_text(name: &str, text: &str, site: &Site) -> Result<Found, Refusal> {
    let begins = TEXTS
        .iter()
        .any(|(it, starts)| *it == name && starts.iter().any(|start| text.starts_with(start)));
    if begins || name == "CRYPT" && text.len() == 13 {
        super::found(text, site)
    } else {
        Err(Refusal::Malformed)
    }
}

fn digest(hash: Hash, salted: bool, mut output: Vec<u8>) -> Result<Found, Refusal> {
    if output.len() < hash.bytes() {
        return Err(Refusal::Malformed);
    }
    let salt = output.split_off(hash.bytes());
    if !salted && !salt.is_empty() {
        return Err(Refusal::Malformed);
    }
    Ok(Found::new(Digest { hash, salt_at: SaltAt::End, salt }, output))
}

/// `$e0801$salt$hash`: log2 N, r and p in hexadecimal, the last two with two digits each.
fn spring_scrypt(text: &str) -> Result<Found, Refusal> {
    let ["", params, salt, hash] = parts(text, '$')? else { return Err(Refusal::Malformed) };
    let params = need(u32::from_str_radix(params, 16).ok())?;
    let cost = Cost { log_n: params >> 16, r: params >> 8 & 0xff, p: params & 0xff };
    let (salt, hash) = (need(any_base64(salt))?, need(any_base64(hash))?);
    Ok(Found::new(Scrypt { cost, length: length(&hash), salt }, hash))
}

/// `{FSHP1|8|4096}`: hash, salt length in bytes, rounds; then base64 of salt and output.
fn fshp(numbers: &str, text: &str) -> Result<Found, Refusal> {
    let [hash, salt, rounds] = parts(numbers, '|')?;
    let hash = match hash {
        "0" => Hash::Sha1,
        "1" => Hash::Sha256,
        "2" => Hash::Sha384,
        "3" => Hash::Sha512,
        _ => return Err(Refusal::UnsupportedFormat),
    };
    let salt_bytes = need(decimal(salt))? as usize;
    let mut salt = need(any_base64(text))?;
    if salt.len() != salt_bytes.saturating_add(hash.bytes()) {
        return Err(Refusal::Malformed);
    }
    let output = salt.split_off(salt_bytes);
    Ok(Found::new(Fshp { hash, rounds: need(decimal(rounds))?, salt }, output))
}
