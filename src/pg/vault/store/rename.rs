//! Moves a record to another user id, and so to another place in the blind index.

use std::time::Duration;

use password_verify_core::rules::user_id::UserId;

use super::look::Found;
use super::write::Edit;
use super::{Store, Written};
use crate::error::Error;
use crate::pg::heap::place::PlaceLock;
use crate::pg::heap::scan;
use crate::pg::heap::scan::Occupant;
use crate::pg::server::patiently;
use crate::pg::vault::class_moves;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// It is part of the transaction now.
    Done,
    /// Nothing was changed: the new id already has a record.
    Taken,
    /// Nothing was changed: the old id has no record.
    Absent,
    /// Nothing was changed: another transaction holds one of the records.
    Busy,
}

impl Store {
    /// Moves a record and its account's state. It waits for neither place's lock, so renames that
    /// cross each other end within `patience`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::CorruptAccount`] when a row cannot be read; any PostgreSQL
    /// error.
    pub fn rename(&self, old: &UserId, new: &UserId, patience: Duration) -> Result<Renamed, Error> {
        self.prepare()?;
        let done = patiently(patience, || {
            // Held until the record has moved; another session that needs one of the places tries
            // again.
            let Some(_from) = PlaceLock::try_take(self.lock_tag(old)) else { return Ok(None) };
            let Some(_to) = PlaceLock::try_take(self.lock_tag(new)) else { return Ok(None) };
            if !matches!(self.find(old)?, Found::Own(_)) {
                return Ok(Some(Renamed::Absent));
            }
            let place = self.place(new);
            match scan::occupant(&self.table, &self.index, place) {
                Occupant::Uncertain => return Ok(None),
                Occupant::Row => return Ok(Some(Renamed::Taken)),
                Occupant::Absent => {}
            }
            let (mut moved, mut class) = (None, None);
            let removed = self.edit(old, Duration::ZERO, |row| {
                class = class_moves::class_of(row);
                moved = Some(row.renamed(place, new)?);
                Ok(Edit::Take)
            })?;
            match (removed, moved) {
                (Written::Busy, _) => Ok(None),
                (Written::Unchanged, _) | (_, None) => Ok(Some(Renamed::Absent)),
                // Only a row changed by hand can be in the way now; the error rolls everything
                // back.
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
