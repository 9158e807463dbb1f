//! Recognises a hash by how its text begins. Each file parses the formats of a family of systems.

mod aspnet;
mod bcrypt;
mod better_auth;
mod crypt;
mod database;
mod django;
mod firebase;
mod json;
mod keycloak;
mod ldap;
mod pbkdf2;
mod phc;
mod php;
mod postgresql;
mod werkzeug;

use crate::method::Method;
use crate::{Imported, Limits, MAX_TEXT_BYTES, Output, Refusal, Scheme, Site};

/// A method whose parameters are not yet checked, and the output in the text.
struct Found {
    method: Box<dyn Method>,
    output: Output,
}

impl Found {
    fn new(method: impl Method + 'static, output: Vec<u8>) -> Self {
        Self { method: Box::new(method), output: Output::new(output) }
    }
}

/// Parses a text that begins like its format.
type Parser = fn(&str, &Site) -> Result<Found, Refusal>;

/// How texts begin. The first match decides.
const PREFIXES: [(&str, Parser); 57] = [
    ("$argon2id$", phc::argon2),
    ("$argon2i$", phc::argon2),
    ("$argon2d$", phc::argon2),
    ("$scrypt$", phc::scrypt),
    ("$pbkdf2$f=", pbkdf2::mattermost),
    ("$pbkdf2$", phc::pbkdf2),
    ("$pbkdf2-sha1$", phc::pbkdf2),
    ("$pbkdf2-sha256$", phc::pbkdf2),
    ("$pbkdf2-sha512$", phc::pbkdf2),
    ("$2a$", bcrypt::plain),
    ("$2b$", bcrypt::plain),
    ("$2x$", bcrypt::plain),
    ("$2y$", bcrypt::plain),
    ("$bcrypt-sha256$", bcrypt::passlib),
    ("$wp$2y$", bcrypt::wordpress),
    ("$1$", crypt::md5),
    ("$apr1$", crypt::md5),
    ("$5$", crypt::sha),
    ("$6$", crypt::sha),
    ("$7$", crypt::scrypt),
    ("$y$", crypt::yescrypt),
    ("$sha1$", crypt::sha1),
    ("$md5$", crypt::sun_md5),
    ("$md5,", crypt::sun_md5),
    ("_", crypt::xdes),
    ("$p5k2$", pbkdf2::p5k2),
    ("$scram$", pbkdf2::passlib_scram),
    ("grub.pbkdf2.sha512.", pbkdf2::grub),
    ("$P$", php::phpass),
    ("$H$", php::phpass),
    ("$S$", php::drupal),
    ("U$S$", php::drupal),
    ("argon2$argon2", django::argon2),
    ("bcrypt$$2", django::bcrypt),
    ("bcrypt_sha256$$2", django::bcrypt_sha256),
    ("pbkdf2_sha256$", django::pbkdf2),
    ("pbkdf2_sha1$", django::pbkdf2),
    ("scrypt$", django::scrypt),
    ("md5$", django::digest),
    ("sha1$", django::digest),
    ("crypt$", django::crypt),
    ("sha256$", werkzeug::keyed),
    ("sha512$", werkzeug::keyed),
    ("scrypt:", werkzeug::scrypt),
    ("pbkdf2:sha1:", werkzeug::pbkdf2),
    ("pbkdf2:sha256:", werkzeug::pbkdf2),
    ("pbkdf2:sha512:", werkzeug::pbkdf2),
    ("SCRAM-SHA-256$", postgresql::scram),
    ("md5", postgresql::md5),
    ("*", database::mysql),
    ("S:", database::oracle),
    ("0x0100", database::sql_server),
    ("$firescrypt$", firebase::kratos),
    ("$fbscrypt$", firebase::supabase),
    ("$firebase-scrypt$", firebase::site),
    ("{", braced),
    ("A", aspnet::parse),
];

/// Parses a hash of another system. White space around a text is not removed.
///
/// # Errors
/// [`Refusal`] for any text that is not imported.
pub fn parse(hash: &str, limits: &Limits, site: &Site) -> Result<Imported, Refusal> {
    if hash.len() > MAX_TEXT_BYTES {
        return Err(Refusal::OverLimit);
    }
    let found = found(hash, site)?;
    Ok(Imported { scheme: Scheme::admit(found.method, limits)?, output: found.output })
}

fn found(hash: &str, site: &Site) -> Result<Found, Refusal> {
    // Two formats have no prefix: DES crypt(3), 13 characters of its alphabet, and better-auth.
    if let Some(found) = crypt::des(hash).or_else(|| better_auth::parse(hash)) {
        return Ok(found);
    }
    let prefix = PREFIXES.iter().find(|(prefix, _)| hash.starts_with(prefix));
    prefix.map_or(Err(Refusal::UnsupportedFormat), |(_, parser)| parser(hash, site))
}

/// A JSON object begins with a quoted key, an LDAP scheme does not.
fn braced(text: &str, site: &Site) -> Result<Found, Refusal> {
    if text[1..].trim_start().starts_with('"') {
        json::parse(text, site)
    } else {
        ldap::parse(text, site)
    }
}

/// Requires a value; the text is malformed without it.
fn need<T>(value: Option<T>) -> Result<T, Refusal> {
    value.ok_or(Refusal::Malformed)
}

/// Splits a text into exactly N parts.
fn parts<const N: usize>(text: &str, separator: char) -> Result<[&str; N], Refusal> {
    let parts: Vec<&str> = text.splitn(N + 1, separator).collect();
    parts.try_into().map_err(|_| Refusal::Malformed)
}

/// The length of an output, for methods that depend on it. A length that overflows is above the
/// ceiling in any case.
fn length(output: &[u8]) -> u32 {
    u32::try_from(output.len()).unwrap_or(u32::MAX)
}

fn log2(n: u32) -> Result<u32, Refusal> {
    // The largest u32 stands for numbers that overflow: see `codec::decimal`.
    if n.is_power_of_two() || n == u32::MAX { Ok(n.ilog2()) } else { Err(Refusal::Malformed) }
}
