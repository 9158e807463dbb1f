//! Reset tokens: one service issues them, another redeems them.

use core::net::IpAddr;
use std::time::Duration;

use password_verify_core::rules::account::Terms;
use password_verify_core::rules::event::Action;
use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::reset_token::Token;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;
use zeroize::Zeroizing;

use super::manage::{alter, edit};
use super::new_password::{accept, hash, written};
use super::recorded::{recorded, refused};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::attempt;
use crate::gate::authenticators::former_passwords::require_unused;
use crate::gate::authenticators::reset_token::ResetToken;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::write::Edit;
use crate::{salt, settings};

/// `pv_issue_reset_token`: issues a token that resets the password once, and replaces any earlier
/// token. `None` if the user has no password.
///
/// # Errors
/// What [`edit`] and [`salt::random`] return.
pub fn issue(user: &UserId, valid_for: Duration) -> Result<Option<Secret>, Error> {
    let life = i64::try_from(valid_for.as_micros()).unwrap_or(0);
    let mut issued = None;
    edit(Action::IssueToken, user, |row| {
        let token = Token::new(row.number, Zeroizing::new(salt::random()?));
        row.issue(&token, server::now(), life)?;
        issued = Some(token.expose());
        Ok(Edit::Replace)
    })?;
    Ok(issued)
}

/// `pv_revoke_reset_tokens`: revokes every token of the user, even one whose transaction has not
/// yet committed: the time of this call, noted in a row that no transaction of the user's holds, is
/// compared with the time of issue. Returns whether a token was visible.
///
/// # Errors
/// What [`alter`] returns.
pub fn revoke(user: &UserId) -> Result<bool, Error> {
    let (now, mut seen) = (server::now(), false);
    alter(Action::RevokeTokens, user, false, |state, row| {
        let issued_at = row.token_issued_at(now).unwrap_or(None);
        seen = issued_at.is_some();
        state.revoke_tokens(now, issued_at);
    })?;
    Ok(seen)
}

/// `pv_reset_password`: sets a new password for the holder of a token. Only a password that is
/// accepted uses the token up.
///
/// # Errors
/// [`Reason::InvalidToken`], [`Reason::Busy`]; see [`accept`], [`attempt`] and [`require_unused`].
pub fn reset(token: &Submitted, new: Submitted, client: Option<IpAddr>) -> Result<(), Stop> {
    server::require_writable()?;
    let proof = attempt(ResetToken::to_reset(token, client))?;
    let user = proof.user();
    let refused = |why: Stop| refused(Action::Reset, user, client, why);
    let new = accept(user, new).map_err(|reason| refused(reason.into()))?;
    // Before the comparison, which would be used up if no slot came free for this hash.
    let verifier = hash(&new).map_err(refused)?;
    let still_right = |row: &Credential| row.redeems(proof.token(), server::now());
    if !require_unused(user, &new, client, &still_right).map_err(refused)? {
        return Err(refused(Reason::InvalidToken.into()));
    }
    recorded(Action::Reset, user, client, || {
        let now = server::now();
        let replaced = Store::open(Access::Write)?.edit(user, PATIENCE, |row| {
            // The token may have been used or replaced since it was proven.
            if !row.redeems(proof.token(), now)? {
                return Ok(Edit::Keep);
            }
            row.replace(verifier.expose(), now, settings::history())?;
            row.terms = Terms::default();
            Ok(Edit::Replace)
        })?;
        written(replaced, Reason::InvalidToken)
    })
    .map(drop)
}
