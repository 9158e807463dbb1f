//! `pv_store_secret` and `pv_forget_secret`.

use core::net::IpAddr;

use password_verify_core::keeper::destination::Destination;
use password_verify_core::rules::event::Action;
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use super::or_busy;
use crate::account::recorded::recorded_about;
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::attempt;
use crate::gate::authenticators::vault_password::VaultPassword;
use crate::pg::heap::lock::Access;
use crate::pg::kept::holder::Holder;
use crate::pg::kept::secrets::SecretRow;
use crate::pg::kept::{Room, patiently};
use crate::pg::server;
use crate::pg::session::notify;
use crate::settings;

/// Keeps a secret for a user, in place of one of the same name. With a vault password it can only be opened while the
/// user's vault is unlocked. Jobs that had to wait for another secret go on.
///
/// # Errors
/// Denials of [`attempt`]; [`Reason::TooMany`], [`Reason::Busy`].
pub fn store(
    user: &UserId,
    name: &str,
    secret: &Secret,
    destination: &Destination,
    vault: Option<Submitted>,
    client: Option<IpAddr>,
) -> Result<(), Stop> {
    server::require_writable()?;
    Room::open(Access::Read)?;
    let claim = |password| attempt(VaultPassword::to_change(user.clone(), password, client));
    let proof = vault.map(claim).transpose()?;
    recorded_about(Action::StoreSecret, Some(user), (name, 0), || {
        let room = Room::open(Access::Write)?;
        let all = room.all()?;
        let done = patiently(|| {
            let Some(holder) = Holder::take(&room, &all, user)? else { return Ok(None) };
            if proof.as_ref().is_some_and(|proof| proof.vault.version() != holder.row.version()) {
                return Ok(Some(Err(Reason::InvalidCredentials)));
            }
            let vault = proof.as_ref().map(|proof| &proof.key);
            let put = |row: &mut SecretRow| row.put(secret, destination, vault, server::now());
            let stored = all.store(&room, holder, name, settings::secrets_per_user(), put)?;
            Ok(stored.map(|stored| if stored { Ok(()) } else { Err(Reason::TooMany) }))
        });
        done.map_err(or_busy)?.map_err(Stop::from)?;
        notify::keepers();
        Ok::<_, Stop>(true)
    })
    .map(drop)
}

/// Forgets a secret, with its jobs and their results; false if there is none of that name.
///
/// # Errors
/// [`Error::Held`].
pub fn forget(user: &UserId, name: &str) -> Result<bool, Error> {
    recorded_about(Action::ForgetSecret, Some(user), (name, 0), || {
        let room = Room::open(Access::Write)?;
        let all = room.all()?;
        patiently(|| match Holder::take(&room, &all, user)? {
            Some(holder) => all.forget(&room, holder, name),
            None => Ok(None),
        })
    })
}
