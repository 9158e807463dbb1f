//! What happens to a new password, and to an account beside its password.
//!
//! Everything here is part of the caller's transaction: a sign-up and its password commit or vanish
//! together. Nothing is hashed before it is clear that it may be written.

use core::net::IpAddr;
use std::time::{Duration, Instant};

use password_verify_core::account::{State, Terms, Timestamp};
use password_verify_core::event::Action;
use password_verify_core::policy::{NewPassword, Password, Submitted};
use password_verify_core::reason::Reason;
use password_verify_core::record::Record;
use password_verify_core::user_id::UserId;
use password_verify_core::verifier::Verifier;

use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::session::{self, PATIENCE};
use crate::pg::shared::budgets::Place;
use crate::pg::slot::HashSlot;
use crate::pg::statistics;
use crate::pg::store::{Edit, Store, Written};
use crate::pg::table::Access;
use crate::pg::{extension, transaction};
use crate::reuse::require_unused;
use crate::throttle::{self, Denial};
use crate::verify::{Outcome, Purpose, Request, attempt};
use crate::{audit, blocklist};
use crate::{salt, settings};
use password_verify_core::throttle::Payer;

/// How often a change starts over because a login has renewed the record meanwhile.
const RENEWALS: usize = 3;

/// Yes, or why not.
pub type Answer = Result<(), Reason>;

/// `pv_check_password`: would this be accepted as a new password?
pub fn check(user: &UserId, submitted: Submitted) -> Answer {
    accept(user, submitted).map(drop)
}

/// `pv_create_password`: a first password, for a user who has none.
pub fn create(user: &UserId, submitted: Submitted) -> Result<Answer, Error> {
    recorded(Action::Create, user, None, || {
        let new = match accept(user, submitted) {
            Ok(new) => new,
            Err(reason) => return Ok(Err(reason)),
        };
        if has_password(user)? {
            return Ok(Err(Reason::AlreadySet));
        }
        let Some(verifier) = hash(&new)? else { return Ok(Err(Reason::Busy)) };
        let record = Record::Argon2id(verifier);
        let now = session::now();
        let written = Store::open(Access::Write)?
            .insert(user, PATIENCE, |number| Credential::new(number, user, &record, now))?;
        Ok(match written {
            Written::Done => Ok(()),
            Written::Unchanged => Err(Reason::AlreadySet),
            Written::Busy => Err(Reason::Busy),
        })
    })
}

/// `pv_set_password`: whatever was there before. A disabled account stays disabled.
pub fn set(
    user: &UserId,
    submitted: Submitted,
    must_change: bool,
    expires_at: Option<Timestamp>,
) -> Result<Answer, Error> {
    recorded(Action::Set, user, None, || {
        let new = match accept(user, submitted) {
            Ok(new) => new,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(verifier) = hash(&new)? else { return Ok(Err(Reason::Busy)) };
        let record = Record::Argon2id(verifier);
        let now = session::now();
        let apply = |row: &mut Credential| {
            row.replace(record.expose(), now, settings::history())?;
            row.terms = Terms { expires_at, must_change };
            Ok::<_, Error>(())
        };
        let store = Store::open(Access::Write)?;
        // Not there, then there, then not there again: each step is somebody else's commit.
        let written = session::patiently(PATIENCE, || {
            let edited = store.edit(user, Duration::ZERO, |row| {
                apply(row)?;
                Ok(Edit::Replace)
            })?;
            let written = match edited {
                Written::Unchanged => store.insert(user, Duration::ZERO, |number| {
                    let mut row = Credential::new(number, user, &record, now);
                    row.terms = Terms { expires_at, must_change };
                    row
                })?,
                done_or_busy => done_or_busy,
            };
            let done = written == Written::Done && store.adopt(user)? != Written::Busy;
            Ok(done.then_some(()))
        })?;
        Ok(written.ok_or(Reason::Busy))
    })
}

/// `pv_change_password`: by somebody who knows the old one.
pub fn change(
    user: UserId,
    old: Submitted,
    new: Submitted,
    client: Option<IpAddr>,
) -> Result<Result<(), Denial>, Error> {
    let refused = |reason| {
        let answer = recorded(Action::Change, &user, client, || Ok(Err(reason)))?;
        Ok(answer.map_err(Denial::because))
    };
    session::require_writable()?;
    let new = match accept(&user, new) {
        Ok(new) => new,
        Err(reason) => return refused(reason),
    };
    let mut outcome = attempt(Request::new(user.clone(), old, client, Purpose::Change))?;
    for _ in 0..RENEWALS {
        let proof = match outcome {
            Outcome::Right(proof) => proof,
            Outcome::Denied(denial) => return Ok(Err(denial)),
        };
        // That it is the one that was just proven tells nothing that the proof has not told.
        if proof.is_of(new.password()) {
            return refused(Reason::Reused);
        }
        match require_unused(&user, &new, client) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return refused(reason),
            Err(Error::Locked) => return refused(Reason::Busy),
            Err(error) => return Err(error),
        }
        let Some(verifier) = hash(&new)? else { return refused(Reason::Busy) };
        let mut written = Written::Unchanged;
        let answer = recorded_if(Action::Change, &user, client, || {
            written = proof.replace(&verifier, PATIENCE)?;
            Ok(match written {
                Written::Done => Some(Ok(())),
                Written::Busy => Some(Err(Reason::Busy)),
                Written::Unchanged => None,
            })
        })?;
        match answer {
            Some(answer) => return Ok(answer.map_err(Denial::because)),
            // The record was changed between our look and our write: by another password, which makes
            // the old one wrong, or by a login that hashed the same one again.
            None => outcome = attempt(proof.again())?,
        }
    }
    refused(Reason::Busy)
}

/// `pv_has_password`.
pub fn has_password(user: &UserId) -> Result<bool, Error> {
    Store::open(Access::Read)?.has(user)
}

/// `pv_disable_user`: no password is accepted until `pv_enable_user`. Was there something to do?
pub fn disable(user: &UserId) -> Result<bool, Error> {
    let now = session::now();
    alter(Action::Disable, user, true, |state, _| {
        state.disabled_at.get_or_insert(now);
    })
}

/// `pv_enable_user`. Was there something to do?
pub fn enable(user: &UserId) -> Result<bool, Error> {
    alter(Action::Enable, user, true, |state, _| state.disabled_at = None)
}

/// `pv_require_change`: the password is only good for choosing another. Was there something to do?
pub fn require_change(user: &UserId) -> Result<bool, Error> {
    let now = session::now();
    alter(Action::RequireChange, user, false, |state, row| {
        if !state.of(row.terms, row.changed_at).must_change {
            state.require_change(now, row.changed_at);
        }
    })
}

/// `pv_delete_user`. Was there something to do?
pub fn delete(user: &UserId) -> Result<bool, Error> {
    edit(Action::Delete, user, |_| Ok(Edit::Delete))
}

/// `pv_unlock_user`: what was tried against the account is forgotten when the transaction commits. Was
/// there something to do?
pub fn unlock(user: &UserId) -> Result<bool, Error> {
    let answer = recorded_if(Action::Unlock, user, None, || {
        let charged = throttle::charged(user, throttle::cleared_by(Action::Unlock))?;
        Ok((!charged.is_empty()).then_some(Ok(())))
    })?;
    Ok(answer.is_some())
}

/// policy: length bound, NFC, then the rules.
pub fn accept(user: &UserId, submitted: Submitted) -> Result<NewPassword, Reason> {
    settings::rules().accept(Password::normalize(submitted)?, user, blocklist::contains)
}

/// hash: with today's parameters and a fresh salt. `None`: the server is busy with others.
pub fn hash(new: &NewPassword) -> Result<Option<Verifier>, Error> {
    let cost = settings::cost()?;
    let Some(mut slot) = HashSlot::take(Instant::now() + settings::queue_timeout()) else {
        return Ok(None);
    };
    let mut workspace = slot.workspace(Some(cost))?;
    Ok(Some(Verifier::create(new, cost, salt::random()?, &mut workspace)?))
}

/// Takes effect at once, whatever becomes of a transaction that holds the user's password: see [`Store::alter`].
pub fn alter(
    action: Action,
    user: &UserId,
    anew: bool,
    change: impl FnMut(&mut State, &Credential),
) -> Result<bool, Error> {
    let answer = recorded_if(action, user, None, || {
        match Store::open(Access::Write)?.alter(user, PATIENCE, anew, change)? {
            Written::Done => Ok(Some(Ok(()))),
            Written::Unchanged => Ok(None),
            Written::Busy => Err(Error::Busy),
        }
    })?;
    Ok(answer.is_some())
}

pub fn edit(
    action: Action,
    user: &UserId,
    edit: impl FnMut(&mut Credential) -> Result<Edit, Error>,
) -> Result<bool, Error> {
    let answer = recorded_if(action, user, None, || {
        match Store::open(Access::Write)?.edit(user, PATIENCE, edit)? {
            Written::Done => Ok(Some(Ok(()))),
            Written::Unchanged => Ok(None),
            Written::Busy => Err(Error::Busy),
        }
    })?;
    Ok(answer.is_some())
}

/// Makes a change and records it, as part of the transaction; or records why it was refused, whatever
/// becomes of the transaction. Its place in the audit is reserved before anything is changed.
pub fn recorded(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    make: impl FnOnce() -> Result<Answer, Error>,
) -> Result<Answer, Error> {
    Ok(recorded_if(action, user, client, || make().map(Some))?.unwrap_or(Ok(())))
}

/// The same where there may be nothing to do, which is not recorded.
pub fn recorded_if(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    make: impl FnOnce() -> Result<Option<Answer>, Error>,
) -> Result<Option<Answer>, Error> {
    recorded_with(action, user, client, &[], make)
}

/// The same, with budgets that are to be written at once, whatever becomes of the transaction.
pub fn recorded_with(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    carried: &[(Payer, Place)],
    make: impl FnOnce() -> Result<Option<Answer>, Error>,
) -> Result<Option<Answer>, Error> {
    session::require_writable()?;
    extension::require_not_new()?;
    // Where the answer has a reason, a table that somebody has locked is one.
    let has_reason = matches!(
        action,
        Action::Create | Action::Set | Action::Change | Action::Reset | Action::Import
    );
    let deadline = Instant::now() + settings::queue_timeout();
    match extension::require_recordable(deadline) {
        Err(Error::Locked) if has_reason => {
            statistics::count_unrecorded();
            return Ok(Some(Err(Reason::Busy)));
        }
        Err(Error::Locked) => {
            statistics::count_change_unrecorded();
            return Err(Error::Locked);
        }
        recordable => recordable?,
    }
    let prepared = transaction::prepare()?;
    let record = audit::record(action, Some(user), client);
    let answer = match make() {
        Err(Error::Locked) if has_reason => Some(Err(Reason::Busy)),
        answer => answer?,
    };
    match answer {
        Some(Ok(())) => {
            prepared.changed(
                record,
                &throttle::charged(user, throttle::cleared_by(action))?,
                carried,
                throttle::load,
            )?;
        }
        Some(Err(reason)) => audit::wait_for(prepared.refused(record, reason.into()))?,
        None => {}
    }
    Ok(answer)
}
