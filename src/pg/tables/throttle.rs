//! `password_verify.throttle`: the budgets that are not at rest.

use std::time::Instant;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::throttle::Budget;
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use super::keyed::{Keyed, Passed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::shared::budgets::Stored;
use password_verify_core::rules::throttle::Payer;

pub struct Throttle(Keyed<6>);

impl Throttle {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(of: Installation, access: Access) -> Result<Self, Error> {
        Self::open_by(of, access, lock::deadline())
    }

    /// Opens the table, waiting for it until the deadline.
    ///
    /// # Errors
    /// Those of [`Throttle::open`].
    pub fn open_by(of: Installation, access: Access, deadline: Instant) -> Result<Self, Error> {
        Keyed::open_by(c"throttle", c"throttle_pkey", of, access, deadline).map(Self)
    }

    /// [`Keyed::renew`], where budgets that time alone has brought to rest are over.
    ///
    /// # Errors
    /// Those of [`Keyed::pass`] and [`Keyed::sign_again`].
    pub fn renew(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
        now: Timestamp,
    ) -> Result<Option<RowKey>, Error> {
        let Passed { last, outdated } =
            self.0.pass(after, count, discard, |row| stored(row).rests_at <= now)?;
        self.0.sign_again(outdated).map(|()| last)
    }

    /// What the writes so far have added to the sum of the table.
    pub fn added(&self) -> u128 {
        self.0.added()
    }

    /// The budget under a key; `None` if it is at rest.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn read(&self, key: RowKey) -> Result<Option<Stored>, Error> {
        self.0.get(key, |row| Ok(stored(row)))
    }

    /// Stores a budget; `None` deletes it, because it is at rest.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn write(&self, mut key: RowKey, kept: Option<(Payer, Stored)>) -> Result<(), Error> {
        let uuid = pg_sys::Datum::from(key.as_mut_ptr());
        let row = kept.map(|(payer, Stored { budget, rests_at })| {
            [
                Some(uuid),
                (payer as i16).into_datum(),
                budget.count.cast_signed().into_datum(),
                budget.at.into_datum(),
                budget.known_until.into_datum(),
                rests_at.into_datum(),
            ]
        });
        // SAFETY: uuid, smallint, integer and three timestamptz (int64), as the SQL file declares.
        unsafe { self.0.put(key, row) }
    }
}

fn stored(row: [Option<pg_sys::Datum>; 6]) -> Stored {
    let number = |i: usize| row[i].map_or(0, |datum: pg_sys::Datum| datum.value() as i64);
    let budget = Budget {
        count: u32::try_from(number(2)).unwrap_or(u32::MAX),
        in_flight: 0,
        at: number(3),
        known_until: number(4),
    };
    Stored { budget, rests_at: number(5) }
}
