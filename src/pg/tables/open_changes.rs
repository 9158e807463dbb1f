//! `password_verify.open_change`: transactions that have made changes and whose end is not fully
//! recorded.
//!
//! A row's key is the transaction's id and a number that orders its rows: first how far the
//! recording of its end has come, then the accounts to clear, then its subtransactions. So nothing
//! must be kept in memory, however many savepoints a transaction has, and a new worker continues
//! where the last one stopped.

use password_verify_core::rules::event::Outcome;
use pgrx::datum::{FromDatum, IntoDatum};
use pgrx::pg_sys;

use super::keyed;
use super::keyed::{Keyed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock::Access;

/// Set in the second half of a subtransaction's key, together with its id.
const PART: u64 = 1 << 63;
const COLUMNS: usize = 8;

/// A transaction or subtransaction that has made changes.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// Its full transaction id.
    pub xid: u64,
    /// That of the top-level transaction.
    pub top_xid: u64,
    /// The position of its first event, and the time.
    pub epoch: i64,
    pub first_seq: i64,
    pub since: i64,
}

/// An account whose failures are forgotten when a subtransaction commits.
#[derive(Debug, Clone, Copy)]
pub struct Clearing {
    pub open: Open,
    /// The key of its budget.
    pub account: RowKey,
    /// Will the session clear it, unless the server crashes first?
    pub by_session: bool,
}

/// A transaction that has ended, and how far that is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    pub top_xid: u64,
    pub at: i64,
    /// Did it run on this server? Otherwise its outcome is unknown.
    pub ours: bool,
    /// Was its session there to clear accounts?
    pub orderly: bool,
    /// The second half of the key of the last row that is done.
    pub done_to: u64,
}

#[derive(Debug, Clone, Copy)]
pub enum ChangeRow {
    Ending(Ending),
    Clearing(Clearing),
    Part(Open),
}

impl ChangeRow {
    /// The top-level transaction of this row.
    pub fn top_xid(&self) -> u64 {
        match self {
            Self::Ending(ending) => ending.top_xid,
            Self::Clearing(clearing) => clearing.open.top_xid,
            Self::Part(open) => open.top_xid,
        }
    }

    fn place(&self) -> u64 {
        match self {
            Self::Ending(_) => 0,
            Self::Clearing(Clearing { open, account, .. }) => {
                // Two accounts of one transaction collide once in 2^63 pairs, and an attacker
                // cannot search for such a pair without the secret key.
                let (half, _) = account.as_chunks::<8>();
                let mixed =
                    u64::from_be_bytes(half[0]) ^ open.xid.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed & !PART).max(1)
            }
            Self::Part(open) => open.xid | PART,
        }
    }
}

pub struct OpenChanges(Keyed<COLUMNS>);

impl OpenChanges {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Keyed::open(c"open_change", c"open_change_pkey", access).map(Self)
    }

    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn put(&self, row: &ChangeRow) -> Result<(), Error> {
        let mut key = key(row.top_xid(), row.place());
        let (xid, epoch, number, at, account, flag) = match row {
            ChangeRow::Ending(ending) => {
                let xid = if ending.ours { ending.top_xid } else { 0 };
                (xid, 0, ending.done_to.cast_signed(), ending.at, None, ending.orderly)
            }
            ChangeRow::Clearing(Clearing { open, account, by_session }) => {
                (open.xid, open.epoch, open.first_seq, open.since, Some(account), *by_session)
            }
            ChangeRow::Part(open) => {
                (open.xid, open.epoch, open.first_seq, open.since, None, false)
            }
        };
        let columns = [
            Some(pg_sys::Datum::from(key.as_mut_ptr())),
            xid.cast_signed().into_datum(),
            row.top_xid().cast_signed().into_datum(),
            epoch.into_datum(),
            number.into_datum(),
            at.into_datum(),
            account.map(|account| pg_sys::Datum::from(account.as_ptr())),
            flag.into_datum(),
        ];
        // SAFETY: uuid, four bigint, timestamptz (int64), uuid and boolean, as the SQL file
        // declares.
        unsafe { self.0.put(key, Some(columns)) }
    }

    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn remove(&self, row: &ChangeRow) -> Result<(), Error> {
        // SAFETY: there are no values.
        unsafe { self.0.put(key(row.top_xid(), row.place()), None) }
    }

    /// Does this subtransaction have a row? One look-up.
    pub fn has(&self, open: &Open) -> bool {
        self.0.has(key(open.top_xid, ChangeRow::Part(*open).place()))
    }

    /// At most `count` rows of one transaction after a place.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn of(&self, top_xid: u64, place: u64, count: usize) -> Result<Vec<ChangeRow>, Error> {
        let of_it = |row| Ok(Some(read(row)?).filter(|row: &ChangeRow| row.top_xid() == top_xid));
        self.0.after_while(Some(key(top_xid, place)), count, of_it)
    }

    /// The first row of each transaction. One look-up for each.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn transactions(&self) -> Result<Vec<ChangeRow>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            pgrx::check_for_interrupts!();
            match self.0.after(after, 1, read)?.pop() {
                Some(row) => {
                    after = Some(key(row.top_xid(), u64::MAX));
                    found.push(row);
                }
                None => return Ok(found),
            }
        }
    }

    /// The second half of a row's key, after which a scan continues.
    pub fn place_of(row: &ChangeRow) -> u64 {
        row.place()
    }
}

fn read(row: keyed::Row<COLUMNS>) -> Result<ChangeRow, Error> {
    let wrong = Error::NotInstalled;
    let number = |i: usize| row[i].map(|datum| datum.value() as i64).ok_or(wrong);
    // SAFETY: columns 0 and 6 are uuids, copied while the row is valid.
    let uuid = |i: usize| row[i].map(|datum| unsafe { *datum.cast_mut_ptr::<RowKey>() });
    let (_, place) = halves(uuid(0).ok_or(wrong)?);
    let (xid, top_xid) = (number(1)?.cast_unsigned(), number(2)?.cast_unsigned());
    let (epoch, first_seq, since) = (number(3)?, number(4)?, number(5)?);
    let flag = number(7)? & 1 != 0;
    let open = Open { xid, top_xid, epoch, first_seq, since };
    Ok(match uuid(6) {
        _ if place == 0 => ChangeRow::Ending(Ending {
            top_xid,
            at: since,
            ours: xid != 0,
            orderly: flag,
            done_to: first_seq.cast_unsigned(),
        }),
        Some(account) => ChangeRow::Clearing(Clearing { open, account, by_session: flag }),
        None => ChangeRow::Part(open),
    })
}

fn key(top_xid: u64, place: u64) -> RowKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&top_xid.to_be_bytes());
    key[8..].copy_from_slice(&place.to_be_bytes());
    key
}

fn halves(key: RowKey) -> (u64, u64) {
    let (halves, _) = key.as_chunks::<8>();
    (u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
}

/// The outcome of a transaction; `None` while it is in progress.
pub fn outcome(xid: u64) -> Option<Outcome> {
    // SAFETY: reads shared memory.
    if xid >= unsafe { pg_sys::ReadNextFullTransactionId() }.value {
        // From another server, or from before a pg_resetwal of this one: PostgreSQL would raise an
        // error.
        return Some(Outcome::Unknown);
    }
    // SAFETY: reads the commit log, which returns NULL for a transaction it no longer covers.
    let status = unsafe {
        let argument = Some(pg_sys::Datum::from(xid));
        pgrx::direct_function_call_as_datum(pg_sys::pg_xact_status, &[argument])
            .and_then(|datum| String::from_datum(datum, false))
    };
    match status.as_deref() {
        Some("in progress") => None,
        Some("committed") => Some(Outcome::Committed),
        Some("aborted") => Some(Outcome::RolledBack),
        _ => Some(Outcome::Unknown),
    }
}
