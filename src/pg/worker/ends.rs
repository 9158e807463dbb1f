//! Records how transactions that changed something ended: an event for each subtransaction says
//! whether it was committed.
//!
//! An import with one savepoint per row has a million subtransactions. A few are finished at once;
//! more are finished in slices, one with each batch, so that a concurrent login waits for one slice
//! and not for all. Memory holds only the list of transactions being ended. Each subtransaction
//! costs a look-up, an event and the removal of a row of `open_change`, some 30 microseconds in
//! all, and a million take about a minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use password_verify_core::rules::event::{Action, Event, Outcome};

use super::batch::Batch;
use super::signals;
use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::central::NONE;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::open_changes;
use crate::pg::tables::open_changes::{ChangeRow, Clearing, Ending, Open, OpenChanges, Part};
use password_verify_core::rules::throttle::PAYERS;

/// A transaction with fewer rows than this is finished at once.
const AT_ONCE: usize = 16;
/// Rows in one slice, and the longest time one may take.
const SLICE: usize = 1000;
const SLICE_TIME: Duration = Duration::from_millis(10);
/// How long a starting worker may spend on small transactions: until it has started, logins wait.
const BEGIN_TIME: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Ends {
    waiting: VecDeque<Ending>,
    /// The row of the last subtransaction seen, and whether it is stored as it is; the next change usually
    /// belongs to the same.
    last: Option<(Part, bool)>,
}

impl Ends {
    /// Continues where the previous worker stopped. `restored`: the transactions ran on another
    /// server. `first`: this is the first worker of the database since the server started, so no
    /// backend will report the end of transactions that are already over. Small ones are finished
    /// here, before any login and within [`BEGIN_TIME`], so that after a crash a user who has just
    /// reset a password need not wait.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn resume(&mut self, batch: &mut Batch, restored: bool, first: bool) -> Result<(), Error> {
        let start = Instant::now();
        for row in batch.changes.transactions()? {
            let (top_xid, at, orderly) = (row.top_xid(), server::now(), false);
            let ending = match row {
                ChangeRow::Ending(ending) => Ending { ours: ending.ours && !restored, ..ending },
                _ if restored || first && open_changes::outcome(top_xid).is_some() => {
                    Ending { top_xid, at, ours: !restored, orderly, done_to: 0 }
                }
                _ => continue,
            };
            let in_time = ending.done_to == 0 && start.elapsed() < BEGIN_TIME;
            if in_time && end_at_once(batch, &ending)? {
                // The row in which the previous worker noted that this transaction is waiting.
                batch.changes.remove(&ChangeRow::Ending(ending))?;
            } else {
                self.wait(batch, ending)?;
            }
        }
        Ok(())
    }

    /// Is a slice left to do, by this worker or its successor?
    pub fn is_unfinished(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Is a slice left for this worker? A server that is shutting down does not wait for it.
    pub fn is_waiting(&self) -> bool {
        self.is_unfinished() && !signals::is_stopping()
    }

    /// Notes a change by a transaction that is still open.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn note_change(
        &mut self,
        batch: &Batch,
        queued: &QueuedEvent,
        touched: &[u32; PAYERS],
    ) -> Result<(), Error> {
        let QueuedEvent { xid, top_xid, at, .. } = *queued;
        let place = batch.chain.head();
        let (epoch, first_seq) = (place.epoch, place.seq + 1);
        let open = Open { xid, top_xid, epoch, first_seq, since: at };
        let same = |(part, _): &(Part, bool)| (part.open.top_xid, part.open.xid) == (top_xid, xid);
        if !self.last.as_ref().is_some_and(same) {
            self.flush(batch)?;
            let stored = batch.changes.part(&open)?;
            self.last = Some((stored.unwrap_or(Part { open, share: 0 }), stored.is_some()));
        }
        let share = u128::from_be_bytes(queued.share);
        if let Some((part, stored)) = &mut self.last {
            part.share = part.share.wrapping_add(share);
            *stored &= share == 0;
        }
        for payer in queued.cleared() {
            if let Some(account) = batch.account(queued, payer)? {
                let by_session = touched[payer as usize] != NONE;
                batch.changes.put(&ChangeRow::Clearing(Clearing { open, account, by_session }))?;
            }
        }
        Ok(())
    }

    /// Stores the row of the last subtransaction seen.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn flush(&mut self, batch: &Batch) -> Result<(), Error> {
        if let Some((part, stored)) = &mut self.last
            && !std::mem::replace(stored, true)
        {
            batch.changes.put(&ChangeRow::Part(*part))?;
        }
        Ok(())
    }

    /// Notes that a transaction with changes has ended.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn note_end(&mut self, batch: &mut Batch, top_xid: u64, at: i64) -> Result<(), Error> {
        self.flush(batch)?;
        let ending = Ending { top_xid, at, ours: true, orderly: true, done_to: 0 };
        if end_at_once(batch, &ending)? { Ok(()) } else { self.wait(batch, ending) }
    }

    fn wait(&mut self, batch: &Batch, ending: Ending) -> Result<(), Error> {
        self.waiting.push_back(ending);
        batch.changes.put(&ChangeRow::Ending(ending))
    }

    /// Finishes one slice of the transaction that has waited longest.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn slice(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let Some(ending) = self.waiting.front_mut().filter(|_| !signals::is_stopping()) else {
            return Ok(());
        };
        let start = Instant::now();
        let rows = batch.changes.of(ending.top_xid, ending.done_to, SLICE)?;
        let mut all = rows.len() < SLICE;
        for row in rows {
            if start.elapsed() > SLICE_TIME {
                all = false;
                break;
            }
            end(batch, ending, &row)?;
            ending.done_to = OpenChanges::place_of(&row);
        }
        let ending = *ending;
        if all {
            self.waiting.pop_front();
            batch.changes.remove(&ChangeRow::Ending(ending))
        } else {
            batch.changes.put(&ChangeRow::Ending(ending))
        }
    }
}

/// Finishes a transaction if it has fewer than [`AT_ONCE`] rows; otherwise does nothing and returns
/// false.
fn end_at_once(batch: &mut Batch, ending: &Ending) -> Result<bool, Error> {
    let rows = batch.changes.of(ending.top_xid, 0, AT_ONCE)?;
    let few = rows.len() < AT_ONCE;
    if few {
        rows.iter().try_for_each(|row| end(batch, ending, row))?;
    }
    Ok(few)
}

fn end(batch: &mut Batch, ending: &Ending, row: &ChangeRow) -> Result<(), Error> {
    let outcome = |xid| match ending.ours {
        true => open_changes::outcome(xid).unwrap_or(Outcome::Unknown),
        false => Outcome::Unknown,
    };
    match row {
        ChangeRow::Ending(_) => {}
        ChangeRow::Clearing(Clearing { open, account, by_session }) => {
            let done = *by_session && ending.orderly;
            if !done && outcome(open.xid) == Outcome::Committed {
                batch.clear(*account)?;
            }
        }
        ChangeRow::Part(Part { open, share }) => {
            let outcome = outcome(open.xid);
            match outcome {
                Outcome::Committed => batch.credentials = batch.credentials.wrapping_add(*share),
                Outcome::Unknown if *share != 0 => batch.unknown.push(*share),
                _ => {}
            }
            let mut event = Event::new(ending.at, Action::End, outcome);
            (event.xid, event.since) = (Some(open.xid), open.since);
            batch.append(&event)?;
        }
    }
    batch.changes.remove(row)
}
