//! `pv_validate_password`: checks a password for a login.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::user_id::UserId;

use crate::answer::Stop;
use crate::error::Error;
use crate::gate::attempt;
use crate::gate::authenticators::password::{Password, Proof};
use crate::pg::server;
use crate::pg::session::offer;
use crate::pg::session::slot::HashSlot;
use crate::{salt, settings};

/// Whether this is the user's password and the account may use it.
///
/// # Errors
/// What [`attempt`] returns.
pub fn validate(user: UserId, submitted: Submitted, client: Option<IpAddr>) -> Result<(), Stop> {
    let proof = attempt(Password::to_log_in(user, submitted, client))?;
    // A renewal that fails does not change the answer.
    let _ = renew_if_weak(&proof);
    Ok(())
}

/// Renews a record that is weaker than the current settings or another system's. A worker writes
/// it, because the caller's transaction may be read-only, or stay open for long.
fn renew_if_weak(proof: &Proof) -> Result<(), Error> {
    let current = settings::cost()?;
    let Some(renewal) = proof.record().renewal(proof.password(), current) else { return Ok(()) };
    if server::in_recovery() {
        return Ok(());
    }
    let Some(mut slot) = HashSlot::take(Instant::now() + settings::queue_timeout()) else {
        return Ok(());
    };
    let mut workspace = slot.workspace(Some(current))?;
    let (user, salt) = (proof.user().as_str(), salt::random()?);
    let renewed = renewal.make(proof.password(), user, current, salt, &mut workspace)?;
    drop((workspace, slot));
    let (replaces, text) = proof.row().renewal(&renewed.expose())?;
    offer::renewal(proof.user(), replaces, &text)
}
