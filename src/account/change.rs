//! `pv_change_password`: a new password from a user who proves the old one.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::kept::verifier::Verifier;
use password_verify_core::rules::account::Terms;
use password_verify_core::rules::event::Action;
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::new_password::{accept, hash};
use super::recorded::{recorded, refused};
use crate::answer::Stop;
use crate::gate::attempt;
use crate::gate::authenticators::former_passwords::require_unused;
use crate::gate::authenticators::password::{Password, Proof};
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::write::Edit;
use crate::pg::vault::store::{Store, Written};
use crate::settings;

/// How often a change starts over because a login has renewed the record in between.
const RENEWALS: usize = 3;

/// Replaces the old password, if it is right, with a new one that the policy accepts.
///
/// # Errors
/// What [`accept`], [`attempt`] and [`require_unused`] return; [`Reason::Busy`].
pub fn change(
    user: UserId,
    old: Submitted,
    new: Submitted,
    client: Option<IpAddr>,
) -> Result<(), Stop> {
    let refused = |why: Stop| refused(Action::Change, &user, client, why);
    server::require_writable()?;
    let new = accept(&user, new).map_err(|reason| refused(reason.into()))?;
    let mut proof = attempt(Password::to_change(user.clone(), old, client))?;
    // The user has just proven this password, so the answer tells nothing new.
    if proof.is_of(new.password()) {
        return Err(refused(Reason::Reused.into()));
    }
    // Before the comparison, which would be used up if no slot came free for this hash.
    let verifier = hash(&new).map_err(refused)?;
    for _ in 0..RENEWALS {
        let still_right = |row: &Credential| proof.holds_for(row);
        if require_unused(&user, &new, client, &still_right).map_err(refused)?
            && recorded(Action::Change, &user, client, || replace(&proof, &verifier))?
        {
            return Ok(());
        }
        // The record has changed since the test: a new password makes the old one wrong, and a
        // login may have renewed the record of the same password.
        proof = attempt(proof.again())?;
    }
    Err(refused(Reason::Busy.into()))
}

/// Replaces the password that was proven; false if the record has changed since.
fn replace(proof: &Proof, verifier: &Verifier) -> Result<bool, Stop> {
    let now = server::now();
    let store = Store::open_by(Access::Write, Instant::now() + PATIENCE)?;
    let replaced = store.edit(proof.user(), PATIENCE, |row| {
        if !proof.holds_for(row)? {
            return Ok(Edit::Keep);
        }
        row.replace(verifier.expose(), now, settings::history())?;
        row.terms = Terms::default();
        Ok(Edit::Replace)
    })?;
    match replaced {
        Written::Done => Ok(true),
        Written::Unchanged => Ok(false),
        Written::Busy => Err(Reason::Busy.into()),
    }
}
