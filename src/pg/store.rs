//! Reads and writes of credentials.
//!
//! **Reads** take the same steps for known and unknown users alike: to the row at or
//! before the user's place in the blind index, which is the user's own or, for an unknown user, the
//! neighbour's. A row with the lowest possible place is made with the table, so there always is one.
//!
//! **Writes** never wait for a lock of unknown length: a row that another transaction holds is
//! looked at again for a second, and then the answer is "busy".

use std::time::{Duration, Instant};

use password_verify_core::decoy;
use password_verify_core::user_id::UserId;
use pgrx::pg_sys;

use super::cost_classes::CostClasses;
use super::credential::Credential;
use super::key::ActiveKey;
use super::lock;
use super::moves;
use super::place::PlaceLock;
use super::scan::{self, Scan, Seek};
use super::session::patiently;
use super::table::{Access, Index, Table};
use super::uncounted::Uncounted;
use crate::error::{Error, RecordNumber};

/// What a look-up found.
pub enum Found {
    /// The user's own row.
    Own(Credential),
    /// The user has none; this is whose place is before.
    Neighbour(Credential),
    /// The table is empty, which it never is unless somebody emptied it.
    Nothing,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is part of the transaction now.
    Done,
    /// Nothing was changed: the row is there (insert), is not there, or is as it should be (edit).
    Unchanged,
    /// Nothing was changed: another transaction holds the row.
    Busy,
}

/// What to do with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Nothing.
    Keep,
    /// Write it back.
    Replace,
    /// Delete it.
    Delete,
}

/// What a batch of [`Store::reseal`] came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resealed {
    /// Where the next batch goes on.
    pub last: RecordNumber,
    pub sealed: u64,
    /// Held by somebody.
    pub busy: u64,
    /// Sealed with a key that is not there, or broken.
    pub unopened: u64,
    pub finished: bool,
}

/// The credential table, opened for one look-up or one write.
pub struct Store {
    table: Table,
    index: Index,
    key: ActiveKey,
    /// Where it is read.
    classes: Option<CostClasses>,
}

impl Store {
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Self::open_by(access, lock::deadline())
    }

    /// The same, waiting for the tables until the deadline.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_by(access: Access, deadline: Instant) -> Result<Self, Error> {
        let key = ActiveKey::read_by(deadline)?;
        let table = Table::open_by(c"credential", access, deadline)?;
        let index = Index::open_by(c"credential_pkey", &table, deadline)?;
        let classes = match access {
            Access::Read => Some(CostClasses::open_by(access, deadline)?),
            Access::Write => None,
        };
        Ok(Self { table, index, key, classes })
    }

    /// The same, unless that means waiting for a lock.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`].
    pub fn open_at_once(access: Access) -> Result<Option<Self>, Error> {
        match Self::open_by(access, Instant::now()) {
            Err(Error::Locked) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// What the password of an unknown user is hashed against, if this is one: a record of some cost, always the
    /// same for the same id; `None`: what a new password would cost.
    ///
    /// # Errors
    /// What [`CostClasses::of`] says.
    pub fn decoy(&self, user: &UserId) -> Result<Option<String>, Error> {
        let cell = decoy::cell(self.key.key.decoy(user));
        self.classes.as_ref().map_or(Ok(None), |classes| classes.of(cell))
    }

    /// The row at or before the user's place.
    ///
    /// Looks twice, whatever the first look found, because a row that is being written can be missed
    /// once ([`scan::now`]).
    ///
    /// # Errors
    /// [`Error::Corrupt`] when that row is the user's own and cannot be read.
    pub fn find(&self, user: &UserId) -> Result<Found, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let (first, second) = (self.look(user)?, self.look(user)?);
        Ok(if matches!(second, Found::Own(_)) { second } else { first })
    }

    /// The row at that place, unless it is the one that belongs to nobody. As many steps whether there is one
    /// or not.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn at(&self, place: RecordNumber) -> Result<Option<Credential>, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let look = || {
            let now = scan::now();
            // SAFETY: the snapshot is a static.
            let mut scan =
                unsafe { Scan::begin(&self.table, &self.index, now, place, Seek::AtOrBefore) };
            // SAFETY: a tuple of this table, valid while it is read.
            let row = scan.peek(|tuple| unsafe { Credential::read(&self.table, tuple) });
            row.transpose()
        };
        let (first, second) = (look()?, look()?);
        let here = |row: &Credential| row.number == place && !row.user_id.is_empty();
        Ok(second.filter(here).or(first.filter(here)))
    }

    fn look(&self, user: &UserId) -> Result<Found, Error> {
        let place = self.place(user);
        let now = scan::now();
        // SAFETY: the snapshot is a static.
        let mut scan =
            unsafe { Scan::begin(&self.table, &self.index, now, place, Seek::AtOrBefore) };
        // SAFETY: a tuple of this table, valid while it is read.
        let row = scan.peek(|tuple| unsafe { Credential::read(&self.table, tuple) });
        let Some(row) = row else { return Ok(Found::Nothing) };
        match row {
            Ok(row) if row.number != place => Ok(Found::Neighbour(row)),
            Ok(row) if row.user_id == user.as_str() => Ok(Found::Own(row)),
            Ok(_) => Err(Error::Corrupt(place)),
            Err(Error::Corrupt(number)) if number != place => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Adds a row for a user who has none.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub fn insert(
        &self,
        user: &UserId,
        patience: Duration,
        row: impl Fn(RecordNumber) -> Credential,
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            // Held between looking and inserting only. Whoever looks next sees the row.
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            match self.occupant(place) {
                Occupant::Uncertain => Ok(None),
                Occupant::Row => Ok(Some(Written::Unchanged)),
                Occupant::Nobody => {
                    self.key.keep()?;
                    self.add(row(place))?;
                    Ok(Some(Written::Done))
                }
            }
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Locks the user's row, lets `edit` change it, and does what `edit` says.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row cannot be read; PostgreSQL's own.
    pub fn edit(
        &self,
        user: &UserId,
        patience: Duration,
        mut edit: impl FnMut(&mut Credential) -> Result<Edit, Error>,
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            // Whoever looks whether the place is taken does not look while a row is being moved.
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            let now = scan::now();
            // Open until the row is locked: it keeps the row where it is.
            // SAFETY: the snapshot is a static.
            let mut scan =
                unsafe { Scan::begin(&self.table, &self.index, now, place, Seek::Exactly) };
            let tuple = scan.next();
            if tuple.is_null() {
                return Ok(Some(Written::Unchanged));
            }
            // SAFETY: a tuple of this table, valid until the scan moves on.
            let (row, mut tid) = unsafe { (Credential::read(&self.table, tuple), (*tuple).t_self) };
            let mut row = match row {
                Ok(row) if row.user_id != user.as_str() => return Err(Error::Corrupt(place)),
                row => row?,
            };
            if !self.try_lock_row(&mut tid) {
                return Ok(None);
            }
            let before = moves::class_of(&row);
            // SAFETY: the row is locked by this transaction and is its latest version, so neither
            // call waits or fails on it.
            unsafe {
                match edit(&mut row)? {
                    Edit::Keep => return Ok(Some(Written::Unchanged)),
                    Edit::Delete => {
                        self.table.delete(&mut tid)?;
                        moves::note(before.as_deref(), None);
                    }
                    Edit::Replace => {
                        self.table.update(&mut tid, row.form(&self.table)?)?;
                        moves::note(before.as_deref(), moves::class_of(&row).as_deref());
                    }
                }
                // What comes later in the same statement sees it.
                pg_sys::CommandCounterIncrement();
            }
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Seals rows after a place as a new row would be sealed, as part of the transaction: those that are
    /// not yet, at most `limit` of them, looking at ten times as many.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub fn reseal(&self, after: RecordNumber, limit: u64) -> Result<Resealed, Error> {
        let mut batch = Resealed { last: after, ..Resealed::default() };
        // SAFETY: the snapshot is a static.
        let mut scan =
            unsafe { Scan::begin(&self.table, &self.index, scan::now(), after, Seek::After) };
        for _ in 0..limit.saturating_mul(10) {
            pgrx::check_for_interrupts!();
            if batch.sealed + batch.busy + batch.unopened >= limit {
                return Ok(batch);
            }
            let tuple = scan.next();
            if tuple.is_null() {
                batch.finished = true;
                return Ok(batch);
            }
            // SAFETY: a tuple of this table, valid until the scan moves on.
            let (row, tid) = unsafe { (Credential::read(&self.table, tuple), (*tuple).t_self) };
            match row {
                Ok(row) => {
                    batch.last = row.number;
                    self.reseal_one(row, tid, &mut batch)?;
                }
                Err(Error::Corrupt(number)) => {
                    (batch.last, batch.unopened) = (number, batch.unopened + 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    fn reseal_one(
        &self,
        mut row: Credential,
        mut tid: pg_sys::ItemPointerData,
        batch: &mut Resealed,
    ) -> Result<(), Error> {
        if row.is_sealed_as_new() {
            return Ok(());
        }
        let Ok(user) = UserId::from_text(&row.user_id) else { return Ok(()) };
        let Some(_lock) = PlaceLock::try_take(self.key.key.lock_tag(&user)) else {
            batch.busy += 1;
            return Ok(());
        };
        let Ok(tuple) = row.form(&self.table) else {
            batch.unopened += 1;
            return Ok(());
        };
        if !self.try_lock_row(&mut tid) {
            batch.busy += 1;
            return Ok(());
        }
        // SAFETY: the row is locked by this transaction and is its latest version; its columns but for
        // the seal are what they were.
        unsafe {
            self.table.update(&mut tid, tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        batch.sealed += 1;
        Ok(())
    }

    /// Locks a row that has just been seen, unless that would mean waiting or it is no longer the
    /// latest version. For deleting too, so that there is one way to do it.
    fn try_lock_row(&self, tid: &mut pg_sys::ItemPointerData) -> bool {
        let mut tuple = pg_sys::HeapTupleData { t_self: *tid, ..Default::default() };
        let mut buffer: pg_sys::Buffer = 0;
        let mut failure = pg_sys::TM_FailureData::default();
        // SAFETY: `t_self` is a tuple of this table; the call fills in the rest, pins a buffer
        // whatever its result, and skips instead of waiting.
        let result = unsafe {
            let result = pg_sys::heap_lock_tuple(
                self.table.as_ptr(),
                &mut tuple,
                pg_sys::GetCurrentCommandId(true),
                pg_sys::LockTupleMode::LockTupleExclusive,
                pg_sys::LockWaitPolicy::LockWaitSkip,
                false,
                &mut buffer,
                &mut failure,
            );
            pg_sys::ReleaseBuffer(buffer);
            result
        };
        result == pg_sys::TM_Result::TM_Ok
    }

    /// Where the user's record lies, or would.
    pub fn place(&self, user: &UserId) -> RecordNumber {
        self.key.key.blind_index(user)
    }

    /// Who is at that place, counting what other transactions have not committed yet.
    fn occupant(&self, place: RecordNumber) -> Occupant {
        let mut dirty = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let snapshot = &raw mut dirty;
        // SAFETY: the snapshot lives until the end of this function, and the scan is dropped before it.
        let mut scan =
            unsafe { Scan::begin(&self.table, &self.index, snapshot, place, Seek::Exactly) };
        let mut occupant = Occupant::Nobody;
        while !scan.next().is_null() {
            // A dirty snapshot names the transaction that has not ended yet, if there is one.
            // SAFETY: the scan writes through the same pointer, and only inside `next`.
            let (inserting, deleting) = unsafe { ((*snapshot).xmin, (*snapshot).xmax) };
            let ended = pg_sys::InvalidTransactionId;
            if inserting != ended || deleting != ended {
                return Occupant::Uncertain;
            }
            occupant = Occupant::Row;
        }
        occupant
    }

    fn add(&self, mut row: Credential) -> Result<(), Error> {
        let tuple = row.form(&self.table)?;
        // SAFETY: a tuple of this table.
        unsafe {
            self.table.insert(tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        moves::note(None, moves::class_of(&row).as_deref());
        Ok(())
    }
}

/// Who is at a place of the index.
enum Occupant {
    Nobody,
    Row,
    /// Somebody who may still be taken back.
    Uncertain,
}
