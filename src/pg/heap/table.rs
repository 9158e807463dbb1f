//! Tables and indexes, opened and closed, and the columns of their rows.
//!
//! Whoever opens one waits for its lock for a bounded time and never in PostgreSQL's queue: VACUUM FULL
//! and LOCK TABLE stand in that queue for as long as others hold the table. And it is looked at before it
//! is used ([`crate::pg::heap::shape`]): these tables are read and written without a planner.

use std::cell::RefCell;
use std::ffi::CStr;
use std::time::Instant;

use pgrx::pg_sys;

use super::lock;
use super::lock::Access;
use super::shape;
use super::write::Writer;
use crate::error::Error;
use crate::pg::server;
use crate::pg::server::unwinding;

/// Everything private lives in this schema. Nobody else can create anything in it.
const SCHEMA: &CStr = c"password_verify";

/// The oid of one of our tables or indexes.
fn relation(name: &CStr) -> Result<pg_sys::Oid, Error> {
    // SAFETY: cache look-ups with constant C strings; a missing name gives InvalidOid.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid { Err(Error::NotInstalled) } else { Ok(oid) }
}

/// Finds a relation and locks it; [`Error::Locked`] where that is not done by the deadline.
fn locked(name: &CStr, access: Access, deadline: Instant) -> Result<pg_sys::Oid, Error> {
    loop {
        let oid = relation(name)?;
        if lock::take(oid, access) {
            // Another one may have the name since: REINDEX CONCURRENTLY exchanges them.
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

/// Could these tables be opened to be written, by the worker that will have to? Waits for it until the
/// deadline, and holds nothing afterwards. Costs a few microseconds a table.
///
/// # Errors
/// [`Error::Locked`], [`Error::NotInstalled`], [`Error::InTheWay`].
pub fn require_free(tables: &[&'static CStr], deadline: Instant) -> Result<(), Error> {
    for name in tables {
        let oid = locked(name, Access::Write, deadline)?;
        // SAFETY: the oid of a table that has just been locked.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let looked_at = shape::require_table(relation, name);
        // SAFETY: opened and locked here, closed and unlocked once.
        unsafe { pg_sys::table_close(relation, Access::Write.lock()) };
        looked_at?;
    }
    Ok(())
}

/// An open table.
pub struct Table {
    relation: pg_sys::Relation,
    access: Access,
    name: &'static CStr,
    /// Its indexes, opened by the first write.
    writer: RefCell<Option<Writer>>,
}

impl Table {
    /// Waits for it as long as an attempt may wait, or a worker without becoming a nuisance.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(name: &'static CStr, access: Access) -> Result<Self, Error> {
        Self::open_by(name, access, lock::deadline())
    }

    /// Waits for it until the deadline.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open_by(name: &'static CStr, access: Access, deadline: Instant) -> Result<Self, Error> {
        let oid = locked(name, access, deadline)?;
        // SAFETY: an oid that has just been locked; a table dropped before that is PostgreSQL's own
        // error, and its lock goes with the transaction.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let table = Self { relation, access, name, writer: RefCell::default() };
        shape::require_table(relation, name)?;
        Ok(table)
    }

    /// Adds a row, which is freed.
    ///
    /// # Errors
    /// [`Error::Locked`]; PostgreSQL's own.
    ///
    /// # Safety
    /// A tuple of this table, which is open for [`Access::Write`].
    pub unsafe fn insert(&self, tuple: pg_sys::HeapTuple) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.insert(tuple)) }
    }

    /// Puts a row, which is freed, in the place of one that nobody else is changing.
    ///
    /// # Errors
    /// As [`Table::insert`].
    ///
    /// # Safety
    /// As [`Table::insert`], and the place of a row of this table.
    pub unsafe fn update(
        &self,
        place: &mut pg_sys::ItemPointerData,
        tuple: pg_sys::HeapTuple,
    ) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.update(place, tuple)) }
    }

    /// Deletes a row that nobody else is changing.
    ///
    /// # Errors
    /// As [`Table::insert`].
    ///
    /// # Safety
    /// As [`Table::update`].
    pub unsafe fn delete(&self, place: &mut pg_sys::ItemPointerData) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        unsafe { self.writing(|writer| writer.delete(place)) }
    }

    unsafe fn writing(&self, write: impl FnOnce(&Writer)) -> Result<(), Error> {
        let mut writer = self.writer.borrow_mut();
        if writer.is_none() {
            *writer = Some(Writer::begin(self.relation)?);
        }
        if let Some(writer) = writer.as_ref() {
            write(writer);
        }
        Ok(())
    }

    /// The relation, for the functions of this folder.
    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.relation
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

/// An open index.
pub struct Index {
    relation: pg_sys::Relation,
    access: Access,
}

impl Index {
    /// The one with which rows of that table are found, opened for the same.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(name: &CStr, table: &Table) -> Result<Self, Error> {
        Self::open_by(name, table, lock::deadline())
    }

    /// The same, waiting until the deadline.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn open_by(name: &CStr, table: &Table, deadline: Instant) -> Result<Self, Error> {
        let access = table.access;
        let oid = locked(name, access, deadline)?;
        // SAFETY: as for a table.
        let relation = unsafe { pg_sys::index_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        let index = Self { relation, access };
        shape::require_index(relation, table.relation, table.name)?;
        Ok(index)
    }

    /// The relation, for the functions of this folder.
    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.relation
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

/// The columns of a tuple, `N` of them.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns.
///
/// # Safety
/// `tuple` is of that table and valid for as long as the values are used.
pub unsafe fn columns<const N: usize>(
    table: &Table,
    tuple: pg_sys::HeapTuple,
) -> Result<[Option<pg_sys::Datum>; N], Error> {
    let mut values = [pg_sys::Datum::null(); N];
    let mut nulls = [true; N];
    // SAFETY: the caller's promise, and as many elements as the row type has columns.
    unsafe {
        if (*table.tuple_desc()).natts != N as i32 {
            return Err(Error::NotInstalled);
        }
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::heap_deform_tuple(tuple, table.tuple_desc(), values, nulls);
    }
    Ok(std::array::from_fn(|i| (!nulls[i]).then_some(values[i])))
}

/// A tuple of that table, allocated in the current memory context.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has another number of columns.
///
/// # Safety
/// The values are of the types of the columns.
pub unsafe fn form<const N: usize>(
    table: &Table,
    columns: [Option<pg_sys::Datum>; N],
) -> Result<pg_sys::HeapTuple, Error> {
    let mut values = columns.map(|column| column.unwrap_or(pg_sys::Datum::null()));
    let mut nulls = columns.map(|column| column.is_none());
    // SAFETY: the caller's promise, and as many elements as the row type has columns.
    unsafe {
        if (*table.tuple_desc()).natts != N as i32 {
            return Err(Error::NotInstalled);
        }
        let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::heap_form_tuple(table.tuple_desc(), values, nulls))
    }
}

/// Locks a row that has just been seen, unless that would mean waiting or it is no longer the latest
/// version. For deleting too, so that there is one way to do it.
pub fn try_lock_row(table: &Table, tid: &mut pg_sys::ItemPointerData) -> bool {
    let mut tuple = pg_sys::HeapTupleData { t_self: *tid, ..Default::default() };
    let mut buffer: pg_sys::Buffer = 0;
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: `t_self` is a tuple of this table; the call fills in the rest, pins a buffer whatever its
    // result, and skips instead of waiting.
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
