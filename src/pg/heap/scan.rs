//! Index scans without a planner.
//!
//! Settings of the calling session (`row_security`, `enable_*`, `debug_print_plan`, `jit`, …)
//! affect queries. There are no queries here: the index is read as PostgreSQL reads those of its
//! own catalogs, which excludes the whole class of settings instead of pinning its known members.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::table::{Index, Table};
use crate::pg::server::unwinding;

/// Sees each row as committed at this instant, and the changes of this transaction. It is never the
/// older snapshot of a REPEATABLE READ transaction, under which a replaced password would still be
/// accepted. Under SERIALIZABLE it leaves no predicate lock, which would show every login in
/// `pg_locks` which row was read, and make unrelated sign-ups fail with 40001.
///
/// It is not a consistent snapshot: a row that is being updated can be missed once, when the old
/// version has ended and the new one was not in the index yet.
pub fn now() -> pg_sys::Snapshot {
    &raw mut pg_sys::SnapshotSelfData
}

/// The largest number of index entries at other places that a look-up passes. Rolled-back entries
/// stay in the index until VACUUM, and an import adds entries before it is committed. Without a
/// bound, a look-up of an unknown user could pass a hundred thousand of them, and its time would
/// show that the user is unknown.
const PASSED: usize = 16;

/// Which entries to find in an index whose first column is a uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The entry with that uuid.
    Exactly,
    /// That entry, or else the last one before it.
    AtOrBefore,
    /// That entry and those after it, in ascending order.
    AtOrAfter,
    /// The entries after it, in ascending order.
    After,
}

/// A scan of a table in the order of an index.
pub struct Scan<'a> {
    table: &'a Table,
    scan: pg_sys::SysScanDesc,
    snapshot: pg_sys::Snapshot,
    direction: pg_sys::ScanDirection::Type,
    /// Memory that PostgreSQL points to until the scan ends. Freed in `drop`.
    key: *mut ScanKey,
    index: PhantomData<&'a Index>,
}

struct ScanKey {
    place: [u8; 16],
    key: pg_sys::ScanKeyData,
}

impl<'a> Scan<'a> {
    /// # Safety
    /// `snapshot` is valid until the scan is dropped.
    pub unsafe fn begin(
        table: &'a Table,
        index: &'a Index,
        snapshot: pg_sys::Snapshot,
        place: [u8; 16],
        seek: Seek,
    ) -> Self {
        let (strategy, procedure) = match seek {
            Seek::Exactly => (pg_sys::BTEqualStrategyNumber, pg_sys::F_UUID_EQ),
            Seek::AtOrBefore => (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_UUID_LE),
            Seek::AtOrAfter => (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_UUID_GE),
            Seek::After => (pg_sys::BTGreaterStrategyNumber, pg_sys::F_UUID_GT),
        };
        let key = Box::into_raw(Box::new(ScanKey { place, key: Default::default() }));
        // SAFETY: the key and the uuid in it live until the scan ends; the column is the uuid that
        // the index is on; table and index are borrowed for as long. IgnoreSystemIndexes
        // is off meanwhile: it would cause a warning, although the index is not a system's.
        let scan = unsafe {
            let uuid = pg_sys::Datum::from(&raw mut (*key).place);
            let scan_key = &raw mut (*key).key;
            pg_sys::ScanKeyInit(scan_key, index.column(), strategy as u16, procedure.into(), uuid);
            let theirs = pg_sys::IgnoreSystemIndexes;
            pg_sys::IgnoreSystemIndexes = false;
            let (table, index) = (table.as_ptr(), index.as_ptr());
            let scan = pg_sys::systable_beginscan_ordered(table, index, snapshot, 1, scan_key);
            pg_sys::IgnoreSystemIndexes = theirs;
            // The column's number in the index. Before PostgreSQL 18 it has been set by now.
            (*scan_key).sk_attno = 1;
            // Starts again with the index entries themselves, whose places [`Scan::peek`] compares.
            (*(*scan).iscan).xs_want_itup = true;
            pg_sys::index_rescan((*scan).iscan, scan_key, 1, std::ptr::null_mut(), 0);
            scan
        };
        let direction = match seek {
            Seek::Exactly | Seek::AtOrBefore => pg_sys::ScanDirection::BackwardScanDirection,
            Seek::AtOrAfter | Seek::After => pg_sys::ScanDirection::ForwardScanDirection,
        };
        Self { table, scan, snapshot, direction, key, index: PhantomData }
    }

    /// Begins anew at a place: is this row there, which the snapshot sees, and no other?
    pub fn leads_to(&mut self, place: [u8; 16], row: u64) -> bool {
        let at = pgrx::itemptr::item_pointer_to_u64;
        self.seek(place);
        // SAFETY: the index scan has begun and not ended; what it returns is valid until the next call.
        let is_all = unsafe {
            let next = || pg_sys::index_getnext_tid((*self.scan).iscan, self.direction);
            let first = next();
            !first.is_null() && at(*first) == row && next().is_null()
        };
        // Otherwise there are entries of other versions, too, or of the beginning of its chain.
        is_all || {
            self.seek(place);
            // SAFETY: a tuple that is valid while it is read.
            let read = |tuple: pg_sys::HeapTuple| unsafe { at((*tuple).t_self) };
            self.peek(read) == Some(row) && self.peek(read).is_none()
        }
    }

    fn seek(&mut self, place: [u8; 16]) {
        // SAFETY: the scan has begun and not ended; the key lives as long, and points to the uuid in it.
        unsafe {
            (*self.key).place = place;
            let key = &raw mut (*self.key).key;
            pg_sys::index_rescan((*self.scan).iscan, key, 1, std::ptr::null_mut(), 0);
        }
    }

    /// Reads the next tuple and leaves its page unchanged.
    ///
    /// The usual functions prune a page on which rows have changed, and write that to the WAL,
    /// whose position every login can see. Users who signed up one after the other share a page: an
    /// attacker who changes a row of their own could tell when a neighbour is looked up.
    ///
    /// For the same reason this does not mark index entries as dead, and so passes them again each
    /// time. It gives up after [`PASSED`] entries at other places, as if no further one existed.
    pub fn peek<T>(&mut self, read: impl FnMut(pg_sys::HeapTuple) -> T) -> Option<T> {
        self.peek_past(PASSED, read)
    }

    /// Reads the next tuple, giving up after `most` entries at other places.
    pub fn peek_past<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(pg_sys::HeapTuple) -> T,
    ) -> Option<T> {
        let relation = self.table.as_ptr();
        let mut passed = 0;
        loop {
            // SAFETY: the index scan has begun and not ended. The tuple is found under a shared
            // lock on its page and read under a pin, which keeps it in place.
            unsafe {
                let tid = pg_sys::index_getnext_tid((*self.scan).iscan, self.direction);
                if tid.is_null() {
                    return None;
                }
                if self.is_of_another() {
                    passed += 1;
                    if passed > most {
                        return None;
                    }
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

    /// Is the entry just found at another place than the one sought?
    ///
    /// # Safety
    /// The index scan has found an entry.
    unsafe fn is_of_another(&self) -> bool {
        // SAFETY: the caller's promise. An entry consists of a header of 8 bytes and, without
        // nulls, the uuid.
        unsafe {
            let entry = (*(*self.scan).iscan).xs_itup;
            let header = size_of::<pg_sys::IndexTupleData>();
            entry.byte_add(header).cast::<[u8; 16]>().read_unaligned() != (*self.key).place
        }
    }

    /// The next tuple; null at the end. Valid until the next call.
    pub fn next(&mut self) -> pg_sys::HeapTuple {
        // SAFETY: the scan has begun and not ended.
        unsafe { pg_sys::systable_getnext_ordered(self.scan, self.direction) }
    }
}

/// What an index holds at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupant {
    Absent,
    Row,
    /// A row whose insertion or deletion is not committed yet.
    Uncertain,
}

/// Looks up what is at a place, including uncommitted changes of other transactions.
pub fn occupant(table: &Table, index: &Index, place: [u8; 16]) -> Occupant {
    let mut dirty = pg_sys::SnapshotData {
        snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
        ..Default::default()
    };
    let snapshot = &raw mut dirty;
    // SAFETY: the snapshot lives until the end of this function, and the scan is dropped before it.
    let mut scan = unsafe { Scan::begin(table, index, snapshot, place, Seek::Exactly) };
    let mut occupant = Occupant::Absent;
    while !scan.next().is_null() {
        // A dirty snapshot names the transaction that is still in progress, if there is one.
        // SAFETY: the scan writes through the same pointer, and only inside `next`.
        let (inserting, deleting) = unsafe { ((*snapshot).xmin, (*snapshot).xmax) };
        let ended = pg_sys::InvalidTransactionId;
        if inserting != ended || deleting != ended {
            return Occupant::Uncertain;
        }
        occupant = Occupant::Row;
    }
    occupant
}

impl Drop for Scan<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once; nothing points to the key any more. (If a
            // PostgreSQL error unwinds, its few bytes are leaked instead.)
            unsafe {
                pg_sys::systable_endscan_ordered(self.scan);
                drop(Box::from_raw(self.key));
            }
        }
    }
}
