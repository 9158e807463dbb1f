//! `pv_create_password` and `pv_set_password`: the caller need not know an old password.

use std::time::Duration;

use password_verify_core::kept::record::Record;
use password_verify_core::rules::account::{Terms, Timestamp};
use password_verify_core::rules::event::Action;
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::new_password::{accept, hash, written};
use super::recorded::recorded;
use crate::answer::Stop;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::write::Edit;
use crate::pg::vault::store::{Store, Written};
use crate::settings;

/// `pv_create_password`: sets the first password of a user.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::Busy`], what [`accept`] returns.
pub fn create(user: &UserId, submitted: Submitted) -> Result<(), Stop> {
    recorded(Action::Create, user, None, || {
        let new = accept(user, submitted)?;
        if has_password(user)? {
            return Err(Reason::AlreadySet.into());
        }
        let record = Record::Argon2id(hash(&new)?);
        let now = server::now();
        let inserted = Store::open(Access::Write)?
            .insert(user, PATIENCE, |number| Credential::new(number, user, &record, now))?;
        written(inserted, Reason::AlreadySet)
    })
    .map(drop)
}

/// `pv_set_password`: sets or replaces a password. A disabled account stays disabled.
///
/// # Errors
/// [`Reason::Busy`], what [`accept`] returns.
pub fn set(
    user: &UserId,
    submitted: Submitted,
    must_change: bool,
    expires_at: Option<Timestamp>,
) -> Result<(), Stop> {
    recorded(Action::Set, user, None, || {
        let new = accept(user, submitted)?;
        let record = Record::Argon2id(hash(&new)?);
        put(user, &record, Terms { expires_at, must_change })
    })
    .map(drop)
}

/// Replaces the user's record, or inserts the first one.
fn put(user: &UserId, record: &Record, terms: Terms) -> Result<bool, Stop> {
    let now = server::now();
    let store = Store::open(Access::Write)?;
    // Retry, because commits of other transactions can make the row appear and vanish.
    let done = server::patiently(PATIENCE, || {
        let edited = store.edit(user, Duration::ZERO, |row| {
            row.replace(record.expose(), now, settings::history())?;
            row.terms = terms;
            Ok(Edit::Replace)
        })?;
        let written = match edited {
            Written::Unchanged => store.insert(user, Duration::ZERO, |number| {
                let mut row = Credential::new(number, user, record, now);
                row.terms = terms;
                row
            })?,
            done_or_busy => done_or_busy,
        };
        let done = written == Written::Done && store.adopt(user)? != Written::Busy;
        Ok(done.then_some(()))
    })?;
    done.map(|()| true).ok_or(Reason::Busy.into())
}

/// `pv_has_password`: whether the user has a password.
///
/// # Errors
/// What [`Store::has`] returns.
pub fn has_password(user: &UserId) -> Result<bool, Error> {
    Store::open(Access::Read)?.has(user)
}
