//! Records that have been made, moved from one class of cost to another, or deleted, on their way to the worker.
//!
//! Their transaction is committed. What has no place is lost, as is what a crash finds here: users are counted wrong
//! then until all records have been counted anew ([`crate::pg::shared::passes`]).

use password_verify_core::cost_class::ClassKey;
use password_verify_core::decoy::Move;
use password_verify_core::record::MAX_BYTES;
use password_verify_core::recount::{Behind, Span};
use pgrx::pg_sys;

use super::passes;
use super::passes::Pass;
use super::segment::Traffic;

/// Different ones at the same time, of all databases. One database has half of them at most.
pub const PLACES: usize = 64;

/// Some that are alike.
#[derive(Debug, Clone)]
pub struct Tally {
    pub made: Move,
    pub count: u64,
    /// A record of the class that they have moved to.
    pub template: String,
}

/// The same in shared memory.
#[repr(C)]
pub struct Slot {
    /// Zero: this place is free.
    database: pg_sys::Oid,
    from: ClassKey,
    to: ClassKey,
    ours: bool,
    count: u64,
    /// Of those, what a count of all records would miss that goes on meanwhile.
    behind: Behind,
    template_len: u16,
    template: [u8; MAX_BYTES],
}

impl Slot {
    fn is_of(&self, database: pg_sys::Oid) -> bool {
        self.database == database
    }

    fn made(&self) -> Move {
        Move { from: self.from, to: self.to, ours: self.ours }
    }

    fn put(&mut self, database: pg_sys::Oid, tally: &Tally) {
        let (Move { from, to, ours }, text) = (tally.made, tally.template.as_bytes());
        (self.database, self.from, self.to, self.ours) = (database, from, to, ours);
        // Invariant: a template is a record, which has MAX_BYTES at most; `add` has looked.
        (self.count, self.template_len) = (tally.count, text.len() as u16);
        self.behind = Behind::default();
        self.template[..text.len()].copy_from_slice(text);
    }

    fn tally(&self) -> Tally {
        let template = &self.template[..usize::from(self.template_len)];
        let template = String::from_utf8_lossy(template).into_owned();
        Tally { made: self.made(), count: self.count, template }
    }
}

/// Leaves it for the worker, and where those records were and are; false if there is no place.
pub fn add(database: pg_sys::Oid, tally: &Tally, from: Span, to: Span) -> bool {
    if tally.template.len() > MAX_BYTES {
        return false;
    }
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    let pass = passes::existing(passes, database);
    let behind = pass.map_or(Behind::default(), |pass| pass.behind(from, to, tally.count));
    if tally.made.is_none() && behind.left == behind.came {
        return true;
    }
    let same = |slot: &Slot| slot.is_of(database) && slot.made() == tally.made;
    let held = slots.iter().filter(|slot| slot.is_of(database)).count();
    let number = slots.iter().position(same).or_else(|| {
        let free = slots.iter().position(|slot| slot.is_of(pg_sys::InvalidOid));
        let free = free.filter(|_| held < PLACES / 2)?;
        slots[free].put(database, &Tally { count: 0, ..tally.clone() });
        Some(free)
    });
    let Some(slot) = number.map(|number| &mut slots[number]) else { return false };
    slot.count = slot.count.saturating_add(tally.count);
    slot.behind.left = slot.behind.left.saturating_add(behind.left);
    slot.behind.came = slot.behind.came.saturating_add(behind.came);
    true
}

/// What waits for the worker of a database.
pub fn waiting(database: pg_sys::Oid) -> Vec<Tally> {
    let mut traffic = Traffic::lock();
    let (slots, passes) = traffic.parts();
    take_note(slots, passes, database)
}

/// The same for who holds the lock. A count of all records that goes on knows of them from now on.
pub fn take_note(
    slots: &mut [Slot; PLACES],
    passes: &mut [Pass; passes::PLACES],
    database: pg_sys::Oid,
) -> Vec<Tally> {
    let mut pass = passes::existing(passes, database);
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs
        .map(|slot| {
            let behind = std::mem::take(&mut slot.behind);
            if let Some(pass) = &mut pass {
                pass.moved(slot.from, slot.to, behind);
            }
            slot.tally()
        })
        .collect()
}

/// A count of all records begins: it has missed nothing yet.
pub fn begin_anew(slots: &mut [Slot; PLACES], database: pg_sys::Oid) {
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs.for_each(|slot| slot.behind = Behind::default());
}

/// These are counted, and stored.
pub fn counted(database: pg_sys::Oid, tallies: &[Tally]) {
    let mut traffic = Traffic::lock();
    let (slots, _) = traffic.parts();
    for tally in tallies {
        let theirs = |slot: &&mut Slot| slot.is_of(database) && slot.made() == tally.made;
        if let Some(slot) = slots.iter_mut().find(theirs) {
            slot.count -= tally.count.min(slot.count);
            if slot.count == 0 {
                slot.database = pg_sys::InvalidOid;
            }
        }
    }
}

/// The database is gone.
pub fn forget(database: pg_sys::Oid) {
    let mut traffic = Traffic::lock();
    let (slots, _) = traffic.parts();
    let theirs = slots.iter_mut().filter(|slot| slot.is_of(database));
    theirs.for_each(|slot| slot.database = pg_sys::InvalidOid);
}
