//! Who holds the row of a user in `password_verify.vault`, and so may add and remove what is kept of the user.

use password_verify_core::rules::user_id::UserId;

use super::table::{Held, Kept, Locked};
use super::vaults::VaultRow;
use super::{All, Room};
use crate::error::Error;
use crate::pg::heap::place::PlaceLock;
use crate::pg::server;

/// The row, locked until the transaction ends, or a new one.
pub struct Holder {
    pub row: VaultRow,
    held: Option<Held>,
    /// Until the call ends, so that no two of them make the first row.
    _place: PlaceLock,
}

impl Holder {
    /// `None`: another transaction holds it.
    ///
    /// # Errors
    /// Those of [`super::table::Rows::lock`]; [`Error::Altered`] if it is another user's.
    pub fn take(room: &Room, all: &All, user: &UserId) -> Result<Option<Self>, Error> {
        let Some(_place) = room.try_hold(user) else { return Ok(None) };
        let key = room.vault_place(user);
        Ok(match all.vaults.lock(key)? {
            Locked::Row(row, _) if row.user_id != user.as_str() => {
                return Err(VaultRow::altered());
            }
            Locked::Row(row, held) => Some(Self { row, held: Some(held), _place }),
            Locked::Absent => {
                let row = VaultRow::new(key, user, server::now())?;
                Some(Self { row, held: None, _place })
            }
            Locked::Busy => None,
        })
    }

    /// Whose it is.
    ///
    /// # Errors
    /// Those of [`UserId::from_text`], which no stored id causes.
    pub fn user(&self) -> Result<UserId, Error> {
        Ok(UserId::from_text(&self.row.user_id)?)
    }

    /// Gives a new row this id; false if there is a row of another one.
    pub fn is_to_be(&mut self, id: [u8; 16]) -> bool {
        if self.held.is_none() {
            self.row.id = id;
        }
        self.row.id == id
    }

    /// Are these all secrets, and all their jobs? One that is being updated can be missed.
    ///
    /// # Errors
    /// [`Error::Altered`] if there are more.
    pub fn counts(&self, secrets: usize, jobs: Option<usize>) -> Result<bool, Error> {
        let counts = [(self.row.secrets, secrets), (self.row.jobs, jobs.unwrap_or_default())];
        let more =
            |(count, found): &(i32, usize)| usize::try_from(*count).is_ok_and(|it| it < *found);
        if counts.iter().any(more) {
            return Err(VaultRow::altered());
        }
        let is = |count: i32, found: usize| usize::try_from(count) == Ok(found);
        Ok(is(self.row.secrets, secrets) && jobs.is_none_or(|jobs| is(self.row.jobs, jobs)))
    }

    /// Writes the row: nothing stays of a user of whom nothing is kept.
    ///
    /// # Errors
    /// Those of [`super::table::Rows::insert`].
    pub fn put(self, room: &Room, all: &All) -> Result<(), Error> {
        let Self { mut row, held, .. } = self;
        match held {
            Some(held) if row.is_empty() => all.vaults.delete(held),
            Some(held) => all.vaults.update(held, &mut row),
            None if row.is_empty() => Ok(()),
            None => {
                room.keep()?;
                all.vaults.insert(&mut row)
            }
        }
    }
}
