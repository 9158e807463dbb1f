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
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::look::Found;
use crate::settings;

/// A new password that is claimed not to be one of the last ones.
struct Unused<'a> {
    user: &'a UserId,
    new: &'a NewPassword,
    still_right: &'a StillRight<'a>,
    history: usize,
}

/// Whether what the claimant has proven before still holds for the user's row. Otherwise an outdated
/// password or token would tell something about the passwords that were chosen since.
pub type StillRight<'a> = dyn Fn(&Credential) -> Result<bool, Error> + 'a;

/// The number of the user's record, and the last passwords, the current one first. `None`: the
/// record was changed or deleted after the old password or the token was proven.
type Kept = Option<(RecordNumber, Vec<Secret>)>;

/// Refuses a new password that is one of the last `password_verify.history` ones. While another
/// transaction changes the user's row, nothing could be written, so nothing is compared. False: what
/// was proven before does not hold any more.
///
/// # Errors
/// [`Reason::Reused`]; [`Reason::Throttled`] when the account has no checks left; [`Reason::Busy`].
pub fn require_unused(
    user: &UserId,
    new: &NewPassword,
    client: Option<IpAddr>,
    still_right: &StillRight,
) -> Result<bool, Stop> {
    let history = settings::history();
    if history == 0 {
        return Ok(true);
    }
    if !is_right_after_others(user, still_right)? {
        return Ok(false);
    }
    let claimant = Claimant::of(user, client);
    let secret = Some(Unused { user, new, still_right, history });
    attempt(Claim::new(Purpose::Reuse, claimant, secret)).map(|_| true)
}

/// Waits for another transaction that changes the user's row, then asks again.
fn is_right_after_others(user: &UserId, still_right: &StillRight) -> Result<bool, Stop> {
    let store = open_by(Instant::now() + settings::queue_timeout())?;
    let free = patiently(PATIENCE, || Ok((!store.is_held(user)).then_some(())))?;
    free.ok_or(Reason::Busy)?;
    match store.find(user)? {
        Found::Own(row) => Ok(still_right(&row)?),
        Found::Neighbour(_) | Found::Nothing => Ok(false),
    }
}

impl<'a> Authenticator for Unused<'a> {
    type Target = Kept;
    type Proof = &'a UserId;

    fn find(&self, store: &Store) -> Result<Kept, Error> {
        let Found::Own(row) = store.find(self.user)? else { return Ok(None) };
        if !(self.still_right)(&row)? {
            return Ok(None);
        }
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
