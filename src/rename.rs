//! Users whose id changes: a user name, an e-mail address.

use password_verify_core::event::Action;
use password_verify_core::reason::Reason;
use password_verify_core::user_id::UserId;

use crate::enroll::{Answer, recorded, recorded_with};
use crate::error::Error;
use crate::pg::rename::Renamed;
use crate::pg::session::PATIENCE;
use crate::pg::store::Store;
use crate::pg::table::Access;
use crate::throttle;

/// `pv_rename_user`: password, history and state belong to another id from now on. So does what was charged to
/// the account, at once and whatever becomes of the transaction: a rollback must not forget a charge, and the
/// old id keeps its own. What is kept by address stays behind: the new id has no known clients.
pub fn rename(old: &UserId, new: &UserId) -> Result<Answer, Error> {
    let answer = recorded(Action::Rename, old, None, || {
        Ok(match Store::open(Access::Write)?.rename(old, new, PATIENCE)? {
            Renamed::Done => Ok(()),
            Renamed::Taken => Err(Reason::AlreadySet),
            Renamed::Nobody => Err(Reason::NoPassword),
            Renamed::Busy => Err(Reason::Busy),
        })
    })?;
    if answer.is_ok() {
        let carried = throttle::carry_over(old, new)?;
        recorded_with(Action::Renamed, new, None, &carried, || Ok(Some(Ok(()))))?;
    }
    Ok(answer)
}
