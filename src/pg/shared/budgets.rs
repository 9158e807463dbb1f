//! The cache in front of `password_verify.throttle`.
//!
//! A budget is found by a keyed hash, so an attacker cannot choose a bucket to fill. A budget with
//! changes that are not stored yet is never evicted; any other may be, and is read from the table
//! again.

use std::time::Instant;

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::repeat::Repeats;
use password_verify_core::rules::throttle::{Admission, Budget, Payer, Rules, Settlement};
use pgrx::pg_sys;

use super::condition::Condition;
use super::piece::{Guard, LockGuard, Piece, SHARDS};
use crate::error::Error;
use crate::pg::server;
use crate::settings;

pub const WAYS: usize = 16;
/// How long a standby trusts what it has read. Microseconds.
const STANDBY_TRUST: u64 = 10_000_000;

pub static CACHE: Piece<Cached> = Piece::new();
pub static SETTLED: Piece<[Condition; SHARDS]> = Piece::new();
pub static REPEAT_KEY: Piece<[u8; 32]> = Piece::new();

/// Keyed BLAKE2b of kind, user and address, under which a budget is stored.
pub type BudgetKey = [u8; 16];

#[repr(C)]
pub struct Cached {
    key: BudgetKey,
    database: pg_sys::Oid,
    state: State,
    payer: Payer,
    /// Read while this server was a standby, so the primary may have changed it since.
    of_standby: bool,
    /// Attempts and transactions that keep it in the cache.
    pins: u32,
    /// Changes since the server started, and how many of them are stored.
    version: u32,
    written: u32,
    /// When it was last requested.
    used: Timestamp,
    budget: Budget,
    /// When it need not be kept any longer, by the policy of the session that changed it last.
    rests_at: Timestamp,
    /// For a known client: the wrong passwords it has tried. Never stored.
    repeats: Repeats,
}

/// A budget as the table stores it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stored {
    pub budget: Budget,
    pub rests_at: Timestamp,
}

#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty = 0,
    /// The session that pinned it first is reading it.
    Loading,
    Present,
}

impl Cached {
    fn loading(
        database: pg_sys::Oid,
        payer: Payer,
        key: &BudgetKey,
        now: Timestamp,
        of_standby: bool,
    ) -> Self {
        Self {
            key: *key,
            database,
            state: State::Loading,
            payer,
            of_standby,
            pins: 1,
            version: 0,
            written: 0,
            used: now,
            budget: Budget::default(),
            rests_at: 0,
            repeats: Repeats::default(),
        }
    }

    fn changed(&mut self, rules: &Rules) {
        self.version = self.version.wrapping_add(1);
        self.rests_at = self.budget.rests_at(self.payer, rules);
    }
}

pub fn capacity() -> usize {
    buckets() * WAYS
}

/// A multiple of [`SHARDS`], so that every lock guards the same number of buckets.
pub fn buckets() -> usize {
    settings::throttle_entries().div_ceil(WAYS * SHARDS) * SHARDS
}

/// The buckets of one shard, for as long as their lock is held.
pub struct Shard {
    number: usize,
    _held: LockGuard,
}

impl Shard {
    pub fn lock(number: usize) -> Self {
        Self { number, _held: LockGuard::take(Guard::Shard(number)) }
    }

    /// The slots of a bucket in this shard.
    pub fn bucket(&mut self, bucket: usize) -> &mut [Cached] {
        assert!(bucket % SHARDS == self.number && bucket < buckets());
        // SAFETY: see `Piece::get`; the assertion makes it a bucket that this lock guards, and the
        // borrow makes it the only one in use.
        unsafe {
            let first = CACHE.get().add(bucket * WAYS);
            std::slice::from_raw_parts_mut(first, WAYS)
        }
    }
}

/// The condition on which sessions wait for a budget of that shard.
pub fn settled(shard: usize) -> &'static Condition {
    // SAFETY: see `Piece::get`; a condition guards itself.
    let all = unsafe { &*SETTLED.get() };
    &all[shard]
}

/// The key of the marks by which repeated wrong passwords are recognised.
pub fn repeat_key() -> &'static [u8; 32] {
    // SAFETY: see `Piece::get`; never changed after the start.
    unsafe { &*REPEAT_KEY.get() }
}

/// A slot of the cache: a number below [`capacity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BudgetPlace(pub u32);

impl BudgetPlace {
    fn bucket(self) -> usize {
        self.0 as usize / WAYS
    }

    pub fn shard(self) -> usize {
        self.bucket() % SHARDS
    }

    fn with<T>(self, then: impl FnOnce(&mut Cached) -> T) -> T {
        let mut shard = Shard::lock(self.shard());
        then(&mut shard.bucket(self.bucket())[self.0 as usize % WAYS])
    }

    /// Changes the slot and wakes the sessions waiting for its budget.
    fn change<T>(self, then: impl FnOnce(&mut Cached) -> T) -> T {
        let result = self.with(then);
        settled(self.shard()).broadcast();
        result
    }
}

fn bucket_of(key: &BudgetKey) -> usize {
    let [a, b, c, d, ..] = *key;
    u32::from_be_bytes([a, b, c, d]) as usize % buckets()
}

enum Look {
    /// The budget is present, and now pinned.
    Pinned(BudgetPlace),
    /// The slot is pinned, and its budget must be read from the table.
    ToLoad(BudgetPlace),
}

/// Keeps a budget in the cache until [`unpin`], reading it first if it is absent. `note` learns the
/// slot before anything can fail. `None` if no slot of its bucket became free by the deadline.
///
/// # Errors
/// Those of `load`.
pub fn pin(
    database: pg_sys::Oid,
    payer: Payer,
    key: &BudgetKey,
    deadline: Instant,
    note: impl FnOnce(BudgetPlace),
    load: impl FnOnce() -> Result<Option<Stored>, Error>,
) -> Result<Option<BudgetPlace>, Error> {
    let bucket = bucket_of(key);
    let look = settled(bucket % SHARDS)
        .wait(deadline, || look(bucket, database, payer, key, server::now()));
    match look {
        None => Ok(None),
        Some(Look::Pinned(place)) => {
            note(place);
            Ok(Some(place))
        }
        Some(Look::ToLoad(place)) => {
            note(place);
            let Stored { budget, rests_at } = load()?.unwrap_or_default();
            place.change(|slot| {
                (slot.budget, slot.rests_at, slot.state) = (budget, rests_at, State::Present);
            });
            Ok(Some(place))
        }
    }
}

fn look(
    bucket: usize,
    database: pg_sys::Oid,
    payer: Payer,
    key: &BudgetKey,
    now: Timestamp,
) -> Option<Look> {
    let standby = server::in_recovery();
    let mut shard = Shard::lock(bucket % SHARDS);
    let slots = shard.bucket(bucket);
    let place = |way: usize| BudgetPlace((bucket * WAYS + way) as u32);
    let is_it =
        |slot: &Cached| slot.state != State::Empty && slot.key == *key && slot.database == database;
    if let Some(way) = slots.iter().position(is_it) {
        let slot = &mut slots[way];
        if slot.state == State::Loading {
            return None;
        }
        // A standby rereads what it has not changed itself; a primary, what it read as a standby.
        let stale = slot.of_standby
            && (!standby || slot.version == 0 && now.abs_diff(slot.used) > STANDBY_TRUST);
        if stale && slot.pins == 0 {
            *slot = Cached::loading(database, payer, key, now, standby);
            return Some(Look::ToLoad(place(way)));
        }
        slot.pins += 1;
        slot.used = now;
        return Some(Look::Pinned(place(way)));
    }
    // Take a free slot, or else evict the least recently used budget that is stored.
    let may_leave = |slot: &Cached| {
        slot.state == State::Present && slot.pins == 0 && slot.version == slot.written
    };
    let free = slots.iter().position(|slot| slot.state == State::Empty);
    let oldest = || {
        let leaving = slots.iter().enumerate().filter(|(_, slot)| may_leave(slot));
        leaving.min_by_key(|(_, slot)| slot.used).map(|(way, _)| way)
    };
    let way = free.or_else(oldest)?;
    slots[way] = Cached::loading(database, payer, key, now, standby);
    Some(Look::ToLoad(place(way)))
}

/// Unpins a budget. One whose reading failed is dropped.
pub fn unpin(place: BudgetPlace) {
    place.change(|slot| {
        slot.pins -= 1;
        if slot.state == State::Loading {
            slot.state = State::Empty;
        }
    });
}

/// Charges a pinned budget, if it admits the attempt.
pub fn admit(place: BudgetPlace, now: Timestamp, rules: &Rules) -> Admission {
    place.with(|slot| slot.budget.admit(slot.payer, now, rules))
}

/// Settles the charge of a pinned budget; returns the budget before and after.
pub fn settle(
    place: BudgetPlace,
    settled: Settlement,
    now: Timestamp,
    rules: &Rules,
) -> (Budget, Budget) {
    place.change(|slot| {
        let before = slot.budget;
        slot.budget.settle(slot.payer, settled, now, rules);
        if settled != Settlement::Withdrawn {
            slot.changed(rules);
        }
        (before, slot.budget)
    })
}

/// Changes a pinned budget; false if the change had no effect.
pub fn alter(place: BudgetPlace, rules: &Rules, change: impl FnOnce(&mut Budget)) -> bool {
    place.change(|slot| {
        let before = slot.budget;
        change(&mut slot.budget);
        let changed = before != slot.budget;
        if changed {
            slot.changed(rules);
        }
        changed
    })
}

/// Notes a wrong password of a client. Is it a repetition, for which the account is not charged?
/// Nothing is remembered of unknown clients.
pub fn repeats(place: BudgetPlace, mark: u64, now: Timestamp, charged: bool) -> bool {
    place.with(|slot| slot.budget.is_known(now) && slot.repeats.note(mark, now, charged))
}

pub fn read(place: BudgetPlace) -> Budget {
    place.with(|slot| slot.budget)
}

/// The current value of a budget, if it is in the cache.
pub fn look_up(database: pg_sys::Oid, key: &BudgetKey) -> Option<Budget> {
    let bucket = bucket_of(key);
    let mut shard = Shard::lock(bucket % SHARDS);
    let is_it = |slot: &&mut Cached| {
        slot.state == State::Present && slot.key == *key && slot.database == database
    };
    shard.bucket(bucket).iter_mut().find(is_it).map(|slot| slot.budget)
}

/// Clears a budget that is in the cache, and returns its slot.
pub fn clear_if_present(database: pg_sys::Oid, key: &BudgetKey) -> Option<BudgetPlace> {
    let bucket = bucket_of(key);
    let mut shard = Shard::lock(bucket % SHARDS);
    let slots = shard.bucket(bucket);
    let way = slots.iter().position(|slot| {
        slot.state == State::Present && slot.key == *key && slot.database == database
    })?;
    let slot = &mut slots[way];
    if slot.budget.count > 0 {
        slot.budget.clear();
        (slot.version, slot.rests_at) = (slot.version.wrapping_add(1), 0);
    }
    Some(BudgetPlace((bucket * WAYS + way) as u32))
}

/// A budget whose changes are to be stored.
pub struct Unwritten {
    pub place: BudgetPlace,
    pub key: BudgetKey,
    pub payer: Payer,
    pub stored: Stored,
    version: u32,
}

/// The budget in a slot, if it belongs to the database and has changed since it was stored.
pub fn unwritten(place: BudgetPlace, database: pg_sys::Oid) -> Option<Unwritten> {
    place.with(|slot| {
        let theirs = slot.state == State::Present && slot.database == database;
        (theirs && slot.version != slot.written).then_some(Unwritten {
            place,
            key: slot.key,
            payer: slot.payer,
            stored: Stored { budget: slot.budget, rests_at: slot.rests_at },
            version: slot.version,
        })
    })
}

/// The stored value is committed: the slot may be evicted, unless the budget has changed again.
pub fn written(unwritten: &Unwritten, database: pg_sys::Oid) {
    unwritten.place.change(|slot| {
        if slot.database == database && slot.key == unwritten.key {
            slot.written = unwritten.version;
        }
    });
}

/// Lets a budget be evicted although it is not stored: a standby stores nothing.
pub fn leave_unwritten(place: BudgetPlace) {
    place.with(|slot| slot.written = slot.version);
}

/// Drops all unpinned budgets of a database that no longer exists.
pub fn forget(database: pg_sys::Oid) {
    for bucket in 0..buckets() {
        let mut shard = Shard::lock(bucket % SHARDS);
        for slot in shard.bucket(bucket).iter_mut() {
            if slot.database == database && slot.pins == 0 {
                slot.state = State::Empty;
            }
        }
    }
}

/// Slots in use, and slots whose budget has yet to be stored.
pub fn use_of_cache() -> (usize, usize) {
    let (mut used, mut unwritten) = (0, 0);
    for bucket in 0..buckets() {
        let mut shard = Shard::lock(bucket % SHARDS);
        for slot in shard.bucket(bucket).iter() {
            used += usize::from(slot.state != State::Empty);
            unwritten += usize::from(slot.state != State::Empty && slot.version != slot.written);
        }
    }
    (used, unwritten)
}
