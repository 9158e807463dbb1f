//! What is charged to a user, looked at and moved from outside of an attempt.

use password_verify_core::rules::throttle::Payer;
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::session::carried;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{Place, Stored};
use crate::pg::tables::ledger::Ledger;
use crate::pg::vault::key::ActiveKey;

/// Which budgets of a user have something in them. What is charged but not settled is not in them yet.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn charged(user: &UserId, payers: &[Payer]) -> Result<Vec<(Payer, budgets::BudgetKey)>, Error> {
    let active = ActiveKey::read()?.key;
    let mut charged = Vec::with_capacity(payers.len());
    for payer in payers {
        let key = active.budget(*payer as u8, &[], Some(user));
        let budget = match budgets::look_up(server::database(), &key) {
            Some(budget) => Some(budget),
            None => load(key)?.map(|stored| stored.budget),
        };
        if budget.is_some_and(|budget| budget.count > 0) {
            charged.push((*payer, key));
        }
    }
    Ok(charged)
}

/// What is charged to a user is charged to another id as well, at once: which budgets are to be written.
///
/// # Errors
/// What [`carried::carry_over`] says.
pub fn carry_over(old: &UserId, new: &UserId) -> Result<Vec<(Payer, Place)>, Error> {
    let active = ActiveKey::read()?.key;
    let key = |payer: Payer, user| active.budget(payer as u8, &[], Some(user));
    let carry = |(payer, from): (Payer, budgets::BudgetKey)| {
        let place = carried::carry_over(payer, [&from, &key(payer, new)], load)?;
        Ok((payer, place))
    };
    charged(old, &[Payer::Account, Payer::Comparison])?.into_iter().map(carry).collect()
}

/// Reads an account's budget from the table.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn load(key: budgets::BudgetKey) -> Result<Option<Stored>, Error> {
    Ledger::open(Access::Read)?.read(key)
}
