//! What a worker writes: the events of its database, chained, and the budgets they have changed.
//!
//! One batch is one transaction. Whatever fails ends the worker, and the next one goes on from what is
//! committed: the entries of the queue are taken off it only then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use password_verify_core::chain::{Chain, Head, Opening, Why};
use password_verify_core::event::{Action, Event, Outcome};
use password_verify_core::fold::{Folding, Placed};
use password_verify_core::throttle::Kind;
use password_verify_core::user_id::UserId;
use pgrx::pg_sys;

use super::changes::{self, Open, OpenChanges};
use super::folds::Folds;
use super::journal::Journal;
use super::key::ActiveKey;
use super::keyring;
use super::ledger::Ledger;
use super::log;
use super::record::{to_event, user_of};
use super::session;
use super::shared::budgets::{self, Place, Unwritten};
use super::shared::queue::{self, NONE, Record};
use super::shared::segment;
use super::table::Access;
use super::tidy::Tidy;
use super::work;
use crate::error::Error;
use crate::{counter, settings};

/// Entries of one batch.
const BATCH: usize = 512;
/// How often it is looked whether a fold's minute is over.
const FOLDS_EVERY: Duration = Duration::from_secs(1);

/// The state of the worker of one database.
pub struct Writer {
    number: usize,
    database: pg_sys::Oid,
    name: String,
    chain: Chain,
    opened_at: i64,
    folding: Folding,
    /// Transactions that have made changes and not ended, by their id.
    open: BTreeMap<u64, Vec<Open>>,
    folds_seen: Instant,
    tidy: Tidy,
}

/// One transaction of the worker.
struct Batch {
    chain: Chain,
    journal: Journal,
    ledger: Ledger,
    folds: Folds,
    changes: OpenChanges,
    written: Vec<Unwritten>,
    cleared: BTreeSet<String>,
    alerts: Vec<Event>,
    rows: i64,
}

impl Writer {
    /// Reads where the last worker has stopped, opens a new epoch, and completes what ended meanwhile.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when a table is missing, [`Error::Dropped`] when all are.
    pub fn begin(number: usize) -> Result<Self, Error> {
        let database = session::database();
        let (writer, written) = work::transaction(|| {
            work::become_owner()?;
            let journal = Journal::open(Access::Read)?;
            let last = journal.last()?;
            let previous = last.as_ref().map(|row| Head {
                epoch: row.epoch,
                seq: row.seq,
                mac: row.mac.as_slice().try_into().unwrap_or_default(),
            });
            let before = match previous {
                Some(head) => opening(&journal, head.epoch)?,
                None => None,
            };
            let (key, id) = keyring::active();
            let (system, timeline) = work::identity();
            let why = match &before {
                Some(o) if (o.system, o.database) != (system, database.to_u32()) => Why::Restore,
                Some(o) if o.timeline != timeline => Why::Promotion,
                Some(o) if o.key != id => Why::Key,
                _ => Why::Start,
            };
            let detail =
                Opening { why, previous, key: id, system, database: database.to_u32(), timeline };
            let mut batch =
                Batch::open(Chain::open(key, previous.map_or(1, |head| head.epoch + 1)))?;
            let mut event = Event::new(session::now(), Action::Epoch, Outcome::Recorded);
            event.detail = Some(detail.to_detail());
            batch.append(&event)?;
            let mut folding = Folding::new();
            batch.folds.all()?.into_iter().for_each(|event| folding.restore(event));
            let mut open = BTreeMap::new();
            for change in batch.changes.all()? {
                batch.resume(change, why == Why::Restore, &mut open)?;
            }
            let name = work::database_name(database);
            let (chain, cleared) = (batch.chain.fork(), std::mem::take(&mut batch.cleared));
            batch.clear_again(database, &cleared)?;
            let written = std::mem::take(&mut batch.written);
            let now = Instant::now();
            let writer = Self {
                number,
                database,
                name,
                chain,
                opened_at: event.at,
                folding,
                open,
                folds_seen: now,
                tidy: Tidy::new(),
            };
            Ok((writer, written))
        })?;
        written.iter().for_each(|budget| budgets::written(budget, database));
        log::head(&writer.name, "epoch opened", writer.chain.head());
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
        if entries.is_empty() && due.is_empty() {
            return Ok(false);
        }
        let count = entries.len();
        let (chain, written, cleared, alerts, rows) = work::transaction(|| {
            let mut batch = Batch::open(self.chain.fork())?;
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
            batch.write_budgets(self.database, &entries)?;
            let Batch { chain, written, cleared, alerts, rows, .. } = batch;
            Ok((chain, written, cleared, alerts, rows))
        })?;
        self.chain = chain;
        written.iter().for_each(|budget| budgets::written(budget, self.database));
        super::shared::databases::committed(self.number, count);
        let counters = segment::database(self.number);
        counters.count(counter::ROWS, rows);
        counters.count(counter::BATCHES, 1);
        alerts.iter().for_each(|event| log::alert(&self.name, event));
        if !cleared.is_empty() {
            work::transaction(|| {
                Batch::open(self.chain.fork())?.clear_again(self.database, &cleared)
            })?;
        }
        work::report_statistics(false);
        Ok(true)
    }

    /// One entry of the queue.
    fn take(
        &mut self,
        batch: &mut Batch,
        record: &Record,
        touched: &[u32; 4],
    ) -> Result<(), Error> {
        if record.action == Action::End as u8 {
            for change in self.open.remove(&record.top_xid).unwrap_or_default() {
                let outcome = changes::outcome(change.xid).unwrap_or(Outcome::Unknown);
                batch.end(&change, outcome, record.at)?;
            }
            return Ok(());
        }
        let event = to_event(record)?;
        if record.xid != 0 {
            let place = batch.chain.head();
            let all = self.open.entry(record.top_xid).or_default();
            if !all.iter().any(|change| change.xid == record.xid) {
                let (xid, top_xid) = (record.xid, record.top_xid);
                let (epoch, first_seq) = (place.epoch, place.seq + 1);
                let (since, clears) = (record.at, Vec::new());
                let change = Open { xid, top_xid, epoch, first_seq, since, clears };
                batch.changes.put(&change)?;
                all.push(change);
            }
            if record.clears
                && touched[0] == NONE
                && let Some(change) = all.iter_mut().find(|change| change.xid == record.xid)
            {
                change.clears.push(user_of(record));
            }
        }
        match self.folding.place(event) {
            Placed::Alone(event) => batch.append(&event),
            Placed::Folded(_) => Ok(()),
        }
    }

    /// Is an attempt being made whose event will come?
    pub fn is_expected(&self) -> bool {
        queue::first(self.number, 0).1
    }

    /// What is done while there is nothing else to do: budgets that have come to rest, events that are
    /// older than the retention, an epoch that is a day old.
    ///
    /// # Errors
    /// As [`Writer::batch`].
    pub fn tidy(&mut self) -> Result<(), Error> {
        if !self.tidy.is_due() {
            return Ok(());
        }
        let now = session::now();
        let pruned = work::transaction(|| {
            self.tidy.budgets(now)?;
            self.tidy.events(now, self.chain.head().epoch)
        })?;
        if let Some(event) = pruned {
            self.write_alone(&event)?;
        }
        if now - self.opened_at > self.tidy.epoch_length() {
            self.turn_epoch(now)?;
        }
        Ok(())
    }

    fn write_alone(&mut self, event: &Event) -> Result<(), Error> {
        self.chain = work::transaction(|| {
            let mut batch = Batch::open(self.chain.fork())?;
            batch.append(event)?;
            Ok(batch.chain)
        })?;
        Ok(())
    }

    fn turn_epoch(&mut self, now: i64) -> Result<(), Error> {
        let previous = self.chain.head();
        let (key, id) = keyring::active();
        let (system, timeline) = work::identity();
        let database = self.database.to_u32();
        let (why, previous_head) = (Why::Daily, Some(previous));
        let detail = Opening { why, previous: previous_head, key: id, system, database, timeline };
        let mut event = Event::new(now, Action::Epoch, Outcome::Recorded);
        event.detail = Some(detail.to_detail());
        self.chain = Chain::open(key, previous.epoch + 1);
        self.write_alone(&event)?;
        self.opened_at = now;
        log::head(&self.name, "epoch opened", self.chain.head());
        Ok(())
    }

    /// The worker leaves.
    pub fn end(&self) {
        work::report_statistics(true);
        log::head(&self.name, "worker left", self.chain.head());
    }
}

impl Batch {
    fn open(chain: Chain) -> Result<Self, Error> {
        Ok(Self {
            chain,
            journal: Journal::open(Access::Write)?,
            ledger: Ledger::open(Access::Write)?,
            folds: Folds::open(Access::Write)?,
            changes: OpenChanges::open(Access::Write)?,
            written: Vec::new(),
            cleared: BTreeSet::new(),
            alerts: Vec::new(),
            rows: 0,
        })
    }

    fn append(&mut self, event: &Event) -> Result<(), Error> {
        let epoch = self.chain.head().epoch;
        let (seq, mac) = self.chain.append(event);
        self.journal.append(epoch, seq, event, &mac)?;
        self.rows += 1;
        if !event.alert.is_empty() {
            self.alerts.push(event.clone());
        }
        Ok(())
    }

    /// The transaction of a change has ended.
    fn end(&mut self, change: &Open, outcome: Outcome, at: i64) -> Result<(), Error> {
        let mut event = Event::new(at, Action::End, outcome);
        (event.xid, event.since) = (Some(change.xid), change.since);
        self.append(&event)?;
        self.changes.remove(change)?;
        if outcome == Outcome::Committed {
            for user in &change.clears {
                self.clear(user)?;
            }
        }
        Ok(())
    }

    /// A change of which the last worker did not see the end.
    fn resume(
        &mut self,
        mut change: Open,
        restored: bool,
        open: &mut BTreeMap<u64, Vec<Open>>,
    ) -> Result<(), Error> {
        let outcome = if restored { Some(Outcome::Unknown) } else { changes::outcome(change.xid) };
        match outcome {
            None => open.entry(change.top_xid).or_default().push(change),
            Some(outcome) => {
                if outcome == Outcome::Committed {
                    change.clears = self.users_to_clear(&change)?;
                }
                self.end(&change, outcome, session::now())?;
            }
        }
        Ok(())
    }

    /// Whose failures the changes of a transaction were to clear, after a crash.
    fn users_to_clear(&self, change: &Open) -> Result<Vec<String>, Error> {
        let mut users = Vec::new();
        let mut rows = self.journal.from(change.epoch, change.first_seq);
        while let Some(row) = rows.next()? {
            let event = row.event?;
            let clears = matches!(event.action, Action::Create | Action::Set | Action::Unlock);
            if clears && event.xid == Some(change.xid) {
                users.extend(event.user_id);
            }
        }
        Ok(users)
    }

    /// Forgets the failures of an account that no session holds.
    fn clear(&mut self, user: &str) -> Result<(), Error> {
        self.cleared.insert(user.to_owned());
        let Some((database, key)) = account(user)? else { return Ok(()) };
        match budgets::clear_if_present(database, &key) {
            Some(place) => self.write_budget(place, database, Kind::Account),
            None => match self.ledger.read(key)? {
                Some(mut budget) => {
                    budget.clear();
                    self.ledger.write(key, Some((Kind::Account, budget)))
                }
                None => Ok(()),
            },
        }
    }

    /// The same, once it is committed, for a session that had read the budget before.
    fn clear_again(
        &mut self,
        database: pg_sys::Oid,
        users: &BTreeSet<String>,
    ) -> Result<(), Error> {
        for user in users {
            if let Some((_, key)) = account(user)? {
                budgets::clear_if_present(database, &key);
            }
        }
        Ok(())
    }

    /// The budgets that the entries have changed, as they are now.
    fn write_budgets(
        &mut self,
        database: pg_sys::Oid,
        entries: &[([u32; 4], Record)],
    ) -> Result<(), Error> {
        let mut places = BTreeMap::new();
        for (touched, record) in entries {
            for (number, kind) in touched.iter().zip(KINDS) {
                let ended = record.action == Action::End as u8;
                let kind = if ended { Kind::Account } else { kind };
                if *number != NONE {
                    places.insert(Place(*number), kind);
                }
            }
        }
        places.into_iter().try_for_each(|(place, kind)| self.write_budget(place, database, kind))
    }

    fn write_budget(
        &mut self,
        place: Place,
        database: pg_sys::Oid,
        kind: Kind,
    ) -> Result<(), Error> {
        let Some(unwritten) = budgets::unwritten(place, database) else { return Ok(()) };
        let (now, rules) = (session::now(), settings::throttle());
        // What is in flight is not stored: whatever becomes of it will be.
        let stored = password_verify_core::throttle::Budget { in_flight: 0, ..unwritten.budget };
        let kept = (!stored.at_rest(kind, now, &rules)).then_some((kind, stored));
        self.ledger.write(unwritten.key, kept)?;
        self.written.push(unwritten);
        Ok(())
    }
}

const KINDS: [Kind; 4] = [Kind::Account, Kind::Known, Kind::Client, Kind::Caller];

fn account(user: &str) -> Result<Option<(pg_sys::Oid, budgets::Key)>, Error> {
    let Ok(user) = UserId::from_text(user) else { return Ok(None) };
    let key = ActiveKey::read()?.key.budget(Kind::Account as u8, &[], Some(&user));
    Ok(Some((session::database(), key)))
}

/// The first row of an epoch.
fn opening(journal: &Journal, epoch: i64) -> Result<Option<Opening>, Error> {
    let Some(row) = journal.from(epoch, 0).next()? else { return Ok(None) };
    let detail = row.event.ok().and_then(|event| event.detail);
    Ok(detail.as_deref().and_then(Opening::parse))
}
