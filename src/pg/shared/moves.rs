//! Records that have been made, moved from one class of cost to another, or deleted, on their way to the worker.
//!
//! Their transaction is committed. What has no place is lost, as is what a crash finds here: the worker then
//! counts a user wrong, and no more than that.

use password_verify_core::cost_class::ClassKey;
use password_verify_core::decoy::Move;
use password_verify_core::record::MAX_BYTES;
use pgrx::pg_sys;

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
        self.template[..text.len()].copy_from_slice(text);
    }

    fn tally(&self) -> Tally {
        let template = &self.template[..usize::from(self.template_len)];
        let template = String::from_utf8_lossy(template).into_owned();
        Tally { made: self.made(), count: self.count, template }
    }
}

/// Leaves it for the worker; false if there is no place.
pub fn add(database: pg_sys::Oid, tally: &Tally) -> bool {
    if tally.template.len() > MAX_BYTES {
        return false;
    }
    let mut traffic = Traffic::lock();
    let slots = traffic.slots();
    let same = |slot: &Slot| slot.is_of(database) && slot.made() == tally.made;
    if let Some(slot) = slots.iter_mut().find(|slot| same(slot)) {
        slot.count = slot.count.saturating_add(tally.count);
        return true;
    }
    let held = slots.iter().filter(|slot| slot.is_of(database)).count();
    let free = slots.iter_mut().find(|slot| slot.is_of(pg_sys::InvalidOid));
    match free.filter(|_| held < PLACES / 2) {
        Some(slot) => {
            slot.put(database, tally);
            true
        }
        None => false,
    }
}

/// What waits for the worker of a database.
pub fn waiting(database: pg_sys::Oid) -> Vec<Tally> {
    let mut found = Vec::with_capacity(PLACES / 2);
    let mut traffic = Traffic::lock();
    found.extend(traffic.slots().iter().filter(|slot| slot.is_of(database)).map(Slot::tally));
    found
}

/// These are counted, and stored.
pub fn counted(database: pg_sys::Oid, tallies: &[Tally]) {
    let mut traffic = Traffic::lock();
    for tally in tallies {
        let theirs = |slot: &&mut Slot| slot.is_of(database) && slot.made() == tally.made;
        if let Some(slot) = traffic.slots().iter_mut().find(theirs) {
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
    let theirs = traffic.slots().iter_mut().filter(|slot| slot.is_of(database));
    theirs.for_each(|slot| slot.database = pg_sys::InvalidOid);
}
