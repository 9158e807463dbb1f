//! Makes a change and its audit event: both are part of the transaction, but the event of a refusal
//! outlives a rollback.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::rules::event::Action;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::throttle::Payer;
use password_verify_core::rules::user_id::UserId;

use crate::account::failures;
use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::gate::audit;
use crate::pg::server;
use crate::pg::session::{extension, statistics, transaction};
use crate::pg::shared::budgets::BudgetPlace;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::settings;

/// Why a change was not made: [`Stop`] if the answer has a `reason`, otherwise [`Error`].
pub trait Unmade: From<Error> + Copy {
    /// The denial that is recorded, if it is one.
    fn denial(self) -> Option<Denial>;

    /// Turns a table that another session has locked into [`Reason::Busy`], if reasons exist. Only
    /// right while nothing has been written: writes take every lock first (`Table::prepare`).
    fn or_busy(self) -> Self;

    /// No place in the audit came free.
    fn unrecorded() -> Self;
}

impl Unmade for Stop {
    fn denial(self) -> Option<Denial> {
        match self {
            Self::Denied(denial) => Some(denial),
            Self::Failed(_) => None,
        }
    }

    fn or_busy(self) -> Self {
        if self == Self::Failed(Error::Locked) { Reason::Busy.into() } else { self }
    }

    fn unrecorded() -> Self {
        statistics::count_unrecorded();
        Reason::Busy.into()
    }
}

impl Unmade for Error {
    fn denial(self) -> Option<Denial> {
        None
    }

    fn or_busy(self) -> Self {
        self
    }

    fn unrecorded() -> Self {
        statistics::count_change_unrecorded();
        Self::Locked
    }
}

/// Makes a change and records it as part of the transaction, or records why it was refused.
/// Reserves a place in the audit before anything is changed. False: there was nothing to do, which
/// is not recorded.
///
/// # Errors
/// What `make` returns; [`Error::ReadOnly`], [`Error::JustInstalled`], [`Error::AuditBusy`],
/// [`Error::AuditNotWritten`].
pub fn recorded<E: Unmade>(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    recorded_with(action, Some(user), client, &[], make)
}

/// Like [`recorded`], about a secret that is kept for the user, or a job with it; an empty name is none, and so is the
/// job 0.
///
/// # Errors
/// As [`recorded`].
pub fn recorded_about<E: Unmade>(
    action: Action,
    user: Option<&UserId>,
    (secret, job): (&str, i64),
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    let mut queued = audit::queued_event(action, user, None);
    queued.name_secret(secret, job);
    recorded_as(queued, None, &[], make)
}

/// Like [`recorded`], for all users at once if none is named, and with budgets that are written at once and
/// survive a rollback.
///
/// # Errors
/// As [`recorded`].
pub fn recorded_with<E: Unmade>(
    action: Action,
    user: Option<&UserId>,
    client: Option<IpAddr>,
    carried: &[(Payer, BudgetPlace)],
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    let queued = audit::queued_event(action, user, client);
    recorded_as(queued, user.map(|user| (user, action)), carried, make)
}

fn recorded_as<E: Unmade>(
    mut queued: QueuedEvent,
    about: Option<(&UserId, Action)>,
    carried: &[(Payer, BudgetPlace)],
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    server::require_writable()?;
    extension::require_not_new()?;
    match extension::require_recordable(Instant::now() + settings::queue_timeout()) {
        Err(Error::Locked) => return Err(E::unrecorded()),
        recordable => recordable?,
    }
    let prepared = transaction::prepare()?;
    queued.at = server::now();
    let made = make().map_err(E::or_busy);
    match made {
        Ok(true) => {
            let cleared = about.map(|(user, action)| failures::charged(user, action.clears()));
            let cleared = cleared.transpose()?.unwrap_or_default();
            prepared.changed(queued, &cleared, carried, failures::load_to_clear)?;
        }
        Ok(false) => {}
        Err(why) => {
            if let Some(denial) = why.denial() {
                audit::wait_for(prepared.record_apart(queued, denial.reason.into()))?;
            }
        }
    }
    made
}

/// Records that a change was refused before it began, and returns the reason.
pub fn refused(action: Action, user: &UserId, client: Option<IpAddr>, why: Stop) -> Stop {
    match why.or_busy() {
        why @ Stop::Denied(_) => recorded(action, user, client, || Err(why)).err().unwrap_or(why),
        failed @ Stop::Failed(_) => failed,
    }
}
