//! Events on their way from the sessions to the worker of their database.
//!
//! An entry is reserved before an attempt is tested, so that its outcome can always be recorded,
//! and filled in when the outcome is known. A database's events are written in the order in which
//! they were submitted.

use std::time::Instant;

use password_verify_core::rules::throttle::PAYERS;

use super::board;
use super::central::{Central, NONE};
use super::databases::{any_waits, want_worker};
use super::queued_event::QueuedEvent;
use crate::pg::server;
use crate::settings::{self, Durability};

/// Reserves an entry for an event. `None` if no entry is free by the deadline. A database may hold
/// a quarter of all entries, so that one whose worker is stuck does not stall the others.
pub fn reserve(database: usize, deadline: Instant) -> Option<u32> {
    let quota = (settings::audit_queue() / 4) as u32;
    board::of(database).done.wait(deadline, || {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let number = queue.free;
        let database_of = &mut databases[database];
        // The slot may belong to another database by now.
        if number == NONE || database_of.held >= quota || database_of.oid != server::database() {
            return None;
        }
        let entry = &mut entries[number as usize];
        queue.free = entry.next;
        (entry.next, entry.database) = (NONE, database as u32);
        database_of.held += 1;
        Some(number)
    })
}

/// Fills in an entry, hands it to the worker, and returns the ticket to wait for.
pub fn submit(number: u32, queued: &QueuedEvent, touched: [u32; PAYERS]) -> Ticket {
    let (database, ticket, generation, wake) = {
        let mut central = Central::lock();
        let (_, entries, databases) = central.parts();
        let database = entries[number as usize].database;
        let of = &mut databases[database as usize];
        of.submitted += 1;
        let ticket = of.submitted;
        let generation = board::of(database as usize).generation();
        let entry = &mut entries[number as usize];
        (entry.queued, entry.touched) = (*queued, touched);
        (entry.ticket, entry.next) = (ticket, NONE);
        let before = std::mem::replace(&mut of.last, number);
        of.ready += 1;
        if before == NONE {
            of.first = number;
        } else {
            entries[before as usize].next = number;
        }
        let wake = databases[database as usize].want();
        (database as usize, ticket, generation, wake)
    };
    board::of(database).work.broadcast();
    if wake {
        board::vacancy().broadcast();
    }
    Ticket { database, generation, number: ticket }
}

/// Returns an entry for which no event is to be written.
pub fn cancel(number: u32) {
    let database = {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let database = entries[number as usize].database as usize;
        queue.free(entries, &mut databases[database], number);
        database
    };
    board::of(database).done.broadcast();
}

/// The first `count` waiting entries at most, which stay in the queue, and whether the database
/// holds any entry, waiting or reserved.
pub fn first(database: usize, count: usize) -> (Vec<([u32; PAYERS], QueuedEvent)>, bool) {
    let mut found = Vec::with_capacity(count);
    let mut central = Central::lock();
    let (_, entries, databases) = central.parts();
    let of = &databases[database];
    let mut number = of.first;
    while number != NONE && found.len() < count {
        let entry = &entries[number as usize];
        found.push((entry.touched, entry.queued));
        number = entry.next;
    }
    (found, of.held as usize > 0)
}

/// May a standby log one more event? If so, returns how many it has left out before. 1000 at once,
/// then 10 a second: a standby has no table to write to, and a login with the verifier role could
/// fill the disk.
pub fn may_log() -> Option<u64> {
    const INTERVAL: i64 = 100_000;
    const BURST: i64 = 1000 * INTERVAL;
    let now = server::now();
    let mut central = Central::lock();
    let (queue, _, _) = central.parts();
    let (full_at, left_out) = &mut queue.lines;
    let next = (*full_at).clamp(now, now + BURST) + INTERVAL;
    if next > now + BURST {
        *left_out += 1;
        return None;
    }
    *full_at = next;
    Some(std::mem::take(left_out))
}

/// How many entries wait to be written.
pub fn waiting(database: usize) -> usize {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[database].ready as usize
}

/// Is an entry waiting to be written?
pub fn has_work(database: usize) -> bool {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[database].ready > 0
}

/// The right to learn when an event is committed.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    database: usize,
    generation: u64,
    number: u64,
}

impl Ticket {
    /// Must the answer wait for its event? Asynchronous events need not, unless databases take
    /// turns with the workers: an orderly shutdown starts no worker for databases that are still
    /// waiting.
    pub fn is_to_wait(self) -> bool {
        settings::audit_durability() == Durability::Commit || any_waits()
    }

    /// Waits until the event is committed; false if it is not by the deadline.
    pub fn wait(self, deadline: Instant) -> bool {
        let database = board::of(self.database);
        let look = || {
            // The order matters: if another database has taken the slot, its higher number is seen
            // only together with its generation.
            let committed = database.committed();
            // Discarded with its database: it will never be committed.
            if database.generation() != self.generation {
                return Some(false);
            }
            if committed >= self.number {
                return Some(true);
            }
            want_worker(self.database);
            None
        };
        database.done.wait(deadline, look).unwrap_or(false)
    }
}
