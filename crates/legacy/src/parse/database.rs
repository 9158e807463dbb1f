//! Hashes of other databases' users. A text that only begins like one is unsupported.

use super::{Found, need};
use crate::codec::hex;
use crate::method::{Digest, Hash, Mysql41, SaltAt, SqlServer};
use crate::{Refusal, Site};

/// MySQL and MariaDB: `*` and 40 digits.
pub fn mysql(text: &str, _: &Site) -> Result<Found, Refusal> {
    let bytes = digits(&text[1..]).filter(|bytes| bytes.len() == 20);
    bytes.map_or(Err(Refusal::UnsupportedFormat), |output| Ok(Found::new(Mysql41, output)))
}

/// Oracle 11: `S:`, 40 digits of the SHA-1 of password and salt, 20 of the salt.
pub fn oracle(text: &str, _: &Site) -> Result<Found, Refusal> {
    let bytes = digits(&text[2..]).filter(|bytes| bytes.len() == 30);
    let mut output = bytes.ok_or(Refusal::UnsupportedFormat)?;
    let salt = output.split_off(20);
    Ok(Found::new(Digest { hash: Hash::Sha1, salt_at: SaltAt::End, salt }, output))
}

/// SQL Server: `0x0100`, 8 digits of salt, 40 of SHA-1; in 2000, 40 more for upper-case letters.
pub fn sql_server(text: &str, _: &Site) -> Result<Found, Refusal> {
    let mut salt = need(digits(&text[6..]))?;
    if !matches!(salt.len(), 24 | 44) {
        return Err(Refusal::Malformed);
    }
    let mut output = salt.split_off(4);
    let capitals = output.len() == 40;
    let output = if capitals { output.split_off(20) } else { output };
    Ok(Found::new(SqlServer { capitals, salt }, output))
}

/// Hexadecimal, which these systems write in upper case.
fn digits(text: &str) -> Option<Vec<u8>> {
    hex(&text.to_ascii_lowercase())
}
