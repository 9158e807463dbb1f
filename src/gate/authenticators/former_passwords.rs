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
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::{Claim, attempt, open_by};
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

/// The records of the last passwords, the current one first. `None`: the user was deleted after the
/// old password or the token was proven, or another transaction changes the row.
type Kept = Option<Vec<Record>>;

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
    let store = open_by(Instant::now() + PATIENCE)?;
    let free = patiently(PATIENCE, || Ok((!store.is_held(user)).then_some(())))?;
    free.ok_or(Reason::Busy)?;
    let claimant = Claimant { user: Some(user.clone()), client };
    let secret = Some(Unused { user, new, history });
    attempt(Claim { purpose: Purpose::Reuse, claimant, secret }).map(drop)
}

impl<'a> Authenticator for Unused<'a> {
    type Target = Kept;
    type Proof = &'a UserId;

    fn find(&self, store: &Store) -> Result<Kept, Error> {
        // Another transaction may have come in between.
        if store.is_held(self.user) {
            return Ok(None);
        }
        let Found::Own(row) = store.find(self.user)? else { return Ok(None) };
        let mut texts = vec![row.unseal()?];
        texts.extend(row.open_former()?);
        texts.truncate(self.history);
        let parse = |text: &password_verify_core::rules::secret::Secret| {
            Record::parse(text.expose(), settings::hash_memory_limit())
                .map_err(|why| Error::stored(why, row.number))
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    fn test(self, kept: Kept, hasher: &mut Hasher) -> Result<Verdict<Self::Proof>, Stop> {
        for record in kept.ok_or(Reason::Busy)? {
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
