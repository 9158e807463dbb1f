//! `password_verify.account`: the state that managers have set for an account, apart from its
//! password.
//!
//! There is one row for each credential, made and deleted in the same transaction. In between only
//! managers write it, so that disabling an account never waits for an open transaction of a login
//! or of the account's owner. A missing or altered row, or one moved from another account, is an
//! error, never "enabled".

use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::{State, Timestamp};
use password_verify_core::rules::secret::Secret;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::shares;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::lock::Access;
use crate::pg::heap::row;
use crate::pg::heap::row::Formed;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Occupant, Scan, Seek};
use crate::pg::heap::table;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::text;
use crate::pg::heap::uncounted::Uncounted;
use crate::pg::keys::keyring;

/// The readable part of a seal.
const LABEL: &str = "account -";

pub struct AccountRow {
    pub number: RecordNumber,
    /// In canonical form.
    pub user_id: String,
    pub created_at: Timestamp,
    state: State,
    /// An empty text, sealed or, without a keyring, as it is.
    seal: Secret,
    /// Is the row as it was written?
    genuine: bool,
    /// What it adds to the sum of the table, as stored.
    share: u128,
}

pub struct Accounts {
    pub(super) table: Table,
    index: Index,
}

/// A row that is locked by this transaction: where it lies, and what it adds to the sum of the table.
#[derive(Clone, Copy)]
pub struct Held(pg_sys::ItemPointerData, u128);

pub enum Locked {
    Row(Result<AccountRow, Error>, Held),
    /// There is no row.
    Absent,
    /// Another transaction holds it, or is inserting or deleting it.
    Busy,
}

impl AccountRow {
    /// The row of a user created at that time.
    pub fn new(number: RecordNumber, user_id: &str, created_at: Timestamp, state: State) -> Self {
        let seal = Secret::new(String::new());
        Self {
            number,
            user_id: user_id.to_owned(),
            created_at,
            state,
            seal,
            genuine: true,
            share: 0,
        }
    }

    /// # Safety
    /// `tuple` is a valid tuple of `table`, which is `password_verify.account`.
    unsafe fn read(table: &Table, tuple: pg_sys::HeapTuple) -> Result<Self, Error> {
        // SAFETY: the caller's promise; the columns are in the order of the SQL file, and what they
        // point to stays valid while it is copied.
        unsafe {
            let (row, seen) = row::look::<7>(table, tuple)?;
            let [number, user_id, disabled, required, revoked, created_at, seal] = row;
            let number = *number.ok_or(Error::NotInstalled)?.cast_mut_ptr::<RecordNumber>();
            let broken = Error::CorruptAccount(number);
            let string = |column: Option<pg_sys::Datum>| {
                text::to_utf8(column.ok_or(broken)?).map_err(|_| broken)
            };
            let time = |datum: pg_sys::Datum| datum.value() as Timestamp;
            let state = State {
                disabled_at: disabled.map(time),
                change_required_at: required.map(time),
                tokens_revoked_at: revoked.map(time),
            };
            let seal = string(seal)?;
            let genuine = seen.admits(table, seal.expose());
            Ok(Self {
                number,
                user_id: string(user_id)?.expose().to_owned(),
                created_at: created_at.map(time).ok_or(broken)?,
                state,
                seal,
                genuine,
                share: seen.share(),
            })
        }
    }

    /// The state, if the row is as it was written.
    ///
    /// # Errors
    /// Those of [`keyring::unseal`]; [`Error::CorruptAccount`].
    pub fn unseal(&self) -> Result<State, Error> {
        let broken = Error::CorruptAccount(self.number);
        if !self.genuine {
            return Err(broken);
        }
        match keyring::unseal(self.seal.expose(), &self.binding(), self.number) {
            Ok(text) if text.expose().is_empty() => Ok(self.state),
            Ok(_) | Err(Error::Corrupt(_)) => Err(broken),
            Err(error) => Err(error),
        }
    }

    /// Is it sealed as a new row would be?
    pub fn is_sealed_as_new(&self) -> bool {
        let is_unsigned = self.genuine && self.share == 0 && keyring::is_there();
        keyring::is_current(self.seal.expose()) && !is_unsigned
    }

    fn binding(&self) -> Binding<'_> {
        Binding::state(&self.user_id, self.created_at, &self.state)
    }

    fn form(&self, table: &Table) -> Result<Formed, Error> {
        let seal = keyring::seal(&Secret::new(String::new()), LABEL, &self.binding())?;
        let mut number = self.number;
        let row = [
            Some(pg_sys::Datum::from(number.as_mut_ptr())),
            Some(text::to_datum(&self.user_id)?),
            self.state.disabled_at.into_datum(),
            self.state.change_required_at.into_datum(),
            self.state.tokens_revoked_at.into_datum(),
            self.created_at.into_datum(),
            Some(text::to_datum(seal.expose())?),
        ];
        // SAFETY: uuid, text, four timestamptz (int64) and text, as the SQL file declares; the
        // tuple holds copies.
        unsafe { row::form(table, row) }
    }
}

impl Accounts {
    /// # Errors
    /// Those of [`crate::pg::vault::store::Store::open`].
    pub fn open_by(of: Installation, access: Access, deadline: Instant) -> Result<Self, Error> {
        let table = Table::open_by(c"account", of, access, deadline)?;
        let index = Index::open_by(c"account_pkey", &table, deadline)?;
        Ok(Self { table, index })
    }

    /// The row at or before that place; only an empty table has none. Looks twice, as
    /// [`crate::pg::vault::store::Store::find`] does, and leaves no trace.
    pub fn near(&self, place: RecordNumber) -> Option<Result<AccountRow, Error>> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let look = || {
            let now = scan::now();
            // SAFETY: the snapshot is a static.
            let mut scan =
                unsafe { Scan::begin(&self.table, &self.index, now, place, Seek::AtOrBefore) };
            // SAFETY: a tuple of this table, valid while it is read.
            scan.peek(|tuple| unsafe { AccountRow::read(&self.table, tuple) })
        };
        let (first, second) = (look(), look());
        let here = |row: &Option<Result<AccountRow, Error>>| match row {
            Some(Ok(row)) => row.number == place,
            Some(Err(Error::CorruptAccount(number))) => *number == place,
            Some(Err(_)) => true,
            None => false,
        };
        if here(&first) && !here(&second) { first } else { second }
    }

    /// Locks the row at that place without waiting. The caller holds the place's lock.
    pub fn lock(&self, place: RecordNumber) -> Locked {
        let now = scan::now();
        // Stays open until the row is locked, so that the row stays where it is.
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, now, place, Seek::Exactly) };
        let tuple = scan.next();
        if tuple.is_null() {
            let uncertain = scan::occupant(&self.table, &self.index, place) == Occupant::Uncertain;
            return if uncertain { Locked::Busy } else { Locked::Absent };
        }
        // SAFETY: a tuple of this table, valid until the scan moves on.
        let (row, mut tid) = unsafe { (AccountRow::read(&self.table, tuple), (*tuple).t_self) };
        let locked = table::try_lock_row(&self.table, &mut tid);
        let share = row.as_ref().map_or(0, |row| row.share);
        if locked { Locked::Row(row, Held(tid, share)) } else { Locked::Busy }
    }

    /// Updates the locked row, or inserts a new one.
    ///
    /// # Errors
    /// Those of [`keyring::seal`]; any PostgreSQL error.
    pub fn put(&self, row: &AccountRow, over: Option<Held>) -> Result<(), Error> {
        let Formed { tuple, share } = row.form(&self.table)?;
        shares::note(over.map_or(0, |Held(_, share)| share), share);
        // SAFETY: a tuple of this table; the row is locked by this transaction and is its latest
        // version.
        unsafe {
            match over {
                Some(Held(mut tid, _)) => self.table.update(&mut tid, tuple)?,
                None => self.table.insert(tuple)?,
            }
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    /// Deletes the locked row.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn remove(&self, Held(mut tid, share): Held) -> Result<(), Error> {
        shares::note(share, 0);
        // SAFETY: the row is locked by this transaction and is its latest version.
        unsafe { self.table.delete(&mut tid) }
    }
}
