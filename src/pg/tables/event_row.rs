//! A row of `password_verify.event`, and its columns as those of an event.

use std::borrow::Cow;

use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::chain::Head;
use password_verify_core::trail::erasable::{Commitment, Named};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::heap::row;
use crate::pg::heap::table::Table;
use crate::pg::heap::text;

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
