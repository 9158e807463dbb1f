//! Firebase Authentication. Its export has hash and salt per user; the rest belongs to the project.

use serde_json::{Map, Value};

use super::{Found, need, parts, phc};
use crate::codec::any_base64;
use crate::method::{Cost, Firebase};
use crate::{FirebaseParams, Refusal, Site};

/// Ory Kratos: `$firescrypt$ln=14,r=8,p=1$salt$hash$separator$signer key`
pub fn kratos(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, hash, separator, signer_key] = parts(text, '$')?;
    let [log_n, r, p] = phc::numbers(params, ["ln", "r", "p"])?;
    found(Cost { log_n, r, p }, salt, hash, &bytes(separator)?, &bytes(signer_key)?)
}

/// Supabase: `$fbscrypt$v=1,n=14,r=8,p=1,ss=separator,sk=signer key$salt$hash`
pub fn supabase(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, _, params, salt, hash] = parts(text, '$')?;
    let (numbers, keys) = need(params.split_once(",ss="))?;
    let (separator, signer_key) = need(keys.split_once(",sk="))?;
    let [version, log_n, r, p] = phc::numbers(numbers, ["v", "n", "r", "p"])?;
    if version != 1 {
        return Err(Refusal::UnsupportedFormat);
    }
    found(Cost { log_n, r, p }, salt, hash, &bytes(separator)?, &bytes(signer_key)?)
}

/// `$firebase-scrypt$salt$hash`, with the project's parameters from the site.
pub fn site(text: &str, site: &Site) -> Result<Found, Refusal> {
    let [_, _, salt, hash] = parts(text, '$')?;
    of_project(salt, hash, site.firebase.as_ref())
}

/// A user of `firebase auth:export`: `{"passwordHash":"...","salt":"...",...}`, with the project's
/// parameters from the site.
pub fn export(user: &Map<String, Value>, site: &Site) -> Result<Found, Refusal> {
    let text = |key| need(user.get(key).and_then(Value::as_str));
    of_project(text("salt")?, text("passwordHash")?, site.firebase.as_ref())
}

/// A hash with the project's parameters, without which nothing can be computed.
fn of_project(salt: &str, hash: &str, project: Option<&FirebaseParams>) -> Result<Found, Refusal> {
    let project = project.ok_or(Refusal::UnsupportedFormat)?;
    let cost = Cost { log_n: project.mem_cost, r: project.rounds, p: 1 };
    found(cost, salt, hash, &project.salt_separator, &project.signer_key)
}

fn found(
    cost: Cost,
    salt: &str,
    hash: &str,
    separator: &[u8],
    signer_key: &[u8],
) -> Result<Found, Refusal> {
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    if hash.len() != signer_key.len() {
        return Err(Refusal::Malformed);
    }
    let (separator, signer_key) = (separator.to_vec(), signer_key.to_vec().into());
    Ok(Found::new(Firebase { cost, salt, separator, signer_key }, hash))
}

/// Firebase's tools use both alphabets of base64.
fn bytes(text: &str) -> Result<Vec<u8>, Refusal> {
    need(any_base64(text))
}
