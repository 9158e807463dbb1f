//! Checks that a new password is none of the user's last ones.
//!
//! This is an answer about a secret: with a reset token it tells whether a guess is the current
//! password, and with the current password whether a guess is a former one. So an account gets only
//! a few checks until its next change, and a rollback does not give them back.

use core::net::IpAddr;
use std::time::Instant;

use password_verify_core::kept::record::Record;
use password_verify_core::rules::policy::NewPassword;
use password_verify_core::rules::purpose::Purpose;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::{Error, RecordNumber};
use crate::gate::attempt;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::stages::{Claim, open_by};
use crate::pg::server::{PATIENCE, patiently};
use crate::pg::vault::store::Store;
use crate::pg::vault::store::look::Found;
use crate::settings;

/// A new password that is claimed not to be one of the last ones.
struct Unused<'a> {
    user: &'a UserId,
    new: &'a NewPassword,
    history: usize,
}

/// The number of the user's record, and the last passwords, the current one first. `None`: the user
/// was deleted after the old password or the token was proven.
type Kept = Option<(RecordNumber, Vec<Secret>)>;

/// Refuses a new password that is one of the last `password_verify.history` ones. While another
/// transaction changes the user's row, nothing could be written, so nothing is compared.
///
/// # Errors
/// [`Reason::Reused`]; [`Reason::Throttled`] when the account has no checks left; [`Reason::Busy`].
pub fn require_unused(
    user: &UserId,
    new: &NewPassword,
    client: Option<IpAddr>,
) -> Result<(), Stop> {
    let history = settings::history();
    if history == 0 {
        return Ok(());
    }
    await_other_changes(user)?;
    let claimant = Claimant { user: Some(user.clone()), client };
    let secret = Some(Unused { user, new, history });
    attempt(Claim::new(Purpose::Reuse, claimant, secret)).map(drop)
}

/// Waits for another transaction that changes the user's row.
fn await_other_changes(user: &UserId) -> Result<(), Stop> {
    let store = open_by(Instant::now() + settings::queue_timeout())?;
    let free = patiently(PATIENCE, || Ok((!store.is_held(user)).then_some(())))?;
    Ok(free.ok_or(Reason::Busy)?)
}

impl<'a> Authenticator for Unused<'a> {
    type Target = Kept;
    type Proof = &'a UserId;

    fn find(&self, store: &Store) -> Result<Kept, Error> {
        let Found::Own(row) = store.find(self.user)? else { return Ok(None) };
        let mut texts = vec![row.unseal()?];
        texts.extend(row.open_former()?);
        texts.truncate(self.history);
        Ok(Some((row.number, texts)))
    }

    fn test(self, kept: Kept, hasher: &mut Hasher) -> Result<Verdict<Self::Proof>, Stop> {
        let (number, texts) = kept.ok_or(Reason::Busy)?;
        for text in texts {
            let record = Record::parse(text.expose(), settings::hash_memory_limit())
                .map_err(|why| Error::stored(why, number))?;
            let same = hasher.hash(record.cost(), |workspace| {
                record.matches(self.new.password(), self.user.as_str(), workspace)
            })?;
            if same {
                return Ok(Verdict::Wrong(None));
            }
        }
        Ok(Verdict::Right(self.user, Ok(())))
    }

    fn owner(proof: &Self::Proof) -> &UserId {
        proof
    }
}
