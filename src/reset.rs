//! Reset tokens: issued to one service, redeemed by another.

use core::net::IpAddr;
use std::time::{Duration, Instant};

use password_verify_core::account::Terms;
use password_verify_core::event::Action;
use password_verify_core::policy::Submitted;
use password_verify_core::reason::Reason;
use password_verify_core::reset_token::Token;
use password_verify_core::secret::Secret;
use password_verify_core::user_id::UserId;
use zeroize::Zeroizing;

use crate::audit;
use crate::enroll::{accept, alter, edit, hash, recorded, recorded_if};
use crate::error::Error;
use crate::pg::session::{self, PATIENCE};
use crate::pg::statistics;
use crate::pg::store::{Edit, Store, Written};
use crate::pg::table::Access;
use crate::reuse::require_unused;
use crate::throttle::{self, Admission, Denial};
use crate::{salt, settings};

/// `pv_issue_reset_token`: with which the password can be reset once, instead of any before it. `None` for
/// a user who has no password.
pub fn issue(user: &UserId, valid_for: Duration) -> Result<Option<Secret>, Error> {
    let life = i64::try_from(valid_for.as_micros()).unwrap_or(0);
    let mut issued = None;
    edit(Action::IssueToken, user, |row| {
        let token = Token::new(row.number, Zeroizing::new(salt::random()?));
        row.issue(&token, session::now(), life)?;
        issued = Some(token.expose());
        Ok(Edit::Replace)
    })?;
    Ok(issued)
}

/// `pv_revoke_reset_tokens`: a token that is out is worth nothing any more, also one that a transaction has
/// issued and not committed yet: the time of this call is compared with that of its issue, in a row that no
/// transaction of the user's holds. Was there one to be seen?
pub fn revoke(user: &UserId) -> Result<bool, Error> {
    let (now, mut seen) = (session::now(), false);
    alter(Action::RevokeTokens, user, false, |state, row| {
        let issued_at = row.token_issued_at(now).unwrap_or(None);
        seen = issued_at.is_some();
        state.revoke_tokens(now, issued_at);
    })?;
    Ok(seen)
}

/// `pv_reset_password`: by somebody who has such a token, which is used up if the new password is accepted.
pub fn reset(
    token: &Submitted,
    new: Submitted,
    client: Option<IpAddr>,
) -> Result<Result<(), Denial>, Error> {
    session::require_writable()?;
    let (token, user) = match redeem(token, client)? {
        Ok(redeemed) => redeemed,
        Err(denial) => return Ok(Err(denial)),
    };
    let refused = |reason| {
        let answer = recorded(Action::Reset, &user, client, || Ok(Err(reason)))?;
        Ok(answer.map_err(Denial::because))
    };
    let new = match accept(&user, new) {
        Ok(new) => new,
        Err(reason) => return refused(reason),
    };
    if let Err(reason) = require_unused(&user, &new, client)? {
        return refused(reason);
    }
    let answer = recorded_if(Action::Reset, &user, client, || {
        let Some(verifier) = hash(&new)? else { return Ok(Some(Err(Reason::Busy))) };
        let now = session::now();
        let written = Store::open(Access::Write)?.edit(&user, PATIENCE, |row| {
            if !row.redeems(&token, now)? {
                return Ok(Edit::Keep);
            }
            row.replace(verifier.expose(), now, settings::history())?;
            row.terms = Terms::default();
            Ok(Edit::Replace)
        })?;
        Ok(Some(match written {
            Written::Done => Ok(()),
            Written::Unchanged => Err(Reason::InvalidToken),
            Written::Busy => Err(Reason::Busy),
        }))
    })?;
    Ok(answer.unwrap_or(Ok(())).map_err(Denial::because))
}

/// Is this a token that can be used, and whose? Charged and recorded as a password
/// would be, but to client and caller only: it names no account.
fn redeem(
    submitted: &Submitted,
    client: Option<IpAddr>,
) -> Result<Result<(Token, UserId), Denial>, Error> {
    let charged = match throttle::admit(Action::Prove, None, client, true)? {
        Admission::Granted(charged) => charged,
        Admission::Refused(conclusion, denial) => {
            audit::wait(&conclusion)?;
            return Ok(Err(denial));
        }
        Admission::Busy => {
            statistics::count_unrecorded();
            return Ok(Err(Denial::because(Reason::Busy)));
        }
    };
    let found = match find_token(submitted, charged.deadline()) {
        Err(Error::Locked) => {
            audit::wait(&charged.withdraw(Reason::Busy))?;
            return Ok(Err(Denial::because(Reason::Busy)));
        }
        found => found.inspect_err(|why| charged.note_error(*why))?,
    };
    audit::wait(&charged.settle_token(found.as_ref().map(|(_, user)| user)))?;
    Ok(found.ok_or(Denial::because(Reason::InvalidToken)))
}

fn find_token(submitted: &Submitted, deadline: Instant) -> Result<Option<(Token, UserId)>, Error> {
    let Submitted::Text(text) = submitted else { return Ok(None) };
    let Some(token) = Token::parse(text.expose()) else { return Ok(None) };
    let row = Store::open_by(Access::Read, deadline)?.at(token.place())?;
    Ok(match row {
        Some(row) if row.redeems(&token, session::now())? => {
            let number = row.number;
            let user = UserId::from_text(&row.user_id).map_err(|_| Error::Corrupt(number))?;
            Some((token, user))
        }
        _ => None,
    })
}
