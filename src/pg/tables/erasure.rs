//! Erases a user id from rows of the trail, and finds the names that the user had before.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::event::{Action, Event, Outcome};
use password_verify_core::trail::fold;
use password_verify_core::trail::forgotten::{Erased, MAX_EPOCHS};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::events::{self, COLUMNS, EventRow, Events, USER_ID, USER_NONCE};
use super::forgetting::{Request, Scope};
use crate::error::Error;
use crate::pg::heap::row;
use crate::pg::heap::scan;
use crate::pg::heap::shape::C_COLLATION;
use crate::pg::heap::table::Index;
use crate::pg::heap::text;
use crate::pg::server::unwinding;

/// Rows in one slice, and the longest time one may take: a login waits for one slice at most.
const ROWS: usize = 500;
const LONGEST: Duration = Duration::from_millis(10);

/// Columns of the table, from 1.
const AT: i16 = 3;
const ACTION: i16 = 6;
const XID: i16 = 17;

/// The trail, and the indexes that lead to the rows of a user and of a transaction.
pub struct Erasure<'a> {
    events: &'a Events,
    by_user: Index,
    by_xid: Index,
}

/// What a row says of the account with a name, if its transaction was committed.
#[derive(Debug, Clone, Copy)]
enum Met {
    Nothing,
    /// Its transaction is still open.
    Open,
    /// It was made.
    Begun,
    /// It got this name in place of another, for good at this time.
    Renamed {
        at: Timestamp,
    },
    /// It got another name.
    GivenUp,
    /// It was deleted.
    Ended,
}

/// What a slice did.
pub struct Slice {
    /// By epoch.
    pub erased: BTreeMap<i64, Erased>,
    /// The time of the last row that was looked at; `None` if there are no more.
    pub reached: Option<Timestamp>,
    /// The name that the account had before, until when, and the transaction that changed it.
    pub former: Option<(String, Timestamp, u64)>,
    /// What is still to be erased of the request.
    pub scope: Scope,
    /// The account with that name had another one before, or began: the rest is of others.
    pub is_over: bool,
}

impl Default for Slice {
    fn default() -> Self {
        let (erased, reached, former) = (BTreeMap::new(), None, None);
        Self { erased, reached, former, scope: Scope::Person, is_over: false }
    }
}

impl<'a> Erasure<'a> {
    /// # Errors
    /// Those of [`Index::open_list`].
    pub fn open(events: &'a Events) -> Result<Self, Error> {
        let by_user = Index::open_list(c"event_user", &[USER_ID as i16 + 1, AT], &events.table)?;
        let by_xid = Index::open_list(c"event_xid", &[XID, ACTION, AT], &events.table)?;
        Ok(Self { events, by_user, by_xid })
    }

    /// Erases a name from the next rows, newest first, beginning at a time, whose events began until another. Rows that are
    /// not as they were written are left alone: they show what was done to them.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn slice(
        &self,
        name: &str,
        (from, until): (Timestamp, Timestamp),
        request: &Request,
    ) -> Result<Slice, Error> {
        let mut slice = Slice { scope: request.scope, ..Slice::default() };
        // A counted row ends with its last event, and is one of those that began before.
        let last = until.saturating_add(2 * fold::WINDOW).min(from);
        let keys = [
            Key::text(USER_ID as i16 + 1, name)?,
            Key::time(AT, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE, last),
        ];
        let backward = pg_sys::ScanDirection::BackwardScanDirection;
        let mut rows = Rows::begin(self.events, &self.by_user, &keys, backward);
        let began = Instant::now();
        for looked_at in 0.. {
            pgrx::check_for_interrupts!();
            let Some(row) = rows.next()? else { break };
            let (Ok(event), Ok(mac)) = (&row.event, row.mac.as_slice().try_into()) else {
                continue;
            };
            let many = slice.erased.len() == MAX_EPOCHS && !slice.erased.contains_key(&row.epoch);
            let enough = looked_at >= ROWS || many || began.elapsed() > LONGEST;
            // Rows of one moment that are not as they were written could otherwise keep the worker for ever.
            if enough && (event.at < from || !slice.erased.is_empty()) {
                slice.reached = Some(event.at);
                break;
            }
            if event.since > until {
                continue;
            }
            let met = if request.is_by(event) { Met::Nothing } else { self.met(&row, event)? };
            match (met, slice.scope) {
                // Somebody is signing up as that at this moment, or had the name before.
                (Met::Open, _) => continue,
                (Met::GivenUp | Met::Ended, Scope::Former) => {
                    slice.is_over = true;
                    break;
                }
                _ => {}
            }
            if !rows.erase(&row)? {
                continue;
            }
            slice.erased.entry(row.epoch).or_default().add(mac);
            let follows = matches!(slice.scope, Scope::Person | Scope::Gone | Scope::Former);
            if let (Met::Renamed { at, .. }, true) = (met, follows)
                && let Some(xid) = event.xid
                && let Some(former) = self.former(xid, event.at)?
            {
                slice.former = Some((former, at, xid));
            }
            slice.scope = match (met, slice.scope) {
                (Met::Begun | Met::Renamed { .. }, Scope::Former) => {
                    slice.is_over = true;
                    break;
                }
                (Met::Ended, Scope::Person) => Scope::Gone,
                (Met::Nothing | Met::Open, scope) | (_, scope @ Scope::Former) => scope,
                _ => Scope::Id,
            };
        }
        Ok(slice)
    }

    /// What a row says of the account with that name.
    fn met(&self, row: &EventRow, event: &Event) -> Result<Met, Error> {
        let Some(xid) = event.xid else { return Ok(Met::Nothing) };
        let met = match event.action {
            Action::Create | Action::Import => Met::Begun,
            Action::Renamed => Met::Renamed { at: 0 },
            Action::Rename => Met::GivenUp,
            Action::Delete | Action::Forget => Met::Ended,
            Action::Set => Met::Nothing,
            _ => return Ok(Met::Nothing),
        };
        Ok(match (self.end_of(xid, event.at, (row.epoch, row.seq))?, met) {
            (None, _) => Met::Open,
            (Some((Outcome::Committed, at)), Met::Renamed { .. }) => Met::Renamed { at },
            (Some((Outcome::Committed, _)), met) => met,
            (Some(_), _) => Met::Nothing,
        })
    }

    /// When the transaction of a request ended.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn ended_at(&self, request: &Request) -> Result<Option<Timestamp>, Error> {
        let place = (i64::MIN, i64::MIN);
        Ok(self.end_of(request.xid, request.until, place)?.map(|(_, at)| at))
    }

    /// How and when that transaction ended, of which there is a row at that place, or a later one. On another server the
    /// same number is another transaction.
    fn end_of(
        &self,
        xid: u64,
        at: Timestamp,
        place: (i64, i64),
    ) -> Result<Option<(Outcome, Timestamp)>, Error> {
        let mut ends = self.of_transaction(xid, Action::End, None)?;
        while let Some(row) = ends.next()? {
            let Ok(event) = row.event else { continue };
            if event.since <= at && (row.epoch, row.seq) > place {
                return Ok(Some((event.outcome, event.at)));
            }
        }
        Ok(None)
    }

    /// The name that was given up in that transaction last before that time.
    fn former(&self, xid: u64, at: Timestamp) -> Result<Option<String>, Error> {
        let row = self.of_transaction(xid, Action::Rename, Some(at))?.next()?;
        Ok(row.and_then(|row| row.event.ok()).and_then(|event| event.user_id))
    }

    /// The rows of a transaction, newest first.
    fn of_transaction(
        &self,
        xid: u64,
        action: Action,
        until: Option<Timestamp>,
    ) -> Result<Rows<'_>, Error> {
        let (strategy, procedure) = (pg_sys::BTEqualStrategyNumber, pg_sys::F_INT8EQ);
        let mut keys = vec![
            Key::new(XID, strategy, procedure, xid.cast_signed().into_datum()),
            Key::text(ACTION, action.as_str())?,
        ];
        keys.extend(until.map(|until| {
            Key::time(AT, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE, until)
        }));
        let backward = pg_sys::ScanDirection::BackwardScanDirection;
        Ok(Rows::begin(self.events, &self.by_xid, &keys, backward))
    }
}

/// A condition on a column.
struct Key {
    column: i16,
    strategy: u32,
    procedure: u32,
    value: pg_sys::Datum,
}

impl Key {
    fn new(column: i16, strategy: u32, procedure: u32, value: Option<pg_sys::Datum>) -> Self {
        Self { column, strategy, procedure, value: value.unwrap_or(pg_sys::Datum::null()) }
    }

    fn text(column: i16, text: &str) -> Result<Self, Error> {
        let equal = pg_sys::BTEqualStrategyNumber;
        Ok(Self::new(column, equal, pg_sys::F_TEXTEQ, Some(text::to_datum(text)?)))
    }

    fn time(column: i16, strategy: u32, procedure: u32, time: Timestamp) -> Self {
        Self::new(column, strategy, procedure, time.into_datum())
    }
}

/// A scan of the trail in the order of an index that lists rows.
struct Rows<'a> {
    events: &'a Events,
    scan: pg_sys::SysScanDesc,
    direction: pg_sys::ScanDirection::Type,
    /// Memory that PostgreSQL points to until the scan ends. Freed in `drop`.
    keys: *mut Vec<pg_sys::ScanKeyData>,
    /// The tuple that was read last.
    tuple: pg_sys::HeapTuple,
    _index: PhantomData<&'a Index>,
}

impl<'a> Rows<'a> {
    fn begin(
        events: &'a Events,
        index: &'a Index,
        keys: &[Key],
        direction: pg_sys::ScanDirection::Type,
    ) -> Self {
        let mut scan_keys = vec![pg_sys::ScanKeyData::default(); keys.len()];
        for (key, scan_key) in keys.iter().zip(&mut scan_keys) {
            // SAFETY: a comparison of the type of that column; what the value points to lives until the end of the
            // transaction.
            unsafe {
                pg_sys::ScanKeyEntryInitialize(
                    scan_key,
                    0,
                    key.column,
                    key.strategy as u16,
                    pg_sys::InvalidOid,
                    C_COLLATION,
                    key.procedure.into(),
                    key.value,
                );
            }
        }
        let scan_keys = Box::into_raw(Box::new(scan_keys));
        // SAFETY: columns of the index; keys and relations live until the scan ends; the snapshot is a static.
        let scan = unsafe {
            let (table, index) = (events.table.as_ptr(), index.as_ptr());
            let (count, first) = ((*scan_keys).len() as i32, (*scan_keys).as_mut_ptr());
            pg_sys::systable_beginscan_ordered(table, index, scan::now(), count, first)
        };
        let tuple = std::ptr::null_mut();
        Self { events, scan, direction, keys: scan_keys, tuple, _index: PhantomData }
    }

    fn next(&mut self) -> Result<Option<EventRow>, Error> {
        // SAFETY: the scan has begun and not ended; the tuple is valid until the next is fetched.
        unsafe {
            self.tuple = pg_sys::systable_getnext_ordered(self.scan, self.direction);
            if self.tuple.is_null() {
                return Ok(None);
            }
            events::row_of(&self.events.table, self.tuple).map(Some)
        }
    }

    /// Erases the id from the row that was read last; false if that one is not as it was written.
    fn erase(&self, row: &EventRow) -> Result<bool, Error> {
        let user_id = row.event.as_ref().ok().and_then(|event| event.user_id.as_deref());
        let named = row.named.map(|named| named.erased(user_id));
        let Some(Ok(named)) = named else { return Ok(false) };
        let mut place = row.place;
        // SAFETY: a tuple of this table, which stays in place while the scan is open; no other process writes the table;
        // the columns are its own, but for the two that the SQL file declares as text and bytea.
        unsafe {
            let mut columns = row::columns::<COLUMNS>(&self.events.table, self.tuple)?;
            columns[USER_ID] = None;
            columns[USER_NONCE] = named.bytes().and_then(IntoDatum::into_datum);
            let formed = row::form(&self.events.table, columns)?;
            self.events.table.update(&mut place, formed.tuple)?;
        }
        Ok(true)
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
