//! Data keys of secrets in vaults, open for one job each while the vault is unlocked.

use std::cell::RefCell;

use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::keeper::handle::Handle;
use password_verify_core::keeper::vault::VaultKey;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use pgrx::pg_sys;

use super::secrets::SecretRow;
use super::table::RowKey;
use super::vaults::VaultRow;
use crate::error::Error;
use crate::pg::keys::keyring;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::unlocked;
use crate::pg::shared::unlocked::Unlocked;
use crate::salt;

/// The readable part of the seal.
const LABEL: &str = "opening -";

/// Unlocks a vault until a time, and returns the handle of that; `None` if there is no place left.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn unlock(
    vault: RowKey,
    version: Timestamp,
    key: &VaultKey,
    until: Timestamp,
) -> Result<Option<Secret>, Error> {
    let handle = Handle::new(salt::random()?);
    let sealed = handle.hide(key, salt::random()?);
    let digest = handle.digest();
    let place = Unlocked { vault, version, digest, until, job: 0, sealed };
    Ok(unlocked::put(&place).then(|| handle.expose()))
}

/// Opens the data key of a secret for a job, with the handle of its user's vault.
///
/// # Errors
/// [`Error::VaultLocked`] for a handle that unlocks nothing, or another vault; [`Error::VaultPlaces`] when there is no
/// place left.
pub fn for_job(job: i64, row: &SecretRow, vault: &VaultRow, handle: &Handle) -> Result<(), Error> {
    let found = unlocked::of_handle(&handle.digest()).filter(|found| is_of(found, vault));
    let found = found.ok_or(Error::VaultLocked)?;
    let key = handle.reveal(&found.sealed).ok_or(Error::VaultLocked)?;
    let data_key = row.data_key_in(&key)?.ok_or(Error::VaultLocked)?;
    let sealed = keyring::seal(&data_key.expose(), LABEL, &Binding::opening(job, &row.id))?;
    let sealed = sealed.expose().as_bytes().to_vec();
    let place = Unlocked { job, sealed, ..found };
    if !unlocked::put(&place) {
        let is_locked = unlocked::of_handle(&place.digest).is_none();
        return Err(if is_locked { Error::VaultLocked } else { Error::VaultPlaces });
    }
    static END: Registered = Registered::new(false);
    callbacks::at_end(&END, on_transaction, on_savepoint);
    // SAFETY: a plain value of this process.
    let sub = unsafe { pg_sys::GetCurrentSubTransactionId() };
    MADE.with_borrow_mut(|made| made.push((sub, job)));
    Ok(())
}

thread_local! {
    /// What this transaction has opened, for jobs that are gone if it is rolled back. As many as a vault has places.
    static MADE: RefCell<Vec<(pg_sys::SubTransactionId, i64)>> = const { RefCell::new(Vec::new()) };
}

/// Gives the places back of what was opened in a savepoint and in those inside it.
fn close_since(sub: pg_sys::SubTransactionId) {
    MADE.with_borrow_mut(|made| {
        made.retain(|(of, job)| {
            if *of >= sub {
                unlocked::close(*job);
            }
            *of < sub
        });
    });
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => MADE.with_borrow_mut(Vec::clear),
        pg_sys::XactEvent::XACT_EVENT_ABORT => close_since(0),
        _ => {}
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_savepoint(
    event: pg_sys::SubXactEvent::Type,
    sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        close_since(sub);
    }
}

/// The data key that is open for a job; `None` if there is none, or vault, secret or keyring were changed since.
pub fn of_job(job: i64, row: &SecretRow, vault: &VaultRow) -> Option<DataKey> {
    let found = unlocked::of_job(job).filter(|found| is_of(found, vault))?;
    let sealed = std::str::from_utf8(&found.sealed).ok()?;
    let opened = keyring::unseal(sealed, &Binding::opening(job, &row.id), row.key).ok()?;
    DataKey::parse(opened.expose()).filter(|key| row.open(key).is_ok())
}

fn is_of(found: &Unlocked, vault: &VaultRow) -> bool {
    vault.is_locked() && (found.vault, found.version) == (vault.key, vault.changed_at)
}
