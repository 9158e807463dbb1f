//! `password_verify.event_fold`: folded events whose count may still grow.

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::event::Event;
use password_verify_core::trail::fold::FoldKey;
use pgrx::pg_sys;

use super::event_row::{EVENT_COLUMNS, from_columns, to_columns};
use super::keyed::{Keyed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock::Access;

const COLUMNS: usize = 1 + EVENT_COLUMNS;

pub struct Folds(Keyed<COLUMNS>);

impl Folds {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(of: Installation, access: Access) -> Result<Self, Error> {
        Keyed::open(c"event_fold", c"event_fold_pkey", of, access).map(Self)
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

    /// What the writes so far have added to the sum of the table.
    pub fn added(&self) -> u128 {
        self.0.added()
    }

    /// Stores the current state of a fold; `None` once it is a row of the audit trail.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn put(&self, key: FoldKey, event: Option<&Event>) -> Result<(), Error> {
        let mut bytes = key.to_bytes();
        let row = match event {
            None => None,
            Some(event) => {
                let mut row = [None; COLUMNS];
                row[0] = Some(pg_sys::Datum::from(bytes.as_mut_ptr()));
                row[1..].copy_from_slice(&to_columns(event)?);
                Some(row)
            }
        };
        // SAFETY: a uuid and the columns of an event, as the SQL file declares.
        unsafe { self.0.put(key.to_bytes(), row) }
    }

    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn all(&self) -> Result<Vec<Event>, Error> {
        self.0.after(None, usize::MAX, |row| {
            let mut columns = [None; EVENT_COLUMNS];
            columns.copy_from_slice(&row[1..]);
            // SAFETY: the columns of an event, as the SQL file declares.
            unsafe { from_columns(columns) }
        })
    }
}
