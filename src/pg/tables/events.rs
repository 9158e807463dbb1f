//! `password_verify.event`: one row for each audit event, ordered by (epoch, seq). Only the worker
//! writes it.

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::event::Event;
use password_verify_core::trail::chain::MAC_BYTES;
use password_verify_core::trail::erasable::Named;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::event_row::{COLUMNS, EventRow, USER_NONCE, to_columns};
use super::event_rows::{BACKWARD, Compared, Condition, FORWARD, Rows};
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row;
use crate::pg::heap::scan;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::whole::Met;

pub struct Events {
    pub table: Table,
    index: Index,
}

impl Events {
    /// # Errors
    /// Those of [`Table::open`].
    pub fn open(access: Access) -> Result<Self, Error> {
        let table = Table::open(c"event", Installation::UNKNOWN, access)?;
        let index = Index::open(c"event_pkey", &table)?;
        Ok(Self { table, index })
    }

    /// The table's oid, which changes when the extension is dropped and created again.
    pub fn id(&self) -> pg_sys::Oid {
        // SAFETY: the relation is open.
        unsafe { (*self.table.as_ptr()).rd_id }
    }

    /// Are these all rows from that epoch on, as of a moment? They were met by the index.
    pub fn are_all(&self, met: &Met, from: i64, moment: &Moment) -> bool {
        met.are_all(&self.table, moment, |tuple| {
            let (mut is_null, desc) = (false, self.table.tuple_desc());
            // SAFETY: a tuple of this table; its first column is a bigint, and no part of a primary key is NULL.
            unsafe { pg_sys::heap_getattr(tuple, 1, desc, &mut is_null).value() as i64 >= from }
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn append(
        &self,
        epoch: i64,
        seq: i64,
        event: &Event,
        named: &Named,
        mac: &[u8; MAC_BYTES],
    ) -> Result<(), Error> {
        let mut row = [None; COLUMNS];
        (row[0], row[1]) = (epoch.into_datum(), seq.into_datum());
        row[2..USER_NONCE].copy_from_slice(&to_columns(event)?);
        (row[USER_NONCE], row[COLUMNS - 1]) =
            (named.bytes().and_then(IntoDatum::into_datum), mac.as_slice().into_datum());
        // SAFETY: the types of the SQL file, in its order.
        unsafe { self.table.insert(row::form(&self.table, row)?.tuple) }
    }

    /// Deletes a row that was just read.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn delete(&self, row: &mut EventRow) -> Result<(), Error> {
        // SAFETY: a row of this table, which no other process writes.
        unsafe { self.table.delete(&mut row.place) }
    }

    /// The last row.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn last(&self) -> Result<Option<EventRow>, Error> {
        self.newest_first().next()
    }

    /// All rows as of one moment, oldest first: a concurrent reader must not see the end of a batch
    /// without its beginning.
    pub fn all_as_of<'a>(&'a self, moment: &'a Moment) -> Rows<'a> {
        self.rows(Which::Any, FORWARD, moment.snapshot())
    }

    /// Those of them from this epoch on.
    pub fn since_as_of<'a>(&'a self, epoch: i64, moment: &'a Moment) -> Rows<'a> {
        self.rows(Which::Epoch(epoch), FORWARD, moment.snapshot())
    }

    /// Those of one epoch from a sequence number on.
    pub fn of_epoch_as_of<'a>(&'a self, epoch: i64, seq: i64, moment: &'a Moment) -> Rows<'a> {
        self.rows(Which::Within(epoch, seq), FORWARD, moment.snapshot())
    }

    /// The rows of this and all later epochs, oldest first.
    pub fn since(&self, epoch: i64) -> Rows<'_> {
        self.rows(Which::Epoch(epoch), FORWARD, scan::now())
    }

    /// All rows, newest first.
    pub fn newest_first(&self) -> Rows<'_> {
        self.rows(Which::Any, BACKWARD, scan::now())
    }

    /// The rows of all earlier epochs, newest first.
    pub fn before(&self, epoch: i64) -> Rows<'_> {
        self.rows(Which::Epoch(epoch), BACKWARD, scan::now())
    }

    /// The rows of one epoch, oldest first.
    pub fn of_epoch(&self, epoch: i64) -> Rows<'_> {
        self.rows(Which::Within(epoch, i64::MIN), FORWARD, scan::now())
    }

    /// The rows of one epoch before a sequence number, newest first.
    pub fn of_epoch_before(&self, epoch: i64, seq: i64) -> Rows<'_> {
        self.rows(Which::Within(epoch, seq), BACKWARD, scan::now())
    }

    /// In the order of the primary key. What the snapshot is of lives as long as the scan.
    fn rows(
        &self,
        which: Which,
        direction: pg_sys::ScanDirection::Type,
        snapshot: pg_sys::Snapshot,
    ) -> Rows<'_> {
        let (epoch, seq) = (1, 2);
        let beyond = if direction == BACKWARD { Compared::Less } else { Compared::AtLeast };
        let conditions = match which {
            Which::Any => vec![],
            Which::Epoch(which) => vec![Condition::number(epoch, beyond, which)],
            Which::Within(which, from) => vec![
                Condition::number(epoch, Compared::Equal, which),
                Condition::number(seq, beyond, from),
            ],
        };
        Rows::begin(&self.table, &self.index, &conditions, direction, snapshot)
    }
}

#[derive(Clone, Copy)]
enum Which {
    Any,
    /// Scanning forward: this epoch and later ones. Backward: earlier epochs.
    Epoch(i64),
    /// One epoch: scanning forward, from a sequence number on; backward, before it.
    Within(i64, i64),
}
