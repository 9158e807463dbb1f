//! `rolpassword` of PostgreSQL's roles.

use super::{Found, need, parts};
use crate::codec::{decimal, hex, padded};
use crate::method::{PgMd5, Scram};
use crate::{Refusal, Site};

/// `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`. The server key, which proves the server to its
/// client, must be present and is discarded.
pub fn scram(text: &str, _: &Site) -> Result<Found, Refusal> {
    let [_, iterations, keys] = parts(text, '$')?;
    let ([iterations, salt], [stored, server]) = (parts(iterations, ':')?, parts(keys, ':')?);
    let key = |text| need(padded(text).filter(|key| key.len() == 32));
    let (stored, _) = (key(stored)?, key(server)?);
    let method = Scram { iterations: need(decimal(iterations))?, salt: need(padded(salt))? };
    Ok(Found::new(method, stored))
}

/// `md5` and 32 digits. PostgreSQL takes no other text with this prefix for a hash.
pub fn md5(text: &str, _: &Site) -> Result<Found, Refusal> {
    let output = text.strip_prefix("md5").and_then(hex).filter(|output| output.len() == 16);
    output.map_or(Err(Refusal::UnsupportedFormat), |output| {
        Ok(Found::new(PgMd5 { role: None }, output))
    })
}
