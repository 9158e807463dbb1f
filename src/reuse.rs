//! Whether a new password is one of the last ones.
//!
//! That is an answer about a secret: with a reset token it tells whether a guess is the current password,
//! and with the current password whether it is a former one. So it goes the way of an attempt
//! ([`crate::verify`]): charged and given its place in the audit before anything is hashed, whatever becomes
//! of the transaction around it. There are a few for each account until its next change.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::policy::NewPassword;
use password_verify_core::reason::Reason;
use password_verify_core::record::Record;
use password_verify_core::user_id::UserId;

use crate::audit;
use crate::enroll::Answer;
use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::slot::HashSlot;
use crate::pg::statistics;
use crate::pg::store::{Found, Store};
use crate::pg::table::Access;
use crate::settings;
use crate::throttle::{self, Admission};

/// history: none of the last passwords, where the policy says so.
///
/// # Errors
/// What a stored record that cannot be read ends in; [`Error::AuditNotWritten`].
pub fn require_unused(
    user: &UserId,
    new: &NewPassword,
    client: Option<IpAddr>,
) -> Result<Answer, Error> {
    let history = settings::history();
    if history == 0 {
        return Ok(Ok(()));
    }
    // Nobody waits for a lock in a slot.
    let store = Store::open(Access::Read)?;
    let charged = match throttle::admit_comparison(user, client)? {
        Admission::Granted(charged) => charged,
        Admission::Refused(conclusion, denial) => {
            audit::wait(&conclusion)?;
            return Ok(Err(denial.reason));
        }
        Admission::Busy => {
            statistics::count_unrecorded();
            return Ok(Err(Reason::Busy));
        }
    };
    let Some(slot) = HashSlot::take(charged.deadline()) else {
        audit::wait(&charged.withdraw(Reason::Busy))?;
        return Ok(Err(Reason::Busy));
    };
    // What follows stays charged, also where it ends in an error.
    charged.begin_hash();
    let Found::Own(row) = store.find(user)? else {
        // Deleted since it was proven.
        audit::wait(&charged.withdraw(Reason::Busy))?;
        return Ok(Err(Reason::Busy));
    };
    let answer = compare(slot, &row, user, new, history)?;
    audit::wait(&charged.settle_comparison(answer))?;
    Ok(answer)
}

/// With the current one and those before it: as many hashes as there are, each in a slot of its own, so that
/// others come in between.
fn compare(
    slot: HashSlot,
    row: &Credential,
    user: &UserId,
    new: &NewPassword,
    history: usize,
) -> Result<Answer, Error> {
    let mut texts = vec![row.open()?];
    texts.extend(row.open_former()?);
    texts.truncate(history);
    let mut next = Some(slot);
    for text in texts {
        let record = Record::parse(text.expose(), settings::hash_memory_limit())
            .map_err(|why| Error::stored(why, row.number))?;
        let deadline = Instant::now() + settings::queue_timeout();
        let Some(mut slot) = next.take().or_else(|| HashSlot::take(deadline)) else {
            return Ok(Err(Reason::Busy));
        };
        let start = Instant::now();
        let mut workspace = slot.workspace(record.cost())?;
        let same = record.matches(new.password(), user.as_str(), &mut workspace)?;
        statistics::count_hash(start.elapsed());
        if same {
            return Ok(Err(Reason::Reused));
        }
    }
    Ok(Ok(()))
}
