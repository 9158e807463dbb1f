//! What this session's transaction has changed, and what is to happen when it ends.
//!
//! Every change is recorded with its transaction before the transaction can commit, and waited for once,
//! not once a change. When the transaction has ended the worker is told so, and finds out from PostgreSQL
//! which of its changes are there to stay; savepoints included.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Instant;

use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::rules::throttle::Budget;
use pgrx::pg_sys;

use super::statistics;
use crate::error::Error;
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, Place, Stored};
use crate::pg::shared::central::NONE;
use crate::pg::shared::databases;
use crate::pg::shared::note::Note;
use crate::pg::shared::queue;
use crate::pg::shared::queue::Ticket;
use crate::settings;
use password_verify_core::rules::throttle::{PAYERS, Payer};

/// Budgets that are kept in the cache, so that the session itself clears them the moment its
/// transaction commits. Of others the worker makes sure a little later.
const CLEARED_AT_ONCE: usize = 4;

/// A transaction that has made changes.
struct Changes {
    /// The entry that will tell the worker of its end.
    end: u32,
    record: Note,
    last: Option<Ticket>,
    /// The newest of its changes, oldest first: see [`ahead`].
    recent: VecDeque<Ticket>,
    clears: Vec<(pg_sys::SubTransactionId, Place)>,
    /// Budgets beyond those. Cleared at once too if they are in the cache by then.
    more: Vec<(pg_sys::SubTransactionId, BudgetKey)>,
}

thread_local! {
    static CHANGES: RefCell<Option<Changes>> = const { RefCell::new(None) };
    /// The entry of the change that is being made.
    static PREPARED: Cell<u32> = const { Cell::new(NONE) };
}

/// Reserves what recording a change takes, before it is made.
///
/// # Errors
/// [`Error::AuditBusy`] when there is no room, or no worker, in time.
pub fn prepare() -> Result<Prepared, Error> {
    register_callbacks();
    let deadline = Instant::now() + settings::audit_timeout();
    let database = databases::mine()?;
    let served = databases::await_worker(database, deadline) && wait_for_oldest(deadline);
    let entry = served.then(|| queue::reserve(database, deadline)).flatten();
    let entry = entry.ok_or_else(unrecorded)?;
    // Invariant: one change is made at a time, and what it has prepared is used or dropped.
    assert_eq!(PREPARED.replace(entry), NONE, "a change inside a change");
    Ok(Prepared { database, deadline })
}

/// Changes of one transaction that may wait for the worker. One that makes them faster than they are written
/// waits for itself: what others do is written behind this many at most, not behind a full queue.
fn ahead() -> usize {
    (settings::audit_queue() / 32).max(1)
}

/// Waits until no more changes of this transaction than that are on their way; false if there are by the
/// deadline.
fn wait_for_oldest(deadline: Instant) -> bool {
    let oldest = CHANGES.with_borrow_mut(|changes| {
        let recent = &mut changes.as_mut()?.recent;
        if recent.len() < ahead() { None } else { recent.pop_front() }
    });
    oldest.is_none_or(|ticket| ticket.wait(deadline))
}

fn unrecorded() -> Error {
    statistics::count_change_unrecorded();
    Error::AuditBusy
}

/// An entry for a change that is about to be made. Dropped, it is given back.
#[must_use]
pub struct Prepared {
    database: usize,
    deadline: Instant,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let entry = PREPARED.replace(NONE);
    if entry != NONE {
        queue::cancel(entry);
    }
}

impl Prepared {
    /// Records what was not changed, and why; not part of the transaction.
    pub fn refused(self, mut record: Note, outcome: Outcome) -> Ticket {
        (record.at, record.outcome) = (server::now(), outcome as u8);
        count(self.database, &record);
        queue::submit(PREPARED.replace(NONE), &record, [NONE; PAYERS])
    }

    /// Records a change that is part of the transaction now. `clears` are budgets of its user that are to
    /// be forgotten when the transaction commits, `carried` others that are to be written at once.
    ///
    /// # Errors
    /// [`Error::AuditBusy`]; what `load` says.
    pub fn changed(
        self,
        mut record: Note,
        clears: &[(Payer, BudgetKey)],
        carried: &[(Payer, Place)],
        load: impl Fn(BudgetKey) -> Result<Option<Stored>, Error>,
    ) -> Result<(), Error> {
        // SAFETY: part of the caller's transaction, as the change itself; ids are plain values.
        let (xid, sub, oid) = unsafe {
            let sub = pg_sys::GetCurrentSubTransactionId();
            (pg_sys::GetCurrentFullTransactionId().value, sub, pg_sys::MyDatabaseId)
        };
        // SAFETY: as above.
        let top = unsafe { pg_sys::GetTopFullTransactionId().value };
        (record.at, record.outcome, record.xid) = (server::now(), Outcome::Pending as u8, xid);
        record.top_xid = top;
        if CHANGES.with_borrow(Option::is_none) {
            let end = queue::reserve(self.database, self.deadline).ok_or_else(unrecorded)?;
            let mut record = record;
            record.action = Action::End as u8;
            record.xid = top;
            record.user_len = 0;
            let changes = Changes {
                end,
                record,
                last: None,
                recent: VecDeque::new(),
                clears: Vec::new(),
                more: Vec::new(),
            };
            CHANGES.set(Some(changes));
        }
        let mut touched = [NONE; PAYERS];
        carried.iter().for_each(|(payer, place)| touched[*payer as usize] = place.0);
        for (payer, key) in clears {
            record.clears |= payer.bit();
            let room = CHANGES.with_borrow(|changes| {
                changes.as_ref().is_some_and(|changes| changes.clears.len() < CLEARED_AT_ONCE)
            });
            if room {
                let note = |place| {
                    CHANGES.with_borrow_mut(|changes| {
                        if let Some(changes) = changes {
                            changes.clears.push((sub, place));
                        }
                    });
                };
                let place = budgets::pin(oid, *payer, key, self.deadline, note, || load(*key))?;
                touched[*payer as usize] = place.map_or(NONE, |place| place.0);
            } else {
                CHANGES.with_borrow_mut(|changes| {
                    if let Some(changes) = changes {
                        changes.more.push((sub, *key));
                    }
                });
            }
        }
        count(self.database, &record);
        let ticket = queue::submit(PREPARED.replace(NONE), &record, touched);
        CHANGES.with_borrow_mut(|changes| {
            if let Some(changes) = changes {
                changes.last = Some(ticket);
                changes.recent.push_back(ticket);
            }
        });
        Ok(())
    }
}

fn count(database: usize, record: &Note) {
    board::of(database).count(crate::counter::of(record.action, record.outcome), 1);
}

/// Before the transaction commits: every change it has made is recorded.
fn before_commit() -> Result<(), Error> {
    let last = CHANGES.with_borrow(|changes| changes.as_ref().and_then(|changes| changes.last));
    let Some(ticket) = last.filter(|ticket| ticket.is_to_wait()) else {
        return Ok(());
    };
    let deadline = Instant::now() + settings::audit_timeout();
    if ticket.wait(deadline) {
        return Ok(());
    }
    statistics::count_not_written();
    Err(Error::AuditNotWritten)
}

/// The transaction has ended. Nothing here can fail.
fn after_end(committed: bool) {
    let Some(mut changes) = CHANGES.take() else { return };
    let mut touched = [NONE; PAYERS];
    let rules = settings::throttle();
    for (i, (_, place)) in changes.clears.iter().enumerate() {
        if committed {
            budgets::alter(*place, &rules, Budget::clear);
        }
        touched[i] = place.0;
    }
    if committed {
        for (_, key) in &changes.more {
            budgets::clear_if_present(server::database(), key);
        }
    }
    changes.record.at = server::now();
    queue::submit(changes.end, &changes.record, touched);
    changes.clears.drain(..).for_each(|(_, place)| budgets::unpin(place));
}

/// A savepoint was rolled back: what it and those inside it would have cleared stays.
fn after_rollback_to(sub: pg_sys::SubTransactionId) {
    CHANGES.with_borrow_mut(|changes| {
        let Some(changes) = changes else { return };
        changes.clears.retain(|(of, place)| {
            let stays = *of < sub;
            if !stays {
                budgets::unpin(*place);
            }
            stays
        });
        // In the order in which they came: what a savepoint and those inside it have added is at the end.
        while changes.more.last().is_some_and(|(of, _)| *of >= sub) {
            changes.more.pop();
        }
    });
}

fn register_callbacks() {
    thread_local! {
        static REGISTERED: Cell<bool> = const { Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: plain functions of this library, which stays loaded.
        unsafe {
            pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null());
            pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(on_savepoint), std::ptr::null_mut());
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    let done = match event {
        XACT_EVENT_PRE_COMMIT => before_commit(),
        XACT_EVENT_PRE_PREPARE if CHANGES.with_borrow(Option::is_some) => Err(Error::Prepare),
        XACT_EVENT_COMMIT => {
            after_end(true);
            Ok(())
        }
        XACT_EVENT_ABORT => {
            after_end(false);
            Ok(())
        }
        _ => Ok(()),
    };
    if let Err(error) = done {
        ErrorReport::from(error).report(pgrx::PgLogLevel::ERROR);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_savepoint(
    event: pg_sys::SubXactEvent::Type,
    sub: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        after_rollback_to(sub);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    give_back();
}
