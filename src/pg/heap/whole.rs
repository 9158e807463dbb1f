//! A scan of a whole table, in the order in which its rows lie.

use std::hash::{BuildHasher, RandomState};

use pgrx::pg_sys;

use super::moment::Moment;
use super::table::Table;
use crate::pg::server::unwinding;

pub struct Whole<'a> {
    scan: pg_sys::SysScanDesc,
    _table: &'a Table,
}

/// Which rows were met: somebody who edits catalogs can have rows in a table that its index lacks.
#[derive(Clone)]
pub struct Met {
    /// With keys that nobody knows, so that no other set of rows has the same sum.
    hasher: RandomState,
    rows: u64,
    sum: u64,
}

impl Met {
    pub fn none() -> Self {
        Self { hasher: RandomState::new(), rows: 0, sum: 0 }
    }

    pub fn add(&mut self, place: pg_sys::ItemPointerData) {
        let place = pgrx::itemptr::item_pointer_to_u64(place);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(self.hasher.hash_one(place));
    }

    /// Are these the rows that a table has as of a moment, of those that count?
    pub fn are_all(
        &self,
        table: &Table,
        moment: &Moment,
        counts: impl Fn(pg_sys::HeapTuple) -> bool,
    ) -> bool {
        let mut all = Self { rows: 0, sum: 0, ..self.clone() };
        // SAFETY: the snapshot outlives the scan.
        let mut rows = unsafe { Whole::begin(table, moment.snapshot()) };
        loop {
            pgrx::check_for_interrupts!();
            let tuple = rows.next();
            if tuple.is_null() {
                return (self.rows, self.sum) == (all.rows, all.sum);
            }
            if counts(tuple) {
                // SAFETY: a tuple of the table, valid until the next one is fetched.
                all.add(unsafe { (*tuple).t_self });
            }
        }
    }
}

impl<'a> Whole<'a> {
    /// # Safety
    /// `snapshot` is valid until the scan is dropped.
    pub unsafe fn begin(table: &'a Table, snapshot: pg_sys::Snapshot) -> Self {
        let (no_index, no_key) = (pg_sys::InvalidOid, std::ptr::null_mut());
        // SAFETY: the table is borrowed for as long as the scan lives; the caller's promise.
        let scan = unsafe {
            pg_sys::systable_beginscan(table.as_ptr(), no_index, false, snapshot, 0, no_key)
        };
        Self { scan, _table: table }
    }

    /// The next tuple; null at the end. Valid until the next call.
    pub fn next(&mut self) -> pg_sys::HeapTuple {
        // SAFETY: the scan has begun and not ended.
        unsafe { pg_sys::systable_getnext(self.scan) }
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once.
            unsafe { pg_sys::systable_endscan(self.scan) };
        }
    }
}
