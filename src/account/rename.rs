//! `pv_rename_user`: for user ids that change, such as a user name or an e-mail address.

use password_verify_core::rules::event::Action;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::recorded::{recorded, recorded_with};
use crate::account::failures;
use crate::answer::Stop;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::kept::whole::{self, Moved};
use crate::pg::server::PATIENCE;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::rename::Renamed;

/// Moves password, history and state, and what the keeper keeps, to another id. Failures charged to the account are copied at
/// once, even if the transaction is rolled back, because a rollback must not forget a charge; the
/// old id keeps them too. Budgets by client address stay behind: the new id has no known clients.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::NoPassword`], [`Reason::Busy`].
pub fn rename(old: &UserId, new: &UserId) -> Result<(), Stop> {
    recorded(Action::Rename, old, None, || {
        let store = Store::open(Access::Write)?;
        // Locked before anything is written: what comes after it has to be an error.
        store.prepare()?;
        let kept = match whole::rename(old, new, store.has(new)?)?.ok_or(Reason::Busy)? {
            Moved::Taken => return Err(Stop::from(Reason::AlreadySet)),
            moved => moved == Moved::Done,
        };
        let renamed = store.rename(old, new, PATIENCE);
        let busy = |why| if kept && why == Error::Locked { Error::Busy } else { why };
        match renamed.map_err(busy)? {
            Renamed::Done => Ok(true),
            Renamed::Absent if kept => Ok(true),
            // What the keeper keeps has moved: the error takes it back.
            Renamed::Taken | Renamed::Busy if kept => Err(Error::Busy.into()),
            Renamed::Taken => Err(Reason::AlreadySet.into()),
            Renamed::Absent => Err(Reason::NoPassword.into()),
            Renamed::Busy => Err(Reason::Busy.into()),
        }
    })?;
    let carried = failures::carry_over(old, new)?;
    recorded_with(Action::Renamed, Some(new), None, &carried, || Ok::<_, Error>(true))?;
    Ok(())
}
