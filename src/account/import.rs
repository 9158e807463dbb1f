//! Turns a hash of another system into a record.

use std::time::Instant;

use password_verify_core::kept::record::{Imported, wrap};
use password_verify_core::rules::event::Action;
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::enroll::has_password;
use super::new_password::written;
use super::recorded::recorded;
use crate::answer::Stop;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::session::slot::HashSlot;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;
use crate::{salt, settings};

/// `pv_import_hash`: imports a hash for a user who has no password here.
///
/// # Errors
/// [`Reason::AlreadySet`], [`Reason::Busy`], what [`Imported::parse`] returns.
pub fn import(user: &UserId, hash: &Submitted) -> Result<(), Stop> {
    recorded(Action::Import, user, None, || {
        if has_password(user)? {
            return Err(Reason::AlreadySet.into());
        }
        let Submitted::Text(hash) = hash else { return Err(Reason::OverLimit.into()) };
        let record = match Imported::parse(hash.expose(), settings::hash_memory_limit())? {
            Imported::Ready(record) => record,
            Imported::Fast(scheme, output) => {
                let cost = settings::cost()?;
                let slot = HashSlot::take(Instant::now() + settings::queue_timeout());
                let mut slot = slot.ok_or(Reason::Busy)?;
                let mut workspace = slot.workspace(Some(cost))?;
                wrap(scheme, &output, cost, salt::random()?, &mut workspace)?
            }
        };
        let now = server::now();
        let inserted = Store::open(Access::Write)?
            .insert(user, PATIENCE, |number| Credential::new(number, user, &record, now))?;
        written(inserted, Reason::AlreadySet)
    })
    .map(drop)
}
