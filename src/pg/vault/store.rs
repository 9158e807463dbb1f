//! Reads and writes of credentials. A read must not show whether the user exists.
//!
//! **Reads** take the same steps for known and unknown users: to the row at or before the user's
//! place in the blind index, which is the user's own or, for an unknown user, a neighbour's. CREATE
//! EXTENSION adds a row at the lowest place, so there always is one.
//!
//! **Writes** never wait for a lock of unknown duration: if another transaction holds the row, they
//! try again for a second and then answer "busy".

use std::time::{Duration, Instant};

use password_verify_core::decoys::cells;
use password_verify_core::rules::account::State;
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use super::accounts::{AccountRow, Accounts, Locked};
use super::blind_index_key::BlindIndexKey;
use super::class_moves;
use super::cost_classes::CostClasses;
use super::credential::Credential;
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

pub enum Found {
    /// The user's own row.
    Own(Credential),
    /// The row at the nearest lower place, because the user has none.
    Neighbour(Credential),
    /// The table is empty: its first row was deleted by hand.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is part of the transaction now.
    Done,
    /// Nothing was changed: the row already exists (insert), does not exist, or needs no change
    /// (edit).
    Unchanged,
    /// Nothing was changed: another transaction holds the row.
    Busy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Keep,
    Replace,
    Delete,
    /// Delete the row because the record moves to another place; the caller that inserts it there
    /// notes the move.
    Take,
}

/// The result of a batch of [`Store::reseal`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Resealed {
    /// The place after which the next batch starts.
    pub last: RecordNumber,
    pub sealed: u64,
    /// Locked by another transaction.
    pub busy: u64,
    /// Corrupt, or sealed with a key that is not in the keyring.
    pub unopened: u64,
    pub finished: bool,
}

/// How often a look-up is repeated if the user is deleted or created anew in the meantime.
const LOOKS: usize = 4;

/// The tables of credentials and accounts, open for one look-up or one write.
pub struct Store {
    pub(in crate::pg) table: Table,
    pub(in crate::pg) index: Index,
    pub(super) accounts: Accounts,
    key: BlindIndexKey,
    /// Open for reading only.
    classes: Option<CostClasses>,
}

impl Store {
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Self::open_by(access, lock::deadline())
    }

    /// Opens the tables, waiting for them until the deadline.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open_by(access: Access, deadline: Instant) -> Result<Self, Error> {
        let key = BlindIndexKey::read_by(deadline)?;
        let table = Table::open_by(c"credential", access, deadline)?;
        let index = Index::open_by(c"credential_pkey", &table, deadline)?;
        let classes = match access {
            Access::Read => Some(CostClasses::open_by(access, deadline)?),
            Access::Write => None,
        };
        Ok(Self { table, index, accounts: Accounts::open_by(access, deadline)?, key, classes })
    }

    /// Opens the tables without waiting; `None` if one is locked.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`].
    pub fn open_at_once(access: Access) -> Result<Option<Self>, Error> {
        match Self::open_by(access, Instant::now()) {
            Err(Error::Locked) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// The template of the cost at which this id is hashed if it is unknown: always the same for
    /// the same id. `None`: the cost of a new password.
    ///
    /// # Errors
    /// Those of [`CostClasses::of`].
    pub fn decoy(&self, user: &UserId) -> Result<Option<String>, Error> {
        let cell = cells::cell(self.key.key.decoy(user));
        self.classes.as_ref().map_or(Ok(None), |classes| classes.of(cell))
    }

    /// The row at or before the user's place, with the state of its account.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::CorruptAccount`] when one of the user's own rows cannot be
    /// read; [`Error::UnknownKey`], [`Error::OtherKey`] when the key of an account is missing, even
    /// a neighbour's.
    pub fn find(&self, user: &UserId) -> Result<Found, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.find_once(user)?;
            match &found {
                Found::Own(row) => match row.state() {
                    // The two tables are read at two moments, so the rows may not match.
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

    /// Does the user have a record, whatever its content? Needs no key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn has(&self, user: &UserId) -> Result<bool, Error> {
        Ok(matches!(self.find_once(user)?, Found::Own(_)))
    }

    /// Looks twice, whatever the first look found: a row that is being updated can be missed once
    /// ([`scan::now`]).
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

    /// The row at that place, unless it is the first row, which has no user. Takes the same steps
    /// whether there is one or not.
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
    /// Any PostgreSQL error.
    pub fn insert(
        &self,
        user: &UserId,
        patience: Duration,
        row: impl Fn(RecordNumber) -> Credential,
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            // Held only between the look and the insertion. The next session to look sees the row.
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            match scan::occupant(&self.table, &self.index, place) {
                Occupant::Uncertain => Ok(None),
                Occupant::Row => Ok(Some(Written::Unchanged)),
                Occupant::Absent => {
                    let done = self.put(user, row(place), (place, None))?;
                    Ok(done.then_some(Written::Done))
                }
            }
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Inserts a row at a free place, and one for the account, under the place's lock; false if
    /// another transaction holds an account row left behind when a record was deleted by hand.
    /// `was`: its former place and class.
    pub(super) fn put(
        &self,
        user: &UserId,
        row: Credential,
        was: (RecordNumber, Option<&str>),
    ) -> Result<bool, Error> {
        let over = match self.accounts.lock(row.number) {
            Locked::Busy => return Ok(false),
            Locked::Absent => None,
            Locked::Row(_, tid) => Some(tid),
        };
        self.key.keep()?;
        let (number, created_at, state) = (row.number, row.created_at, row.state()?);
        self.add(row, was)?;
        self.accounts.put(&AccountRow::new(number, user.as_str(), created_at, state), over)?;
        Ok(true)
    }

    /// Locks the user's row, lets `edit` change it, and carries out the returned action.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row cannot be read; any PostgreSQL error.
    pub fn edit(
        &self,
        user: &UserId,
        patience: Duration,
        mut edit: impl FnMut(&mut Credential) -> Result<Edit, Error>,
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            // Under this lock no other session checks whether the place is free while a row is
            // being moved.
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            let now = scan::now();
            // Stays open until the row is locked, so that the row stays where it is.
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
            let before = class_moves::class_of(&row);
            row.judge(self.accounts.near(place));
            let edit = edit(&mut row)?;
            if matches!(edit, Edit::Delete | Edit::Take) {
                match self.accounts.lock(place) {
                    Locked::Busy => return Ok(None),
                    Locked::Absent => {}
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
                        class_moves::note(place, before.as_deref(), None);
                    }
                    Edit::Take => self.table.delete(&mut tid)?,
                    Edit::Replace => {
                        self.table.update(&mut tid, row.form(&self.table)?)?;
                        class_moves::note(
                            place,
                            before.as_deref(),
                            class_moves::class_of(&row).as_deref(),
                        );
                    }
                }
                // Makes the change visible to later parts of the same statement.
                pg_sys::CommandCounterIncrement();
            }
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// Lets `change` set the state of a user's account, whose credential any other transaction may
    /// hold. `anew`: replaces a corrupt state by a strict one that allows nothing new: the password
    /// must be changed, and tokens are revoked.
    ///
    /// # Errors
    /// [`Error::CorruptAccount`] for a corrupt state, unless `anew` is set; any PostgreSQL error.
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
                Locked::Absent => None,
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

    /// If the key that sealed the account's state is lost, seals the row's plain columns with the
    /// active key. Used when a password is set in that case, which is the way to recover. It gives
    /// an attacker nothing new: anyone who can write the table could have stored an unsealed row.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn adopt(&self, user: &UserId) -> Result<Written, Error> {
        let place = self.place(user);
        let Some(_lock) = PlaceLock::try_take(self.lock_tag(user)) else {
            return Ok(Written::Busy);
        };
        let sealed_with_none = |row: &AccountRow| {
            matches!(row.unseal(), Err(Error::UnknownKey(_) | Error::OtherKey(_)))
        };
        match self.accounts.near(place) {
            Some(Ok(row)) if row.number == place && sealed_with_none(&row) => {}
            _ => return Ok(Written::Unchanged),
        }
        match self.accounts.lock(place) {
            Locked::Row(Ok(row), over) => self.accounts.put(&row, Some(over))?,
            Locked::Busy => return Ok(Written::Busy),
            Locked::Row(Err(_), _) | Locked::Absent => return Ok(Written::Unchanged),
        }
        Ok(Written::Done)
    }

    /// Reseals rows after a place with the active key, as part of the transaction: at most `limit`
    /// that need it, examining ten times as many.
    ///
    /// # Errors
    /// Any PostgreSQL error.
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
        // Both rows are locked before either is written.
        let tuple = if row.is_sealed_as_new() { None } else { Some(row.form(&self.table)) };
        let state = if account_is_new { None } else { Some(row.state()) };
        let (Ok(tuple), Ok(state)) = (tuple.transpose(), state.transpose()) else {
            batch.unopened += 1;
            return Ok(());
        };
        let over = match state.map(|_| self.accounts.lock(row.number)) {
            None => None,
            Some(Locked::Row(_, over)) => Some(over),
            Some(Locked::Busy | Locked::Absent) => {
                batch.busy += 1;
                return Ok(());
            }
        };
        if tuple.is_some() && !table::try_lock_row(&self.table, &mut tid) {
            batch.busy += 1;
            return Ok(());
        }
        if let Some(tuple) = tuple {
            // SAFETY: the row is locked by this transaction and is its latest version; only its
            // seals change.
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

    /// The place of the user's record, whether there is one or not.
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
        class_moves::note_moved(was, (row.number, class_moves::class_of(&row).as_deref()));
        Ok(())
    }
}
