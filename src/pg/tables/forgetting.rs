//! `password_verify.forgetting`: user ids that are still to be erased from events. Sessions add rows, as a part of their
//! transactions, and the worker takes them away.

use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::account::Timestamp;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::keyed::{Keyed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::text;
use crate::pg::server;
use crate::salt;

pub struct Forgetting(Keyed<4>);

/// An id to erase.
#[derive(Debug, Clone)]
pub struct Request {
    pub key: RowKey,
    pub user_id: String,
    /// Events that began later are about somebody who came later.
    pub until: Timestamp,
    /// The transaction that asked for it.
    pub xid: u64,
}

impl Forgetting {
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`].
    pub fn open(of: Installation, access: Access) -> Result<Self, Error> {
        Self::open_by(of, access, lock::deadline())
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`Forgetting::open`].
    pub fn open_by(of: Installation, access: Access, deadline: Instant) -> Result<Self, Error> {
        Keyed::open_by(c"forgetting", c"forgetting_pkey", of, access, deadline).map(Self)
    }

    /// Asks for an id to be erased from events up to that time.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn add(&self, user_id: &str, until: Timestamp, xid: u64) -> Result<(), Error> {
        let mut key: RowKey = salt::random()?;
        key[..8].copy_from_slice(&server::now().to_be_bytes());
        let row = [
            Some(pg_sys::Datum::from(key.as_mut_ptr())),
            Some(text::to_datum(user_id)?),
            until.into_datum(),
            xid.cast_signed().into_datum(),
        ];
        // SAFETY: uuid, text, timestamptz and bigint, as the SQL file declares.
        unsafe { self.0.put(key, Some(row)) }
    }

    /// What has waited longest.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn first(&self) -> Result<Option<Request>, Error> {
        let requests = self.0.after(None, 1, |row| {
            let [Some(key), Some(user_id), Some(until), Some(xid)] = row else {
                return Err(Error::NotInstalled);
            };
            // SAFETY: uuid and text, as the SQL file declares; copied while the row is valid.
            let (key, user_id) =
                unsafe { (*key.cast_mut_ptr::<RowKey>(), text::borrowed_utf8(user_id)?) };
            let (until, xid) = (until.value() as i64, xid.value() as u64);
            Ok(Request { key, user_id: user_id.into_owned(), until, xid })
        })?;
        Ok(requests.into_iter().next())
    }

    /// It is done.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn remove(&self, request: &Request) -> Result<(), Error> {
        // SAFETY: there are no values.
        unsafe { self.0.put(request.key, None) }
    }

    /// [`Keyed::renew`].
    ///
    /// # Errors
    /// Those of [`Keyed::renew`].
    pub fn renew(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
    ) -> Result<Option<RowKey>, Error> {
        self.0.renew(after, count, discard)
    }
}
