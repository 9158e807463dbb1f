//! Reads and writes of credentials.
//!
//! **Reads** take the same steps for known and unknown users alike: to the row at or
//! before the user's place in the blind index, which is the user's own or, for an unknown user, the
//! neighbour's. A row with the lowest possible place is made with the table, so there always is one.
//!
//! **Writes** never wait for a lock of unknown length: a row that another transaction holds is
//! looked at again for a second, and then the answer is "busy".

use std::time::{Duration, Instant};

use password_verify_core::decoys::decoy;
use password_verify_core::rules::account::State;
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use super::accounts::{AccountRow, Accounts, Locked};
use super::cost_classes::CostClasses;
use super::credential::Credential;
use super::key::ActiveKey;
use super::moves;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::place::PlaceLock;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Occupant, Scan, Seek};
use crate::pg::heap::table;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::uncounted::Uncounted;
use crate::pg::server;
use crate::pg::server::patiently;

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
    /// The same for a record that goes to another place: whoever puts it there says so.
    Take,
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

/// How often a look-up begins again whose user is removed, or made anew, meanwhile.
const LOOKS: usize = 4;

/// The tables of credentials and accounts, opened for one look-up or one write.
pub struct Store {
    pub(in crate::pg) table: Table,
    pub(in crate::pg) index: Index,
    pub(super) accounts: Accounts,
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
        Ok(Self { table, index, accounts: Accounts::open_by(access, deadline)?, key, classes })
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

    /// The row at or before the user's place, with what is said of the account.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::CorruptAccount`] when one of the user's own rows cannot be read;
    /// [`Error::UnknownKey`], [`Error::OtherKey`] when the key of an account is missing, whosever it is.
    pub fn find(&self, user: &UserId) -> Result<Found, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.find_once(user)?;
            match &found {
                Found::Own(row) => match row.state() {
                    // Two tables are read at two moments.
                    Err(Error::CorruptAccount(_)) if looks < LOOKS => continue,
                    state => drop(state?),
                },
                Found::Neighbour(row) => {
                    if let Err(error @ (Error::UnknownKey(_) | Error::OtherKey(_))) = row.state() {
                        return Err(error);
                    }
                }
                Found::Nothing => {}
            }
            return Ok(found);
        }
    }

    /// Has the user a record, whatever is in it? No key is needed to tell.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn has(&self, user: &UserId) -> Result<bool, Error> {
        Ok(matches!(self.find_once(user)?, Found::Own(_)))
    }

    /// Looks twice, whatever the first look found, because a row that is being written can be missed
    /// once ([`scan::now`]).
    fn find_once(&self, user: &UserId) -> Result<Found, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let (first, second) = (self.look(user)?, self.look(user)?);
        let account = self.accounts.near(self.place(user));
        let mut found = if matches!(second, Found::Own(_)) { second } else { first };
        if let Found::Own(row) | Found::Neighbour(row) = &mut found {
            row.judge(account);
        }
        Ok(found)
    }

    /// The row at that place, unless it is the one that belongs to nobody. As many steps whether there is one
    /// or not.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn at(&self, place: RecordNumber) -> Result<Option<Credential>, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.at_once(place)?;
            let broken = |row: &Credential| matches!(row.state(), Err(Error::CorruptAccount(_)));
            if looks >= LOOKS || !found.as_ref().is_some_and(broken) {
                return Ok(found);
            }
        }
    }

    fn at_once(&self, place: RecordNumber) -> Result<Option<Credential>, Error> {
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
        let account = self.accounts.near(place);
        let here = |row: &Credential| row.number == place && !row.user_id.is_empty();
        let mut found = second.filter(here).or(first.filter(here));
        if let Some(row) = &mut found {
            row.judge(account);
        }
        Ok(found)
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
            match scan::occupant(&self.table, &self.index, place) {
                Occupant::Uncertain => Ok(None),
                Occupant::Row => Ok(Some(Written::Unchanged)),
                Occupant::Nobody => {
                    let done = self.put(user, row(place), (place, None))?;
                    Ok(done.then_some(Written::Done))
                }
            }
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Adds a row at a place that is free, and one for the account, under the lock of the place; false if
    /// another transaction holds what is left there of a record that somebody has deleted by hand. `was`: where it
    /// has been, and its class there.
    pub(super) fn put(
        &self,
        user: &UserId,
        row: Credential,
        was: (RecordNumber, Option<&str>),
    ) -> Result<bool, Error> {
        let over = match self.accounts.lock(row.number) {
            Locked::Busy => return Ok(false),
            Locked::Nobody => None,
            Locked::Row(_, tid) => Some(tid),
        };
        self.key.keep()?;
        let (number, created_at, state) = (row.number, row.created_at, row.state()?);
        self.add(row, was)?;
        self.accounts.put(&AccountRow::new(number, user.as_str(), created_at, state), over)?;
        Ok(true)
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
            if !table::try_lock_row(&self.table, &mut tid) {
                return Ok(None);
            }
            let before = moves::class_of(&row);
            row.judge(self.accounts.near(place));
            let edit = edit(&mut row)?;
            if matches!(edit, Edit::Delete | Edit::Take) {
                match self.accounts.lock(place) {
                    Locked::Busy => return Ok(None),
                    Locked::Nobody => {}
                    Locked::Row(_, tid) => self.accounts.remove(tid)?,
                }
            }
            // SAFETY: the row is locked by this transaction and is its latest version, so neither
            // call waits or fails on it.
            unsafe {
                match edit {
                    Edit::Keep => return Ok(Some(Written::Unchanged)),
                    Edit::Delete => {
                        self.table.delete(&mut tid)?;
                        moves::note(place, before.as_deref(), None);
                    }
                    Edit::Take => self.table.delete(&mut tid)?,
                    Edit::Replace => {
                        self.table.update(&mut tid, row.form(&self.table)?)?;
                        moves::note(place, before.as_deref(), moves::class_of(&row).as_deref());
                    }
                }
                // What comes later in the same statement sees it.
                pg_sys::CommandCounterIncrement();
            }
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Lets `change` say something of the account of a user who has a record, which may be in the hands of any
    /// other transaction. `anew`: what is broken is written anew, so that nothing is allowed that was not: the
    /// password has to be changed, and tokens are worth nothing.
    ///
    /// # Errors
    /// [`Error::CorruptAccount`] for what is broken, unless it is to be written anew; PostgreSQL's own.
    pub fn alter(
        &self,
        user: &UserId,
        patience: Duration,
        anew: bool,
        mut change: impl FnMut(&mut State, &Credential),
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            let found = match self.look(user)? {
                Found::Own(row) => Found::Own(row),
                Found::Neighbour(_) | Found::Nothing => self.look(user)?,
            };
            let Found::Own(mut row) = found else { return Ok(Some(Written::Unchanged)) };
            let over = match self.accounts.lock(place) {
                Locked::Busy => return Ok(None),
                Locked::Nobody => None,
                Locked::Row(account, tid) => {
                    row.judge(Some(account));
                    Some(tid)
                }
            };
            let before = row.state();
            let mut state = match before {
                Err(Error::CorruptAccount(_)) if anew => {
                    let mut strict = State::default();
                    strict.require_change(server::now(), row.changed_at);
                    strict.revoke_tokens(server::now(), None);
                    strict
                }
                before => before?,
            };
            change(&mut state, &row);
            if before == Ok(state) {
                return Ok(Some(Written::Unchanged));
            }
            let account = AccountRow::new(place, user.as_str(), row.created_at, state);
            self.accounts.put(&account, over)?;
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Where the key is gone with which the state of the user's account is sealed, seals what the row says with
    /// the one that there is: for who sets a password in that case, which is the way on. Whoever can write the
    /// table could have left the row unsealed as well.
    ///
    /// # Errors
    /// PostgreSQL's own.
    pub fn adopt(&self, user: &UserId) -> Result<Written, Error> {
        let place = self.place(user);
        let Some(_lock) = PlaceLock::try_take(self.lock_tag(user)) else {
            return Ok(Written::Busy);
        };
        let sealed_with_none =
            |row: &AccountRow| matches!(row.open(), Err(Error::UnknownKey(_) | Error::OtherKey(_)));
        match self.accounts.near(place) {
            Some(Ok(row)) if row.number == place && sealed_with_none(&row) => {}
            _ => return Ok(Written::Unchanged),
        }
        match self.accounts.lock(place) {
            Locked::Row(Ok(row), over) => self.accounts.put(&row, Some(over))?,
            Locked::Busy => return Ok(Written::Busy),
            Locked::Row(Err(_), _) | Locked::Nobody => return Ok(Written::Unchanged),
        }
        Ok(Written::Done)
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
        let account = self.accounts.near(row.number);
        let is_new = |account: &AccountRow| account.is_sealed_as_new();
        let account_is_new = matches!(&account, Some(Ok(account)) if is_new(account));
        row.judge(account);
        if row.is_sealed_as_new() && account_is_new {
            return Ok(());
        }
        let Ok(user) = UserId::from_text(&row.user_id) else { return Ok(()) };
        let Some(_lock) = PlaceLock::try_take(self.key.key.lock_tag(&user)) else {
            batch.busy += 1;
            return Ok(());
        };
        // Both are held before either is written.
        let tuple = if row.is_sealed_as_new() { None } else { Some(row.form(&self.table)) };
        let state = if account_is_new { None } else { Some(row.state()) };
        let (Ok(tuple), Ok(state)) = (tuple.transpose(), state.transpose()) else {
            batch.unopened += 1;
            return Ok(());
        };
        let over = match state.map(|_| self.accounts.lock(row.number)) {
            None => None,
            Some(Locked::Row(_, over)) => Some(over),
            Some(Locked::Busy | Locked::Nobody) => {
                batch.busy += 1;
                return Ok(());
            }
        };
        if tuple.is_some() && !table::try_lock_row(&self.table, &mut tid) {
            batch.busy += 1;
            return Ok(());
        }
        if let Some(tuple) = tuple {
            // SAFETY: the row is locked by this transaction and is its latest version; its columns but for
            // the seal are what they were.
            unsafe {
                self.table.update(&mut tid, tuple)?;
                pg_sys::CommandCounterIncrement();
            }
        }
        if let Some(state) = state {
            let account = AccountRow::new(row.number, &row.user_id, row.created_at, state);
            self.accounts.put(&account, over)?;
        }
        batch.sealed += 1;
        Ok(())
    }

    pub(super) fn lock_tag(&self, user: &UserId) -> [u32; 2] {
        self.key.key.lock_tag(user)
    }

    /// Where the user's record lies, or would.
    pub fn place(&self, user: &UserId) -> RecordNumber {
        self.key.key.blind_index(user)
    }

    fn add(&self, mut row: Credential, was: (RecordNumber, Option<&str>)) -> Result<(), Error> {
        let tuple = row.form(&self.table)?;
        // SAFETY: a tuple of this table.
        unsafe {
            self.table.insert(tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        moves::note_moved(was, (row.number, moves::class_of(&row).as_deref()));
        Ok(())
    }
}
