//! The changes of this session's transaction, and what has to happen when it ends.
//!
//! Every change is recorded before the transaction can commit; the commit waits for that once, not
//! once per change. When the transaction has ended the worker is told, and asks PostgreSQL which
//! changes were committed, savepoints included.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Instant;

use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::rules::throttle::Budget;
use pgrx::pg_sys;

use super::statistics;
use crate::error::Error;
use crate::pg::keys::keyring;
use crate::pg::report::ErrorReport;
use crate::pg::server;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, BudgetPlace, Stored};
use crate::pg::shared::central::NONE;
use crate::pg::shared::databases;
use crate::pg::shared::queue;
use crate::pg::shared::queue::Ticket;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::vault::shares;
use crate::settings;
use password_verify_core::rules::throttle::{PAYERS, Payer};

/// Budgets kept in the cache, so that the session itself clears them the moment its transaction
/// commits. The worker clears any others a little later.
const CLEARED_AT_ONCE: usize = 4;

struct Changes {
    /// The entry that will tell the worker that the transaction has ended.
    end: u32,
    queued: QueuedEvent,
    last: Option<Ticket>,
    /// Tickets of its latest changes, oldest first: see [`ahead`].
    recent: VecDeque<Ticket>,
    clears: Vec<(pg_sys::SubTransactionId, BudgetPlace)>,
    /// Budgets beyond [`CLEARED_AT_ONCE`]. Cleared at once as well if they are in the cache by
    /// then.
    more: Vec<(pg_sys::SubTransactionId, BudgetKey)>,
}

thread_local! {
    static CHANGES: RefCell<Option<Changes>> = const { RefCell::new(None) };
    /// The entry reserved for the change in progress.
    static PREPARED: Cell<u32> = const { Cell::new(NONE) };
}

/// Refuses a transaction that has written anything, by which way ever: it may yet be rolled back.
///
/// # Errors
/// [`Error::HasChanges`].
pub fn require_no_id() -> Result<(), Error> {
    // SAFETY: reads the state of this transaction.
    let id = unsafe { pg_sys::GetTopTransactionIdIfAny() };
    if id == pg_sys::InvalidTransactionId { Ok(()) } else { Err(Error::HasChanges) }
}

/// Refuses a transaction with changes of its own, which no sum of rows has yet.
///
/// # Errors
/// [`Error::HasChanges`].
pub fn require_unchanged() -> Result<(), Error> {
    if CHANGES.with_borrow(Option::is_none) { Ok(()) } else { Err(Error::HasChanges) }
}

/// The id of the transaction of this session, or of its part since a savepoint, which has changed something.
pub fn id() -> u64 {
    // SAFETY: a plain value; it assigns an id if there is none yet.
    unsafe { pg_sys::GetCurrentFullTransactionId().value }
}

/// Reserves what recording a change takes, before the change is made.
///
/// # Errors
/// [`Error::AuditBusy`] when there is no room, or no worker, in time.
pub fn prepare() -> Result<Prepared, Error> {
    register_callbacks();
    // Of a change that failed.
    shares::take();
    let deadline = Instant::now() + settings::audit_timeout();
    let database = databases::mine()?;
    let served = databases::await_worker(database, deadline) && wait_for_oldest(deadline);
    let entry = served.then(|| queue::reserve(database, deadline)).flatten();
    let entry = entry.ok_or_else(unrecorded)?;
    // Invariant: one change is made at a time, and its entry is used or released.
    assert_eq!(PREPARED.replace(entry), NONE, "a change inside a change");
    Ok(Prepared { database, deadline })
}

/// How many changes of one transaction may wait for the worker. A transaction that makes them
/// faster than they are written waits for its own: other sessions' events queue behind this many at
/// most, not behind a full queue.
fn ahead() -> usize {
    (settings::audit_queue() / 32).max(1)
}

/// Waits until fewer than [`ahead`] changes of this transaction are waiting for the worker; false
/// if the deadline passes first.
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

/// The entry for a change that is about to be made; released when dropped.
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
    /// Records what is not part of the transaction: why a change was refused.
    pub fn record_apart(self, mut queued: QueuedEvent, outcome: Outcome) -> Ticket {
        (queued.at, queued.outcome) = (server::now(), outcome as u8);
        count(self.database, &queued);
        queue::submit(PREPARED.replace(NONE), &queued, [NONE; PAYERS])
    }

    /// Records a change that is part of the transaction now. `clears` are budgets of its user to be
    /// forgotten when the transaction commits; `carried` are others to be stored at once.
    ///
    /// # Errors
    /// [`Error::AuditBusy`]; errors of `load`.
    pub fn changed(
        self,
        mut queued: QueuedEvent,
        clears: &[(Payer, BudgetKey)],
        carried: &[(Payer, BudgetPlace)],
        load: impl Fn(BudgetKey) -> Result<Option<Stored>, Error>,
    ) -> Result<(), Error> {
        // SAFETY: part of the caller's transaction, like the change itself; the ids are plain
        // values.
        let (xid, sub, oid) = unsafe {
            let sub = pg_sys::GetCurrentSubTransactionId();
            (pg_sys::GetCurrentFullTransactionId().value, sub, pg_sys::MyDatabaseId)
        };
        // SAFETY: the transaction has an id by now.
        let top = unsafe { pg_sys::GetTopFullTransactionId().value };
        (queued.at, queued.outcome, queued.xid) = (server::now(), Outcome::Pending as u8, xid);
        queued.top_xid = top;
        queued.share = shares::take().to_be_bytes();
        if CHANGES.with_borrow(Option::is_none) {
            let end = queue::reserve(self.database, self.deadline).ok_or_else(unrecorded)?;
            let mut queued = queued;
            queued.action = Action::End as u8;
            queued.xid = top;
            queued.user_len = 0;
            queued.share = [0; 16];
            let changes = Changes {
                end,
                queued,
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
            queued.clears |= payer.bit();
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
        count(self.database, &queued);
        let ticket = queue::submit(PREPARED.replace(NONE), &queued, touched);
        CHANGES.with_borrow_mut(|changes| {
            if let Some(changes) = changes {
                changes.last = Some(ticket);
                changes.recent.push_back(ticket);
            }
        });
        Ok(())
    }
}

fn count(database: usize, queued: &QueuedEvent) {
    board::of(database).count(crate::counter::of(queued.action, queued.outcome), 1);
}

/// Waits, before the transaction commits, until all its changes are recorded. With a keyring, also where events are
/// asynchronous: what the changes add to the sum of the tables would be lost by a crash.
fn before_commit() -> Result<(), Error> {
    let last = CHANGES.with_borrow(|changes| changes.as_ref().and_then(|changes| changes.last));
    let waits = |ticket: &Ticket| ticket.is_to_wait() || keyring::is_there();
    last.filter(waits).map_or(Ok(()), await_written)
}

/// Waits until the event behind the ticket is committed.
///
/// # Errors
/// [`Error::AuditNotWritten`] after `audit_timeout`.
pub fn await_written(ticket: Ticket) -> Result<(), Error> {
    if ticket.wait(Instant::now() + settings::audit_timeout()) {
        return Ok(());
    }
    statistics::count_not_written();
    Err(Error::AuditNotWritten)
}

/// Clears budgets and reports the end of the transaction. Nothing here can fail.
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
    changes.queued.at = server::now();
    queue::submit(changes.end, &changes.queued, touched);
    changes.clears.drain(..).for_each(|(_, place)| budgets::unpin(place));
}

/// Forgets what a rolled-back savepoint and those inside it would have cleared.
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
        // These are in the order of their savepoints: those of the rolled-back ones are at the end.
        while changes.more.last().is_some_and(|(of, _)| *of >= sub) {
            changes.more.pop();
        }
    });
}

fn register_callbacks() {
    static EXIT: Registered = Registered::new(false);
    static END: Registered = Registered::new(false);
    callbacks::at_exit(&EXIT, on_exit);
    callbacks::at_end(&END, on_transaction, on_savepoint);
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
