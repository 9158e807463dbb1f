//! Writes of credentials: a row comes, changes or goes.

use std::time::Duration;

use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use super::{Store, Written};
use crate::error::{Error, RecordNumber};
use crate::pg::heap::place::PlaceLock;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Occupant, Scan, Seek};
use crate::pg::heap::table;
use crate::pg::server::patiently;
use crate::pg::vault::accounts::{AccountRow, Locked};
use crate::pg::vault::class_moves;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::shares;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    Keep,
    Replace,
    Delete,
    /// Delete the row because the record moves to another place; the caller that inserts it there
    /// notes the move.
    Take,
}

impl Store {
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
        self.prepare()?;
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
        self.prepare()?;
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
            let (before, share) = (class_moves::class_of(&row), row.share);
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
                        shares::note(share, 0);
                        class_moves::note(place, before.as_deref(), None);
                    }
                    Edit::Take => {
                        self.table.delete(&mut tid)?;
                        shares::note(share, 0);
                    }
                    Edit::Replace => {
                        let new = row.form(&self.table)?;
                        self.table.update(&mut tid, new.tuple)?;
                        shares::note(share, new.share);
                        let after = class_moves::class_of(&row);
                        class_moves::note(place, before.as_deref(), after.as_deref());
                    }
                }
                // Makes the change visible to later parts of the same statement.
                pg_sys::CommandCounterIncrement();
            }
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    fn add(&self, mut row: Credential, was: (RecordNumber, Option<&str>)) -> Result<(), Error> {
        let new = row.form(&self.table)?;
        shares::note(0, new.share);
        // SAFETY: a tuple of this table.
        unsafe {
            self.table.insert(new.tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        class_moves::note_moved(was, (row.number, class_moves::class_of(&row).as_deref()));
        Ok(())
    }
}
