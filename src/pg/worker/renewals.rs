//! Stores records that were renewed at a login: the login hands them over and the worker writes
//! them.
//!
//! A login that wrote its user's row would hold the row lock until the application's transaction
//! ends. A renewal is not worth any wait: if the row or the table is locked, the queue is full or
//! the server has stopped, the next login makes another.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use password_verify_core::rules::user_id::UserId;
use password_verify_core::trail::anchor::Sums;
use pgrx::{PgTryBuilder, pg_sys};

use super::anchored::Anchored;
use super::served::Served;
use super::work;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::shared::renewals;
use crate::pg::shared::renewals::Taken;
use crate::pg::vault::shares;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::write::Edit;

/// Renewals written between two batches of audit events, for which sessions may be waiting.
const AT_ONCE: usize = 8;
/// How often a failure is logged.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Is a renewal waiting for this worker's database?
pub fn any() -> bool {
    renewals::any(server::database())
}

/// Writes some of the waiting renewals, each in a transaction of its own; false if there were none.
pub fn write(served: Served, anchored: &mut Option<Anchored>) -> bool {
    let taken = renewals::take(server::database(), AT_ONCE);
    let found = !taken.is_empty();
    if found {
        work::asynchronously(|| {
            taken.into_iter().for_each(|renewal| put(served, &renewal, anchored))
        });
    }
    found
}

/// Writes one renewal. If that fails, say for an index or a CHECK that a DBA has added, only the
/// renewal is lost: if the worker ended, all logins would wait for another.
fn put(served: Served, renewal: &Taken, anchored: &mut Option<Anchored>) {
    let before = anchored.clone();
    let replaced = || {
        let replaced = served.transaction(|| replace(renewal, before.as_ref()));
        replaced.map_err(|error| match error {
            // The user is gone with the table: nothing to complain of.
            Error::Replaced => None,
            _ => Some("the record cannot be read".to_owned()),
        })
    };
    let done = PgTryBuilder::new(AssertUnwindSafe(replaced))
        .catch_others(|error| Err(Some(work::message(&error))))
        .execute();
    let why = match done {
        Ok(after) => {
            *anchored = after.or(before);
            return;
        }
        Err(why) => why,
    };
    // SAFETY: a worker outside of any PostgreSQL function; any open transaction ends here.
    unsafe { pg_sys::AbortOutOfAnyTransaction() };
    why.iter().for_each(|why| complain(why));
}

fn replace(renewal: &Taken, anchored: Option<&Anchored>) -> Result<Option<Anchored>, Error> {
    let Ok(user) = UserId::from_text(&renewal.user) else { return Ok(None) };
    let Some(store) = Store::open_at_once(Access::Write)? else { return Ok(None) };
    // Of one that failed.
    shares::take();
    store.edit(&user, Duration::ZERO, |row| {
        let renewed = row.renew(renewal.replaces, &renewal.text);
        Ok(if renewed { Edit::Replace } else { Edit::Keep })
    })?;
    Anchored::add_any(anchored, Sums { credentials: shares::take(), ..Sums::default() })
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
