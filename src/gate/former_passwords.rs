//! Whether a new password is one of the last ones.
//!
//! That is an answer about a secret: with a reset token it tells whether a guess is the current password,
//! and with the current password whether it is a former one. There are a few for each account until its
//! next change, whatever becomes of the transaction around them.

use core::net::IpAddr;

use password_verify_core::kept::record::Record;
use password_verify_core::rules::authenticator::Purpose;
use password_verify_core::rules::policy::NewPassword;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::user_id::UserId;

use super::bench::Bench;
use super::claim::Claimant;
use super::{Authenticator, Claim, Verdict, attempt};
use crate::answer::Stop;
use crate::error::Error;
use crate::pg::vault::store::{Found, Store};
use crate::settings;

/// A new password that is claimed to be none of the last ones.
struct Unused<'a> {
    user: &'a UserId,
    new: &'a NewPassword,
    history: usize,
}

/// Records of the last passwords, the current one first, and the number of the row. `None`: the user was
/// deleted since the old password was proven.
type Kept = Option<Vec<Record>>;

/// history: none of the last passwords, where the policy says so.
///
/// # Errors
/// [`Reason::Reused`]; [`Reason::Throttled`] where there have been too many; [`Reason::Busy`].
pub fn require_unused(
    user: &UserId,
    new: &NewPassword,
    client: Option<IpAddr>,
) -> Result<(), Stop> {
    let history = settings::history();
    if history == 0 {
        return Ok(());
    }
    let claimant = Claimant { user: Some(user.clone()), client };
    let secret = Some(Unused { user, new, history });
    attempt(Claim { purpose: Purpose::Reuse, claimant, secret }).map(drop)
}

impl<'a> Authenticator for Unused<'a> {
    type Target = Kept;
    type Proof = &'a UserId;

    fn find(&self, store: &Store) -> Result<Kept, Error> {
        let Found::Own(row) = store.find(self.user)? else { return Ok(None) };
        let mut texts = vec![row.open()?];
        texts.extend(row.open_former()?);
        texts.truncate(self.history);
        let parse = |text: &password_verify_core::rules::secret::Secret| {
            Record::parse(text.expose(), settings::hash_memory_limit())
                .map_err(|why| Error::stored(why, row.number))
        };
        texts.iter().map(parse).collect::<Result<_, _>>().map(Some)
    }

    fn test(self, kept: Kept, bench: &mut Bench) -> Result<Verdict<Self::Proof>, Stop> {
        for record in kept.ok_or(Reason::Busy)? {
            let same = bench.hash(record.cost(), |workspace| {
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
