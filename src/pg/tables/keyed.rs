//! Tables with a uuid as their primary key, which only the worker writes.

use std::ffi::CStr;
use std::time::Instant;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Scan, Seek};
use crate::pg::heap::table;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::uncounted::Uncounted;

pub type RowKey = [u8; 16];

/// A table with `N` columns, the first of which is its key.
pub struct Keyed<const N: usize> {
    table: Table,
    index: Index,
}

pub type Row<const N: usize> = [Option<pg_sys::Datum>; N];

impl<const N: usize> Keyed<N> {
    /// # Errors
    /// Those of [`Table::open`].
    pub fn open(table: &'static CStr, index: &CStr, access: Access) -> Result<Self, Error> {
        Self::open_by(table, index, access, lock::deadline())
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`Keyed::open`].
    pub fn open_by(
        table: &'static CStr,
        index: &CStr,
        access: Access,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let table = Table::open_by(table, access, deadline)?;
        let index = Index::open_by(index, &table, deadline)?;
        Ok(Self { table, index })
    }

    /// Calls `read` for every row of a small table, and leaves no trace in statistics. Index
    /// entries of dead versions are passed until VACUUM removes them, whatever is looked up.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns; errors of `read`.
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
                read(unsafe { table::columns::<N>(&self.table, tuple) }?)
            });
            let Some(row) = row else { break };
            found.push(row?);
        }
        Ok(found)
    }

    /// Calls `read` for the row under a key, and leaves no trace in statistics. An absent row costs
    /// as much: the row before it is read, and there always is one in a table that is used this
    /// way.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns; errors of `read`.
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
            let (row, at) = unsafe {
                let row = table::columns::<N>(&self.table, tuple)?;
                let at = row[0].map(|datum| *datum.cast_mut_ptr::<RowKey>());
                (row, at)
            };
            if at == Some(key) { read(row).map(Some) } else { Ok(None) }
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
            let mut place = (!old.is_null()).then(|| (*old).t_self);
            drop(scan);
            match (&mut place, row) {
                (Some(place), Some(row)) => {
                    self.table.update(place, table::form(&self.table, row)?)?;
                }
                (Some(place), None) => self.table.delete(place)?,
                (None, Some(row)) => self.table.insert(table::form(&self.table, row)?)?,
                (None, None) => {}
            }
            // Lets a later change in this transaction find the row.
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    pub fn has(&self, key: RowKey) -> bool {
        !self.scan(key).next().is_null()
    }

    /// At most `count` rows in key order: all, or those after a key.
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
            match read(unsafe { table::columns::<N>(&self.table, tuple) }?)? {
                Some(value) => found.push(value),
                None => break,
            }
        }
        Ok(found)
    }

    fn scan(&self, key: RowKey) -> Scan<'_> {
        // SAFETY: the snapshot is a static.
        unsafe { Scan::begin(&self.table, &self.index, scan::now(), key, Seek::Exactly) }
    }
}
