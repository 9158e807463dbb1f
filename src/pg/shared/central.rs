//! The queue of audit events and the databases they belong to, under one lock.

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::clock;
use password_verify_core::rules::throttle::PAYERS;
use password_verify_core::trail::chain::Head;
use password_verify_core::trail::fold::Allowance;
use pgrx::pg_sys;

use super::board::MAX_DATABASES;
use super::piece::{Guard, LockGuard, Piece};
use super::queued_event::QueuedEvent;
use crate::pg::server;
use crate::settings;

/// No entry, or no slot.
pub const NONE: u32 = u32::MAX;

/// How long a database waits for a new worker after one has failed. Microseconds.
pub const AFTER_FAILURE: Timestamp = 1_000_000;

pub static QUEUE: Piece<Queue> = Piece::new();
pub static ENTRIES: Piece<Entry> = Piece::new();
pub static DATABASES: Piece<[Database; MAX_DATABASES]> = Piece::new();

/// The free entries.
#[repr(C)]
pub struct Queue {
    pub free: u32,
    /// Events discarded because their database was dropped.
    pub discarded: u64,
    /// For a standby, which logs a limited number of lines: the arrival time of its token bucket,
    /// and the lines it has left out.
    pub lines: (i64, u64),
}

#[repr(C)]
pub struct Entry {
    /// The next free entry, or the next entry of the same database.
    pub next: u32,
    pub database: u32,
    pub ticket: u64,
    /// The budgets the event has changed, which are stored with it.
    pub touched: [u32; PAYERS],
    pub queued: QueuedEvent,
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

    /// Frees the first entries of a database and returns the ticket of the last one freed.
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

/// A database in which passwords have been used since the server started.
#[repr(C)]
pub struct Database {
    /// Zero if this slot is free.
    pub oid: pg_sys::Oid,
    /// The worker's process id; zero if there is none.
    pub worker: i32,
    /// Has its worker started? Until then attempts wait.
    pub serving: bool,
    /// Since when a worker has been wanted; zero if none is.
    pub wanted_since: Timestamp,
    /// No new worker before this time.
    pub rests_until: Timestamp,
    /// The first and the last entry waiting for the worker.
    pub first: u32,
    pub last: u32,
    /// Entries waiting for the worker.
    pub ready: u32,
    /// Entries that belong to the database, waiting or not submitted yet.
    pub held: u32,
    pub submitted: u64,
    /// The state that one worker hands over to the next.
    pub left: HandOver,
}

/// What a worker of a database hands over to the next, for as long as the server runs.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct HandOver {
    /// The head of the chain (epoch, sequence number, MAC) and when its epoch was opened. If the
    /// table still ends there, the epoch continues.
    pub epoch: i64,
    pub seq: i64,
    pub mac: [u8; 32],
    pub opened_at: Timestamp,
    /// The last row whose line is in the server log, if events are logged: epoch and sequence number.
    pub told_to: (i64, i64),
    /// Is there work left apart from the queue?
    pub unfinished: bool,
    /// How many more rows a flood of events may add.
    pub allowance: Allowance,
    /// Which part of the clean-up is next.
    pub turn: u8,
    /// How far the clean-up has come: in which table, and after which row; and when the next pass begins.
    pub tidying: u8,
    pub tidied_to: [u8; 16],
    pub tidy_again_at: Timestamp,
    /// How far the clean-up of results has come, and when it begins again.
    pub swept_to: [u8; 16],
    pub sweep_again_at: Timestamp,
    /// The oldest existing epoch; zero if not determined yet.
    pub oldest: i64,
    /// The removal of epochs before this one is on record.
    pub pruned_before: i64,
    /// Of those epochs, rows from this one on are deleted: epoch and sequence number.
    pub pruned_to: (i64, i64),
    /// Events that have come since some were deleted.
    pub came: u64,
    /// When they are deleted again, after a failure.
    pub prune_again_at: Timestamp,
    /// The table that holds the chain, which is another one when the extension was created anew.
    pub events: u32,
    /// How the blind index key is known ([`password_verify_core::kept::row_mac::Installation`]); zeros without
    /// a keyring.
    pub installation: [u8; 16],
    /// Is everything in the database sealed, as far as its anchor says?
    pub sealed: bool,
    /// Has somebody seen that everything is sealed?
    pub found_sealed: bool,
    /// Tables that are not as they were written, one bit each, and those of which an event says so.
    pub altered: u16,
    pub told: u16,
    /// Which key the budgets and all else that the worker keeps are signed with, since the last complete pass.
    pub signed_with: [u8; 8],
    /// The same of the pass that has begun.
    pub signing_with: [u8; 8],
    /// What the sums are to be corrected by when a restore is accepted, if it is.
    pub accept: Option<Correction>,
    /// Since a restore was accepted: the next pass deletes what is not as it was written, where only the worker writes.
    pub discard: bool,
    /// Has the log reported that nothing is removed because the clock may be wrong?
    pub doubted: bool,
}

/// What the sums of an anchor are to be corrected by.
#[derive(Debug, Clone, Copy)]
pub struct Correction {
    /// As [`password_verify_core::trail::anchor::Sums`] has them, big-endian.
    pub sums: [[u8; 16]; 5],
    /// The epoch of the last acceptance before. If there has been another since, this is no correction any more.
    pub accepted: i64,
}

impl HandOver {
    /// The head of the chain.
    pub fn head(&self) -> Head {
        Head { epoch: self.epoch, seq: self.seq, mac: self.mac }
    }
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

    /// Asks for a worker if there is none; true if idle workers must be woken.
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

    /// Does the database want a worker and have none?
    pub fn waits(&self) -> bool {
        self.oid != pg_sys::InvalidOid && self.worker == 0 && self.wanted_since != 0
    }

    /// How long it has to wait for a new worker. Microseconds.
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
