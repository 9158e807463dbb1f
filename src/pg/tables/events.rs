//! `password_verify.event`: one row for each audit event, ordered by (epoch, seq). Only the worker
//! writes it.

use std::borrow::Cow;
use std::marker::PhantomData;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::chain::{Head, MAC_BYTES};
use password_verify_core::trail::erasable::{Commitment, Named};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row;
use crate::pg::heap::scan;
use crate::pg::heap::table::{Index, Table};
use crate::pg::heap::text;
use crate::pg::heap::whole::Met;
use crate::pg::server::unwinding;

pub struct EventRow {
    pub epoch: i64,
    pub seq: i64,
    /// An error if a column has an impossible value.
    pub event: Result<Event, Error>,
    /// What is kept beside the user id; `None` if it has an impossible value.
    pub named: Option<Named>,
    pub mac: Vec<u8>,
    pub place: pg_sys::ItemPointerData,
    /// Which transaction has written it.
    pub writer: pg_sys::TransactionId,
}

impl EventRow {
    /// The event, and what the chain covers of its user. `None` if a column has an impossible value.
    pub fn covered(&self) -> Option<(&Event, Option<Commitment>)> {
        let event = self.event.as_ref().ok()?;
        let user = self.named?.commitment(event.user_id.as_deref()).ok()?;
        Some((event, user))
    }

    /// Its place in the chain, with its MAC; zeros for one that is none.
    pub fn head(&self) -> Head {
        let mac = self.mac.as_slice().try_into().unwrap_or_default();
        Head { epoch: self.epoch, seq: self.seq, mac }
    }
}

pub struct Events {
    pub table: Table,
    index: Index,
}

/// The columns between `seq` and `user_nonce`; the same follow the key in `password_verify.event_fold`.
pub const EVENT_COLUMNS: usize = 17;
pub const COLUMNS: usize = 2 + EVENT_COLUMNS + 2;
/// The places of two of them, from 0.
pub const USER_ID: usize = 7;
pub const USER_NONCE: usize = COLUMNS - 2;

/// The columns of an event, in the current memory context.
///
/// # Errors
/// Those of [`text::to_datum`].
pub fn to_columns(event: &Event) -> Result<[Option<pg_sys::Datum>; EVENT_COLUMNS], Error> {
    let text = |value: &Option<String>| value.as_deref().map(text::to_datum).transpose();
    Ok([
        event.at.into_datum(),
        event.since.into_datum(),
        event.count.into_datum(),
        Some(text::to_datum(event.action.as_str())?),
        Some(text::to_datum(event.outcome.as_str())?),
        text(&event.user_id)?,
        text(&event.client_addr)?,
        text(&event.login_role)?,
        text(&event.acting_role)?,
        text(&event.peer_addr)?,
        text(&event.certificate_subject)?,
        text(&event.certificate_serial)?,
        text(&event.application_name)?,
        event.pid.and_then(IntoDatum::into_datum),
        event.xid.and_then(|xid| xid.cast_signed().into_datum()),
        i32::from(event.alert.0).into_datum(),
        text(&event.detail)?,
    ])
}

/// # Errors
/// [`Error::NotInstalled`] when a column has an impossible value.
///
/// # Safety
/// The columns have the types of the table.
pub unsafe fn from_columns(
    columns: [Option<pg_sys::Datum>; EVENT_COLUMNS],
) -> Result<Event, Error> {
    let wrong = Error::NotInstalled;
    let borrowed = |column: Option<pg_sys::Datum>| {
        // SAFETY: the caller's promise; copied or dropped before the end of this function.
        column.map(|datum| unsafe { text::borrowed_utf8(datum) }).transpose()
    };
    let text =
        |column: Option<pg_sys::Datum>| borrowed(column).map(|text| text.map(Cow::into_owned));
    let number = |column: Option<pg_sys::Datum>| column.map(|datum| datum.value() as i64);
    let [
        at,
        since,
        count,
        action,
        outcome,
        user,
        client,
        login,
        acting,
        peer,
        subject,
        serial,
        name,
        pid,
        xid,
        alert,
        detail,
    ] = columns;
    Ok(Event {
        at: number(at).ok_or(wrong)?,
        since: number(since).ok_or(wrong)?,
        count: number(count).ok_or(wrong)?,
        action: borrowed(action)?.as_deref().and_then(Action::from_str).ok_or(wrong)?,
        outcome: borrowed(outcome)?.as_deref().and_then(Outcome::from_str).ok_or(wrong)?,
        user_id: text(user)?,
        client_addr: text(client)?,
        login_role: text(login)?,
        acting_role: text(acting)?,
        peer_addr: text(peer)?,
        certificate_subject: text(subject)?,
        certificate_serial: text(serial)?,
        application_name: text(name)?,
        pid: number(pid).map(|pid| pid as i32),
        xid: number(xid).map(i64::cast_unsigned),
        alert: Alert(number(alert).and_then(|bits| u8::try_from(bits).ok()).ok_or(wrong)?),
        detail: text(detail)?,
    })
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
        Rows::with(self, Which::Any, pg_sys::ScanDirection::ForwardScanDirection, moment.snapshot())
    }

    /// Those of them from this epoch on.
    pub fn since_as_of<'a>(&'a self, epoch: i64, moment: &'a Moment) -> Rows<'a> {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        Rows::with(self, Which::Epoch(epoch), forward, moment.snapshot())
    }

    /// Those of one epoch from a sequence number on.
    pub fn of_epoch_as_of<'a>(&'a self, epoch: i64, seq: i64, moment: &'a Moment) -> Rows<'a> {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        Rows::with(self, Which::Within(epoch, seq), forward, moment.snapshot())
    }

    /// The rows of this and all later epochs, oldest first.
    pub fn since(&self, epoch: i64) -> Rows<'_> {
        Rows::begin(self, Which::Epoch(epoch), pg_sys::ScanDirection::ForwardScanDirection)
    }

    /// All rows, newest first.
    pub fn newest_first(&self) -> Rows<'_> {
        Rows::begin(self, Which::Any, pg_sys::ScanDirection::BackwardScanDirection)
    }

    /// The rows of all earlier epochs, newest first.
    pub fn before(&self, epoch: i64) -> Rows<'_> {
        Rows::begin(self, Which::Epoch(epoch), pg_sys::ScanDirection::BackwardScanDirection)
    }

    /// The rows of one epoch, oldest first.
    pub fn of_epoch(&self, epoch: i64) -> Rows<'_> {
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        Rows::begin(self, Which::Within(epoch, i64::MIN), forward)
    }

    /// The rows of one epoch before a sequence number, newest first.
    pub fn of_epoch_before(&self, epoch: i64, seq: i64) -> Rows<'_> {
        Rows::begin(self, Which::Within(epoch, seq), pg_sys::ScanDirection::BackwardScanDirection)
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

/// A scan of the table in the order of its index.
pub struct Rows<'a> {
    events: &'a Events,
    scan: pg_sys::SysScanDesc,
    direction: pg_sys::ScanDirection::Type,
    /// Memory that PostgreSQL points to until the scan ends. Freed in `drop`.
    key: *mut [pg_sys::ScanKeyData; 2],
    _open: PhantomData<&'a ()>,
}

impl<'a> Rows<'a> {
    fn begin(events: &'a Events, from: Which, direction: pg_sys::ScanDirection::Type) -> Self {
        Self::with(events, from, direction, scan::now())
    }

    fn with(
        events: &'a Events,
        from: Which,
        direction: pg_sys::ScanDirection::Type,
        snapshot: pg_sys::Snapshot,
    ) -> Self {
        let key = Box::into_raw(Box::<[pg_sys::ScanKeyData; 2]>::default());
        let (less, at_least, equal) = (
            pg_sys::BTLessStrategyNumber,
            pg_sys::BTGreaterEqualStrategyNumber,
            pg_sys::BTEqualStrategyNumber,
        );
        let backward = direction == pg_sys::ScanDirection::BackwardScanDirection;
        let keys = match from {
            Which::Any => vec![],
            Which::Epoch(epoch) if backward => vec![(less, pg_sys::F_INT8LT, epoch)],
            Which::Epoch(epoch) => vec![(at_least, pg_sys::F_INT8GE, epoch)],
            Which::Within(epoch, seq) if backward => {
                vec![(equal, pg_sys::F_INT8EQ, epoch), (less, pg_sys::F_INT8LT, seq)]
            }
            Which::Within(epoch, seq) => {
                vec![(equal, pg_sys::F_INT8EQ, epoch), (at_least, pg_sys::F_INT8GE, seq)]
            }
        };
        // SAFETY: columns 1 and 2 of the table are the bigints that the index is on; keys and
        // relations live until the scan ends; the snapshot is a static or outlives the scan.
        let scan = unsafe {
            let first = key.cast::<pg_sys::ScanKeyData>();
            for (i, (strategy, procedure, value)) in keys.iter().enumerate() {
                let (column, value) = (i as i16 + 1, pg_sys::Datum::from(*value));
                pg_sys::ScanKeyInit(
                    first.add(i),
                    column,
                    *strategy as u16,
                    (*procedure).into(),
                    value,
                );
            }
            let (table, index) = (events.table.as_ptr(), events.index.as_ptr());
            pg_sys::systable_beginscan_ordered(table, index, snapshot, keys.len() as i32, first)
        };
        Self { events, scan, direction, key, _open: PhantomData }
    }

    /// # Errors
    /// [`Error::NotInstalled`] when the table has other columns.
    pub fn next(&mut self) -> Result<Option<EventRow>, Error> {
        // SAFETY: the scan has begun and not ended; the tuple is read before the next is fetched.
        unsafe {
            let tuple = pg_sys::systable_getnext_ordered(self.scan, self.direction);
            if tuple.is_null() {
                return Ok(None);
            }
            row_of(&self.events.table, tuple).map(Some)
        }
    }
}

/// A row of the trail.
///
/// # Errors
/// [`Error::NotInstalled`] when the table has other columns.
///
/// # Safety
/// `tuple` is one of that table, `password_verify.event`, and valid.
pub unsafe fn row_of(table: &Table, tuple: pg_sys::HeapTuple) -> Result<EventRow, Error> {
    // SAFETY: the caller's promise.
    unsafe {
        let row = row::columns::<COLUMNS>(table, tuple)?;
        let mut event = [None; EVENT_COLUMNS];
        event.copy_from_slice(&row[2..USER_NONCE]);
        // The index has what is missing after all else.
        let number =
            |column: Option<pg_sys::Datum>| column.map_or(i64::MAX, |it| it.value() as i64);
        let named = row[USER_NONCE].map(|it| text::borrowed(it));
        Ok(EventRow {
            epoch: number(row[0]),
            seq: number(row[1]),
            event: from_columns(event),
            named: Named::from_bytes(named.as_deref()),
            // One that is missing is none that fits.
            mac: row[COLUMNS - 1].map(|mac| text::borrowed(mac).into_owned()).unwrap_or_default(),
            place: (*tuple).t_self,
            writer: (*(*tuple).t_data).t_choice.t_heap.t_xmin,
        })
    }
}

impl Drop for Rows<'_> {
    fn drop(&mut self) {
        if !unwinding() {
            // SAFETY: begun by `begin`, ended once; nothing points to the key any more.
            unsafe {
                pg_sys::systable_endscan_ordered(self.scan);
                drop(Box::from_raw(self.key));
            }
        }
    }
}
