//! Records that were made anew at a login: the login leaves them, the worker writes them.
//!
//! A login that wrote its user's row would hold it until the application's transaction ends. A renewal is
//! worth no wait at all: where the row is held, the table locked, no place free or the server stopped, the
//! next login makes another one.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use password_verify_core::rules::user_id::UserId;
use pgrx::{PgTryBuilder, pg_sys};

use super::work;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::shared::renewals;
use crate::pg::shared::renewals::Taken;
use crate::pg::vault::store::{Edit, Store};

/// Written between two batches of the audit, which somebody waits for.
const AT_ONCE: usize = 8;
/// How often a failure is told.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Is there one for the database of this worker?
pub fn any() -> bool {
    renewals::any(server::database())
}

/// Writes some of those that wait, each in a transaction of its own; false if there were none.
pub fn write() -> bool {
    let taken = renewals::take(server::database(), AT_ONCE);
    let found = !taken.is_empty();
    if found {
        work::asynchronously(|| taken.into_iter().for_each(|renewal| put(&renewal)));
    }
    found
}

/// One that fails is lost, and nothing else: whatever somebody has put on the table is no reason for a worker
/// to end, at which all logins would wait for another.
fn put(renewal: &Taken) {
    let attempt = AssertUnwindSafe(|| work::transaction(|| replace(renewal)).map_err(|_| None));
    let done =
        PgTryBuilder::new(attempt).catch_others(|error| Err(Some(work::message(&error)))).execute();
    let Err(why) = done else { return };
    // SAFETY: a worker outside of any function of PostgreSQL; whatever transaction is open ends here.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    complain(&why.unwrap_or_else(|| "the record cannot be read".into()));
}

fn replace(renewal: &Taken) -> Result<(), Error> {
    let Ok(user) = UserId::from_text(&renewal.user) else { return Ok(()) };
    let Some(store) = Store::open_at_once(Access::Write)? else { return Ok(()) };
    store.edit(&user, Duration::ZERO, |row| {
        let renewed = row.renew(renewal.replaces, &renewal.text);
        Ok(if renewed { Edit::Replace } else { Edit::Keep })
    })?;
    Ok(())
}

fn complain(why: &str) {
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    if LAST.get().is_none_or(|last| last.elapsed() > COMPLAINTS) {
        LAST.set(Some(Instant::now()));
        pgrx::warning!("password_verify: a record could not be made anew at a login: {why}");
    }
}
