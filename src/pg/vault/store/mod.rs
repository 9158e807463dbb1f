//! Reads and writes of credentials. A read must not show whether the user exists.
//!
//! **Reads** take the same steps for known and unknown users: to the row at or before the user's
//! place in the blind index, which is the user's own or, for an unknown user, a neighbour's. CREATE
//! EXTENSION adds a row at the lowest place, so there always is one.
//!
//! **Writes** never wait for a lock of unknown duration: if another transaction holds the row, they
//! try again for a second and then answer "busy".

use std::time::Instant;

use password_verify_core::decoys::cells;
use password_verify_core::rules::user_id::UserId;

use crate::error::{Error, RecordNumber};
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::table::{Index, Table};
use crate::pg::vault::accounts::Accounts;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::pg::vault::cost_classes::CostClasses;

pub mod look;
pub mod rename;
pub mod reseal;
mod state;
pub mod write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is part of the transaction now.
    Done,
    /// Nothing was changed: the row already exists (insert), does not exist, or needs no change
    /// (edit).
    Unchanged,
    /// Nothing was changed: another transaction holds the row.
    Busy,
}

/// The tables of credentials and accounts, open for one look-up or one write.
pub struct Store {
    pub(in crate::pg) table: Table,
    pub(in crate::pg) index: Index,
    pub(super) accounts: Accounts,
    key: BlindIndexKey,
    /// Open for reading only.
    classes: Option<CostClasses>,
}

impl Store {
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Self::open_by(access, lock::deadline())
    }

    /// Opens the tables, waiting for them until the deadline.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open_by(access: Access, deadline: Instant) -> Result<Self, Error> {
        let key = BlindIndexKey::read_by(deadline)?;
        let of = key.key.installation();
        let table = Table::open_by(c"credential", of, access, deadline)?;
        let index = Index::open_by(c"credential_pkey", &table, deadline)?;
        let classes = match access {
            Access::Read => Some(CostClasses::open_by(of, access, deadline)?),
            Access::Write => None,
        };
        Ok(Self { table, index, accounts: Accounts::open_by(of, access, deadline)?, key, classes })
    }

    /// Opens the tables without waiting; `None` if one is locked.
    ///
    /// # Errors
    /// [`Error::NotInstalled`], [`Error::TwoKeys`].
    pub fn open_at_once(access: Access) -> Result<Option<Self>, Error> {
        match Self::open_by(access, Instant::now()) {
            Err(Error::Locked) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// The template of the cost at which this id is hashed if it is unknown: always the same for
    /// the same id. `None`: the cost of a new password.
    ///
    /// # Errors
    /// Those of [`CostClasses::of`].
    pub fn decoy(&self, user: &UserId) -> Result<Option<String>, Error> {
        let cell = cells::cell(self.key.key.decoy(user));
        self.classes.as_ref().map_or(Ok(None), |classes| classes.of(cell))
    }

    /// [`Table::prepare`] for both tables, without which a lock that another session holds could
    /// end a write half way.
    ///
    /// # Errors
    /// [`Error::Locked`]; any PostgreSQL error.
    pub fn prepare(&self) -> Result<(), Error> {
        self.table.prepare()?;
        self.accounts.table.prepare()
    }

    pub(super) fn lock_tag(&self, user: &UserId) -> [u32; 2] {
        self.key.key.lock_tag(user)
    }

    /// The place of the user's record, whether there is one or not.
    pub fn place(&self, user: &UserId) -> RecordNumber {
        self.key.key.blind_index(user)
    }
}
