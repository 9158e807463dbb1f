//! The worker of one database: it takes events off the queue, writes them, and remembers the state
//! of the chain.
//!
//! One batch is one transaction. Any failure ends the worker, and the next one continues from what
//! is committed: entries leave the queue only after the commit.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use password_verify_core::rules::event::{Action, Event};
use password_verify_core::trail::chain::{Chain, Head, Opening, Why};
use password_verify_core::trail::fold::{Folding, Placed};
use pgrx::pg_sys;

use super::batch::Batch;
use super::ends::Ends;
use super::recount::Recount;
use super::tidy::Tidy;
use super::{signals, work};
use crate::counter;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::session::event::to_event;
use crate::pg::session::log;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::Unwritten;
use crate::pg::shared::central::HandOver;
use crate::pg::shared::class_counts::Tally;
use crate::pg::shared::class_counts::moves;
use crate::pg::shared::databases;
use crate::pg::shared::queue;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::events::Events;
use crate::pg::tables::keyed::RowKey;
use crate::pg::vault::cost_classes::CostClasses;
use password_verify_core::rules::throttle::PAYERS;

const BATCH: usize = 512;
/// How often folded events are checked for being due.
const FOLDS_EVERY: Duration = Duration::from_secs(1);

/// How often records that have moved to another cost class are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

pub struct Writer {
    number: usize,
    database: pg_sys::Oid,
    name: String,
    /// The table that holds the chain.
    events: pg_sys::Oid,
    chain: Chain,
    opened_at: i64,
    folding: Folding,
    /// Ended transactions whose end is not fully recorded yet.
    ends: Ends,
    folds_seen: Instant,
    /// When moved records were last counted.
    counted: Option<Instant>,
    tidy: Tidy,
    recount: Recount,
}

/// The results of a batch, which take effect once it is committed.
struct Done {
    chain: Chain,
    written: Vec<Unwritten>,
    cleared: BTreeSet<RowKey>,
    alerts: Vec<Event>,
    rows: i64,
}

impl From<Batch> for Done {
    fn from(batch: Batch) -> Self {
        let Batch { chain, written, cleared, alerts, rows, .. } = batch;
        Self { chain, written, cleared, alerts, rows }
    }
}

impl Writer {
    /// Reads where the previous worker stopped and completes transactions that have ended since.
    /// Opens a new epoch, unless the server has been running all the time and key, database and
    /// chain are unchanged.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when a table is missing, [`Error::Dropped`] when all are.
    pub fn begin(number: usize) -> Result<Self, Error> {
        let left = databases::handed_over(number);
        let mut folding = Folding::with_allowance(left.allowance);
        let mut ends = Ends::default();
        let (name, events, opened_at, why, done) = work::transaction(|| {
            let (chain, epoch) = next_chain(&left)?;
            let mut batch = Batch::open(chain)?;
            let why = epoch.as_ref().map(|opening| opening.why);
            let opened_at = match epoch {
                None => left.opened_at,
                Some(opening) => batch.open_epoch(&opening)?,
            };
            batch.folds.all()?.into_iter().for_each(|event| folding.restore(event));
            ends.resume(&mut batch, why == Some(Why::Restore), left.epoch == 0)?;
            let (name, events) = (work::database_name(server::database()), batch.events.id());
            Ok((name, events, opened_at, why, Done::from(batch)))
        })?;
        let mut writer = Self {
            number,
            database: server::database(),
            name,
            events,
            chain: done.chain.fork(),
            opened_at,
            folding,
            ends,
            folds_seen: Instant::now(),
            counted: None,
            tidy: Tidy::new(number),
            recount: Recount::default(),
        };
        if why.is_some() {
            // Whatever the previous worker was about to remove belonged to another chain.
            databases::hand_over(number, |left| (left.oldest, left.pruned_before) = (0, 0));
        }
        writer.finish(done)?;
        if why.is_some() {
            writer.log_head();
        }
        Ok(writer)
    }

    /// Writes the waiting entries and whatever else is due; false if there was nothing to write.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error. The worker cannot continue after one.
    pub fn batch(&mut self) -> Result<bool, Error> {
        let (entries, _) = queue::first(self.number, BATCH);
        let look_at_folds = self.folds_seen.elapsed() >= FOLDS_EVERY;
        let due = if look_at_folds { self.folding.due(server::now()) } else { Vec::new() };
        if look_at_folds {
            self.folds_seen = Instant::now();
        }
        let moved = self.moved();
        let nothing = entries.is_empty() && due.is_empty() && moved.is_empty();
        if nothing && !self.ends.is_waiting() {
            return Ok(false);
        }
        let count = entries.len();
        let done = work::transaction(|| {
            let mut batch = self.open_batch()?;
            for (touched, queued) in &entries {
                self.take(&mut batch, queued, touched)?;
            }
            for (key, event) in due {
                batch.folds.put(key, None)?;
                batch.append(&event)?;
            }
            for (key, event) in self.folding.dirty() {
                batch.folds.put(key, Some(&event))?;
            }
            batch.write_budgets(entries.iter().flat_map(|(touched, _)| *touched))?;
            self.ends.slice(&mut batch)?;
            if !moved.is_empty() {
                CostClasses::open(Access::Write)?.count(&moved)?;
            }
            Ok(Done::from(batch))
        })?;
        moves::counted(self.database, &moved);
        if !moved.is_empty() {
            self.counted = Some(Instant::now());
        }
        databases::committed(self.number, count);
        self.finish(done)?;
        Ok(true)
    }

    /// Records that have moved since the last count. Each count updates a few rows, once a second
    /// at most: while an old snapshot keeps their dead versions, every login has to pass them.
    fn moved(&self) -> Vec<Tally> {
        let due = self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY);
        if due || signals::is_stopping() { moves::waiting(self.database) } else { Vec::new() }
    }

    fn open_batch(&self) -> Result<Batch, Error> {
        let batch = Batch::open(self.chain.fork())?;
        if batch.events.id() == self.events { Ok(batch) } else { Err(Error::Replaced) }
    }

    fn finish(&mut self, done: Done) -> Result<(), Error> {
        let Done { chain, written, cleared, alerts, rows } = done;
        self.chain = chain;
        written.iter().for_each(|budget| budgets::written(budget, self.database));
        let (head, opened_at) = (self.chain.head(), self.opened_at);
        let (allowance, unfinished) = (self.folding.allowance(), self.ends.is_unfinished());
        databases::hand_over(self.number, |left| {
            left.unfinished = unfinished;
            (left.epoch, left.seq, left.mac) = (head.epoch, head.seq, head.mac);
            (left.opened_at, left.allowance) = (opened_at, allowance);
        });
        let counters = board::of(self.number);
        counters.count(counter::ROWS, rows);
        counters.count(counter::BATCHES, 1);
        alerts.iter().for_each(|event| log::alert(&self.name, event));
        if !cleared.is_empty() {
            // Cleared again, for a session that had read the budget before it was cleared.
            let done = work::transaction(|| {
                let mut batch = self.open_batch()?;
                cleared.into_iter().try_for_each(|account| batch.clear(account))?;
                Ok(Done::from(batch))
            })?;
            done.written.iter().for_each(|budget| budgets::written(budget, self.database));
        }
        work::report_statistics(false);
        Ok(())
    }

    fn take(
        &mut self,
        batch: &mut Batch,
        queued: &QueuedEvent,
        touched: &[u32; PAYERS],
    ) -> Result<(), Error> {
        if queued.action == Action::End as u8 {
            return self.ends.note_end(batch, queued.top_xid, queued.at);
        }
        let event = to_event(queued)?;
        if queued.xid != 0 {
            self.ends.note_change(batch, queued, touched)?;
        }
        let placed = if queued.hashed {
            self.folding.place_hashed(event)
        } else {
            self.folding.place(event)
        };
        match placed {
            Placed::Alone(event) => batch.append(&event),
            Placed::Folded(_) => Ok(()),
        }
    }

    /// Does the database hold any queue entry? Then an event is being prepared or waits to be
    /// written.
    pub fn is_expected(&self) -> bool {
        queue::first(self.number, 0).1
    }

    /// Cleans up a little while there is nothing else to do; false if nothing was due.
    ///
    /// # Errors
    /// Those of [`Writer::batch`].
    pub fn tidy(&mut self) -> Result<bool, Error> {
        if !self.tidy.is_due() || signals::is_stopping() {
            return Ok(false);
        }
        let now = server::now();
        let pruned = work::transaction(|| {
            self.tidy.budgets(now)?;
            self.tidy.announce(now, self.chain.head().epoch)
        })?;
        if let Some((before, event)) = pruned {
            self.write_alone(&event)?;
            self.tidy.announced(before);
        }
        let deleted = work::transaction(|| self.tidy.events())?;
        self.tidy.deleted(deleted);
        self.recount.slice(self.database, now);
        // Also if the epoch was opened in the future: the clock was set back.
        if (now - self.opened_at).abs() > self.tidy.epoch_length() {
            self.turn_epoch()?;
        }
        Ok(true)
    }

    fn write_alone(&mut self, event: &Event) -> Result<(), Error> {
        let done = work::transaction(|| {
            let mut batch = self.open_batch()?;
            batch.append(event)?;
            Ok(Done::from(batch))
        })?;
        self.finish(done)
    }

    fn turn_epoch(&mut self) -> Result<(), Error> {
        let previous = self.chain.head();
        let (key, opening) = new_epoch(Why::Daily, Some(previous));
        let (opened_at, done) = work::transaction(|| {
            let mut batch = Batch::open(Chain::open(key, previous.epoch + 1))?;
            let opened_at = batch.open_epoch(&opening)?;
            Ok((opened_at, Done::from(batch)))
        })?;
        self.opened_at = opened_at;
        self.finish(done)?;
        self.log_head();
        Ok(())
    }

    pub fn log_head(&self) {
        log::head(&self.name, self.chain.head());
    }

    /// Reports the remaining statistics, before the worker exits.
    pub fn end(&self) {
        work::report_statistics(true);
    }
}

/// The chain to continue; for a new one, also how its epoch opens.
fn next_chain(left: &HandOver) -> Result<(Chain, Option<Opening>), Error> {
    let events = Events::open(Access::Read)?;
    let previous = events.last()?.map(|row| Head {
        epoch: row.epoch,
        seq: row.seq,
        mac: row.mac.as_slice().try_into().unwrap_or_default(),
    });
    let before = match previous {
        Some(head) => events.since(head.epoch).next()?,
        None => None,
    };
    let before = before
        .and_then(|row| row.event.ok())
        .and_then(|event| event.detail.as_deref().and_then(Opening::parse));
    let why = match &before {
        Some(o) if (o.system, o.database) != here() => Why::Restore,
        Some(o) if o.timeline != work::identity().1 => Why::Promotion,
        Some(o) if o.key != keyring::active().1 => Why::Key,
        Some(_)
            if previous.is_some_and(|head| {
                (head.epoch, head.seq, head.mac) == (left.epoch, left.seq, left.mac)
            }) =>
        {
            let (key, _) = keyring::active();
            return Ok((Chain::resume(key, left.epoch, left.seq + 1, left.mac), None));
        }
        _ => Why::Start,
    };
    let (key, opening) = new_epoch(why, previous);
    let epoch = previous.map_or(1, |head| head.epoch + 1);
    Ok((Chain::open(key, epoch), Some(opening)))
}

fn new_epoch(
    why: Why,
    previous: Option<Head>,
) -> (password_verify_core::trail::chain::ChainKey, Opening) {
    let (chain_key, key) = keyring::active();
    let (system, database) = here();
    let timeline = work::identity().1;
    (chain_key, Opening { why, previous, key, system, database, timeline })
}

/// System identifier and database OID, by which a restored chain is recognised.
fn here() -> (u64, u32) {
    (work::identity().0, server::database().to_u32())
}
