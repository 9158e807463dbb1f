//! The worker of one database: it takes events off the queue, writes them, and remembers the state
//! of the chain.
//!
//! One batch is one transaction. Any failure ends the worker, and the next one continues from what
//! is committed: entries leave the queue only after the commit.

use std::ffi::CStr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::anchor::Sums;
use password_verify_core::trail::audit_id::{self, AuditIdKey};
use password_verify_core::trail::chain::{Chain, Why};
use password_verify_core::trail::fold::{Folding, Placed};
use pgrx::pg_sys;

use super::anchored::Anchored;
use super::apart::{Attempt, attempt};
use super::arrival;
use super::arrival::Arrival;
use super::batch::{Batch, Done};
use super::ends::Ends;
use super::forget::Forget;
use super::recount::Recount;
use super::served::Served;
use super::tidy::{Part, Tidy};
use super::{renewals, signals, sweep, told, work};
use crate::counter;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::shape::Shape;
use crate::pg::heap::text;
use crate::pg::keys::unsealed;
use crate::pg::server;
use crate::pg::session::event::{name_user, to_event};
use crate::pg::session::log;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::class_counts::Tally;
use crate::pg::shared::class_counts::moves;
use crate::pg::shared::databases;
use crate::pg::shared::queue;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::events::Events;
use crate::pg::tables::forgetting::Forgetting;
use crate::pg::vault::blind_index_key::BlindIndexKey;
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
    /// What the rows of its tables are bound to.
    of: Installation,
    served: Served,
    chain: Chain,
    opened_at: i64,
    folding: Folding,
    /// Ended transactions whose end is not fully recorded yet.
    ends: Ends,
    folds_seen: Instant,
    /// When moved records were last counted.
    counted: Option<Instant>,
    tidy: Tidy,
    forget: Forget,
    recount: Recount,
    /// The anchor as it was last committed; `None` without a keyring.
    anchored: Option<Anchored>,
}

impl Writer {
    /// Reads where the previous worker stopped and completes transactions that have ended since.
    /// Opens a new epoch, unless the server has been running all the time and key, database and
    /// chain are unchanged.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when a table is missing, [`Error::Dropped`] when all are.
    pub fn begin(number: usize) -> Result<Self, Error> {
        let mut folding = Folding::with_allowance(databases::handed_over(number).allowance);
        let mut ends = Ends::default();
        let (name, served, of, opened_at, why, done) = work::transaction(|| {
            // Before anything is read of them.
            let served = Served::find()?;
            let of = BlindIndexKey::keep_for_rows()?;
            let left = databases::handed_over_for(number, served.events());
            let Arrival { chain, opening, anchored, restored } = arrival::arrive(&left, of)?;
            // Before anything is read: without a MAC nothing counts, where everything has one.
            let sealed = anchored.as_ref().is_some_and(|anchored| anchored.anchor.sealed);
            databases::hand_over(number, |left| left.sealed = sealed);
            let name = text::database_name();
            told::tell_again(number, &left, &name, restored)?;
            let mut batch = Batch::open(chain, of, anchored)?;
            let why = opening.as_ref().map(|opening| opening.why);
            let opened_at = match opening {
                None => left.opened_at,
                Some(opening) => batch.open_epoch(&opening)?,
            };
            batch.folds.all()?.into_iter().for_each(|event| folding.restore(event));
            ends.resume(&mut batch, restored, left.epoch == 0)?;
            Ok((name, served, of, opened_at, why, batch.done()?))
        })?;
        let mut writer = Self {
            number,
            database: server::database(),
            name,
            of,
            served,
            chain: done.chain.fork(),
            opened_at,
            folding,
            ends,
            folds_seen: Instant::now(),
            counted: None,
            tidy: Tidy::new(number),
            forget: Forget::default(),
            recount: Recount::default(),
            anchored: done.anchored.clone(),
        };
        if why.is_some() {
            // Whatever the previous worker was about to remove belonged to another chain.
            databases::hand_over(number, |left| (left.oldest, left.pruned_before) = (0, 0));
        }
        writer.finish(done)?;
        if why.is_some() {
            writer.log_head();
            if writer.anchored.as_ref().is_some_and(|anchored| anchored.anchor.sealed) {
                unsealed::say_over(&writer.name);
            }
        }
        Ok(writer)
    }

    /// Writes the waiting entries and whatever else is due; false if there was nothing to write.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error. The worker cannot continue after one.
    pub fn batch(&mut self) -> Result<bool, Error> {
        let (mut entries, _) = queue::first(self.number, BATCH);
        let is_accepted = |queued: &QueuedEvent| queued.action == Action::AcceptRestore as u8;
        match entries.iter().position(|(_, queued)| is_accepted(queued)) {
            Some(0) => return self.accept(&entries[0].1).map(|()| true),
            Some(before) => entries.truncate(before),
            None => {}
        }
        let (altered, sealed) = self.noted();
        let look_at_folds = self.folds_seen.elapsed() >= FOLDS_EVERY;
        let due = if look_at_folds { self.folding.due(server::now()) } else { Vec::new() };
        if look_at_folds {
            self.folds_seen = Instant::now();
        }
        let moved = self.moved();
        let nothing = entries.is_empty() && due.is_empty() && moved.is_empty();
        if nothing && altered == 0 && !sealed && !self.ends.is_waiting() {
            return Ok(false);
        }
        let count = entries.len();
        let done = self.served.transaction(|| {
            let mut batch = self.open_batch(self.chain.fork())?;
            batch.sealed = sealed;
            for table in Shape::of_bits(altered) {
                batch.append(&tampered(table))?;
            }
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
            self.ends.flush(&batch)?;
            self.ends.slice(&mut batch)?;
            if !moved.is_empty() {
                let classes = CostClasses::open(self.of, Access::Write)?;
                classes.count(&moved)?;
                batch.cost_classes = classes.added();
            }
            batch.done()
        })?;
        moves::counted(self.database, &moved);
        if !moved.is_empty() {
            self.counted = Some(Instant::now());
        }
        databases::committed(self.number, count);
        self.forget.wrote(count);
        databases::hand_over(self.number, |left| left.told |= altered);
        self.finish(done)?;
        Ok(true)
    }

    /// The tables that were found not to be as they were written since the last event about them; and has somebody
    /// seen, for the first time, that everything is sealed?
    fn noted(&self) -> (u16, bool) {
        let left = databases::handed_over(self.number);
        let sealed = self.anchored.as_ref().is_some_and(|anchored| !anchored.anchor.sealed);
        (left.altered & !left.told, left.found_sealed && sealed)
    }

    /// Takes the tables as they are: in a new epoch, from which on the trail is verified.
    fn accept(&mut self, queued: &QueuedEvent) -> Result<(), Error> {
        let accepted = self.anchored.as_ref().map_or(0, |anchored| anchored.anchor.accepted);
        let correction = databases::handed_over(self.number).accept;
        // Of two at once, the first one corrects.
        let correction = correction.filter(|correction| correction.accepted == accepted);
        let sums = correction.map_or([[0; 16]; 5], |correction| correction.sums);
        let correction = Sums::from_array(sums.map(u128::from_be_bytes));
        let (event, previous) = (to_event(queued)?, self.chain.head());
        let (key, opening) = arrival::new_epoch(Why::Accepted, Some(previous));
        let (opened_at, done) = self.served.transaction(|| {
            let epoch = arrival::epoch_after_all(&Events::open(Access::Read)?, previous.epoch)?;
            let mut batch = self.open_batch(Chain::open(key, epoch))?;
            let opened_at = batch.open_epoch(&opening)?;
            batch.append(&event)?;
            batch.accepted = Some((epoch, correction));
            Ok((opened_at, batch.done()?))
        })?;
        databases::committed(self.number, 1);
        databases::hand_over(self.number, |left| {
            (left.accept, left.altered, left.told) = (None, 0, 0);
            (left.discard, left.tidying, left.tidied_to, left.tidy_again_at) =
                (true, 0, [0; 16], 0);
        });
        self.opened_at = opened_at;
        self.finish(done)?;
        self.log_head();
        Ok(())
    }

    /// Records that have moved since the last count. Each count updates a few rows, once a second
    /// at most: while an old snapshot keeps their dead versions, every login has to pass them.
    fn moved(&self) -> Vec<Tally> {
        let due = self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY);
        if due || signals::is_stopping() { moves::waiting(self.database) } else { Vec::new() }
    }

    fn open_batch(&self, chain: Chain) -> Result<Batch, Error> {
        Batch::open(chain, self.of, self.anchored.clone())
    }

    fn finish(&mut self, done: Done) -> Result<(), Error> {
        let Done { chain, written, cleared, told, rows, anchored } = done;
        (self.chain, self.anchored) = (chain, anchored);
        written.iter().for_each(|budget| budgets::written(budget, self.database));
        let (head, opened_at) = (self.chain.head(), self.opened_at);
        let allowance = self.folding.allowance();
        let unfinished = self.is_unfinished();
        let (events, anchor) = (self.served.events().to_u32(), self.anchored.as_ref());
        databases::hand_over(self.number, |left| {
            left.unfinished = unfinished;
            left.events = events;
            left.installation = anchor.map_or([0; 16], |anchored| anchored.anchor.installation.0);
            left.sealed = anchor.is_some_and(|anchored| anchored.anchor.sealed);
            (left.epoch, left.seq, left.mac) = (head.epoch, head.seq, head.mac);
            (left.opened_at, left.allowance) = (opened_at, allowance);
            left.came = left.came.saturating_add(rows.unsigned_abs());
        });
        let counters = board::of(self.number);
        counters.count(counter::ROWS, rows);
        counters.count(counter::BATCHES, 1);
        told::tell(self.number, &self.name, &told, head);
        if !cleared.is_empty() {
            // Cleared again, for a session that had read the budget before it was cleared.
            let done = self.served.transaction(|| {
                let mut batch = self.open_batch(self.chain.fork())?;
                cleared.into_iter().try_for_each(|account| batch.clear(account))?;
                batch.done()
            })?;
            (self.chain, self.anchored) = (done.chain, done.anchored);
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
            self.forget.transaction_ended();
            return self.ends.note_end(batch, queued.top_xid, queued.at);
        }
        let mut event = to_event(queued)?;
        name_user(&mut event, || self.audit_id_key())?;
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

    /// Does a part of the cleaning up, if one is due: what is written next waits for it. False if
    /// none was due.
    ///
    /// # Errors
    /// Those of [`Writer::batch`].
    pub fn tidy(&mut self) -> Result<bool, Error> {
        if signals::is_stopping() {
            return Ok(false);
        }
        let Some(part) = self.tidy.due() else { return Ok(false) };
        let now = server::now();
        match part {
            Part::Events => self.delete_events(now),
            Part::Pass => self.pass(now)?,
            Part::Recount => {
                self.recount.slice(self.served, self.database, self.of, now, &mut self.anchored);
            }
            Part::Sweep => sweep::slice(self.served, self.number, now, &mut self.anchored),
            Part::Epochs => self.epochs(now)?,
        }
        Ok(true)
    }

    fn delete_events(&mut self, now: i64) {
        if !self.tidy.has_events(now) {
            return;
        }
        // Nobody waits for the disk: after a crash they are deleted again.
        let slice = || attempt(self.served, "events cannot be deleted", || self.tidy.events());
        let deleted = match work::asynchronously(slice) {
            Attempt::Done(deleted) => Some(deleted),
            Attempt::Locked | Attempt::Failed => None,
        };
        self.tidy.deleted(deleted, now);
    }

    fn pass(&mut self, now: i64) -> Result<(), Error> {
        let (slice, anchored) = self.served.transaction(|| {
            let slice = self.tidy.pass(now, self.of)?;
            // Also without a change: sealed with the key of today.
            let sums = slice.as_ref().map(|slice| slice.sums).zip(self.anchored.as_ref());
            let anchored = sums.map(|(sums, anchored)| anchored.add(sums)).transpose()?;
            Ok((slice, anchored))
        })?;
        self.anchored = anchored.or(self.anchored.take());
        if let Some(slice) = slice {
            self.tidy.passed(&slice, now);
        }
        Ok(())
    }

    fn epochs(&mut self, now: i64) -> Result<(), Error> {
        let current = self.chain.head().epoch;
        let pruned = self.served.transaction(|| self.tidy.announce(now, current))?;
        if let Some((before, event)) = pruned {
            self.write_alone(&event, before)?;
            self.tidy.announced(before);
        }
        // Also if the epoch was opened in the future: the clock was set back.
        if (now - self.opened_at).abs() > self.tidy.epoch_length() {
            self.turn_epoch()?;
        }
        Ok(())
    }

    /// Erases some ids of users who are to be forgotten; false if nothing was due. `idle`: nobody waits for anything else.
    ///
    /// # Errors
    /// Those of [`Writer::batch`].
    pub fn forget(&mut self, idle: bool) -> Result<bool, Error> {
        if !self.forget.is_due(idle) || signals::is_stopping() {
            return Ok(false);
        }
        let key = self.audit_id_key();
        let names = |name: &str| {
            let digest = key.as_ref().and_then(|key| Some(key.digest(audit_id::id_of(name)?)));
            [Some(name.to_owned()), digest]
        };
        let waiting = queue::waiting(self.number);
        let done = attempt(self.served, "user ids cannot be erased", || {
            let requests = Forgetting::open_by(self.of, Access::Write, Instant::now())?;
            let request = match self.forget.next(&requests, waiting)? {
                Ok(request) => request,
                Err(step) => return Ok((step, None)),
            };
            let (mut batch, names) = (self.open_batch(self.chain.fork())?, names(&request.user_id));
            let folding = &self.folding;
            let step = self.forget.slice(&request, &requests, &mut batch, folding, &names)?;
            Ok((step, Some(batch.done()?)))
        });
        let Attempt::Done((step, done)) = done else {
            self.forget.failed();
            self.hand_over_unfinished();
            return Ok(false);
        };
        step.folds.iter().for_each(|key| self.folding.close(*key));
        self.forget.passed(step);
        match done {
            Some(done) => self.finish(done).map(|()| true),
            None => Ok(self.hand_over_unfinished()),
        }
    }

    /// Is something left that a worker has to come for?
    fn is_unfinished(&self) -> bool {
        self.ends.is_unfinished() || self.forget.is_pending()
    }

    /// The same, also for whoever asks after this worker has left.
    fn hand_over_unfinished(&self) -> bool {
        let unfinished = self.is_unfinished();
        databases::hand_over(self.number, |left| left.unfinished = unfinished);
        unfinished
    }

    /// Is something to be erased? Then a worker stays.
    pub fn is_forgetting(&self) -> bool {
        self.forget.is_pending()
    }

    /// The key of digests of user ids; `None` without a keyring.
    fn audit_id_key(&self) -> Option<Rc<AuditIdKey>> {
        self.anchored.as_ref().map(|anchored| anchored.anchor.audit_ids.clone())
    }

    fn write_alone(&mut self, event: &Event, first: i64) -> Result<(), Error> {
        let done = self.served.transaction(|| {
            let mut batch = self.open_batch(self.chain.fork())?;
            batch.first = Some(first);
            batch.append(event)?;
            batch.done()
        })?;
        self.finish(done)
    }

    fn turn_epoch(&mut self) -> Result<(), Error> {
        let previous = self.chain.head();
        let (key, opening) = arrival::new_epoch(Why::Daily, Some(previous));
        let (opened_at, done) = self.served.transaction(|| {
            let epoch = arrival::free_epoch(&Events::open(Access::Read)?, previous.epoch)?;
            let mut batch = self.open_batch(Chain::open(key, epoch))?;
            let opened_at = batch.open_epoch(&opening)?;
            Ok((opened_at, batch.done()?))
        })?;
        self.opened_at = opened_at;
        self.finish(done)?;
        self.log_head();
        Ok(())
    }

    pub fn log_head(&self) {
        log::head(&self.name, self.chain.head());
    }

    /// Stores records that logins have renewed; false if there were none.
    pub fn renew(&mut self) -> bool {
        renewals::write(self.served, &mut self.anchored)
    }

    /// Is there an anchor?
    pub fn is_anchored(&self) -> bool {
        self.anchored.is_some()
    }

    /// Reports the remaining statistics, before the worker exits.
    pub fn end(&self) {
        work::report_statistics(true);
    }
}

/// The event that says of a table that it is not as it was written.
fn tampered(table: &CStr) -> Event {
    let mut event = Event::new(server::now(), Action::Tampered, Outcome::Recorded);
    event.alert = Alert::TAMPERED;
    event.detail = Some(format!(r#"{{"table":"{}"}}"#, table.to_string_lossy()));
    event
}
