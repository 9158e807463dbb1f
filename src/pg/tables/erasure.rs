//! Erases a user id from rows of the trail, and finds the names that the user had before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::event::{Action, Event, Outcome};
use password_verify_core::trail::fold;
use password_verify_core::trail::forgotten::{Erased, MAX_EPOCHS};
use pgrx::datum::IntoDatum;

use super::event_row::{COLUMNS, EventRow, USER_ID, USER_NONCE};
use super::event_rows::{BACKWARD, Compared, Condition, Rows};
use super::events::Events;
use super::forgetting::{Request, Scope};
use crate::error::Error;
use crate::pg::heap::row;
use crate::pg::heap::scan;
use crate::pg::heap::table::Index;

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
        let of_user = [Condition::text(USER_ID as i16 + 1, name)?, Condition::until(AT, last)];
        let mut rows = self.rows(&self.by_user, &of_user);
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
            if !self.erase(&rows, &row)? {
                continue;
            }
            slice.erased.entry(row.epoch).or_default().add(mac);
            if let (Met::Renamed { at }, true) = (met, slice.scope != Scope::Id)
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
            // Not every one makes an account, but while it is open nobody knows.
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
        let mut of_transaction = vec![
            Condition::number(XID, Compared::Equal, xid.cast_signed()),
            Condition::text(ACTION, action.as_str())?,
        ];
        of_transaction.extend(until.map(|until| Condition::until(AT, until)));
        Ok(self.rows(&self.by_xid, &of_transaction))
    }

    /// As they are now, newest first.
    fn rows<'b>(&'b self, index: &'b Index, conditions: &[Condition]) -> Rows<'b> {
        Rows::begin(&self.events.table, index, conditions, BACKWARD, scan::now())
    }

    /// Erases the id from the row that was read last; false if that one is not as it was written.
    fn erase(&self, rows: &Rows<'_>, row: &EventRow) -> Result<bool, Error> {
        let user_id = row.event.as_ref().ok().and_then(|event| event.user_id.as_deref());
        let named = row.named.map(|named| named.erased(user_id));
        let Some(Ok(named)) = named else { return Ok(false) };
        let mut place = row.place;
        // SAFETY: a tuple of this table, which stays in place while the scan is open; no other process writes the table;
        // the columns are its own, but for the two that the SQL file declares as text and bytea.
        unsafe {
            let mut columns = row::columns::<COLUMNS>(&self.events.table, rows.tuple())?;
            columns[USER_ID] = None;
            columns[USER_NONCE] = named.bytes().and_then(IntoDatum::into_datum);
            let formed = row::form(&self.events.table, columns)?;
            self.events.table.update(&mut place, formed.tuple)?;
        }
        Ok(true)
    }
}
