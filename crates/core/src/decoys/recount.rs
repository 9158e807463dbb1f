//! An exact count of the records of each class of cost, while they go on moving.
//!
//! What [`crate::decoys::decoy`] goes by is counted from moves that committed transactions report. A crash loses the
//! reports of a moment, and where there is no room for one it is lost as well, so the records themselves are counted
//! from time to time: in the order of their places, some at a time. A move that is reported meanwhile counts where
//! the pass has been already; elsewhere it will be seen there.
//!
//! For that it must be certain whether a slice has seen a move that is reported later. So transactions say before
//! they become visible that they have moves, and after it have reported them; a slice counts if there was none in
//! between. Moves of one transaction are reported together, with the first and last of their places: where the pass
//! stands between those it is spoiled, and begins again later.

use std::collections::BTreeMap;

use crate::decoys::cost_class::{ClassKey, NO_CLASS};
use crate::decoys::decoy::MAX_CLASSES;

/// Where a record lies.
pub type Place = [u8; 16];

/// Classes that are counted. Of more than are followed, for some may be followed no longer.
const ENTRIES: usize = 2 * MAX_CLASSES;
/// How long after one pass the next begins. Microseconds, like all times here.
const DAY: i64 = 86_400_000_000;
/// How long after a spoiled one, or after moves were lost.
const AGAIN: i64 = 600_000_000;

/// The places of some records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: Place,
    last: Place,
}

impl Span {
    /// Of one.
    pub fn at(place: Place) -> Self {
        Self { first: place, last: place }
    }

    /// Of these and others.
    pub fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// Of some moves, how many have left a place that is counted already, and how many have come to one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Behind {
    pub left: u64,
    pub came: u64,
}

/// What a slice has seen.
#[derive(Debug, Default)]
pub struct Counted {
    pub records: BTreeMap<ClassKey, u64>,
    /// Could not be read.
    pub unread: u64,
    /// Where it ends; `None`: there are no more.
    pub last: Option<Place>,
}

/// What is to be counted next, and what must not have changed meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Records after this place.
    pub after: Place,
    reports: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Resting = 0,
    Counting = 1,
    /// All are counted, and moves still are.
    Complete = 2,
}

/// One count, or the time between two. All-zero bytes are one that is due.
#[derive(Debug)]
#[repr(C)]
pub struct Pass {
    state: State,
    spoiled: bool,
    next_at: i64,
    /// Transactions with moves that are becoming visible.
    committing: u32,
    /// Those that have reported theirs.
    reports: u64,
    /// Records up to this place are counted.
    to: Place,
    unread: u64,
    counts: [(ClassKey, i64); ENTRIES],
}

impl Default for Pass {
    fn default() -> Self {
        Self {
            state: State::Resting,
            spoiled: false,
            next_at: 0,
            committing: 0,
            reports: 0,
            to: Place::default(),
            unread: 0,
            counts: [(NO_CLASS, 0); ENTRIES],
        }
    }
}

impl Pass {
    /// A transaction with moves begins to commit.
    pub fn enter(&mut self) {
        self.committing += 1;
    }

    /// It has reported them, or has failed.
    pub fn leave(&mut self) {
        self.committing = self.committing.saturating_sub(1);
        self.reports = self.reports.wrapping_add(1);
    }

    /// Is a transaction with moves becoming visible?
    pub fn is_awaited(&self) -> bool {
        self.committing > 0
    }

    /// Is no count going on?
    pub fn is_resting(&self) -> bool {
        self.state == State::Resting
    }

    /// Of so many moves that are reported, those that this pass would miss.
    pub fn behind(&mut self, from: Span, to: Span, count: u64) -> Behind {
        let mut of = |span: Span| match self.state {
            State::Resting => 0,
            State::Complete => count,
            State::Counting if span.last <= self.to => count,
            State::Counting if span.first > self.to => 0,
            State::Counting => {
                self.spoiled = true;
                0
            }
        };
        Behind { left: of(from), came: of(to) }
    }

    /// Moves were made that nobody will report.
    pub fn lose(&mut self, now: i64) {
        self.spoiled = true;
        if self.rests(now) && self.next_at - now > AGAIN {
            self.next_at = now + AGAIN;
        }
    }

    /// After a step of the clock nothing rests for longer than it should.
    fn rests(&self, now: i64) -> bool {
        self.next_at > now && self.next_at - now <= DAY
    }

    /// What is to be counted now, if anything is and nobody is about to move.
    pub fn begin(&mut self, now: i64) -> Option<Slice> {
        if self.state != State::Resting && self.spoiled {
            self.rest(now, AGAIN);
        }
        if self.state == State::Complete || self.is_resting() && self.rests(now) {
            return None;
        }
        if self.is_resting() {
            (self.state, self.spoiled) = (State::Counting, false);
            (self.to, self.unread) = (Place::default(), 0);
            self.counts = [(NO_CLASS, 0); ENTRIES];
        }
        (!self.is_awaited()).then_some(Slice { after: self.to, reports: self.reports })
    }

    /// A slice has been counted in a snapshot that was taken after [`Pass::begin`]; false if somebody has moved
    /// meanwhile, and it is to be counted once more.
    pub fn take(&mut self, slice: Slice, counted: &Counted) -> bool {
        let alike = self.reports == slice.reports && self.to == slice.after;
        if self.state != State::Counting || self.is_awaited() || !alike {
            return false;
        }
        for (key, count) in &counted.records {
            self.add(*key, i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.unread = self.unread.saturating_add(counted.unread);
        match counted.last {
            Some(last) => self.to = last,
            None => self.state = State::Complete,
        }
        true
    }

    /// Moves that this pass would have missed.
    pub fn moved(&mut self, from: ClassKey, to: ClassKey, behind: Behind) {
        if !self.is_resting() {
            self.add(from, -i64::try_from(behind.left).unwrap_or(i64::MAX));
            self.add(to, i64::try_from(behind.came).unwrap_or(i64::MAX));
        }
    }

    fn add(&mut self, key: ClassKey, count: i64) {
        if key == NO_CLASS || count == 0 {
            return;
        }
        match self.counts.iter_mut().find(|(of, _)| *of == key || *of == NO_CLASS) {
            Some((of, counted)) => (*of, *counted) = (key, counted.saturating_add(count)),
            // It never gets a place in this pass, and its count is left as it is.
            None => self.unread = u64::MAX,
        }
    }

    /// The records of each class, and how many could not be read, once all are counted and after
    /// [`Pass::moved`] was told of every move that is reported.
    pub fn result(&self) -> Option<(BTreeMap<ClassKey, u64>, u64)> {
        let found = self.counts.iter().filter(|(key, _)| *key != NO_CLASS);
        let found = found.map(|(key, count)| (*key, u64::try_from(*count).unwrap_or(0)));
        (self.state == State::Complete && !self.spoiled).then(|| (found.collect(), self.unread))
    }

    /// The pass is over, or cannot go on: the next one tomorrow.
    pub fn finish(&mut self, now: i64) {
        self.rest(now, DAY);
    }

    fn rest(&mut self, now: i64, time: i64) {
        self.state = State::Resting;
        self.next_at = now.saturating_add(time);
    }
}
