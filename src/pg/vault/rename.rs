//! A record that moves to another user id, and so to another place.

use std::time::Duration;

use password_verify_core::rules::user_id::UserId;

use super::moves;
use super::store::{Edit, Found, Store, Written};
use crate::error::Error;
use crate::pg::heap::place::PlaceLock;
use crate::pg::heap::scan;
use crate::pg::heap::scan::Occupant;
use crate::pg::server::patiently;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// It is part of the transaction now.
    Done,
    /// Nothing was changed: the new id has a record.
    Taken,
    /// Nothing was changed: the old one has none.
    Nobody,
    /// Nothing was changed: another transaction holds one of them.
    Busy,
}

impl Store {
    /// Moves a record and what is said of its account. Neither place is waited for, so that renames which
    /// cross end within `patience`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::CorruptAccount`] when it cannot be read; PostgreSQL's own.
    pub fn rename(&self, old: &UserId, new: &UserId, patience: Duration) -> Result<Renamed, Error> {
        let done = patiently(patience, || {
            // Until it has moved: whoever looks at one of the places looks again later.
            let Some(_from) = PlaceLock::try_take(self.lock_tag(old)) else { return Ok(None) };
            let Some(_to) = PlaceLock::try_take(self.lock_tag(new)) else { return Ok(None) };
            if !matches!(self.find(old)?, Found::Own(_)) {
                return Ok(Some(Renamed::Nobody));
            }
            let place = self.place(new);
            match scan::occupant(&self.table, &self.index, place) {
                Occupant::Uncertain => return Ok(None),
                Occupant::Row => return Ok(Some(Renamed::Taken)),
                Occupant::Nobody => {}
            }
            let (mut moved, mut class) = (None, None);
            let removed = self.edit(old, Duration::ZERO, |row| {
                class = moves::class_of(row);
                moved = Some(row.renamed(place, new)?);
                Ok(Edit::Take)
            })?;
            match (removed, moved) {
                (Written::Busy, _) => Ok(None),
                (Written::Unchanged, _) | (_, None) => Ok(Some(Renamed::Nobody)),
                // Only what somebody does by hand can be in the way now, and then it is all taken back.
                (Written::Done, Some(row)) => {
                    if self.put(new, row, (self.place(old), class.as_deref()))? {
                        Ok(Some(Renamed::Done))
                    } else {
                        Err(Error::Busy)
                    }
                }
            }
        })?;
        Ok(done.unwrap_or(Renamed::Busy))
    }
}
