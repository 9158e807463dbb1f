//! Opens and closes tables and indexes.
//!
//! Opening waits for a lock for a bounded time and never queues for it: VACUUM FULL and LOCK TABLE
//! stay in that queue for as long as others hold the table. A relation is checked before use
//! ([`crate::pg::heap::shape`]), because no planner stands in between.

use std::cell::RefCell;
use std::ffi::CStr;
use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use pgrx::pg_sys;

use super::lock;
use super::lock::Access;
use super::shape;
use super::shape::Shape;
use super::write::TableWriter;
use crate::error::{Error, Name, Obstacle};
use crate::pg::server;
use crate::pg::server::unwinding;

/// The private schema. No other role can create anything in it.
const SCHEMA: &CStr = c"password_verify";

/// The oid of one of this extension's tables or indexes.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn relation(name: &CStr) -> Result<pg_sys::Oid, Error> {
    // SAFETY: cache look-ups with constant C strings; a missing name gives InvalidOid.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid { Err(Error::NotInstalled) } else { Ok(oid) }
}

/// Finds and locks a relation until the transaction ends, or the lock is given back.
///
/// # Errors
/// [`Error::Locked`] if that takes longer than the deadline, [`Error::NotInstalled`].
pub fn locked(name: &CStr, access: Access, deadline: Instant) -> Result<pg_sys::Oid, Error> {
    loop {
        let oid = relation(name)?;
        if lock::take(oid, access) {
            // REINDEX CONCURRENTLY may have given the name to another relation since.
            if relation(name)? == oid {
                return Ok(oid);
            }
            lock::give_back(oid, access);
        }
        if Instant::now() >= deadline {
            return Err(Error::Locked);
        }
        server::rest();
    }
}

/// Could the worker open these tables for writing? Waits until the deadline, and holds nothing
/// afterwards. Costs a few microseconds for each table.
///
/// # Errors
/// [`Error::Locked`], [`Error::NotInstalled`], [`Error::InTheWay`].
pub fn require_free(tables: &[&'static CStr], deadline: Instant) -> Result<(), Error> {
    for name in tables {
        let oid = locked(name, Access::Write, deadline)?;
        // SAFETY: the oid of a table that has just been locked.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let looked_at = shape::of(name).and_then(|shape| shape::require_table(relation, shape));
        // SAFETY: opened and locked here, closed and unlocked once.
        unsafe { pg_sys::table_close(relation, Access::Write.lock()) };
        looked_at?;
    }
    Ok(())
}

/// The tables that are not as they were created, or could not be looked at by the deadline, and why.
pub fn obstacles(deadline: Instant) -> impl Iterator<Item = (&'static CStr, Error)> {
    shape::names().filter_map(move |name| {
        let opened = Table::open_by(name, Installation::UNKNOWN, Access::Read, deadline);
        opened.err().map(|why| (name, why))
    })
}

pub struct Table {
    relation: pg_sys::Relation,
    access: Access,
    shape: &'static Shape,
    /// What its rows are bound to.
    of: Installation,
    /// Its indexes, opened by the first write.
    writer: RefCell<Option<TableWriter>>,
}

impl Table {
    /// Waits for the table for as long as this process may ([`lock::deadline`]).
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(name: &'static CStr, of: Installation, access: Access) -> Result<Self, Error> {
        Self::open_by(name, of, access, lock::deadline())
    }

    /// Waits for the table until the deadline.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open_by(
        name: &'static CStr,
        of: Installation,
        access: Access,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let shape = shape::of(name)?;
        let oid = locked(name, access, deadline)?;
        // SAFETY: an oid that has just been locked; a table dropped before that is a PostgreSQL
        // error, and the lock goes with the transaction.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let table = Self { relation, access, shape, of, writer: RefCell::default() };
        shape::require_table(relation, shape)?;
        Ok(table)
    }

    /// Inserts a row and frees the tuple.
    ///
    /// # Errors
    /// [`Error::Locked`]; any PostgreSQL error.
    ///
    /// # Safety
    /// `tuple` is one of this table, which is open for [`Access::Write`].
    pub unsafe fn insert(&self, tuple: pg_sys::HeapTuple) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.insert(tuple)) }
    }

    /// Updates a row that no other transaction is changing, and frees the tuple.
    ///
    /// # Errors
    /// Those of [`Table::insert`].
    ///
    /// # Safety
    /// As for [`Table::insert`]; `place` is that of a row of this table.
    pub unsafe fn update(
        &self,
        place: &mut pg_sys::ItemPointerData,
        tuple: pg_sys::HeapTuple,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.update(place, tuple)) }
    }

    /// Deletes a row that no other transaction is changing.
    ///
    /// # Errors
    /// Those of [`Table::insert`].
    ///
    /// # Safety
    /// As for [`Table::update`].
    pub unsafe fn delete(&self, place: &mut pg_sys::ItemPointerData) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.delete(place)) }
    }

    /// Locks and opens what a write needs, so that no later write fails with [`Error::Locked`]. A
    /// caller that writes to two tables does this for both first.
    ///
    /// # Errors
    /// [`Error::Locked`]; any PostgreSQL error.
    pub fn prepare(&self) -> Result<(), Error> {
        let mut writer = self.writer.borrow_mut();
        if writer.is_none() {
            *writer = Some(TableWriter::begin(self.relation)?);
        }
        Ok(())
    }

    unsafe fn writing(&self, write: impl FnOnce(&TableWriter)) -> Result<(), Error> {
        self.prepare()?;
        if let Some(writer) = self.writer.borrow().as_ref() {
            write(writer);
        }
        Ok(())
    }

    /// The relation, for this module's functions.
    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.relation
    }

    pub fn name(&self) -> &'static CStr {
        self.shape.name
    }

    /// What its rows are bound to.
    pub fn installation(&self) -> Installation {
        self.of
    }

    /// What it looks like.
    pub fn shape(&self) -> &'static Shape {
        self.shape
    }

    /// Its row type.
    pub fn tuple_desc(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_att }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if !unwinding() {
            self.writer.take();
            // SAFETY: opened by `open_by`, closed once.
            unsafe { pg_sys::table_close(self.relation, self.access.lock_to_release()) };
        }
    }
}

pub struct Index {
    relation: pg_sys::Relation,
    access: Access,
    /// The number of its first column in the table.
    column: i16,
}

impl Index {
    /// Opens the index by which rows of that table are found, for the same access.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(name: &CStr, table: &Table) -> Result<Self, Error> {
        Self::open_by(name, table, lock::deadline())
    }

    /// Waits for the index until the deadline.
    ///
    /// # Errors
    /// Those of [`Index::open`].
    pub fn open_by(name: &CStr, table: &Table, deadline: Instant) -> Result<Self, Error> {
        Self::open_on(name, 1, table, deadline)
    }

    /// Opens an index on that column, a uuid.
    ///
    /// # Errors
    /// Those of [`Index::open`].
    pub fn open_on(
        name: &CStr,
        column: i16,
        table: &Table,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let index = Self::locked(name, column, table, Obstacle::Index, deadline)?;
        shape::require_index(index.relation, table.relation, table.shape, column)?;
        Ok(index)
    }

    /// Opens an index that lists rows of a table by these columns, those of them that have the first.
    ///
    /// # Errors
    /// Those of [`Index::open`].
    pub fn open_list(name: &CStr, columns: &[i16], table: &Table) -> Result<Self, Error> {
        let (column, deadline) = (columns[0], lock::deadline());
        let index = Self::locked(name, column, table, Obstacle::List, deadline)?;
        shape::require_list(index.relation, table.relation, table.shape, columns)?;
        Ok(index)
    }

    /// Opens an index, whatever it is like. `missing`: what is in the way if there is none.
    fn locked(
        name: &CStr,
        column: i16,
        table: &Table,
        missing: Obstacle,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let access = table.access;
        let oid = locked(name, access, deadline).map_err(|why| match why {
            Error::NotInstalled => Error::InTheWay(missing, Name::of(name), Name::of(table.name())),
            why => why,
        })?;
        // SAFETY: an oid that has just been locked, as for a table.
        let relation = unsafe { pg_sys::index_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        Ok(Self { relation, access, column })
    }

    /// The relation, for this module's functions.
    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.relation
    }

    /// The number of its first column in the table.
    pub fn column(&self) -> i16 {
        self.column
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened by `open_by`, closed once.
            unsafe { pg_sys::index_close(self.relation, self.access.lock_to_release()) };
        }
    }
}

/// Locks a row that was just read; false if that would mean waiting, or if it is no longer the
/// latest version. Deletions take the same lock as updates.
pub fn try_lock_row(table: &Table, tid: &mut pg_sys::ItemPointerData) -> bool {
    let mut tuple = pg_sys::HeapTupleData { t_self: *tid, ..Default::default() };
    let mut buffer: pg_sys::Buffer = 0;
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: `t_self` is that of a tuple of this table; the call fills in the rest, pins a buffer
    // whatever its result, and skips instead of waiting.
    let result = unsafe {
        let result = pg_sys::heap_lock_tuple(
            table.as_ptr(),
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
