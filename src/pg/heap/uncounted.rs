//! Reads that leave no trace in statistics.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::table::{Index, Table};

/// While this lives, reads of a table and its index are counted neither in `pg_stat_*` nor for the
/// caller's EXPLAIN (ANALYZE, BUFFERS). Known and unknown users cost the same reads, but a row with
/// more versions costs more, which would tell whose row was read.
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
    /// Stops counting until this is dropped.
    pub fn reads(table: &'a Table, index: &'a Index) -> Self {
        let relations = [table.as_ptr(), index.as_ptr()].map(|relation| {
            // SAFETY: the relation is open for `'a`, so its cache entry stays in place. Without
            // these fields PostgreSQL counts nothing, as with track_counts off.
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
        // Also during unwinding, because the cache entries outlive the transaction.
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
