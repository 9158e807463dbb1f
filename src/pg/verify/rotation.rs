//! The last step of `pv_rotate_keys`: what the worker keeps is signed with the active key, too, and the move to a
//! keyring is over.

use std::time::Instant;

use super::tables;
use crate::error::Error;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::session::transaction;
use crate::pg::shared::databases;
use crate::settings;

/// Waits until the worker has signed all that it keeps with the active key; false if it takes longer than
/// `audit_timeout`. A million budgets take four minutes.
///
/// In a database with rows from before the keyring, every row is read then: if all are signed, rows that are not
/// stop to count.
///
/// # Errors
/// [`Error::HasChanges`], [`Error::TooManyDatabases`], [`Error::ReadOnly`]; those of [`tables::run`].
pub fn rest() -> Result<bool, Error> {
    server::require_writable()?;
    transaction::require_unchanged()?;
    let (number, deadline) = (databases::mine()?, Instant::now() + settings::audit_timeout());
    let active = keyring::active_fingerprint();
    if !wait_until(deadline, || databases::is_signed_with(number, active)) {
        return Ok(false);
    }
    if !keyring::is_there() || databases::is_sealed() {
        return Ok(true);
    }
    let report = tables::run(|_| {})?;
    report.tell();
    if !report.is_sealed() {
        pgrx::warning!(
            "the move to a keyring is not over: pv_verify_credentials says what is not as it was written, and pv_rotation_left what is not sealed"
        );
        return Ok(true);
    }
    databases::want_worker(number);
    let deadline = Instant::now() + settings::audit_timeout();
    Ok(wait_until(deadline, databases::is_sealed))
}

fn wait_until(deadline: Instant, is_so: impl Fn() -> bool) -> bool {
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        server::rest();
    }
    true
}
