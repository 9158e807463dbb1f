//! `password_verify.forgetting`: user ids that are still to be erased from events. Sessions add rows, as a part of their
//! transactions, and the worker takes them away.

use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::event::{Action, Event};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::keyed::{Keyed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::text;
use crate::pg::server;
use crate::salt;

pub struct Forgetting(Keyed<5>);

/// An id to erase.
#[derive(Debug, Clone)]
pub struct Request {
    pub key: RowKey,
    /// As events have it.
    pub user_id: String,
    /// Events that began after this, and after the end of the transaction, are about somebody who came later.
    pub until: Timestamp,
    /// The transaction that asked for it, or that gave up the name.
    pub xid: u64,
    pub scope: Scope,
}

impl Request {
    /// Is that the event of what asked for it?
    pub fn is_by(&self, event: &Event) -> bool {
        let by = match self.scope {
            Scope::Former => event.action == Action::Rename,
            Scope::Person | Scope::Gone | Scope::Id => {
                matches!(event.action, Action::Forget | Action::Delete)
            }
        };
        by && event.xid == Some(self.xid)
    }
}

/// Which events of an id are to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Scope {
    /// All of them, and those of former names of whoever had the id last.
    Person = 0,
    /// The same; the end of that account was met.
    Gone = 1,
    /// All of them: whoever had it last goes by another name, or was met already.
    Id = 2,
    /// A former name: those of the account that gave it up, and of nobody who had it before.
    Former = 3,
}

impl Scope {
    fn from_number(number: i16) -> Option<Self> {
        [Self::Person, Self::Gone, Self::Id, Self::Former]
            .into_iter()
            .find(|it| *it as i16 == number)
    }
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
    pub fn add(
        &self,
        user_id: &str,
        until: Timestamp,
        xid: u64,
        scope: Scope,
    ) -> Result<(), Error> {
        let mut key: RowKey = salt::random()?;
        key[..8].copy_from_slice(&server::now().to_be_bytes());
        self.put(&Request { key, user_id: user_id.to_owned(), until, xid, scope })
    }

    /// Adds a request, or puts it in the place of the same one with another scope.
    ///
    /// # Errors
    /// Those of [`Forgetting::add`].
    pub fn put(&self, request: &Request) -> Result<(), Error> {
        let mut key = request.key;
        let row = [
            Some(pg_sys::Datum::from(key.as_mut_ptr())),
            Some(text::to_datum(&request.user_id)?),
            request.until.into_datum(),
            request.xid.cast_signed().into_datum(),
            (request.scope as i16).into_datum(),
        ];
        // SAFETY: uuid, text, timestamptz, bigint and smallint, as the SQL file declares.
        unsafe { self.0.put(request.key, Some(row)) }
    }

    /// What has waited longest.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn first(&self) -> Result<Option<Request>, Error> {
        let requests = self.0.after(None, 1, |row| {
            let [Some(key), Some(user_id), Some(until), Some(xid), Some(scope)] = row else {
                return Err(Error::NotInstalled);
            };
            // SAFETY: uuid and text, as the SQL file declares; copied while the row is valid.
            let (key, user_id) =
                unsafe { (*key.cast_mut_ptr::<RowKey>(), text::borrowed_utf8(user_id)?) };
            let (until, xid) = (until.value() as i64, xid.value() as u64);
            let scope = Scope::from_number(scope.value() as i16).ok_or(Error::NotInstalled)?;
            Ok(Request { key, user_id: user_id.into_owned(), until, xid, scope })
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
