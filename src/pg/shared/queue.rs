//! Events on their way from the sessions to the worker of their database.
//!
//! An entry is taken before an attempt is tested, so that what happens to the attempt can always be
//! recorded, and filled in when it is known. Entries of a database are written in that order.

use std::time::Instant;

use password_verify_core::rules::throttle::PAYERS;

use super::board;
use super::central::{Central, NONE};
use super::databases::{any_waits, want_worker};
use super::note::Note;
use crate::pg::server;
use crate::settings::{self, Durability};

/// Takes an entry for an event that is going to happen. `None` when all are taken until the deadline: a
/// database may hold a quarter of them, so that one that is stuck does not stall the others.
pub fn reserve(database: usize, deadline: Instant) -> Option<u32> {
    let quota = (settings::audit_queue() / 4) as u32;
    board::of(database).done.wait(deadline, || {
        let mut central = Central::lock();
        let (queue, entries, databases) = central.parts();
        let number = queue.free;
        let database_of = &mut databases[database];
        // The place may have become another database's meanwhile.
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

/// Fills an entry in and gives it to the worker; the ticket to wait for.
pub fn submit(number: u32, record: &Note, touched: [u32; PAYERS]) -> Ticket {
    let (database, ticket, generation, wake) = {
        let mut central = Central::lock();
        let (_, entries, databases) = central.parts();
        let database = entries[number as usize].database;
        let of = &mut databases[database as usize];
        of.submitted += 1;
        let ticket = of.submitted;
        let generation = board::of(database as usize).generation();
        let entry = &mut entries[number as usize];
        (entry.record, entry.touched) = (*record, touched);
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

/// Gives an entry back for which nothing has happened.
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

/// The first entries that wait, at most `count`, without taking them off; how many are held besides.
pub fn first(database: usize, count: usize) -> (Vec<([u32; PAYERS], Note)>, bool) {
    let mut found = Vec::with_capacity(count);
    let mut central = Central::lock();
    let (_, entries, databases) = central.parts();
    let of = &databases[database];
    let mut number = of.first;
    while number != NONE && found.len() < count {
        let entry = &entries[number as usize];
        found.push((entry.touched, entry.record));
        number = entry.next;
    }
    (found, of.held as usize > 0)
}

/// May a standby log one more event? Then how many it has not logged before. 1000 at once, 10 a second:
/// its log is no table, and whoever may validate could fill the disk.
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

/// Is there anything to write?
pub fn has_work(database: usize) -> bool {
    let mut central = Central::lock();
    let (_, _, databases) = central.parts();
    databases[database].ready > 0
}

/// The right to be told when an event is committed.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    database: usize,
    generation: u64,
    number: u64,
}

impl Ticket {
    /// Must the answer wait for its event? Asynchronous ones need not, unless databases take turns with the
    /// workers: an orderly shutdown starts none for those that have to wait.
    pub fn is_to_wait(self) -> bool {
        settings::audit_durability() == Durability::Commit || any_waits()
    }

    /// Waits until the event is committed; false if it is not by the deadline.
    pub fn wait(self, deadline: Instant) -> bool {
        let database = board::of(self.database);
        let look = || {
            // In this order: a number that is committed later, by the database that has this place then,
            // is seen together with its generation.
            let committed = database.committed();
            // Discarded with its database: it is never going to be.
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
