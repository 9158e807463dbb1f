//! `pv_rename_user`: for user ids that change, such as a user name or an e-mail address.

use password_verify_core::rules::event::Action;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::recorded::{recorded, recorded_with};
use crate::account::failures;
use crate::answer::Stop;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server::PATIENCE;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::rename::Renamed;

/// Moves password, history and state to another id. Failures charged to the account are copied at
/// once, even if the transaction is rolled back, because a rollback must not forget a charge; the
/// old id keeps them too. Budgets by client address stay behind: the new id has no known clients.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::NoPassword`], [`Reason::Busy`].
pub fn rename(old: &UserId, new: &UserId) -> Result<(), Stop> {
    recorded(Action::Rename, old, None, || {
        match Store::open(Access::Write)?.rename(old, new, PATIENCE)? {
            Renamed::Done => Ok(true),
            Renamed::Taken => Err(Stop::from(Reason::AlreadySet)),
            Renamed::Absent => Err(Reason::NoPassword.into()),
            Renamed::Busy => Err(Reason::Busy.into()),
        }
    })?;
    let carried = failures::carry_over(old, new)?;
    recorded_with(Action::Renamed, Some(new), None, &carried, || Ok::<_, Error>(true))?;
    Ok(())
}
