//! The worker of one database: takes what waits, writes it, and remembers where it stands.
//!
//! One batch is one transaction. Whatever fails ends the worker, and the next one goes on from what is
//! committed: the entries of the queue are taken off it only then.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use password_verify_core::chain::{Chain, Head, Opening, Why};
use password_verify_core::event::{Action, Event};
use password_verify_core::fold::{Folding, Placed};
use pgrx::pg_sys;

use super::batch::Batch;
use super::cost_classes::CostClasses;
use super::ends::Ends;
use super::journal::Journal;
use super::keyed::Key;
use super::record::to_event;
use super::recount::Recount;
use super::shared::budgets::{self, SEATS, Unwritten};
use super::shared::databases::{self, Legacy};
use super::shared::moves::{self, Tally};
use super::shared::queue::{self, Record};
use super::shared::segment;
use super::table::Access;
use super::tidy::Tidy;
use super::{keyring, log, session, work, worker};
use crate::counter;
use crate::error::Error;

/// Entries of one batch.
const BATCH: usize = 512;
/// How often it is looked whether a fold's minute is over.
const FOLDS_EVERY: Duration = Duration::from_secs(1);

/// How often records are counted that have moved from one class of cost to another.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The state of the worker of one database.
pub struct Writer {
    number: usize,
    database: pg_sys::Oid,
    name: String,
    /// The table that the chain is in.
    journal: pg_sys::Oid,
    chain: Chain,
    opened_at: i64,
    folding: Folding,
    /// Transactions with changes that have ended and are not yet on record as ended.
    ends: Ends,
    folds_seen: Instant,
    /// When records were counted that had moved.
    counted: Option<Instant>,
    tidy: Tidy,
    recount: Recount,
}

/// What a batch has done, to be believed once it is committed.
struct Done {
    chain: Chain,
    written: Vec<Unwritten>,
    cleared: BTreeSet<Key>,
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
    /// Reads where the last worker has stopped and completes what ended meanwhile. Opens a new epoch, unless
    /// this server has been running since and nothing is different.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when a table is missing, [`Error::Dropped`] when all are.
    pub fn begin(number: usize) -> Result<Self, Error> {
        let legacy = databases::legacy(number);
        let mut folding = Folding::with_allowance(legacy.allowance);
        let mut ends = Ends::default();
        let (name, journal, opened_at, why, done) = work::transaction(|| {
            let (chain, epoch) = next_chain(&legacy)?;
            let mut batch = Batch::open(chain)?;
            let why = epoch.as_ref().map(|opening| opening.why);
            let opened_at = match epoch {
                None => legacy.opened_at,
                Some(opening) => batch.open_epoch(&opening)?,
            };
            batch.folds.all()?.into_iter().for_each(|event| folding.restore(event));
            ends.resume(&mut batch, why == Some(Why::Restore), legacy.epoch == 0)?;
            let (name, journal) = (work::database_name(session::database()), batch.journal.id());
            Ok((name, journal, opened_at, why, Done::from(batch)))
        })?;
        let mut writer = Self {
            number,
            database: session::database(),
            name,
            journal,
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
            // What the last worker was about to remove was of another chain.
            databases::bequeath(number, |legacy| (legacy.oldest, legacy.pruned_before) = (0, 0));
        }
        writer.finish(done)?;
        if why.is_some() {
            writer.log_head();
        }
        Ok(writer)
    }

    /// Writes what waits; false if nothing did.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own. The worker is of no use afterwards.
    pub fn batch(&mut self) -> Result<bool, Error> {
        let (entries, _) = queue::first(self.number, BATCH);
        let look_at_folds = self.folds_seen.elapsed() >= FOLDS_EVERY;
        let due = if look_at_folds { self.folding.due(session::now()) } else { Vec::new() };
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
            for (touched, record) in &entries {
                self.take(&mut batch, record, touched)?;
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

    /// Records that have moved since the last look. Versions of few rows are left behind, which every login passes
    /// where an old snapshot keeps them: one of a row in a second.
    fn moved(&self) -> Vec<Tally> {
        let due = self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY);
        if due || worker::is_stopping() { moves::waiting(self.database) } else { Vec::new() }
    }

    /// The tables, unless they are not those that this worker has begun with.
    fn open_batch(&self) -> Result<Batch, Error> {
        let batch = Batch::open(self.chain.fork())?;
        if batch.journal.id() == self.journal { Ok(batch) } else { Err(Error::Replaced) }
    }

    /// What follows a commit.
    fn finish(&mut self, done: Done) -> Result<(), Error> {
        let Done { chain, written, cleared, alerts, rows } = done;
        self.chain = chain;
        written.iter().for_each(|budget| budgets::written(budget, self.database));
        let (head, opened_at) = (self.chain.head(), self.opened_at);
        let (allowance, unfinished) = (self.folding.allowance(), self.ends.is_unfinished());
        databases::bequeath(self.number, |legacy| {
            legacy.unfinished = unfinished;
            (legacy.epoch, legacy.seq, legacy.mac) = (head.epoch, head.seq, head.mac);
            (legacy.opened_at, legacy.allowance) = (opened_at, allowance);
        });
        let counters = segment::database(self.number);
        counters.count(counter::ROWS, rows);
        counters.count(counter::BATCHES, 1);
        alerts.iter().for_each(|event| log::alert(&self.name, event));
        if !cleared.is_empty() {
            // Once more, for a session that had read the budget before it was cleared.
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

    /// One entry of the queue.
    fn take(
        &mut self,
        batch: &mut Batch,
        record: &Record,
        touched: &[u32; SEATS],
    ) -> Result<(), Error> {
        if record.action == Action::End as u8 {
            return self.ends.note_end(batch, record.top_xid, record.at);
        }
        let event = to_event(record)?;
        if record.xid != 0 {
            self.ends.note_change(batch, record, touched)?;
        }
        let placed = if record.hashed {
            self.folding.place_hashed(event)
        } else {
            self.folding.place(event)
        };
        match placed {
            Placed::Alone(event) => batch.append(&event),
            Placed::Folded(_) => Ok(()),
        }
    }

    /// Is an attempt being made whose event will come?
    pub fn is_expected(&self) -> bool {
        queue::first(self.number, 0).1
    }

    /// What is done while there is nothing else to do, a little at a time; false if there was none.
    ///
    /// # Errors
    /// As [`Writer::batch`].
    pub fn tidy(&mut self) -> Result<bool, Error> {
        if !self.tidy.is_due() || worker::is_stopping() {
            return Ok(false);
        }
        let now = session::now();
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
        // Also one of a time that is yet to come: the clock was set back.
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

    /// Tells the server log where the chain stands.
    pub fn log_head(&self) {
        log::head(&self.name, self.chain.head());
    }

    /// The worker leaves.
    pub fn end(&self) {
        work::report_statistics(true);
    }
}

/// The chain to go on with, and if it is a new one, how it opens.
fn next_chain(legacy: &Legacy) -> Result<(Chain, Option<Opening>), Error> {
    let journal = Journal::open(Access::Read)?;
    let previous = journal.last()?.map(|row| Head {
        epoch: row.epoch,
        seq: row.seq,
        mac: row.mac.as_slice().try_into().unwrap_or_default(),
    });
    let before = match previous {
        Some(head) => journal.since(head.epoch).next()?,
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
                (head.epoch, head.seq, head.mac) == (legacy.epoch, legacy.seq, legacy.mac)
            }) =>
        {
            let (key, _) = keyring::active();
            return Ok((Chain::resume(key, legacy.epoch, legacy.seq + 1, legacy.mac), None));
        }
        _ => Why::Start,
    };
    let (key, opening) = new_epoch(why, previous);
    let epoch = previous.map_or(1, |head| head.epoch + 1);
    Ok((Chain::open(key, epoch), Some(opening)))
}

fn new_epoch(why: Why, previous: Option<Head>) -> (password_verify_core::chain::ChainKey, Opening) {
    let (chain_key, key) = keyring::active();
    let (system, database) = here();
    let timeline = work::identity().1;
    (chain_key, Opening { why, previous, key, system, database, timeline })
}

/// System identifier and database: what a restored chain is told by.
fn here() -> (u64, u32) {
    (work::identity().0, session::database().to_u32())
}
