//! The queue of events and the databases that they are of: one lock for both.

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::clock;
use password_verify_core::rules::throttle::PAYERS;
use password_verify_core::trail::fold::Allowance;
use pgrx::pg_sys;

use super::board::MAX_DATABASES;
use super::note::Note;
use super::piece::{Guard, LockGuard, Piece};
use crate::pg::server;
use crate::settings;

/// No entry, no slot.
pub const NONE: u32 = u32::MAX;

/// How long a database rests after its worker has failed.
pub const AFTER_FAILURE: Timestamp = 1_000_000;

pub static QUEUE: Piece<Queue> = Piece::new();
pub static ENTRIES: Piece<Entry> = Piece::new();
pub static DATABASES: Piece<[Database; MAX_DATABASES]> = Piece::new();

/// The free entries.
#[repr(C)]
pub struct Queue {
    pub free: u32,
    /// Events that were lost with their database.
    pub discarded: u64,
    /// Lines that a standby may still log, as a token bucket's arrival time, and lines it has not.
    pub lines: (i64, u64),
}

/// One entry.
#[repr(C)]
pub struct Entry {
    /// The next free one, or the next of the same database.
    pub next: u32,
    pub database: u32,
    pub ticket: u64,
    /// The budgets that the event has changed, to be written with it.
    pub touched: [u32; PAYERS],
    pub record: Note,
}

impl Queue {
    pub fn init(&mut self, entries: &mut [Entry]) {
        let mut next = NONE;
        for (number, entry) in entries.iter_mut().enumerate().rev() {
            entry.next = next;
            next = number as u32;
        }
        self.free = next;
    }

    pub fn free(&mut self, entries: &mut [Entry], database: &mut Database, number: u32) {
        entries[number as usize].next = self.free;
        self.free = number;
        database.held -= 1;
    }

    /// Frees the first entries of a database; the ticket of the last of them.
    pub fn remove_first(
        &mut self,
        entries: &mut [Entry],
        database: &mut Database,
        count: usize,
    ) -> Option<u64> {
        let mut ticket = None;
        for _ in 0..count.min(database.ready as usize) {
            let number = database.first;
            let Entry { next, ticket: its, .. } = entries[number as usize];
            ticket = Some(its);
            database.first = next;
            if next == NONE {
                database.last = NONE;
            }
            database.ready -= 1;
            self.free(entries, database, number);
        }
        ticket
    }
}

/// A database in which a password was used since the server's start.
#[repr(C)]
pub struct Database {
    /// Zero: this place is free.
    pub oid: pg_sys::Oid,
    /// Zero: nobody serves it.
    pub worker: i32,
    /// Has its worker begun? Until then attempts wait.
    pub serving: bool,
    /// Since when somebody waits for a worker; zero: nobody does.
    pub wanted_since: Timestamp,
    /// No worker before this time.
    pub rests_until: Timestamp,
    /// First and last entry that wait for the worker.
    pub first: u32,
    pub last: u32,
    /// How many wait.
    pub ready: u32,
    /// How many belong to it, waiting or not filled in yet.
    pub held: u32,
    /// Tickets given out.
    pub submitted: u64,
    /// What one worker leaves to the next.
    pub left: HandOver,
}

/// What one worker of a database leaves to the next, as long as the server runs.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct HandOver {
    /// Where the chain stands: epoch, sequence number, MAC; and when the epoch was opened. If that is
    /// still where it stands, the epoch goes on.
    pub epoch: i64,
    pub seq: i64,
    pub mac: [u8; 32],
    pub opened_at: Timestamp,
    /// Is there more to write than what is in the queue?
    pub unfinished: bool,
    /// Rows that a flood may still make.
    pub allowance: Allowance,
    /// How far the tidying of budgets has come, and when it begins again.
    pub tidied_to: [u8; 16],
    pub tidy_again_at: Timestamp,
    /// The oldest epoch there is; zero: nobody has looked.
    pub oldest: i64,
    /// Epochs before this one are on record as removed.
    pub pruned_before: i64,
    /// Of those, rows from this one on are deleted: epoch and number.
    pub pruned_to: (i64, i64),
    /// Has the log been told that nothing is removed because the clock may be wrong?
    pub doubted: bool,
}

impl Database {
    pub fn init(&mut self) {
        (self.first, self.last) = (NONE, NONE);
    }

    pub fn vacate(&mut self) {
        (self.oid, self.worker, self.serving) = (pg_sys::InvalidOid, 0, false);
        (self.wanted_since, self.rests_until) = (0, 0);
        self.left = HandOver::default();
    }

    /// Asks for a worker if there is none; true if workers are to be woken.
    pub fn want(&mut self) -> bool {
        let wake = self.worker == 0 && self.wanted_since == 0;
        if wake {
            self.wanted_since = server::now();
        }
        wake
    }

    pub fn is_idle(&self) -> bool {
        self.worker == 0 && self.held == 0 && self.wanted_since == 0
    }

    /// Does somebody wait for a worker, and has it none?
    pub fn waits(&self) -> bool {
        self.oid != pg_sys::InvalidOid && self.worker == 0 && self.wanted_since != 0
    }

    /// How long it still rests.
    pub fn rests(&self, now: Timestamp) -> Timestamp {
        clock::time_until(self.rests_until, now, AFTER_FAILURE)
    }
}

/// The queue and the databases, for as long as their lock is held.
pub struct Central {
    _held: LockGuard,
}

impl Central {
    pub fn lock() -> Self {
        Self { _held: LockGuard::take(Guard::Central) }
    }

    /// The queue, its entries, and the databases.
    pub fn parts(&mut self) -> (&mut Queue, &mut [Entry], &mut [Database; MAX_DATABASES]) {
        // SAFETY: see `Piece::get`; the lock makes this process the only one here.
        unsafe {
            let entries = std::slice::from_raw_parts_mut(ENTRIES.get(), settings::audit_queue());
            (&mut *QUEUE.get(), entries, &mut *DATABASES.get())
        }
    }
}
