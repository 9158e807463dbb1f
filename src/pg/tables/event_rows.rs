//! Rows of `password_verify.event` in the order of one of its indexes.

use std::marker::PhantomData;

use password_verify_core::rules::account::Timestamp;
use pgrx::pg_sys;

use super::event_row::{self, EventRow};
use crate::error::Error;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::text;
use crate::pg::server::unwinding;

pub const FORWARD: pg_sys::ScanDirection::Type = pg_sys::ScanDirection::ForwardScanDirection;
pub const BACKWARD: pg_sys::ScanDirection::Type = pg_sys::ScanDirection::BackwardScanDirection;

/// How a column is compared with a value.
#[derive(Debug, Clone, Copy)]
pub enum Compared {
    Less,
    Equal,
    AtLeast,
}

/// A condition on a column of an index, which is numbered as in the table, from 1.
pub struct Condition {
    column: i16,
    strategy: u32,
    procedure: u32,
    value: pg_sys::Datum,
}

impl Condition {
    pub fn number(column: i16, compared: Compared, value: i64) -> Self {
        let (strategy, procedure) = match compared {
            Compared::Less => (pg_sys::BTLessStrategyNumber, pg_sys::F_INT8LT),
            Compared::Equal => (pg_sys::BTEqualStrategyNumber, pg_sys::F_INT8EQ),
            Compared::AtLeast => (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE),
        };
        Self { column, strategy, procedure, value: pg_sys::Datum::from(value) }
    }

    /// No later than that.
    pub fn until(column: i16, time: Timestamp) -> Self {
        let (strategy, procedure) = (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE);
        Self { column, strategy, procedure, value: pg_sys::Datum::from(time) }
    }

    /// Exactly that.
    ///
    /// # Errors
    /// Those of [`text::to_datum`].
    pub fn text(column: i16, text: &str) -> Result<Self, Error> {
        let (strategy, procedure) = (pg_sys::BTEqualStrategyNumber, pg_sys::F_TEXTEQ);
        Ok(Self { column, strategy, procedure, value: text::to_datum(text)? })
    }
}

/// A scan of the table in the order of an index.
pub struct Rows<'a> {
    table: &'a Table,
    scan: pg_sys::SysScanDesc,
    direction: pg_sys::ScanDirection::Type,
    /// Memory that PostgreSQL points to until the scan ends. Freed in `drop`.
    keys: *mut Vec<pg_sys::ScanKeyData>,
    /// The tuple of the row that was read last.
    tuple: pg_sys::HeapTuple,
    _open: PhantomData<&'a Index>,
}

impl<'a> Rows<'a> {
    /// The rows that meet all conditions. What the snapshot is of lives as long as the scan.
    pub fn begin(
        table: &'a Table,
        index: &'a Index,
        conditions: &[Condition],
        direction: pg_sys::ScanDirection::Type,
        snapshot: pg_sys::Snapshot,
    ) -> Self {
        let mut keys = vec![pg_sys::ScanKeyData::default(); conditions.len()];
        for (key, condition) in keys.iter_mut().zip(conditions) {
            let Condition { column, strategy, procedure, value } = *condition;
            // SAFETY: a comparison of the type of that column, by the collation "C"; what the value points to lives
            // until the end of the transaction.
            unsafe {
                pg_sys::ScanKeyInit(key, column, strategy as u16, procedure.into(), value);
            }
        }
        let keys = Box::into_raw(Box::new(keys));
        // SAFETY: columns of the index; keys and relations live until the scan ends, and so does the snapshot.
        let scan = unsafe {
            let (count, first) = ((*keys).len() as i32, (*keys).as_mut_ptr());
            let (table, index) = (table.as_ptr(), index.as_ptr());
            pg_sys::systable_beginscan_ordered(table, index, snapshot, count, first)
        };
        Self { table, scan, direction, keys, tuple: std::ptr::null_mut(), _open: PhantomData }
    }

    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns.
    pub fn next(&mut self) -> Result<Option<EventRow>, Error> {
        // SAFETY: the scan has begun and not ended; the tuple is valid until the next is fetched.
        unsafe {
            self.tuple = pg_sys::systable_getnext_ordered(self.scan, self.direction);
            if self.tuple.is_null() {
                return Ok(None);
            }
            event_row::row_of(self.table, self.tuple).map(Some)
        }
    }

    /// That of the row that was read last, which stays in place until the next is read.
    pub fn tuple(&self) -> pg_sys::HeapTuple {
        self.tuple
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once; nothing points to the keys any more.
            unsafe {
                pg_sys::systable_endscan_ordered(self.scan);
                drop(Box::from_raw(self.keys));
            }
        }
    }
}
