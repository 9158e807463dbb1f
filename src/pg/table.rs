//! Tables and indexes, opened and closed, and the columns of their rows.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::Error;

/// Everything private lives in this schema. Nobody else can create anything in it.
const SCHEMA: &CStr = c"password_verify";

/// What the table is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The lock is given back at once.
    Read,
    /// The lock is kept until the transaction ends, as for any UPDATE.
    Write,
}

impl Access {
    fn lock(self) -> pg_sys::LOCKMODE {
        match self {
            Self::Read => pg_sys::AccessShareLock as pg_sys::LOCKMODE,
            Self::Write => pg_sys::RowExclusiveLock as pg_sys::LOCKMODE,
        }
    }

    fn lock_to_release(self) -> pg_sys::LOCKMODE {
        match self {
            Self::Read => self.lock(),
            Self::Write => pg_sys::NoLock as pg_sys::LOCKMODE,
        }
    }
}

/// After a PostgreSQL error has begun to unwind, the transaction's own clean-up closes everything;
/// doing it here as well would be twice.
pub fn unwinding() -> bool {
    std::thread::panicking()
}

/// The oid of one of our tables or indexes.
fn relation(name: &CStr) -> Result<pg_sys::Oid, Error> {
    // SAFETY: cache look-ups with constant C strings; a missing name gives InvalidOid.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(SCHEMA.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    if oid == pg_sys::InvalidOid { Err(Error::NotInstalled) } else { Ok(oid) }
}

/// Takes the lock if nobody stands in the way.
fn lock_at_once(oid: pg_sys::Oid, access: Access) -> bool {
    // SAFETY: an oid just looked up; a relation dropped meanwhile is PostgreSQL's own error when it is
    // opened, and its lock goes with the transaction.
    unsafe { pg_sys::ConditionalLockRelationOid(oid, access.lock()) }
}

/// An open table.
pub struct Table {
    relation: pg_sys::Relation,
    access: Access,
}

impl Table {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(name: &CStr, access: Access) -> Result<Self, Error> {
        let oid = relation(name)?;
        // SAFETY: an oid just looked up; a table dropped meanwhile is PostgreSQL's own error.
        Ok(Self { relation: unsafe { pg_sys::table_open(oid, access.lock()) }, access })
    }

    /// The same, unless that means waiting for a lock.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open_at_once(name: &CStr, access: Access) -> Result<Option<Self>, Error> {
        let oid = relation(name)?;
        if !lock_at_once(oid, access) {
            return Ok(None);
        }
        // SAFETY: as in `open`; the lock is held and given back by `drop`.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        Ok(Some(Self { relation, access }))
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
            // SAFETY: opened by `open`, closed once.
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
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(name: &CStr, access: Access) -> Result<Self, Error> {
        let oid = relation(name)?;
        // SAFETY: as for a table.
        Ok(Self { relation: unsafe { pg_sys::index_open(oid, access.lock()) }, access })
    }

    /// The same, unless that means waiting for a lock.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open_at_once(name: &CStr, access: Access) -> Result<Option<Self>, Error> {
        let oid = relation(name)?;
        if !lock_at_once(oid, access) {
            return Ok(None);
        }
        // SAFETY: as for a table.
        let relation = unsafe { pg_sys::index_open(oid, pg_sys::NoLock as pg_sys::LOCKMODE) };
        Ok(Some(Self { relation, access }))
    }

    /// The relation, for the functions of this folder.
    pub fn as_ptr(&self) -> pg_sys::Relation {
        self.relation
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened by `open`, closed once.
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
