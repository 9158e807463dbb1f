//! Reads of credentials, which must not show whether the user exists.

use password_verify_core::rules::account::Account;
use password_verify_core::rules::user_id::UserId;

use super::Store;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::row;
use crate::pg::heap::row::Seen;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Occupant, Scan, Seek};
use crate::pg::heap::uncounted::Uncounted;
use crate::pg::vault::credential::Credential;

pub enum Found {
    /// The user's own row.
    Own(Credential),
    /// The row at the nearest lower place, because the user has none.
    Neighbour(Credential),
    /// The table is empty: its first row was deleted by hand.
    Nothing,
}

/// Records that are looked at for a signed one.
const SIGNED: usize = 1000;

/// How often a look-up is repeated if the user is deleted or created anew in the meantime.
const LOOKS: usize = 4;

impl Store {
    /// The state of the user's account: for a user without a password, that of a new one.
    ///
    /// # Errors
    /// Those of [`Store::find`] and [`Credential::account`].
    pub fn account(&self, user: &UserId) -> Result<Account, Error> {
        match self.find(user)? {
            Found::Own(own) => own.account(),
            Found::Neighbour(_) | Found::Nothing => Ok(Account::default()),
        }
    }

    /// The row at or before the user's place, with the state of its account.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::CorruptAccount`] when one of the user's own rows cannot be
    /// read; [`Error::UnknownKey`], [`Error::OtherKey`] when the key of an account is missing, even
    /// a neighbour's.
    pub fn find(&self, user: &UserId) -> Result<Found, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.find_once(user)?;
            match &found {
                Found::Own(row) => match row.state() {
                    // The two tables are read at two moments, so the rows may not match.
                    Err(Error::CorruptAccount(_)) if looks < LOOKS => continue,
                    state => drop(state?),
                },
                Found::Neighbour(row) => {
                    if let Err(error @ (Error::UnknownKey(_) | Error::OtherKey(_))) = row.state() {
                        return Err(error);
                    }
                }
                Found::Nothing => {}
            }
            return Ok(found);
        }
    }

    /// Does the user have a record, whatever its content? Needs no key.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn has(&self, user: &UserId) -> Result<bool, Error> {
        Ok(matches!(self.find_once(user)?, Found::Own(_)))
    }

    /// Does anybody have a record?
    pub fn has_any(&self) -> bool {
        let (now, first) = (scan::now(), RecordNumber::default());
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, now, first, Seek::After) };
        !scan.next().is_null()
    }

    /// Is one of the records signed? Looks at so many at most.
    ///
    /// # Errors
    /// Those of [`row::seen`].
    pub fn has_signed(&self) -> Result<bool, Error> {
        let (now, first) = (scan::now(), RecordNumber::default());
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, now, first, Seek::After) };
        for _ in 0..SIGNED {
            let tuple = scan.next();
            if tuple.is_null() {
                break;
            }
            // SAFETY: a tuple of this table, valid until the next one is fetched.
            let seen = unsafe { row::seen(&self.table, tuple)? };
            if matches!(seen, Seen::Genuine(_) | Seen::Older(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Is another transaction, which has not ended, changing the user's row?
    pub fn is_held(&self, user: &UserId) -> bool {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        scan::occupant(&self.table, &self.index, self.place(user)) == Occupant::Uncertain
    }

    /// Looks twice, whatever the first look found: a row that is being updated can be missed once
    /// ([`scan::now`]).
    fn find_once(&self, user: &UserId) -> Result<Found, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let (first, second) = (self.look(user)?, self.look(user)?);
        let account = self.accounts.near(self.place(user));
        let mut found = if matches!(second, Found::Own(_)) { second } else { first };
        if let Found::Own(row) | Found::Neighbour(row) = &mut found {
            row.judge(account);
        }
        Ok(found)
    }

    /// The row at that place, unless it is the first row, which has no user. Takes the same steps
    /// whether there is one or not.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it cannot be read.
    pub fn at(&self, place: RecordNumber) -> Result<Option<Credential>, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = self.at_once(place)?;
            let broken = |row: &Credential| matches!(row.state(), Err(Error::CorruptAccount(_)));
            if looks >= LOOKS || !found.as_ref().is_some_and(broken) {
                return Ok(found);
            }
        }
    }

    fn at_once(&self, place: RecordNumber) -> Result<Option<Credential>, Error> {
        let _uncounted = Uncounted::reads(&self.table, &self.index);
        let look = || self.nearest(place).transpose();
        let (first, second) = (look()?, look()?);
        let account = self.accounts.near(place);
        let here = |row: &Credential| row.number == place && !row.user_id.is_empty();
        let mut found = second.filter(here).or(first.filter(here));
        if let Some(row) = &mut found {
            row.judge(account);
        }
        Ok(found)
    }

    pub(super) fn look(&self, user: &UserId) -> Result<Found, Error> {
        let place = self.place(user);
        let Some(row) = self.nearest(place) else { return Ok(Found::Nothing) };
        match row {
            Ok(row) if row.number != place => Ok(Found::Neighbour(row)),
            Ok(row) if row.user_id == user.as_str() => Ok(Found::Own(row)),
            Ok(_) => Err(Error::Corrupt(place)),
            Err(Error::Corrupt(number)) if number != place => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// The row at or before that place.
    fn nearest(&self, place: RecordNumber) -> Option<Result<Credential, Error>> {
        let (now, seek) = (scan::now(), Seek::AtOrBefore);
        // SAFETY: the snapshot is a static.
        let mut scan = unsafe { Scan::begin(&self.table, &self.index, now, place, seek) };
        // SAFETY: a tuple of this table, valid while it is read.
        scan.peek(|tuple| unsafe { Credential::read(&self.table, tuple) })
    }
}
