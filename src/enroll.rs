//! What happens to a new password, and to an account beside its password.
//!
//! Everything here is part of the caller's transaction: a sign-up and its password commit or vanish
//! together. Nothing is hashed before it is clear that it may be written.

use std::time::Duration;

use password_verify_core::account::{Account, Timestamp};
use password_verify_core::policy::{NewPassword, Password, Submitted};
use password_verify_core::reason::Reason;
use password_verify_core::user_id::UserId;
use password_verify_core::verifier::Verifier;

use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::session::{self, PATIENCE};
use crate::pg::store::{Edit, Found, Store, Written};
use crate::pg::table::Access;
use crate::verify::{Outcome, Request, attempt};
use crate::{salt, settings};

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
    session::require_writable()?;
    let new = match accept(user, submitted) {
        Ok(new) => new,
        Err(reason) => return Ok(Err(reason)),
    };
    if has_password(user)? {
        return Ok(Err(Reason::AlreadySet));
    }
    let verifier = hash(&new)?;
    let now = session::now();
    let written = Store::open(Access::Write)?
        .insert(user, PATIENCE, |number| Credential::new(number, user, &verifier, now))?;
    Ok(match written {
        Written::Done => Ok(()),
        Written::Unchanged => Err(Reason::AlreadySet),
        Written::Busy => Err(Reason::Busy),
    })
}

/// `pv_set_password`: whatever was there before. A disabled account stays disabled.
pub fn set(
    user: &UserId,
    submitted: Submitted,
    must_change: bool,
    expires_at: Option<Timestamp>,
) -> Result<Answer, Error> {
    session::require_writable()?;
    let new = match accept(user, submitted) {
        Ok(new) => new,
        Err(reason) => return Ok(Err(reason)),
    };
    let verifier = hash(&new)?;
    let now = session::now();
    let apply = |row: &mut Credential| {
        row.verifier = verifier.expose();
        row.changed_at = now;
        row.account = Account { must_change, expires_at, ..row.account };
    };
    let store = Store::open(Access::Write)?;
    // Not there, then there, then not there again: each step is somebody else's commit.
    let written = session::patiently(PATIENCE, || {
        let edited = store.edit(user, Duration::ZERO, |row| {
            apply(row);
            Edit::Replace
        })?;
        let written = match edited {
            Written::Unchanged => store.insert(user, Duration::ZERO, |number| {
                let mut row = Credential::new(number, user, &verifier, now);
                apply(&mut row);
                row
            })?,
            done_or_busy => done_or_busy,
        };
        Ok((written == Written::Done).then_some(()))
    })?;
    Ok(written.ok_or(Reason::Busy))
}

/// `pv_change_password`: by somebody who knows the old one.
pub fn change(user: UserId, old: Submitted, new: Submitted) -> Result<Answer, Error> {
    session::require_writable()?;
    let new = match accept(&user, new) {
        Ok(new) => new,
        Err(reason) => return Ok(Err(reason)),
    };
    let mut outcome = attempt(Request::new(user, old))?;
    for _ in 0..RENEWALS {
        let Outcome::Right(proof) = outcome else { return Ok(Err(Reason::InvalidCredentials)) };
        if let Err(reason) = proof.account().may_change(session::now()) {
            return Ok(Err(reason));
        }
        if proof.is_of(new.password()) {
            return Ok(Err(Reason::Reused));
        }
        match proof.replace(&hash(&new)?, PATIENCE)? {
            Written::Done => return Ok(Ok(())),
            Written::Busy => return Ok(Err(Reason::Busy)),
            // The record was changed between our look and our write: by another password, which makes
            // the old one wrong, or by a login that hashed the same one again.
            Written::Unchanged => outcome = attempt(proof.again())?,
        }
    }
    Ok(Err(Reason::Busy))
}

/// `pv_has_password`.
pub fn has_password(user: &UserId) -> Result<bool, Error> {
    Ok(matches!(Store::open(Access::Read)?.find(user)?, Found::Own(_)))
}

/// `pv_disable_user`: no password is accepted until `pv_enable_user`. Was there something to do?
pub fn disable(user: &UserId) -> Result<bool, Error> {
    let now = session::now();
    alter(user, |account| {
        account.disabled_at.get_or_insert(now);
    })
}

/// `pv_enable_user`. Was there something to do?
pub fn enable(user: &UserId) -> Result<bool, Error> {
    alter(user, |account| account.disabled_at = None)
}

/// `pv_require_change`: the password is only good for choosing another. Was there something to do?
pub fn require_change(user: &UserId) -> Result<bool, Error> {
    alter(user, |account| account.must_change = true)
}

/// `pv_delete_user`. Was there something to do?
pub fn delete(user: &UserId) -> Result<bool, Error> {
    edit(user, |_| Edit::Delete)
}

/// policy: length bound, NFC, then the rules.
fn accept(user: &UserId, submitted: Submitted) -> Result<NewPassword, Reason> {
    settings::rules().accept(Password::normalize(submitted)?, user)
}

/// hash: with today's parameters and a fresh salt.
fn hash(new: &NewPassword) -> Result<Verifier, Error> {
    Ok(Verifier::create(new, settings::cost()?, salt::fresh()?)?)
}

fn alter(user: &UserId, change: impl Fn(&mut Account)) -> Result<bool, Error> {
    edit(user, |row| {
        let before = row.account;
        change(&mut row.account);
        if row.account == before { Edit::Keep } else { Edit::Replace }
    })
}

fn edit(user: &UserId, edit: impl FnMut(&mut Credential) -> Edit) -> Result<bool, Error> {
    session::require_writable()?;
    match Store::open(Access::Write)?.edit(user, PATIENCE, edit)? {
        Written::Done => Ok(true),
        Written::Unchanged => Ok(false),
        Written::Busy => Err(Error::Busy),
    }
}
