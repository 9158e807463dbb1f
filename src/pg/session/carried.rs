//! Budgets that go with a user to another id.

use std::cell::RefCell;
use std::time::Instant;

use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, Place, Stored};
use crate::settings;
use password_verify_core::rules::throttle::Payer;

thread_local! {
    /// Kept in the cache for the moment: given back however that ends.
    static PINNED: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// Gives back what is kept.
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

/// What is charged to the one budget is charged to the other as well, unless that has more: at once, and
/// whatever becomes of the transaction. Where the other one is, to be written with the event that says why;
/// until then it does not leave the cache.
///
/// # Errors
/// [`Error::Busy`] when there is no room in time; what `load` says.
pub fn carry_over(
    payer: Payer,
    [from, to]: [&BudgetKey; 2],
    load: impl Fn(BudgetKey) -> Result<Option<Stored>, Error>,
) -> Result<Place, Error> {
    register_exit();
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

/// Once a process: the end of the session gives back what it keeps.
fn register_exit() {
    thread_local! {
        static REGISTERED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: a plain function of this library, which stays loaded.
        unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null()) };
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    release();
}
