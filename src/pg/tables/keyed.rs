//! Tables with a uuid as their primary key, which only the worker writes.

use std::cell::Cell;
use std::ffi::CStr;
use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row;
use crate::pg::heap::row::{Row, Seen};
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Scan, Seek};
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::uncounted::Uncounted;
use crate::pg::heap::whole::Whole;

pub type RowKey = [u8; 16];

/// A table with `N` columns, the first of which is its key.
pub struct Keyed<const N: usize> {
    table: Table,
    index: Index,
    /// What the writes have added to the sum of the table.
    added: Cell<u128>,
}

/// What [`Keyed::pass`] leaves to do.
#[derive(Default)]
pub struct Passed {
    /// The last row that was looked at; `None` if there are no more.
    pub last: Option<RowKey>,
    /// Keys of rows that would be signed differently now.
    pub outdated: Vec<RowKey>,
}

impl<const N: usize> Keyed<N> {
    /// # Errors
    /// Those of [`Table::open`].
    pub fn open(
        table: &'static CStr,
        index: &CStr,
        of: Installation,
        access: Access,
    ) -> Result<Self, Error> {
        Self::open_by(table, index, of, access, lock::deadline())
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`Keyed::open`].
    pub fn open_by(
        table: &'static CStr,
        index: &CStr,
        of: Installation,
        access: Access,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let table = Table::open_by(table, of, access, deadline)?;
        let index = Index::open_by(index, &table, deadline)?;
        Ok(Self { table, index, added: Cell::new(0) })
    }

    /// Calls `read` for every row of a small table that is as it was written, and leaves no trace in statistics. Index
    /// entries of dead versions are passed until VACUUM removes them, whatever is looked up.
    ///
    /// # Errors
    /// Those of [`row::columns`] and of `read`.
    pub fn peek_all<T>(
        &self,
        count: usize,
        read: impl Fn(Row<N>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let (first, seek) = (RowKey::default(), Seek::AtOrAfter);
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, scan::now(), first, seek) };
        let mut found = Vec::new();
        while found.len() < count {
            pgrx::check_for_interrupts!();
            let row = scan.peek_past(usize::MAX, |tuple| {
                // SAFETY: a tuple of this table, valid while it is read.
                let (row, seen) = unsafe { row::look::<N>(&self.table, tuple)? };
                seen.require(&self.table).ok().map(|()| read(row)).transpose()
            });
            let Some(row) = row else { break };
            found.extend(row?);
        }
        Ok(found)
    }

    /// Calls `read` for the row under a key, and leaves no trace in statistics. An absent row costs
    /// as much: the row before it is read, and there always is one in a table that is used this
    /// way.
    ///
    /// # Errors
    /// Those of [`row::columns`] and of `read`.
    pub fn get<T>(
        &self,
        key: RowKey,
        read: impl Fn(Row<N>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        // SAFETY: the snapshot is a static.
        let mut scan =
            unsafe { Scan::begin(&self.table, &self.index, scan::now(), key, Seek::AtOrBefore) };
        let row = scan.peek(|tuple| {
            // SAFETY: a tuple of this table, valid while it is read; its first column is a uuid.
            let (row, seen, at) = unsafe {
                let (row, seen) = row::look::<N>(&self.table, tuple)?;
                let at = row[0].map(|key| *key.cast_mut_ptr::<RowKey>());
                (row, seen, at)
            };
            match (at == Some(key)).then(|| seen.require(&self.table)) {
                None => Ok(None),
                // Whoever made it unreadable could have deleted it. The worker is told in either case.
                Some(Err(Error::NoKeyOfRow(_))) => Ok(None),
                Some(required) => required.and_then(|()| read(row).map(Some)),
            }
        });
        row.unwrap_or(Ok(None))
    }

    /// Inserts or updates a row; `None` deletes it. No other process writes this table.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    ///
    /// # Safety
    /// The values have the types of the columns, and the first is the key.
    pub unsafe fn put(&self, key: RowKey, row: Option<Row<N>>) -> Result<(), Error> {
        let mut scan = self.scan(key);
        let old = scan.next();
        // SAFETY: the old tuple is valid until the scan ends; a new one consists of the caller's
        // values.
        unsafe {
            let mut place = None;
            if !old.is_null() {
                let (_, seen) = row::look::<N>(&self.table, old)?;
                self.add(seen.share().wrapping_neg());
                place = Some((*old).t_self);
            }
            drop(scan);
            let row = row.map(|row| row::form(&self.table, row)).transpose()?;
            self.add(row.as_ref().map_or(0, |row| row.share));
            match (&mut place, row) {
                (Some(place), Some(row)) => self.table.update(place, row.tuple)?,
                (Some(place), None) => self.table.delete(place)?,
                (None, Some(row)) => self.table.insert(row.tuple)?,
                (None, None) => {}
            }
            // Lets a later change in this transaction find the row.
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    fn add(&self, share: u128) {
        self.added.set(self.added.get().wrapping_add(share));
    }

    /// What the writes so far have added to the sum of the table, for the anchor.
    pub fn added(&self) -> u128 {
        self.added.get()
    }

    /// The highest key, whatever its row holds.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn last_key(&self) -> Result<Option<RowKey>, Error> {
        let (key, seek) = ([0xff; 16], Seek::AtOrBefore);
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, scan::now(), key, seek) };
        let tuple = scan.next();
        if tuple.is_null() {
            return Ok(None);
        }
        // SAFETY: a tuple of this table, valid until the scan ends; its first column is a uuid.
        unsafe {
            let (row, _) = row::look::<N>(&self.table, tuple)?;
            Ok(row[0].map(|key| *key.cast_mut_ptr::<RowKey>()))
        }
    }

    /// The row with the highest key, now or as of a moment, and what its MAC says.
    ///
    /// # Errors
    /// Those of [`row::look`] and of `read`.
    pub fn last<T>(
        &self,
        moment: Option<&Moment>,
        read: impl Fn(Row<N>, Seen) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let (key, seek) = ([0xff; 16], Seek::AtOrBefore);
        let snapshot = moment.map_or_else(scan::now, Moment::snapshot);
        // SAFETY: the snapshot is a static, or outlives the scan.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, snapshot, key, seek) };
        let tuple = scan.next();
        if tuple.is_null() {
            return Ok(None);
        }
        // SAFETY: a tuple of this table, valid until the scan ends.
        let (row, seen) = unsafe { row::look::<N>(&self.table, tuple)? };
        read(row, seen).map(Some)
    }

    /// Calls `read` for the row under a key, for the one process that writes the table. One that is not as it was
    /// written is none.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; errors of `read`.
    pub fn exactly<T>(
        &self,
        key: RowKey,
        read: impl Fn(Row<N>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut scan = self.scan(key);
        let tuple = scan.next();
        if tuple.is_null() {
            return Ok(None);
        }
        // SAFETY: a tuple of this table, valid until the scan ends.
        let (row, seen) = unsafe { row::look::<N>(&self.table, tuple)? };
        seen.require(&self.table).ok().map(|()| read(row)).transpose()
    }

    /// At most `count` rows in key order: all, or those after a key. Passes rows that are not as they were
    /// written.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; errors of `read`.
    pub fn after<T>(
        &self,
        key: Option<RowKey>,
        count: usize,
        read: impl Fn(Row<N>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.after_while(key, count, |row| read(row).map(Some))
    }

    /// The same rows, up to the first for which `read` returns `None`.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; errors of `read`.
    pub fn after_while<T>(
        &self,
        key: Option<RowKey>,
        count: usize,
        read: impl Fn(Row<N>) -> Result<Option<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let seek = if key.is_some() { Seek::After } else { Seek::AtOrAfter };
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe {
            Scan::begin(&self.table, &self.index, scan::now(), key.unwrap_or_default(), seek)
        };
        let mut found = Vec::new();
        while found.len() < count {
            let tuple = scan.next();
            if tuple.is_null() {
                break;
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched.
            let (row, seen) = unsafe { row::look::<N>(&self.table, tuple)? };
            if seen.require(&self.table).is_err() {
                continue;
            }
            match read(row)? {
                Some(value) => found.push(value),
                None => break,
            }
        }
        Ok(found)
    }

    /// Looks at `count` rows after a key, or from the first one on, whatever they hold. Deletes those that are over,
    /// and with `discard` those that are not as they were written. Returns what is left to do.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn pass(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
        is_over: impl Fn(Row<N>) -> bool,
    ) -> Result<Passed, Error> {
        let seek = if after.is_some() { Seek::After } else { Seek::AtOrAfter };
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe {
            Scan::begin(&self.table, &self.index, scan::now(), after.unwrap_or_default(), seek)
        };
        let (mut passed, mut over) = (Passed::default(), Vec::new());
        for looked_at in 1..=count {
            pgrx::check_for_interrupts!();
            let tuple = scan.next();
            if tuple.is_null() {
                break;
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched; its first column is a uuid.
            let (row, key, seen) = unsafe {
                let (row, seen) = row::look::<N>(&self.table, tuple)?;
                (row, row[0].map(|key| *key.cast_mut_ptr::<RowKey>()), seen)
            };
            // No part of a primary key is NULL.
            let Some(key) = key else { break };
            match seen {
                Seen::First => {}
                _ if seen.require(&self.table).is_err() => over.extend(discard.then_some(key)),
                _ if is_over(row) => over.push(key),
                _ => passed.outdated.extend(seen.is_outdated().then_some(key)),
            }
            passed.last = (looked_at == count).then_some(key);
        }
        drop(scan);
        // SAFETY: there are no values.
        over.into_iter().try_for_each(|key| unsafe { self.put(key, None) })?;
        Ok(passed)
    }

    /// Signs those rows again.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn sign_again(&self, keys: Vec<RowKey>) -> Result<(), Error> {
        for key in keys {
            let mut scan = self.scan(key);
            let tuple = scan.next();
            if !tuple.is_null() {
                // SAFETY: a tuple of this table, which stays in place while the scan is open; the columns are its
                // own.
                unsafe {
                    let (row, _) = row::look::<N>(&self.table, tuple)?;
                    self.put(key, Some(row))?;
                }
            }
        }
        Ok(())
    }

    /// One slice of a pass in which nothing is over: signs again what would be signed differently now. Returns the
    /// last row that was looked at; `None` if there are no more.
    ///
    /// # Errors
    /// Those of [`Keyed::pass`] and [`Keyed::sign_again`].
    pub fn renew(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
    ) -> Result<Option<RowKey>, Error> {
        let Passed { last, outdated } = self.pass(after, count, discard, |_| false)?;
        self.sign_again(outdated).map(|()| last)
    }

    /// Calls `read` for every row as of a moment that is as it was written.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; errors of `read`.
    pub fn all_as_of(
        &self,
        moment: &Moment,
        mut read: impl FnMut(Row<N>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // SAFETY: the snapshot outlives the scan.
        let mut rows = unsafe { Whole::begin(&self.table, moment.snapshot()) };
        loop {
            pgrx::check_for_interrupts!();
            let tuple = rows.next();
            if tuple.is_null() {
                return Ok(());
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched.
            let (row, seen) = unsafe { row::look::<N>(&self.table, tuple)? };
            if seen.require(&self.table).is_ok() {
                read(row)?;
            }
        }
    }

    fn scan(&self, key: RowKey) -> Scan<'_> {
        // SAFETY: the snapshot is a static.
        unsafe { Scan::begin(&self.table, &self.index, scan::now(), key, Seek::Exactly) }
    }
}
