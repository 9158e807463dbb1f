//! What managers decide about an account. Each function returns whether there was something to do.

use password_verify_core::rules::account::State;
use password_verify_core::rules::event::Action;
use password_verify_core::rules::user_id::UserId;
use password_verify_core::trail::audit_id;

use super::recorded::recorded;
use crate::account::failures;
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::kept::whole;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::session::transaction;
use crate::pg::tables::forgetting::{Forgetting, Scope};
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::write::Edit;
use crate::pg::vault::store::{Store, Written};

/// `pv_disable_user`: no password is accepted until `pv_enable_user`, and the user's vault is locked.
///
/// # Errors
/// For all functions here: [`Error::Busy`], [`Error::Locked`], what [`recorded`] returns.
pub fn disable(user: &UserId) -> Result<bool, Error> {
    let now = server::now();
    let done = alter(Action::Disable, user, true, |state, _| {
        state.disabled_at.get_or_insert(now);
    })?;
    // Also if there is a rollback: then it has to be unlocked again.
    whole::lock_vault(user)?;
    Ok(done)
}

/// `pv_enable_user`: passwords are accepted again.
///
/// # Errors
/// As [`disable`].
pub fn enable(user: &UserId) -> Result<bool, Error> {
    alter(Action::Enable, user, true, |state, _| state.disabled_at = None)
}

/// `pv_require_change`: from now on the password is only good for choosing another one.
///
/// # Errors
/// As [`disable`].
pub fn require_change(user: &UserId) -> Result<bool, Error> {
    let now = server::now();
    // A change that is not committed yet meets what was required before, but not what is now.
    let held = Store::open(Access::Write)?.is_held(user);
    alter(Action::RequireChange, user, false, |state, row| {
        if held || !state.of(row.terms, row.changed_at).must_change {
            state.require_change(now, row.changed_at);
        }
    })
}

/// `pv_delete_user`: deletes the user's record, and what the keeper keeps of the user.
///
/// # Errors
/// As [`disable`].
pub fn delete(user: &UserId) -> Result<bool, Error> {
    recorded(Action::Delete, user, None, || removed(user))
}

/// `pv_forget_user`: deletes the user, if there is one, and has the worker erase the id from events once that is
/// committed. An id that is nobody's may have been typed by mistake, too.
///
/// # Errors
/// As [`disable`].
pub fn forget(user: &UserId) -> Result<bool, Error> {
    let mut had = false;
    recorded(Action::Forget, user, None, || {
        had = removed(user)?;
        Ok::<_, Error>(true)
    })?;
    // Later than the event above, which is one of those to erase.
    let requests = Forgetting::open(BlindIndexKey::keep_for_rows()?, Access::Write)?;
    let name = audit_id::as_text(user.as_str());
    requests.add(&name, server::now(), transaction::id(), Scope::Person)?;
    Ok(had)
}

/// Deletes the user's record, and what the keeper keeps.
fn removed(user: &UserId) -> Result<bool, Error> {
    let kept = whole::delete_user(user)?;
    let had = done(Store::open(Access::Write)?.edit(user, PATIENCE, |_| Ok(Edit::Delete))?)?;
    Ok(kept || had)
}

/// `pv_unlock_user`: the account's failures are forgotten when the transaction commits.
///
/// # Errors
/// As [`disable`].
pub fn unlock(user: &UserId) -> Result<bool, Error> {
    recorded(Action::Unlock, user, None, || {
        Ok(!failures::charged(user, Action::Unlock.clears())?.is_empty())
    })
}

/// Changes the state of an account. This works even while another transaction holds the user's
/// password record: see [`Store::alter`].
///
/// # Errors
/// As [`disable`].
pub fn alter(
    action: Action,
    user: &UserId,
    anew: bool,
    change: impl FnMut(&mut State, &Credential),
) -> Result<bool, Error> {
    recorded(action, user, None, || {
        done(Store::open(Access::Write)?.alter(user, PATIENCE, anew, change)?)
    })
}

/// Edits the user's record.
///
/// # Errors
/// As [`disable`].
pub fn edit(
    action: Action,
    user: &UserId,
    edit: impl FnMut(&mut Credential) -> Result<Edit, Error>,
) -> Result<bool, Error> {
    recorded(action, user, None, || done(Store::open(Access::Write)?.edit(user, PATIENCE, edit)?))
}

fn done(written: Written) -> Result<bool, Error> {
    match written {
        Written::Done => Ok(true),
        Written::Unchanged => Ok(false),
        Written::Busy => Err(Error::Busy),
    }
}
