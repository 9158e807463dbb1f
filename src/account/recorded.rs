//! A change and its record: as part of the transaction, or, where it is refused, whatever becomes of that.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::rules::event::Action;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::throttle::Payer;
use password_verify_core::rules::user_id::UserId;

use crate::answer::{Denial, Stop};
use crate::error::Error;
use crate::gate::{audit, budgets};
use crate::pg::server;
use crate::pg::session::{extension, statistics, transaction};
use crate::pg::shared::budgets::Place;
use crate::settings;

/// What a change that is not made ends in: [`Stop`] where the answer has a `reason`, or else [`Error`].
pub trait Unmade: From<Error> + Copy {
    /// What it is on record as.
    fn denial(self) -> Option<Denial>;

    /// A table that another session has locked is a reason, where there is one.
    fn or_busy(self) -> Self;

    /// There is no place to record it in.
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

/// Makes a change and records it as part of the transaction, or records why it was refused. Its place in
/// the audit is reserved before anything is changed. False: there was nothing to do, which is not recorded.
///
/// # Errors
/// What `make` says; [`Error::ReadOnly`], [`Error::JustInstalled`], [`Error::AuditBusy`],
/// [`Error::AuditNotWritten`].
pub fn recorded<E: Unmade>(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    recorded_with(action, user, client, &[], make)
}

/// The same, with budgets that are to be written at once, whatever becomes of the transaction.
///
/// # Errors
/// As [`recorded`].
pub fn recorded_with<E: Unmade>(
    action: Action,
    user: &UserId,
    client: Option<IpAddr>,
    carried: &[(Payer, Place)],
    make: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    server::require_writable()?;
    extension::require_not_new()?;
    match extension::require_recordable(Instant::now() + settings::queue_timeout()) {
        Err(Error::Locked) => return Err(E::unrecorded()),
        recordable => recordable?,
    }
    let prepared = transaction::prepare()?;
    let record = audit::note(action, Some(user), client);
    let made = make().map_err(E::or_busy);
    match made {
        Ok(true) => {
            let cleared = budgets::charged(user, action.clears())?;
            prepared.changed(record, &cleared, carried, budgets::load)?;
        }
        Ok(false) => {}
        Err(why) => {
            if let Some(denial) = why.denial() {
                audit::wait_for(prepared.refused(record, denial.reason.into()))?;
            }
        }
    }
    made
}

/// Records that a change was refused before it was begun.
pub fn refused(action: Action, user: &UserId, client: Option<IpAddr>, why: Stop) -> Stop {
    match why.or_busy() {
        why @ Stop::Denied(_) => recorded(action, user, client, || Err(why)).err().unwrap_or(why),
        failed @ Stop::Failed(_) => failed,
    }
}
