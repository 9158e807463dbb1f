//! MACs of rows, with the keys of the ring.

use std::sync::Arc;

use password_verify_core::kept::row_mac::{Installation, STORED_BYTES, Unfinished};

use super::keyring;
use super::keyring::Ring;
use super::unsealed;
use crate::error::Error;

/// What a stored MAC says.
pub enum Stored {
    /// A key of the ring made it for this row. What the row adds to the sum of its table.
    Genuine(u128),
    /// So did one that is not the active one any more.
    Older(u128),
    /// It is empty, and may be.
    Unsigned,
    /// The keyring lacks the key that made it.
    NoKey,
    /// It is empty although there is a keyring.
    Missing,
    /// It is that of another row.
    Altered,
}

/// The MAC to store with a row, and what the row adds to the sum of its table; `None` without a keyring. `columns`
/// gives it the columns of the row.
///
/// # Errors
/// Those of `columns`.
pub fn sign(
    of: Installation,
    table: &[u8],
    columns: impl FnOnce(&mut Unfinished) -> Result<(), Error>,
) -> Result<Option<([u8; STORED_BYTES], u128)>, Error> {
    let Some(ring) = keyring::current() else { return Ok(None) };
    let mut mac = ring.rows.active().begin(of, table);
    columns(&mut mac)?;
    let mac = mac.finish();
    Ok(Some((mac.stored(), mac.hidden)))
}

/// Checks the MAC that is stored with a row. One whose columns cannot be read is altered.
pub fn check(
    stored: &[u8],
    of: Installation,
    table: &[u8],
    columns: impl FnOnce(&mut Unfinished) -> Result<(), Error>,
) -> Stored {
    let ring = keyring::current();
    if stored.is_empty() {
        let may_be = ring.is_none() || unsealed::is_accepted();
        return if may_be { Stored::Unsigned } else { Stored::Missing };
    }
    if stored.len() != STORED_BYTES {
        return Stored::Altered;
    }
    let has = |ring: &Arc<Ring>| ring.rows.of(stored).is_some();
    // A key that has just been put into the file needs no reload.
    let Some(ring) = ring.filter(has).or_else(|| keyring::again().filter(has)) else {
        return Stored::NoKey;
    };
    let Some(mut mac) = ring.rows.of(stored).map(|key| key.begin(of, table)) else {
        return Stored::NoKey;
    };
    if columns(&mut mac).is_err() {
        return Stored::Altered;
    }
    let mac = mac.finish();
    match ring.rows.active().made(stored) {
        _ if !mac.is(stored) => Stored::Altered,
        true => Stored::Genuine(mac.hidden),
        false => Stored::Older(mac.hidden),
    }
}
