//! `password_verify.open_change`: transactions that have made changes and are not known to have ended.

use password_verify_core::event::Outcome;
use pgrx::datum::{FromDatum, IntoDatum};
use pgrx::pg_sys;

use super::keyed::{Key, Keyed};
use super::table::Access;
use crate::error::Error;

/// A transaction, or a part of one, that has made changes.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its full id.
    pub xid: u64,
    /// That of the whole transaction.
    pub top_xid: u64,
    /// Where its first event is, and when it was.
    pub epoch: i64,
    pub first_seq: i64,
    pub since: i64,
    /// Are there failures that its worker is to clear when it commits?
    pub clears: bool,
    /// Whose. Only as long as the worker that has seen the changes is there; `None`: the events say.
    pub users: Option<Vec<String>>,
}

/// The table, opened.
pub struct OpenChanges(Keyed<7>);

impl OpenChanges {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Keyed::open(c"open_change", c"open_change_pkey", access).map(Self)
    }

    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn put(&self, change: &Open) -> Result<(), Error> {
        let mut key = key_of(change);
        let row = [
            Some(pg_sys::Datum::from(key.as_mut_ptr())),
            change.xid.cast_signed().into_datum(),
            change.top_xid.cast_signed().into_datum(),
            change.epoch.into_datum(),
            change.first_seq.into_datum(),
            change.since.into_datum(),
            change.clears.into_datum(),
        ];
        // SAFETY: uuid, four bigint, timestamptz (int64) and boolean, as the SQL file declares.
        unsafe { self.0.put(key, Some(row)) }
    }

    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn remove(&self, change: &Open) -> Result<(), Error> {
        // SAFETY: no values.
        unsafe { self.0.put(key_of(change), None) }
    }

    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn all(&self) -> Result<Vec<Open>, Error> {
        self.0.after(None, usize::MAX, |row| {
            let number =
                |i: usize| row[i].map(|datum| datum.value() as i64).ok_or(Error::NotInstalled);
            Ok(Open {
                xid: number(1)?.cast_unsigned(),
                top_xid: number(2)?.cast_unsigned(),
                epoch: number(3)?,
                first_seq: number(4)?,
                since: number(5)?,
                clears: number(6)? & 1 != 0,
                users: None,
            })
        })
    }
}

fn key_of(change: &Open) -> Key {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&change.top_xid.to_be_bytes());
    key[8..].copy_from_slice(&change.xid.to_be_bytes());
    key
}

/// How a transaction has ended; `None`: it has not.
pub fn outcome(xid: u64) -> Option<Outcome> {
    // SAFETY: reads shared memory.
    if xid >= unsafe { pg_sys::ReadNextFullTransactionId() }.value {
        // Of another server, or from before somebody reset this one: PostgreSQL would raise an error.
        return Some(Outcome::Unknown);
    }
    // SAFETY: reads the commit log, which answers NULL for what it no longer knows.
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
