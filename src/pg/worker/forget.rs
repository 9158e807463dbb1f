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
use crate::pg::tables::forgetting::{Forgetting, Request, Scope};
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
    /// Are open folds about it rows by now?
    folded: bool,
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
                Some(Current { key, waiting, from: [Some(i64::MAX); 2], folded: false })
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
        let mut from = self.current.as_ref().map_or([Some(i64::MAX); 2], |current| current.from);
        // Once: whoever goes on trying that id would otherwise open one after the other.
        let folds = if self.current.as_ref().is_some_and(|current| current.folded) {
            Vec::new()
        } else {
            folding.about(names)
        };
        for (key, event) in folds {
            batch.folds.put(key, None)?;
            batch.append(&event)?;
            step.folds.push(key);
        }
        // What has just been written cannot be changed by the same command: the next slice goes on.
        if !step.folds.is_empty() {
            step.current = Some(Current { key: request.key, waiting: 0, from, folded: true });
            return Ok(step);
        }
        let erasure = Erasure::open(&batch.events)?;
        let until = match request.scope {
            Scope::Former => request.until,
            // What was tried meanwhile is about the same user.
            _ => erasure.ended_at(request)?.map_or(request.until, |at| at.max(request.until)),
        };
        let mut forgotten = Forgotten { xid: request.xid, ..Forgotten::default() };
        let (mut scope, mut is_over) = (request.scope, false);
        for (name, from) in names.iter().zip(&mut from) {
            let (Some(name), Some(at)) = (name, *from) else { continue };
            let slice = erasure.slice(name, (at, until), &Request { scope, ..request.clone() })?;
            (*from, scope, is_over) = (slice.reached, slice.scope, slice.is_over);
            forgotten.erased = slice.erased;
            if let Some((former, at, xid)) = slice.former {
                requests.add(&former, at, xid, Scope::Former)?;
            }
            // One name in each slice: what an event counts has a bound.
            if is_over || slice.reached.is_some() || !forgotten.erased.is_empty() {
                break;
            }
        }
        let all = names.iter().zip(from).all(|(name, from)| name.is_none() || from.is_none());
        forgotten.done = is_over || all;
        drop(erasure);
        if forgotten.done {
            requests.remove(request)?;
        } else if scope != request.scope {
            requests.put(&Request { scope, ..request.clone() })?;
        }
        if forgotten.done || !forgotten.erased.is_empty() {
            batch.append(&event(&forgotten))?;
        }
        step.current = Some(Current { key: request.key, waiting: 0, from, folded: true });
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
