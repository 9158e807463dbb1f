//! What another system kept of a password becomes a record here.

use std::time::Instant;

use password_verify_core::event::Action;
use password_verify_core::policy::Submitted;
use password_verify_core::reason::Reason;
use password_verify_core::record::{Imported, wrap};
use password_verify_core::user_id::UserId;

use crate::enroll::{Answer, has_password, recorded};
use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::session::{self, PATIENCE};
use crate::pg::slot::HashSlot;
use crate::pg::store::{Store, Written};
use crate::pg::table::Access;
use crate::{salt, settings};

/// `pv_import_hash`: what another system kept, for a user who has nothing here.
pub fn import(user: &UserId, hash: &Submitted) -> Result<Answer, Error> {
    recorded(Action::Import, user, None, || {
        if has_password(user)? {
            return Ok(Err(Reason::AlreadySet));
        }
        let Submitted::Text(hash) = hash else { return Ok(Err(Reason::OverLimit)) };
        let record = match Imported::parse(hash.expose(), settings::hash_memory_limit()) {
            Err(reason) => return Ok(Err(reason)),
            Ok(Imported::Ready(record)) => record,
            Ok(Imported::Fast(scheme, output)) => {
                let cost = settings::cost()?;
                let Some(mut slot) = HashSlot::take(Instant::now() + settings::queue_timeout())
                else {
                    return Ok(Err(Reason::Busy));
                };
                let mut workspace = slot.workspace(Some(cost))?;
                wrap(scheme, &output, cost, salt::random()?, &mut workspace)?
            }
        };
        let now = session::now();
        let written = Store::open(Access::Write)?
            .insert(user, PATIENCE, |number| Credential::new(number, user, &record, now))?;
        Ok(match written {
            Written::Done => Ok(()),
            Written::Unchanged => Err(Reason::AlreadySet),
            Written::Busy => Err(Reason::Busy),
        })
    })
}
