//! Users whose id changes: a user name, an e-mail address.

use password_verify_core::rules::event::Action;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::recorded::{recorded, recorded_with};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::budgets;
use crate::pg::heap::lock::Access;
use crate::pg::server::PATIENCE;
use crate::pg::vault::rename::Renamed;
use crate::pg::vault::store::Store;

/// `pv_rename_user`: password, history and state belong to another id from now on. So does what was charged to
/// the account, at once and whatever becomes of the transaction: a rollback must not forget a charge, and the
/// old id keeps its own. What is kept by address stays behind: the new id has no known clients.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::NoPassword`], [`Reason::Busy`].
pub fn rename(old: &UserId, new: &UserId) -> Result<(), Stop> {
    recorded(Action::Rename, old, None, || {
        match Store::open(Access::Write)?.rename(old, new, PATIENCE)? {
            Renamed::Done => Ok(true),
            Renamed::Taken => Err(Stop::from(Reason::AlreadySet)),
            Renamed::Nobody => Err(Reason::NoPassword.into()),
            Renamed::Busy => Err(Reason::Busy.into()),
        }
    })?;
    let carried = budgets::carry_over(old, new)?;
    recorded_with(Action::Renamed, new, None, &carried, || Ok::<_, Error>(true))?;
    Ok(())
}
