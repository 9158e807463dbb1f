//! Transactions that may fail without ending the worker.

use std::panic::AssertUnwindSafe;

use pgrx::{PgTryBuilder, pg_sys};

use super::work;
use crate::error::Error;
use crate::pg::report::ErrorReport;

/// The result of [`attempt`].
pub enum Attempt<T> {
    Done(T),
    /// A table is locked: try again later.
    Locked,
    Failed,
}

/// Runs a transaction of its own. An index or a CHECK that a DBA has added may raise errors, which
/// do not end the worker.
pub fn attempt<T>(what: &str, then: impl FnOnce() -> Result<T, Error>) -> Attempt<T> {
    let transaction = AssertUnwindSafe(|| work::transaction(then).map_err(Failure::Ours));
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
        Failure::Ours(Error::Locked) => Attempt::Locked,
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
