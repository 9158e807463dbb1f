//! The failures counted against a user: read, and carried over at a rename, outside any attempt.

use password_verify_core::rules::throttle::{Budget, Payer};
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::session::carried;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetPlace, Stored};
use crate::pg::tables::throttle::Throttle;
use crate::pg::vault::blind_index_key::BlindIndexKey;

/// Returns those of the user's budgets whose count is above 0, or whose row is not as it was written: whoever clears
/// them makes it good. Attempts in flight do not count.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn charged(user: &UserId, payers: &[Payer]) -> Result<Vec<(Payer, budgets::BudgetKey)>, Error> {
    let active = BlindIndexKey::read()?.key;
    let mut charged = Vec::with_capacity(payers.len());
    for payer in payers {
        let key = active.budget(*payer as u8, &[], Some(user));
        let counts = match budgets::look_up(server::database(), &key) {
            Some(budget) => budget.count > 0,
            None => load_to_clear(key)?.is_some_and(|stored| stored.budget.count > 0),
        };
        if counts {
            charged.push((*payer, key));
        }
    }
    Ok(charged)
}

/// Adds the failures of one user id to the budgets of another, at once, and returns the budgets
/// that have to be written to the table.
///
/// # Errors
/// What [`carried::carry_over`] returns.
pub fn carry_over(old: &UserId, new: &UserId) -> Result<Vec<(Payer, BudgetPlace)>, Error> {
    let active = BlindIndexKey::read()?.key;
    let key = |payer: Payer, user| active.budget(payer as u8, &[], Some(user));
    let carry = |(payer, from): (Payer, budgets::BudgetKey)| {
        let place = carried::carry_over(payer, [&from, &key(payer, new)], load)?;
        Ok((payer, place))
    };
    charged(old, &[Payer::Account, Payer::Comparison, Payer::Vault])?
        .into_iter()
        .map(carry)
        .collect()
}

/// Reads a budget from the table.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn load(key: budgets::BudgetKey) -> Result<Option<Stored>, Error> {
    let of = BlindIndexKey::read()?.key.installation();
    Throttle::open(of, Access::Read)?.read(key)
}

/// Reads a budget that is about to be cleared. One that is not as it was written is the most that there can be: whoever
/// clears it makes it good, and if the transaction is rolled back, it stays.
///
/// # Errors
/// Those of [`load`], except [`Error::Altered`].
pub fn load_to_clear(key: budgets::BudgetKey) -> Result<Option<Stored>, Error> {
    let most = || {
        let budget = Budget { count: u32::MAX, in_flight: 0, at: server::now(), known_until: 0 };
        Stored { budget, rests_at: i64::MAX }
    };
    match load(key) {
        Err(Error::Altered(_)) => Ok(Some(most())),
        stored => stored,
    }
}
