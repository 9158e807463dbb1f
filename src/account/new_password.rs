//! A new password: whether it is accepted, and its hash.

use std::time::Instant;

use password_verify_core::kept::verifier::Verifier;
use password_verify_core::kept::workspace::Workspace;
use password_verify_core::rules::cost::Cost;
use password_verify_core::rules::policy::{NewPassword, Password, Submitted};
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::secret::leaving_nothing;
use password_verify_core::rules::user_id::UserId;

use super::blocklist;
use crate::answer::Stop;
use crate::pg::session::slot::HashSlot;
use crate::pg::vault::store::Written;
use crate::{salt, settings};

/// Normalises a password and checks it against the policy: length bound, NFC, then the rules.
///
/// # Errors
/// The first rule that it violates.
pub fn accept(user: &UserId, submitted: Submitted) -> Result<NewPassword, Reason> {
    settings::rules().accept(Password::normalize(submitted)?, user, blocklist::contains)
}

/// Hashes a new password with the current parameters and a fresh salt.
///
/// # Errors
/// Those of [`in_slot`] and [`salt::random`].
pub fn hash(new: &NewPassword) -> Result<Verifier, Stop> {
    in_slot(|cost, workspace| Ok(Verifier::create(new, cost, salt::random()?, workspace)?))
}

/// Runs a hash with the current parameters, as soon as there is a slot for it.
///
/// # Errors
/// [`Reason::Busy`] when no slot comes free; what [`settings::cost`] and `hash` return.
pub fn in_slot<T>(hash: impl FnOnce(Cost, &mut Workspace) -> Result<T, Stop>) -> Result<T, Stop> {
    let cost = settings::cost()?;
    let slot = HashSlot::take(Instant::now() + settings::queue_timeout());
    let mut slot = slot.ok_or(Reason::Busy)?;
    let mut workspace = slot.workspace(Some(cost))?;
    leaving_nothing(|| hash(cost, &mut workspace))
}

/// Turns the result of a write into an answer; `unchanged` is the reason if nothing was written.
///
/// # Errors
/// `unchanged` or [`Reason::Busy`].
pub fn written(written: Written, unchanged: Reason) -> Result<bool, Stop> {
    match written {
        Written::Done => Ok(true),
        Written::Unchanged => Err(unchanged.into()),
        Written::Busy => Err(Reason::Busy.into()),
    }
}
