//! Budgets that follow a user to another id.

use std::cell::RefCell;
use std::time::Instant;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::server;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, BudgetPlace, Stored};
use crate::settings;
use password_verify_core::rules::throttle::Payer;

thread_local! {
    /// Pinned during a call; unpinned however the call ends.
    static PINNED: RefCell<Vec<BudgetPlace>> = const { RefCell::new(Vec::new()) };
}

struct Pins;

impl Drop for Pins {
    fn drop(&mut self) {
        release();
    }
}

fn release() {
    let pinned = PINNED.with_borrow_mut(std::mem::take);
    pinned.into_iter().for_each(budgets::unpin);
}

/// Charges to the second budget what the first one is charged, unless it already has more: at once,
/// and whatever becomes of the transaction. Returns the slot of the second budget, to be stored
/// with the event of the rename; until then it is not evicted.
///
/// # Errors
/// [`Error::Busy`] when there is no room in time; errors of `load`.
pub fn carry_over(
    payer: Payer,
    [from, to]: [&BudgetKey; 2],
    load: impl Fn(BudgetKey) -> Result<Option<Stored>, Error>,
) -> Result<BudgetPlace, Error> {
    callbacks::at_exit(&REGISTERED, on_exit);
    let _pins = Pins;
    let deadline = Instant::now() + settings::queue_timeout();
    let pin = |key: &BudgetKey| {
        let note = |place| PINNED.with_borrow_mut(|pinned| pinned.push(place));
        budgets::pin(server::database(), payer, key, deadline, note, || load(*key))?
            .ok_or(Error::Busy)
    };
    let (from, to) = (pin(from)?, pin(to)?);
    let charged = budgets::read(from);
    budgets::alter(to, &settings::throttle(), |budget| budget.take_over(&charged));
    Ok(to)
}

static REGISTERED: Registered = Registered::new(false);

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    release();
}
