//! The authenticator of a user who has forgotten the password: a reset token.

use core::net::IpAddr;

use password_verify_core::rules::policy::Submitted;
use password_verify_core::rules::purpose::Purpose;
use password_verify_core::rules::reset_token::Token;
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::stages::Claim;
use crate::pg::server;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;

/// The text that is presented as a reset token. A valid token names its owner.
pub struct ResetToken(Option<Token>);

/// The claimant holds a token that resets the password of this account.
#[must_use]
pub struct Proof {
    user: UserId,
    token: Token,
}

impl Proof {
    /// Whose token it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The token that was proven.
    pub fn token(&self) -> &Token {
        &self.token
    }
}

impl ResetToken {
    /// Claims a token in order to choose a new password.
    pub fn to_reset(submitted: &Submitted, client: Option<IpAddr>) -> Claim<Self> {
        // Text that is not a token is tested and charged like a wrong token.
        let token = match submitted {
            Submitted::Text(text) => Token::parse(text.expose()),
            _ => None,
        };
        let claimant = Claimant { user: None, client, lease: None };
        Claim::new(Purpose::Reset, claimant, Some(Self(token)))
    }
}

impl Authenticator for ResetToken {
    type Target = Option<Credential>;
    type Proof = Proof;

    fn find(&self, store: &Store) -> Result<Self::Target, Error> {
        self.0.as_ref().map_or(Ok(None), |token| store.at(token.place()))
    }

    fn test(self, target: Self::Target, _: &mut Hasher) -> Result<Verdict<Proof>, Stop> {
        Ok(match (self.0, target) {
            (Some(token), Some(row)) if row.redeems(&token, server::now())? => {
                let user = UserId::from_text(&row.user_id);
                let user = user.map_err(|_| Error::Corrupt(row.number))?;
                Verdict::Right(Proof { user, token }, Ok(()))
            }
            _ => Verdict::Wrong(None),
        })
    }

    fn owner(proof: &Proof) -> &UserId {
        &proof.user
    }
}
