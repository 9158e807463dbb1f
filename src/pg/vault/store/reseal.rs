//! Sealing rows anew after the keyring has another active key.

use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use super::Store;
use crate::error::{Error, RecordNumber};
use crate::pg::heap::place::PlaceLock;
use crate::pg::heap::scan;
use crate::pg::heap::scan::{Scan, Seek};
use crate::pg::heap::table;
use crate::pg::vault::accounts::{AccountRow, Locked};
use crate::pg::vault::credential::Credential;
use crate::pg::vault::shares;

/// The result of a batch of [`Store::reseal`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Resealed {
    /// The place after which the next batch starts.
    pub last: RecordNumber,
    pub sealed: u64,
    /// Locked by another transaction.
    pub busy: u64,
    /// Corrupt, or sealed with a key that is not in the keyring.
    pub unopened: u64,
    pub finished: bool,
}

impl Store {
    /// Reseals rows after a place with the active key, as part of the transaction: at most `limit`
    /// that need it, examining ten times as many.
    ///
    /// # Errors
    /// Any PostgreSQL error.
    pub fn reseal(&self, after: RecordNumber, limit: u64) -> Result<Resealed, Error> {
        let mut batch = Resealed { last: after, ..Resealed::default() };
        // SAFETY: the snapshot is a static.
        let mut scan =
            unsafe { Scan::begin(&self.table, &self.index, scan::now(), after, Seek::After) };
        for _ in 0..limit.saturating_mul(10) {
            pgrx::check_for_interrupts!();
            if batch.sealed + batch.busy + batch.unopened >= limit {
                return Ok(batch);
            }
            let tuple = scan.next();
            if tuple.is_null() {
                batch.finished = true;
                return Ok(batch);
            }
            // SAFETY: a tuple of this table, valid until the scan moves on.
            let (row, tid) = unsafe { (Credential::read(&self.table, tuple), (*tuple).t_self) };
            match row {
                Ok(row) => {
                    batch.last = row.number;
                    self.reseal_one(row, tid, &mut batch)?;
                }
                Err(Error::Corrupt(number)) => {
                    (batch.last, batch.unopened) = (number, batch.unopened + 1);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(batch)
    }

    fn reseal_one(
        &self,
        mut row: Credential,
        mut tid: pg_sys::ItemPointerData,
        batch: &mut Resealed,
    ) -> Result<(), Error> {
        let account = self.accounts.near(row.number);
        let is_new = |account: &AccountRow| account.is_sealed_as_new();
        let account_is_new = matches!(&account, Some(Ok(account)) if is_new(account));
        row.judge(account);
        if row.is_sealed_as_new() && account_is_new {
            return Ok(());
        }
        let Ok(user) = UserId::from_text(&row.user_id) else { return Ok(()) };
        let Some(_lock) = PlaceLock::try_take(self.key.key.lock_tag(&user)) else {
            batch.busy += 1;
            return Ok(());
        };
        // Both rows are locked before either is written.
        let tuple = if row.is_sealed_as_new() { None } else { Some(row.form(&self.table)) };
        let state = if account_is_new { None } else { Some(row.state()) };
        let (Ok(tuple), Ok(state)) = (tuple.transpose(), state.transpose()) else {
            batch.unopened += 1;
            return Ok(());
        };
        let over = match state.map(|_| self.accounts.lock(row.number)) {
            None => None,
            Some(Locked::Row(_, over)) => Some(over),
            Some(Locked::Busy | Locked::Absent) => {
                batch.busy += 1;
                return Ok(());
            }
        };
        if tuple.is_some() && !table::try_lock_row(&self.table, &mut tid) {
            batch.busy += 1;
            return Ok(());
        }
        if let Some(new) = tuple {
            shares::note(row.share, new.share);
            // SAFETY: the row is locked by this transaction and is its latest version; only its
            // seals change.
            unsafe {
                self.table.update(&mut tid, new.tuple)?;
                pg_sys::CommandCounterIncrement();
            }
        }
        if let Some(state) = state {
            let account = AccountRow::new(row.number, &row.user_id, row.created_at, state);
            self.accounts.put(&account, over)?;
        }
        batch.sealed += 1;
        Ok(())
    }
}
