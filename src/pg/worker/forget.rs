//! Erases the ids of users who are to be forgotten, a slice at a time, between two batches. Each slice is a transaction
//! of its own with the event that counts what it erased, so that wherever a worker is killed, the next one goes on and
//! the chain holds. A row takes some 20 microseconds; while nothing else is to be done, slices follow each other, and
//! otherwise one comes every [`EVERY`], so that a login waits for one slice at most. A million rows of one user take
//! half a minute, or a few minutes beside constant logins.

use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::event::{Action, Event, Outcome};
use password_verify_core::trail::fold::{FoldKey, Folding};
use password_verify_core::trail::forgotten::Forgotten;

use super::batch::Batch;
use crate::error::Error;
use crate::pg::server;
use crate::pg::tables::erasure::Erasure;
use crate::pg::tables::forgetting::{Forgetting, Request};
use crate::pg::tables::keyed::RowKey;

/// How often a slice runs beside other work.
const EVERY: Duration = Duration::from_millis(50);
/// How long the table is left alone after a failure: somebody has locked it, or an index is missing.
const REST: Duration = Duration::from_secs(5);

pub struct Forget {
    /// May there be something to erase?
    look: bool,
    /// The last slice failed.
    failed: bool,
    current: Option<Current>,
    next: Instant,
}

/// What is being erased.
struct Current {
    key: RowKey,
    /// Events that were waiting when it came, and are to be written first.
    waiting: usize,
    /// How far each of the names has come: the id, and its digest.
    from: [Option<Timestamp>; 2],
}

/// What a slice did, once it is committed.
pub struct Step {
    current: Option<Current>,
    /// Folds that are rows now.
    pub folds: Vec<FoldKey>,
}

impl Default for Forget {
    /// A worker that comes looks once.
    fn default() -> Self {
        Self { look: true, failed: false, current: None, next: Instant::now() }
    }
}

impl Forget {
    /// A transaction has ended: one that asks for something, perhaps.
    pub fn transaction_ended(&mut self) {
        self.look = true;
    }

    /// So many events are written.
    pub fn wrote(&mut self, count: usize) {
        if let Some(current) = &mut self.current {
            current.waiting = current.waiting.saturating_sub(count);
        }
    }

    /// Is something left to do for which a worker stays? If it fails, it has to wait for one that comes anyway: while a
    /// worker is there, nobody can drop the database.
    pub fn is_pending(&self) -> bool {
        self.look && !self.failed
    }

    pub fn is_due(&self, idle: bool) -> bool {
        let waits = self.current.as_ref().is_some_and(|current| current.waiting > 0);
        let rested = Instant::now() >= self.next;
        self.look && !waits && (rested || idle && !self.failed)
    }

    /// What is to be done next: the request that came first, or a step that writes nothing. `waiting`: events that wait to
    /// be written.
    ///
    /// # Errors
    /// Those of [`Forgetting::first`].
    pub fn next(
        &self,
        requests: &Forgetting,
        waiting: usize,
    ) -> Result<Result<Request, Step>, Error> {
        let current = match (requests.first()?, &self.current) {
            (Some(request), Some(current)) if current.key == request.key => return Ok(Ok(request)),
            // Its own events, and those that came before it, may still be on their way.
            (Some(Request { key, .. }), _) => {
                Some(Current { key, waiting, from: [Some(i64::MIN); 2] })
            }
            (None, _) => None,
        };
        Ok(Err(Step { current, folds: Vec::new() }))
    }

    /// One slice, in the transaction of that batch. `names`: the id, and how digests name it.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::InTheWay`]; any PostgreSQL error.
    pub fn slice(
        &self,
        request: &Request,
        requests: &Forgetting,
        batch: &mut Batch,
        folding: &Folding,
        names: &[Option<String>; 2],
    ) -> Result<Step, Error> {
        let mut step = Step { current: None, folds: Vec::new() };
        let mut from = self.current.as_ref().map_or([Some(i64::MIN); 2], |current| current.from);
        for (key, event) in folding.about(names) {
            batch.folds.put(key, None)?;
            batch.append(&event)?;
            step.folds.push(key);
        }
        // What has just been written cannot be changed by the same command: the next slice goes on.
        if !step.folds.is_empty() {
            step.current = Some(Current { key: request.key, waiting: 0, from });
            return Ok(step);
        }
        let mut forgotten = Forgotten { xid: request.xid, ..Forgotten::default() };
        for (name, from) in names.iter().zip(&mut from) {
            let (Some(name), Some(at)) = (name, *from) else { continue };
            let slice = Erasure::open(&batch.events)?.slice(name, (at, request.until))?;
            *from = slice.reached;
            forgotten.erased = slice.erased;
            for (former, at) in slice.former {
                requests.add(&former, at, request.xid)?;
            }
            // One name in each slice: what an event counts has a bound.
            if slice.reached.is_some() || !forgotten.erased.is_empty() {
                break;
            }
        }
        forgotten.done =
            names.iter().zip(from).all(|(name, from)| name.is_none() || from.is_none());
        if forgotten.done {
            requests.remove(request)?;
        }
        if forgotten.done || !forgotten.erased.is_empty() {
            batch.append(&event(&forgotten))?;
        }
        step.current = Some(Current { key: request.key, waiting: 0, from });
        Ok(step)
    }

    /// A slice is committed.
    pub fn passed(&mut self, step: Step) {
        (self.look, self.failed) = (step.current.is_some(), false);
        self.current = step.current;
        self.next = Instant::now() + EVERY;
    }

    /// It failed, and is tried again later.
    pub fn failed(&mut self) {
        self.failed = true;
        self.next = Instant::now() + REST;
    }
}

fn event(forgotten: &Forgotten) -> Event {
    let mut event = Event::new(server::now(), Action::Forget, Outcome::Recorded);
    event.detail = Some(forgotten.to_detail());
    event
}
