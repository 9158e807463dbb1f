//! Are rows found where they are looked for?
//!
//! Whoever edits catalogs can have an index built in another order, or with entries that differ from their rows:
//! then it has every row, and the way down from its root does not lead to them.

use pgrx::pg_sys;

use super::scan::{Scan, Seek};
use super::table::{Index, Table};

/// Rows that are looked for together, in the order of their keys: then the way to one is most of the way to the next.
const TOGETHER: usize = 65_536;

/// Looks for the rows of a table by an index that begins with a uuid. The way down is the same for [`Seek::Exactly`] and
/// [`Seek::AtOrBefore`]: to the last entry that is not after the place.
pub struct Descents<'a> {
    table: &'a Table,
    /// The column that the index begins with.
    column: i32,
    scan: Scan<'a>,
    /// Keys and places of rows that are still to be looked for.
    waiting: Vec<([u8; 16], u64)>,
    all_found: bool,
}

impl<'a> Descents<'a> {
    /// # Safety
    /// `snapshot` is valid until the result is dropped.
    pub unsafe fn begin(table: &'a Table, index: &'a Index, snapshot: pg_sys::Snapshot) -> Self {
        // SAFETY: the caller's promise.
        let scan = unsafe { Scan::begin(table, index, snapshot, [0; 16], Seek::Exactly) };
        Self {
            table,
            column: index.column().into(),
            scan,
            waiting: Vec::with_capacity(TOGETHER),
            all_found: true,
        }
    }

    /// Takes a row that is to be found.
    ///
    /// # Safety
    /// `tuple` is a valid tuple of the table, seen by the snapshot.
    pub unsafe fn add(&mut self, tuple: pg_sys::HeapTuple) {
        // SAFETY: the caller's promise; the column is a uuid, and never NULL.
        self.waiting.push(unsafe {
            let (mut is_null, desc) = (false, self.table.tuple_desc());
            let key = pg_sys::heap_getattr(tuple, self.column, desc, &mut is_null);
            let place = pgrx::itemptr::item_pointer_to_u64((*tuple).t_self);
            (if is_null { [0; 16] } else { *key.cast_mut_ptr::<[u8; 16]>() }, place)
        });
        if self.waiting.len() == TOGETHER {
            self.look();
        }
    }

    fn look(&mut self) {
        self.waiting.sort_unstable();
        for (key, place) in self.waiting.drain(..) {
            pgrx::check_for_interrupts!();
            self.all_found &= self.scan.leads_to(key, place);
        }
    }

    /// Was each of them found, and nothing else in its place?
    pub fn all_found(mut self) -> bool {
        self.look();
        self.all_found
    }
}
