//! An exact count of the records of each class of cost, while records change.
//!
//! The counts in [`crate::decoys::cells`] follow the moves that committed transactions report. A
//! crash, or a lack of room, loses some reports, so the records themselves are counted from time to
//! time, in the order of their places, a slice at a time. A move that is reported meanwhile is
//! added if it lies behind the pass; ahead of it, the pass will see the result.
//!
//! It must be certain whether a slice has seen a move that is reported later. So a transaction with
//! moves announces them before it becomes visible and reports them afterwards; a slice counts only
//! if neither happened meanwhile. The moves of one transaction are reported together, with their
//! first and last place; if the pass stands between those it is spoiled, and begins again later.

use std::collections::BTreeMap;

use crate::decoys::cells::MAX_CLASSES;
use crate::decoys::cost_class::{ClassKey, NO_CLASS};

/// The place of a record.
pub type Place = [u8; 16];

/// Classes counted in one pass: more than are followed, because some may be dropped meanwhile.
const ENTRIES: usize = 2 * MAX_CLASSES;
/// Time from one pass to the next, in microseconds like all times here.
const DAY: i64 = 86_400_000_000;
/// Time until the next pass after a spoiled one, or after reports were lost, in microseconds.
const AGAIN: i64 = 600_000_000;

/// A range of places that some records lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: Place,
    last: Place,
}

impl Span {
    /// The range of one place.
    pub fn at(place: Place) -> Self {
        Self { first: place, last: place }
    }

    /// The range that covers both.
    pub fn join(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// How many moves have left places that are already counted, and how many have come to such places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Behind {
    pub left: u64,
    pub came: u64,
}

/// The result of counting a slice.
#[derive(Debug, Default)]
pub struct Counted {
    pub records: BTreeMap<ClassKey, u64>,
    /// Records that could not be read.
    pub unread: u64,
    /// The last place of the slice. `None`: there are no more records.
    pub last: Option<Place>,
}

/// The slice to count next. It is only valid while the number of reports stays.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// The slice begins after this place.
    pub after: Place,
    reports: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Resting = 0,
    Counting = 1,
    /// All records are counted; moves are still added.
    Complete = 2,
}

/// A pass, or the rest between two passes. All-zero bytes are a pass that is due.
#[derive(Debug)]
#[repr(C)]
pub struct Recount {
    state: State,
    spoiled: bool,
    next_at: i64,
    /// Transactions with moves that have announced them and not reported yet.
    committing: u32,
    /// Transactions that have reported their moves.
    reports: u64,
    /// Records up to this place are counted.
    to: Place,
    unread: u64,
    counts: [(ClassKey, i64); ENTRIES],
}

impl Default for Recount {
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

impl Recount {
    /// Announces that a transaction with moves begins to commit.
    pub fn enter(&mut self) {
        self.committing += 1;
    }

    /// Says that such a transaction has reported its moves, or has failed.
    pub fn leave(&mut self) {
        self.committing = self.committing.saturating_sub(1);
        self.reports = self.reports.wrapping_add(1);
    }

    /// Whether a transaction with moves is about to become visible.
    pub fn is_awaited(&self) -> bool {
        self.committing > 0
    }

    /// Whether no pass is going on.
    pub fn is_resting(&self) -> bool {
        self.state == State::Resting
    }

    /// Of `count` reported moves, those that lie behind this pass. Spoils it if it cannot tell.
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

    /// Notes that moves will never be reported.
    pub fn lose(&mut self, now: i64) {
        self.spoiled = true;
        if self.rests(now) && self.next_at - now > AGAIN {
            self.next_at = now + AGAIN;
        }
    }

    /// Whether the rest goes on. A clock that was set back does not make it longer than a day.
    fn rests(&self, now: i64) -> bool {
        self.next_at > now && self.next_at - now <= DAY
    }

    /// The slice to count now. `None`: no pass is due, or a transaction with moves is committing.
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

    /// Adds a slice that was counted in a snapshot taken after [`Recount::begin`]. False: moves were
    /// reported meanwhile, and the slice has to be counted again.
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

    /// Adds moves behind this pass.
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
            // No room for this class: its count is left as it was.
            None => self.unread = u64::MAX,
        }
    }

    /// The records of each class and the number of unread ones, when the pass is complete. Every
    /// reported move must have gone through [`Recount::moved`] before.
    pub fn result(&self) -> Option<(BTreeMap<ClassKey, u64>, u64)> {
        let found = self.counts.iter().filter(|(key, _)| *key != NO_CLASS);
        let found = found.map(|(key, count)| (*key, u64::try_from(*count).unwrap_or(0)));
        (self.state == State::Complete && !self.spoiled).then(|| (found.collect(), self.unread))
    }

    /// Ends the pass, complete or not. The next one begins in a day.
    pub fn finish(&mut self, now: i64) {
        self.rest(now, DAY);
    }

    fn rest(&mut self, now: i64, time: i64) {
        self.state = State::Resting;
        self.next_at = now.saturating_add(time);
    }
}
