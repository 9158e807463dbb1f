//! `pv_create_vault`, `pv_change_vault_password`, `pv_delete_vault`, `pv_unlock_vault`, `pv_lock_vault`.

use core::net::IpAddr;
use std::time::Duration;

use password_verify_core::keeper::handle::Handle;
use password_verify_core::keeper::vault::Lock;
use password_verify_core::keeper::vault::VaultKey;
use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::rules::policy::{NewPassword, Submitted};
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use super::or_busy;
use crate::account::recorded::{recorded, refused};
use crate::account::{accept, in_slot};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::attempt;
use crate::gate::audit;
use crate::gate::authenticators::vault_password::VaultPassword;
use crate::pg::heap::lock::Access;
use crate::pg::kept::holder::Holder;
use crate::pg::kept::{Room, opening, patiently};
use crate::pg::server;
use crate::pg::session::transaction;
use crate::pg::shared::unlocked;
use crate::salt;

/// Makes a vault for a user who has none.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::Busy`], what [`accept`] returns.
pub fn create(user: &UserId, password: Submitted) -> Result<(), Stop> {
    recorded(Action::CreateVault, user, None, || {
        let new = accept(user, password)?;
        let room = Room::open(Access::Write)?;
        let id = match room.vault(user)? {
            Some(row) if row.is_locked() => return Err(Reason::AlreadySet.into()),
            Some(row) => row.id,
            None => salt::random()?,
        };
        let lock = lock(&new, &VaultKey::new(salt::random()?), &id)?;
        let all = room.all()?;
        let done = patiently(|| {
            let Some(mut holder) = Holder::take(&room, &all, user)? else { return Ok(None) };
            if holder.row.is_locked() {
                return Ok(Some(false));
            }
            if !holder.is_to_be(id) {
                return Ok(None);
            }
            holder.row.put(&lock, server::now())?;
            holder.put(&room, &all).map(|()| Some(true))
        });
        if done.map_err(or_busy)? { Ok(true) } else { Err(Reason::AlreadySet.into()) }
    })
    .map(drop)
}

/// Hashes a new vault password, and locks the vault's key with it.
fn lock(new: &NewPassword, key: &VaultKey, id: &[u8; 16]) -> Result<Lock, Stop> {
    let (salt, nonce) = (salt::random()?, salt::random()?);
    in_slot(|cost, space| Ok(Lock::make(new.password(), cost, salt, key, id, nonce, space)?))
}

/// Replaces a vault password by another. What was unlocked is locked.
///
/// # Errors
/// Denials of [`attempt`]; [`Reason::Reused`], [`Reason::Busy`], what [`accept`] returns.
pub fn change(
    user: &UserId,
    old: Submitted,
    new: Submitted,
    client: Option<IpAddr>,
) -> Result<(), Stop> {
    server::require_writable()?;
    Room::open(Access::Read)?;
    let proof = attempt(VaultPassword::to_change(user.clone(), old, client))?;
    let refused = |why| refused(Action::ChangeVaultPassword, user, client, why);
    let new = accept(user, new).map_err(|reason| refused(reason.into()))?;
    if proof.is_of(new.password()) {
        return Err(refused(Reason::Reused.into()));
    }
    // With another key: one that leaked with the old password opens nothing that is kept from now on.
    let key = VaultKey::new(salt::random()?);
    let lock = lock(&new, &key, &proof.vault.id).map_err(refused)?;
    recorded(Action::ChangeVaultPassword, user, client, || {
        let room = Room::open(Access::Write)?;
        let (all, version) = (room.all()?, proof.vault.version());
        let keys = (&proof.key, &key);
        let done = patiently(|| all.relock(&room, user, version, keys, &lock));
        if done.map_err(or_busy)? { Ok(true) } else { Err(Reason::InvalidCredentials.into()) }
    })
    .map(drop)
}

/// Deletes a vault with all secrets in it; false if the user has none.
///
/// # Errors
/// [`Error::Held`].
pub fn delete(user: &UserId) -> Result<bool, Error> {
    recorded(Action::DeleteVault, user, None, || {
        let room = Room::open(Access::Write)?;
        let all = room.all()?;
        patiently(|| all.delete_vault(&room, user))
    })
}

/// Unlocks a vault for a time, and returns the handle of that: whoever has it can use the secrets in the vault, by
/// asking for jobs.
///
/// # Errors
/// Denials of [`attempt`]; [`Error::VaultPlaces`].
pub fn unlock(
    user: UserId,
    password: Submitted,
    duration: Duration,
    client: Option<IpAddr>,
) -> Result<Secret, Stop> {
    Room::open(Access::Read)?;
    let proof = attempt(VaultPassword::to_unlock(user, password, client))?;
    let until = server::now().saturating_add(i64::try_from(duration.as_micros()).unwrap_or(0));
    let handle = opening::unlock(proof.vault.key, proof.vault.changed_at, &proof.key, until)?;
    Ok(handle.ok_or(Error::VaultPlaces)?)
}

/// Locks what a handle has unlocked, at once; false if that was nothing.
///
/// # Errors
/// [`Error::AuditBusy`], [`Error::AuditNotWritten`], when it is locked nevertheless.
pub fn lock_again(handle: &Handle) -> Result<bool, Error> {
    let was = unlocked::lock(&handle.digest());
    if was && server::writable() {
        let queued = audit::queued_event(Action::LockVault, None, None);
        audit::wait_for(transaction::prepare()?.record_apart(queued, Outcome::Recorded))?;
    }
    Ok(was)
}
