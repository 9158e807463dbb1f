//! Tables with a uuid as their key that sessions write, side by side.
//!
//! As everywhere, nobody waits for a lock of PostgreSQL: a row that another transaction holds is [`Locked::Busy`].

use std::cell::RefCell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::secret::Secret;
use pgrx::{PgMemoryContexts, pg_sys};

use crate::error::{Error, Name};
use crate::pg::heap::lock::Access;
use crate::pg::heap::row;
use crate::pg::heap::row::{Formed, Row};
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Occupant, Scan, Seek};
use crate::pg::heap::table;
use crate::pg::heap::table::{Index, Table};
use crate::pg::keys::keyring;
use crate::pg::vault::shares;
use crate::pg::vault::store::reseal::Resealed;

pub type RowKey = [u8; 16];

/// Rows that one slice of [`Rows::sweep`] looks at.
const SWEPT: usize = 2000;

/// What is done to each sealed text of a row.
pub type Reseal<'a> = dyn FnMut(&mut Secret, &str, &Binding) -> Result<(), Error> + 'a;

/// A row with `N` columns and a MAC.
pub trait Kept<const N: usize>: Sized {
    const TABLE: &'static CStr;
    const INDEX: &'static CStr;
    /// The second index, and its column: by when something is due.
    const BY_TIME: Option<(&'static CStr, i16)> = None;

    fn key(&self) -> RowKey;

    /// # Errors
    /// [`Error::NotInstalled`] when a column has an impossible value; [`Error::NotText`].
    ///
    /// # Safety
    /// The columns are those of a row of the table, and valid while they are copied.
    unsafe fn read(row: Row<N>) -> Result<Self, Error>;

    /// The columns in the current memory context. They may point into the row.
    ///
    /// # Errors
    /// Those of [`crate::pg::heap::text::to_datum`].
    fn columns(&mut self) -> Result<Row<N>, Error>;

    /// Hands out each sealed text, with its label and what it is bound to.
    ///
    /// # Errors
    /// Those of `each`.
    fn sealed(&mut self, each: &mut Reseal) -> Result<(), Error>;

    /// What a row is called that is not as it was written.
    fn altered() -> Error {
        Error::Altered(Name::of(Self::TABLE))
    }

    /// Opens a sealed text of the row. One that was moved or changed makes it a changed row.
    ///
    /// # Errors
    /// [`Error::Altered`]; those of [`keyring::unseal`] for a missing key.
    fn unseal(&self, text: &Secret, binding: &Binding) -> Result<Secret, Error> {
        let opened = keyring::unseal(text.expose(), binding, self.key());
        opened.map_err(|why| if matches!(why, Error::Corrupt(_)) { Self::altered() } else { why })
    }
}

/// A row that is locked by this transaction: where it lies, and what it adds to the sum of the table.
#[must_use]
pub struct Held(pg_sys::ItemPointerData, u128);

pub enum Locked<T> {
    Row(T, Held),
    Absent,
    /// Another transaction holds it, or is inserting or deleting it.
    Busy,
}

impl<T> Locked<T> {
    /// The row, which has to be there; `None` if another transaction holds it.
    ///
    /// # Errors
    /// `absent`.
    pub fn required(self, absent: Error) -> Result<Option<(T, Held)>, Error> {
        match self {
            Self::Row(row, held) => Ok(Some((row, held))),
            Self::Absent => Err(absent),
            Self::Busy => Ok(None),
        }
    }
}

/// No two versions of a row have the same time, whatever the clock says.
pub fn later_than(before: Timestamp, now: Timestamp) -> Timestamp {
    now.max(before.saturating_add(1))
}

/// An open table.
pub struct Rows<const N: usize, T: Kept<N>> {
    table: Table,
    index: Index,
    by_time: Option<Index>,
    /// What reading a row takes is given back before the next one.
    memory: RefCell<PgMemoryContexts>,
    _row: PhantomData<T>,
}

impl<const N: usize, T: Kept<N>> Rows<N, T> {
    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open_by(of: Installation, access: Access, deadline: Instant) -> Result<Self, Error> {
        let table = Table::open_by(T::TABLE, of, access, deadline)?;
        let index = Index::open_by(T::INDEX, &table, deadline)?;
        let by_time = T::BY_TIME.map(|(name, at)| Index::open_on(name, at, &table, deadline));
        let by_time = by_time.transpose()?;
        if access == Access::Write {
            // Before anything is written: a lock that is missing later would end a change half way.
            table.prepare()?;
        }
        let memory = RefCell::new(PgMemoryContexts::new("password_verify rows"));
        Ok(Self { table, index, by_time, memory, _row: PhantomData })
    }

    fn scan(&self, key: RowKey, seek: Seek) -> Scan<'_> {
        // SAFETY: the snapshot is a static.
        unsafe { Scan::begin(&self.table, &self.index, scan::now(), key, seek) }
    }

    /// Reads a tuple, if it is as it was written.
    ///
    /// # Safety
    /// A tuple of this table, valid while it is read.
    unsafe fn read(&self, tuple: pg_sys::HeapTuple) -> Result<(T, u128), Error> {
        let mut memory = self.memory.borrow_mut();
        // SAFETY: the caller's promise; what is read is copied before the memory is given back.
        unsafe {
            let read = memory.switch_to(|_| {
                let (row, seen) = row::look::<N>(&self.table, tuple)?;
                seen.require(&self.table)?;
                Ok((T::read(row)?, seen.share()))
            });
            memory.reset();
            read
        }
    }

    /// The row under a key.
    ///
    /// # Errors
    /// [`Error::Altered`], [`Error::NoKeyOfRow`]; those of [`Kept::read`].
    pub fn find(&self, key: RowKey) -> Result<Option<T>, Error> {
        // A row that is being updated can be missed once ([`scan::now`]).
        for _ in 0..2 {
            let mut scan = self.scan(key, Seek::Exactly);
            let tuple = scan.next();
            if !tuple.is_null() {
                // SAFETY: a tuple of this table, valid until the scan ends.
                return unsafe { self.read(tuple) }.map(|(row, _)| Some(row));
            }
        }
        Ok(None)
    }

    /// At most `count` rows from a key on whose keys begin with the same `prefix` bytes.
    ///
    /// # Errors
    /// Those of [`Rows::find`].
    pub fn range(&self, from: RowKey, prefix: usize, count: usize) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        self.walk(from, prefix, |row| {
            // A row that is being updated can be seen twice; the later version counts.
            if found.last().is_some_and(|before: &T| before.key() == row.key()) {
                found.pop();
            }
            found.push(row);
            Ok(found.len() < count)
        })?;
        Ok(found)
    }

    /// Calls `take` for rows from a key on whose keys begin with the same `prefix` bytes, until it returns false.
    ///
    /// # Errors
    /// Those of [`Rows::find`] and of `take`.
    pub fn walk(
        &self,
        from: RowKey,
        prefix: usize,
        mut take: impl FnMut(T) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut scan = self.scan(from, Seek::AtOrAfter);
        loop {
            pgrx::check_for_interrupts!();
            let tuple = scan.next();
            if tuple.is_null() {
                return Ok(());
            }
            // SAFETY: a tuple of this table, valid until the scan moves on; its first column is a uuid.
            let key = unsafe { key_of(&self.table, tuple) };
            if key[..prefix] != from[..prefix] {
                return Ok(());
            }
            // SAFETY: as above.
            let (row, _) = unsafe { self.read(tuple)? };
            if !take(row)? {
                return Ok(());
            }
        }
    }

    /// At most `count` keys in that range, without their rows.
    pub fn keys(&self, from: RowKey, prefix: usize, count: usize) -> Vec<RowKey> {
        let mut found = Vec::new();
        let mut scan = self.scan(from, Seek::AtOrAfter);
        while found.len() < count {
            let tuple = scan.next();
            if tuple.is_null() {
                break;
            }
            // SAFETY: a tuple of this table, valid until the scan moves on; its first column is a uuid.
            let key = unsafe { key_of(&self.table, tuple) };
            if key[..prefix] != from[..prefix] {
                break;
            }
            found.push(key);
            found.dedup();
        }
        found
    }

    /// Calls `take` for rows by their time, from a place on, until it returns false. Passes rows that are not as they
    /// were written.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; those of `take`.
    pub fn by_time(
        &self,
        from: RowKey,
        mut take: impl FnMut(T) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let Some(index) = &self.by_time else { return Err(Error::NotInstalled) };
        // SAFETY: the snapshot is a static.
        let mut scan =
            unsafe { Scan::begin(&self.table, index, scan::now(), from, Seek::AtOrAfter) };
        loop {
            pgrx::check_for_interrupts!();
            let tuple = scan.next();
            if tuple.is_null() {
                return Ok(());
            }
            // SAFETY: a tuple of this table, valid until the scan moves on.
            match unsafe { self.read(tuple) } {
                Ok((row, _)) => {
                    if !take(row)? {
                        return Ok(());
                    }
                }
                Err(Error::Altered(_) | Error::NoKeyOfRow(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Locks the row under a key, without waiting.
    ///
    /// # Errors
    /// Those of [`Rows::find`].
    pub fn lock(&self, key: RowKey) -> Result<Locked<T>, Error> {
        // Stays open until the row is locked, so that the row stays where it is.
        let mut scan = self.scan(key, Seek::Exactly);
        let tuple = scan.next();
        if tuple.is_null() {
            return Ok(match scan::occupant(&self.table, &self.index, key) {
                Occupant::Absent => Locked::Absent,
                Occupant::Row | Occupant::Uncertain => Locked::Busy,
            });
        }
        // SAFETY: a tuple of this table, valid until the scan moves on.
        let ((row, share), mut tid) = unsafe { (self.read(tuple)?, (*tuple).t_self) };
        Ok(if table::try_lock_row(&self.table, &mut tid) {
            Locked::Row(row, Held(tid, share))
        } else {
            Locked::Busy
        })
    }

    /// The tuple is valid until another row is read or formed.
    fn form(&self, row: &mut T) -> Result<Formed, Error> {
        let mut memory = self.memory.borrow_mut();
        // SAFETY: nothing of the row before is used any more.
        unsafe {
            memory.reset();
            memory.switch_to(|_| {
                let columns = row.columns()?;
                // SAFETY: the columns are of the types of the table; the tuple holds copies.
                row::form(&self.table, columns)
            })
        }
    }

    /// Adds a row whose key the caller has found [`Locked::Absent`] under a lock, or made at random.
    ///
    /// # Errors
    /// Those of [`Kept::columns`]; any PostgreSQL error.
    pub fn insert(&self, row: &mut T) -> Result<(), Error> {
        let new = self.form(row)?;
        shares::note(0, new.share);
        // SAFETY: a tuple of this table.
        unsafe {
            self.table.insert(new.tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    /// Replaces a locked row.
    ///
    /// # Errors
    /// Those of [`Rows::insert`].
    pub fn update(&self, Held(mut tid, share): Held, row: &mut T) -> Result<(), Error> {
        let new = self.form(row)?;
        shares::note(share, new.share);
        // SAFETY: the row is locked by this transaction, and is its latest version.
        unsafe {
            self.table.update(&mut tid, new.tuple)?;
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    /// Deletes a locked row.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn delete(&self, Held(mut tid, share): Held) -> Result<(), Error> {
        shares::note(share, 0);
        // SAFETY: the row is locked by this transaction, and is its latest version.
        unsafe {
            self.table.delete(&mut tid)?;
            pg_sys::CommandCounterIncrement();
        }
        Ok(())
    }

    /// Looks at rows after a key, or from the first one on, until there are enough, and deletes those in which the time in
    /// that column is before `before`, but for those that somebody holds. Returns the last one that it has looked at; `None`
    /// if there are no more.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn sweep(
        &self,
        after: Option<RowKey>,
        (column, before): (i32, Timestamp),
        enough: impl Fn() -> bool,
    ) -> Result<Option<RowKey>, Error> {
        let (mut last, mut over) = (None, Vec::new());
        let seek = if after.is_some() { Seek::After } else { Seek::AtOrAfter };
        let mut scan = self.scan(after.unwrap_or_default(), seek);
        for _ in 0..SWEPT {
            pgrx::check_for_interrupts!();
            let tuple = scan.next();
            if tuple.is_null() {
                last = None;
                break;
            }
            // SAFETY: a tuple of this table, valid until the scan moves on; its first column is a uuid, and the other one a
            // timestamptz that is never NULL.
            let (key, time) = unsafe {
                let (mut is_null, desc) = (false, self.table.tuple_desc());
                let time = pg_sys::heap_getattr(tuple, column, desc, &mut is_null);
                (key_of(&self.table, tuple), time.value() as Timestamp)
            };
            last = Some(key);
            over.extend((time < before).then_some(key));
        }
        drop(scan);
        for key in over {
            // What is not as it was written stays, for somebody to look at.
            match self.lock(key) {
                Ok(Locked::Row(_, held)) => self.delete(held)?,
                Ok(Locked::Absent | Locked::Busy) => {}
                Err(error) if error.is_of_a_row() => {}
                Err(error) => return Err(error),
            }
            if enough() {
                return Ok(Some(key));
            }
        }
        Ok(last)
    }

    /// Seals and signs rows after a key with the active key: at most `limit` that need it, looking at ten times as
    /// many.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn reseal(&self, after: RowKey, limit: u64) -> Result<Resealed, Error> {
        let mut batch = Resealed { last: after, ..Resealed::default() };
        let mut todo = Vec::new();
        let mut scan = self.scan(after, Seek::After);
        for _ in 0..limit.saturating_mul(10) {
            pgrx::check_for_interrupts!();
            let tuple = scan.next();
            batch.finished = tuple.is_null();
            if batch.finished || todo.len() as u64 >= limit {
                break;
            }
            // SAFETY: a tuple of this table, valid until the scan moves on; its first column is a uuid.
            unsafe {
                batch.last = key_of(&self.table, tuple);
                let mut memory = self.memory.borrow_mut();
                memory.reset();
                let current = memory.switch_to(|_| {
                    let (row, seen) = row::look::<N>(&self.table, tuple)?;
                    let mut current = !seen.is_outdated();
                    let look = &mut |text: &mut Secret, _: &str, _: &Binding| {
                        current &= keyring::is_current(text.expose());
                        Ok(())
                    };
                    T::read(row)?.sealed(look)?;
                    Ok::<_, Error>(current)
                });
                if !current.unwrap_or(false) {
                    todo.push(batch.last);
                }
            }
        }
        drop(scan);
        for key in todo {
            match self.lock(key) {
                Ok(Locked::Row(mut row, held)) => match row.sealed(&mut seal_again) {
                    Ok(()) => {
                        self.update(held, &mut row)?;
                        batch.sealed += 1;
                    }
                    Err(_) => batch.unopened += 1,
                },
                Ok(Locked::Busy) => batch.busy += 1,
                Ok(Locked::Absent) => {}
                Err(_) => batch.unopened += 1,
            }
        }
        Ok(batch)
    }
}

fn seal_again(text: &mut Secret, label: &str, binding: &Binding) -> Result<(), Error> {
    let opened = keyring::unseal(text.expose(), binding, [0; 16])?;
    *text = keyring::seal(&opened, label, binding)?;
    Ok(())
}

/// # Safety
/// A valid tuple of the table, whose first column is a uuid.
unsafe fn key_of(table: &Table, tuple: pg_sys::HeapTuple) -> RowKey {
    // SAFETY: the caller's promise; no part of a primary key is NULL.
    unsafe {
        let mut is_null = false;
        *pg_sys::heap_getattr(tuple, 1, table.tuple_desc(), &mut is_null).cast_mut_ptr()
    }
}
