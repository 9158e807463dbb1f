//! The tables that a worker serves. They are those that it found when it came: `DROP EXTENSION` and `CREATE EXTENSION`
//! put others in their place, and what is known of these is not true of those.

use pgrx::pg_sys;

use super::work;
use crate::error::Error;
use crate::pg::heap::lock::{self, Access};
use crate::pg::heap::table;

/// Known by the table that holds the chain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Served(pg_sys::Oid);

impl Served {
    /// Those that are there. Until the end of the transaction nobody can drop them.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::Locked`].
    pub fn find() -> Result<Self, Error> {
        Ok(Self(table::locked(c"event", Access::Write, lock::deadline())?))
    }

    /// The table that holds the chain.
    pub fn events(self) -> pg_sys::Oid {
        self.0
    }

    /// Runs a worker's transaction on these tables.
    ///
    /// # Errors
    /// [`Error::Replaced`] if there are others now; those of [`Served::find`] and [`work::transaction`].
    pub fn transaction<T>(self, then: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        work::transaction(|| if Self::find()? == self { then() } else { Err(Error::Replaced) })
    }
}
