//! Writes of an account's state, whose credential any other transaction may hold.

use std::time::Duration;

use password_verify_core::rules::account::State;
use password_verify_core::rules::user_id::UserId;

use super::look::Found;
use super::{Store, Written};
use crate::error::Error;
use crate::pg::heap::place::PlaceLock;
use crate::pg::server;
use crate::pg::server::patiently;
use crate::pg::vault::accounts::{AccountRow, Locked};
use crate::pg::vault::credential::Credential;

impl Store {
    /// Lets `change` set the state of a user's account, whose credential any other transaction may
    /// hold. `anew`: replaces a corrupt state by a strict one that allows nothing new: the password
    /// must be changed, and tokens are revoked.
    ///
    /// # Errors
    /// [`Error::CorruptAccount`] for a corrupt state, unless `anew` is set; any PostgreSQL error.
    pub fn alter(
        &self,
        user: &UserId,
        patience: Duration,
        anew: bool,
        mut change: impl FnMut(&mut State, &Credential),
    ) -> Result<Written, Error> {
        let (place, tag) = (self.place(user), self.key.key.lock_tag(user));
        let written = patiently(patience, || {
            let Some(_lock) = PlaceLock::try_take(tag) else { return Ok(None) };
            let found = match self.look(user)? {
                Found::Own(row) => Found::Own(row),
                Found::Neighbour(_) | Found::Nothing => self.look(user)?,
            };
            let Found::Own(mut row) = found else { return Ok(Some(Written::Unchanged)) };
            let over = match self.accounts.lock(place) {
                Locked::Busy => return Ok(None),
                Locked::Absent => None,
                Locked::Row(account, tid) => {
                    row.judge(Some(account));
                    Some(tid)
                }
            };
            let before = row.state();
            let mut state = match before {
                Err(Error::CorruptAccount(_)) if anew => {
                    let mut strict = State::default();
                    strict.require_change(server::now(), row.changed_at);
                    strict.revoke_tokens(server::now(), None);
                    strict
                }
                before => before?,
            };
            change(&mut state, &row);
            if before == Ok(state) {
                return Ok(Some(Written::Unchanged));
            }
            let account = AccountRow::new(place, user.as_str(), row.created_at, state);
            self.accounts.put(&account, over)?;
            Ok(Some(Written::Done))
        })?;
        Ok(written.unwrap_or(Written::Busy))
    }

    /// If the key that sealed the account's state is lost, seals the row's plain columns with the
    /// active key. Used when a password is set in that case, which is the way to recover. It gives
    /// an attacker nothing new: anyone who can write the table could have stored an unsealed row.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn adopt(&self, user: &UserId) -> Result<Written, Error> {
        let place = self.place(user);
        let Some(_lock) = PlaceLock::try_take(self.lock_tag(user)) else {
            return Ok(Written::Busy);
        };
        let sealed_with_none = |row: &AccountRow| {
            matches!(row.unseal(), Err(Error::UnknownKey(_) | Error::OtherKey(_)))
        };
        match self.accounts.near(place) {
            Some(Ok(row)) if row.number == place && sealed_with_none(&row) => {}
            _ => return Ok(Written::Unchanged),
        }
        match self.accounts.lock(place) {
            Locked::Row(Ok(row), over) => self.accounts.put(&row, Some(over))?,
            Locked::Busy => return Ok(Written::Busy),
            Locked::Row(Err(_), _) | Locked::Absent => return Ok(Written::Unchanged),
        }
        Ok(Written::Done)
    }
}
