//! Transactions that may fail without ending the worker.

use std::panic::AssertUnwindSafe;

use pgrx::{PgTryBuilder, pg_sys};

use super::served::Served;
use super::work;
use crate::error::Error;
use crate::pg::report::ErrorReport;

/// The result of [`attempt`].
pub enum Attempt<T> {
    Done(T),
    /// A table is locked, or another one now: try again later.
    Locked,
    Failed,
}

/// Runs a transaction of its own on these tables. An index or a CHECK that a DBA has added may raise errors, which
/// do not end the worker.
pub fn attempt<T>(
    served: Served,
    what: &str,
    then: impl FnOnce() -> Result<T, Error>,
) -> Attempt<T> {
    let transaction = AssertUnwindSafe(|| served.transaction(then).map_err(Failure::Ours));
    let done = PgTryBuilder::new(transaction)
        .catch_others(|error| Err(Failure::Theirs(work::message(&error))))
        .execute();
    let failure = match done {
        Ok(value) => return Attempt::Done(value),
        Err(failure) => failure,
    };
    // SAFETY: a worker outside of any PostgreSQL function; any open transaction ends here.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    match failure {
        Failure::Ours(Error::Locked | Error::Replaced) => Attempt::Locked,
        Failure::Ours(error) => {
            ErrorReport::from(error).report(pgrx::PgLogLevel::WARNING);
            Attempt::Failed
        }
        Failure::Theirs(why) => {
            pgrx::warning!("password_verify: {what}: {why}");
            Attempt::Failed
        }
    }
}

enum Failure {
    Ours(Error),
    Theirs(String),
}
