//! Tables and index scans without a planner.
//!
//! Settings of the caller's session (`row_security`, `enable_*`, `debug_print_plan`, `jit`, …) act on
//! queries. There are no queries here: tables are opened and their index is read as PostgreSQL reads
//! its own catalogs. That closes the class instead of pinning its known members.

use std::ffi::CStr;
use std::marker::PhantomData;

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
fn unwinding() -> bool {
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
}

impl Drop for Index {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: opened by `open`, closed once.
            unsafe { pg_sys::index_close(self.relation, self.access.lock_to_release()) };
        }
    }
}

/// Sees each row as it is committed at this instant, and what this transaction has done: never the
/// older snapshot of a REPEATABLE READ transaction, under which a password that was changed would
/// still be right. And under SERIALIZABLE it leaves no predicate lock, which would show every login
/// which row was read (`pg_locks`) and make unrelated sign-ups fail with 40001.
///
/// It is no picture of one moment: a row whose new version has just been put elsewhere can be missed
/// once, when the old version has ended and the new one was not in the index yet.
pub fn now() -> pg_sys::Snapshot {
    &raw mut pg_sys::SnapshotSelfData
}

/// Which entries of the index on `blind_index`, the first column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// That entry.
    Exactly,
    /// That entry, or else the last one before it.
    AtOrBefore,
}

/// While this lives, reads of a table and its index are not counted: not in `pg_stat_*`, and not for
/// the caller's EXPLAIN (ANALYZE, BUFFERS). Known and unknown users are read alike, but a user's row may
/// have more versions than another's, which would tell whose row was read.
pub struct Uncounted<'a> {
    relations: [(pg_sys::Relation, Counters); 2],
    buffers: pg_sys::BufferUsage,
    wal: pg_sys::WalUsage,
    _open: PhantomData<&'a ()>,
}

struct Counters {
    #[cfg(not(feature = "pg14"))]
    enabled: bool,
    info: *mut pg_sys::PgStat_TableStatus,
}

impl<'a> Uncounted<'a> {
    /// From now until it is dropped.
    pub fn reads(table: &'a Table, index: &'a Index) -> Self {
        let relations = [table.relation, index.relation].map(|relation| {
            // SAFETY: the relation is open for `'a`, so its cache entry stays where it is. Without
            // these PostgreSQL counts nothing, as it does while track_counts is off.
            let counters = unsafe {
                Counters {
                    #[cfg(not(feature = "pg14"))]
                    enabled: std::mem::replace(&mut (*relation).pgstat_enabled, false),
                    info: std::mem::replace(&mut (*relation).pgstat_info, std::ptr::null_mut()),
                }
            };
            (relation, counters)
        });
        // SAFETY: plain structs of counters of this process.
        let (buffers, wal) = unsafe { (pg_sys::pgBufferUsage, pg_sys::pgWalUsage) };
        Self { relations, buffers, wal, _open: PhantomData }
    }
}

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        // Also while an error unwinds: the cache entries outlive the transaction.
        for (relation, counters) in &self.relations {
            // SAFETY: as in `reads`; the relations are closed later than this is dropped.
            unsafe {
                #[cfg(not(feature = "pg14"))]
                {
                    (**relation).pgstat_enabled = counters.enabled;
                }
                (**relation).pgstat_info = counters.info;
            }
        }
        // SAFETY: as in `reads`.
        unsafe {
            pg_sys::pgBufferUsage = self.buffers;
            pg_sys::pgWalUsage = self.wal;
        }
    }
}

/// A scan of a table in the order of an index, backwards.
pub struct Scan<'a> {
    table: &'a Table,
    scan: pg_sys::SysScanDesc,
    snapshot: pg_sys::Snapshot,
    /// What PostgreSQL keeps pointers to until the scan ends. Ours again in `drop`.
    key: *mut ScanKey,
    _open: PhantomData<&'a ()>,
}

struct ScanKey {
    place: [u8; 16],
    key: pg_sys::ScanKeyData,
}

impl<'a> Scan<'a> {
    /// `snapshot` is valid for `'a`.
    pub fn begin(
        table: &'a Table,
        index: &'a Index,
        snapshot: pg_sys::Snapshot,
        place: [u8; 16],
        seek: Seek,
    ) -> Self {
        let (strategy, procedure) = match seek {
            Seek::Exactly => (pg_sys::BTEqualStrategyNumber, pg_sys::F_UUID_EQ),
            Seek::AtOrBefore => (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_UUID_LE),
        };
        let key = Box::into_raw(Box::new(ScanKey { place, key: Default::default() }));
        // SAFETY: the key and the uuid in it live until the scan ends; column 1 of the table is the
        // uuid that the index is on; table and index are borrowed for as long. Whoever connected with
        // ignore_system_indexes gets no warning about an index that is not a system's.
        let scan = unsafe {
            let uuid = pg_sys::Datum::from(&raw mut (*key).place);
            let scan_key = &raw mut (*key).key;
            pg_sys::ScanKeyInit(scan_key, 1, strategy as u16, procedure.into(), uuid);
            let theirs = pg_sys::IgnoreSystemIndexes;
            pg_sys::IgnoreSystemIndexes = false;
            let (table, index) = (table.relation, index.relation);
            let scan = pg_sys::systable_beginscan_ordered(table, index, snapshot, 1, scan_key);
            pg_sys::IgnoreSystemIndexes = theirs;
            scan
        };
        Self { table, scan, snapshot, key, _open: PhantomData }
    }

    /// Reads the next tuple and leaves its page as it is.
    ///
    /// PostgreSQL's own way to a tuple cleans the page up when somebody has changed a row on it, and
    /// writes that to the WAL, whose position everybody can see. Users who signed up one after the other
    /// share a page: whoever changes a row of their own could see who is looked up beside it.
    pub fn peek<T>(&mut self, mut read: impl FnMut(pg_sys::HeapTuple) -> T) -> Option<T> {
        let backward = pg_sys::ScanDirection::BackwardScanDirection;
        let relation = self.table.relation;
        loop {
            // SAFETY: the index scan inside has begun and not ended. The tuple is looked for under a
            // shared lock on its page and read under a pin, which keeps it where it is.
            unsafe {
                let tid = pg_sys::index_getnext_tid((*self.scan).iscan, backward);
                if tid.is_null() {
                    return None;
                }
                let mut tid = *tid;
                let mut tuple = pg_sys::HeapTupleData::default();
                let block = pgrx::itemptr::item_pointer_get_block_number(&tid);
                let buffer = pg_sys::ReadBuffer(relation, block);
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
                let found = pg_sys::heap_hot_search_buffer(
                    &mut tid,
                    relation,
                    buffer,
                    self.snapshot,
                    &mut tuple,
                    std::ptr::null_mut(),
                    true,
                );
                pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
                let value = found.then(|| read(&mut tuple));
                pg_sys::ReleaseBuffer(buffer);
                if value.is_some() {
                    return value;
                }
            }
        }
    }

    /// The next tuple, null at the end. Valid until the next call.
    pub fn next(&mut self) -> pg_sys::HeapTuple {
        let backward = pg_sys::ScanDirection::BackwardScanDirection;
        // SAFETY: the scan has begun and not ended.
        unsafe { pg_sys::systable_getnext_ordered(self.scan, backward) }
    }
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once; nothing points to the key any more. (While a
            // PostgreSQL error unwinds, its few bytes are lost instead.)
            unsafe {
                pg_sys::systable_endscan_ordered(self.scan);
                drop(Box::from_raw(self.key));
            }
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
