//! A credential of Keycloak's export: `{"credentialData":"{...}","secretData":"{...}"}`, where the
//! inner objects are texts, as Keycloak writes them, or objects.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{Found, bcrypt, length, need};
use crate::Refusal;
use crate::codec::{any_base64, decimal};
use crate::method::{Argon2, Pbkdf2, Prehash, Prf, Variant};

/// `credentialData` has `hashIterations` and `algorithm`; `secretData` has `value` and `salt`.
pub fn parse(credential: &Map<String, Value>) -> Result<Found, Refusal> {
    let (data, secret) = (inner(credential, "credentialData")?, inner(credential, "secretData")?);
    let text = |key| need(secret.get(key).and_then(Value::as_str));
    // The hashers of third parties write their values in their own ways.
    let prf = match need(data.get("algorithm").and_then(Value::as_str))? {
        "pbkdf2" => Some(Prf::Sha1),
        "pbkdf2-sha256" => Some(Prf::Sha256),
        "pbkdf2-sha512" => Some(Prf::Sha512),
        "argon2" => None,
        "bcrypt" => return bcrypt::after(text("value")?, Prehash::None),
        _ => return Err(Refusal::UnsupportedFormat),
    };
    let bytes = |key| need(any_base64(text(key)?));
    let (value, salt) = (bytes("value")?, bytes("salt")?);
    let iterations = data.get("hashIterations").and_then(Value::as_u64);
    let iterations = u32::try_from(need(iterations)?).unwrap_or(u32::MAX);
    let Some(prf) = prf else { return argon2(&data, iterations, salt, value) };
    Ok(Found::new(Pbkdf2 { prf, iterations, length: length(&value), salt }, value))
}

/// The other parameters are in `additionalParameters`, each as a list of one text.
fn argon2(
    data: &Map<String, Value>,
    iterations: u32,
    salt: Vec<u8>,
    tag: Vec<u8>,
) -> Result<Found, Refusal> {
    let more = need(data.get("additionalParameters").and_then(Value::as_object))?;
    let text =
        |key| need(more.get(key).and_then(Value::as_array).and_then(|list| list.first()?.as_str()));
    let number = |key| need(decimal(text(key)?));
    if number("hashLength")? != length(&tag) {
        return Err(Refusal::Malformed);
    }
    let method = Argon2 {
        variant: match text("type")? {
            "id" => Variant::Id,
            "i" => Variant::I,
            "d" => Variant::D,
            _ => return Err(Refusal::UnsupportedFormat),
        },
        version: match text("version")? {
            "1.3" => 19,
            "1.0" => 16,
            _ => return Err(Refusal::UnsupportedFormat),
        },
        memory_kib: number("memory")?,
        iterations,
        parallelism: number("parallelism")?,
        length: length(&tag),
        salt,
    };
    Ok(Found::new(method, tag))
}

fn inner<'a>(
    credential: &'a Map<String, Value>,
    key: &str,
) -> Result<Cow<'a, Map<String, Value>>, Refusal> {
    match need(credential.get(key))? {
        Value::Object(object) => Ok(Cow::Borrowed(object)),
        Value::String(text) => need(serde_json::from_str(text).ok()).map(Cow::Owned),
        _ => Err(Refusal::Malformed),
    }
}
