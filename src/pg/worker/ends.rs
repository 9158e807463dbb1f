//! How transactions that have made changes end: a row for each part of them says whether it is there to stay.
//!
//! An import with a savepoint a row has a million parts. A few parts are done with at once; of more than
//! that, a slice with each batch, so that whoever logs in meanwhile waits for a slice, not for all of it.
//! Nothing is kept in memory but which transactions are being ended: a million parts cost a look-up, an
//! event, and a row of `open_change` less each, some 30 microseconds, and are done with in about a minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use password_verify_core::rules::event::{Action, Event, Outcome};

use super::batch::Batch;
use super::signals;
use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::central::NONE;
use crate::pg::shared::note::Note;
use crate::pg::tables::changes;
use crate::pg::tables::changes::{Clearing, Ending, Open, OpenChanges, Row};
use password_verify_core::rules::throttle::PAYERS;

/// A transaction with fewer rows than this is ended at once.
const AT_ONCE: usize = 16;
/// Rows of a slice, and how long it may take.
const SLICE: usize = 1000;
const SLICE_TIME: Duration = Duration::from_millis(10);
/// How long a worker that begins may end small transactions: nobody logs in before it has begun.
const BEGIN_TIME: Duration = Duration::from_millis(200);

/// The transactions that are being ended.
#[derive(Default)]
pub struct Ends {
    waiting: VecDeque<Ending>,
    /// The last part that was seen, which most often is that of the next change too.
    last: Option<(u64, u64)>,
}

impl Ends {
    /// Goes on where the last worker has stopped. `restored`: the transactions were another server's.
    /// `first`: no worker of this database has been there since this server started, so that nobody will say
    /// when the transactions end that are over. Small ones are ended here, before anybody logs in, for
    /// [`BEGIN_TIME`] at most: who has reset a password is not told to wait because the server crashed since.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn resume(&mut self, batch: &mut Batch, restored: bool, first: bool) -> Result<(), Error> {
        let start = Instant::now();
        for row in batch.changes.transactions()? {
            let (top_xid, at, orderly) = (row.top_xid(), server::now(), false);
            let ending = match row {
                Row::Ending(ending) => Ending { ours: ending.ours && !restored, ..ending },
                _ if restored || first && changes::outcome(top_xid).is_some() => {
                    Ending { top_xid, at, ours: !restored, orderly, done_to: 0 }
                }
                _ => continue,
            };
            let in_time = ending.done_to == 0 && start.elapsed() < BEGIN_TIME;
            if in_time && end_at_once(batch, &ending)? {
                // Where the last worker has said that it waits.
                batch.changes.remove(&Row::Ending(ending))?;
            } else {
                self.wait(batch, ending)?;
            }
        }
        Ok(())
    }

    /// Is there a slice to do, by this worker or another?
    pub fn is_unfinished(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Is there one for this worker? A server that shuts down does not wait for it.
    pub fn is_waiting(&self) -> bool {
        self.is_unfinished() && !signals::is_stopping()
    }

    /// A change, whose transaction is open.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn note_change(
        &mut self,
        batch: &Batch,
        record: &Note,
        touched: &[u32; PAYERS],
    ) -> Result<(), Error> {
        let Note { xid, top_xid, at, .. } = *record;
        let place = batch.chain.head();
        let (epoch, first_seq) = (place.epoch, place.seq + 1);
        let open = Open { xid, top_xid, epoch, first_seq, since: at };
        if self.last.replace((top_xid, xid)) != Some((top_xid, xid)) && !batch.changes.has(&open) {
            batch.changes.put(&Row::Part(open))?;
        }
        for payer in record.cleared() {
            if let Some(account) = batch.account(record, payer)? {
                let by_session = touched[payer as usize] != NONE;
                batch.changes.put(&Row::Clearing(Clearing { open, account, by_session }))?;
            }
        }
        Ok(())
    }

    /// A transaction with changes has ended.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn note_end(&mut self, batch: &mut Batch, top_xid: u64, at: i64) -> Result<(), Error> {
        let ending = Ending { top_xid, at, ours: true, orderly: true, done_to: 0 };
        if end_at_once(batch, &ending)? { Ok(()) } else { self.wait(batch, ending) }
    }

    fn wait(&mut self, batch: &Batch, ending: Ending) -> Result<(), Error> {
        self.waiting.push_back(ending);
        batch.changes.put(&Row::Ending(ending))
    }

    /// Some parts of the first transaction that waits.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
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
            batch.changes.remove(&Row::Ending(ending))
        } else {
            batch.changes.put(&Row::Ending(ending))
        }
    }
}

/// Ends a transaction that has few rows; false where it has more.
fn end_at_once(batch: &mut Batch, ending: &Ending) -> Result<bool, Error> {
    let rows = batch.changes.of(ending.top_xid, 0, AT_ONCE)?;
    let few = rows.len() < AT_ONCE;
    if few {
        rows.iter().try_for_each(|row| end(batch, ending, row))?;
    }
    Ok(few)
}

fn end(batch: &mut Batch, ending: &Ending, row: &Row) -> Result<(), Error> {
    let outcome = |xid| match ending.ours {
        true => changes::outcome(xid).unwrap_or(Outcome::Unknown),
        false => Outcome::Unknown,
    };
    match row {
        Row::Ending(_) => {}
        Row::Clearing(Clearing { open, account, by_session }) => {
            let done = *by_session && ending.orderly;
            if !done && outcome(open.xid) == Outcome::Committed {
                batch.clear(*account)?;
            }
        }
        Row::Part(open) => {
            let mut event = Event::new(ending.at, Action::End, outcome(open.xid));
            (event.xid, event.since) = (Some(open.xid), open.since);
            batch.append(&event)?;
        }
    }
    batch.changes.remove(row)
}
