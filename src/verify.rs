//! What happens to a password that somebody claims is the right one.
//!
//! [`attempt`] is the only way to test a password. It reads top to bottom, and each stage consumes
//! what the stage before it produced: the fields are private to this file and nothing here can be
//! cloned, so leaving a stage out does not compile.

use std::time::Duration;

use password_verify_core::account::Account;
use password_verify_core::policy::{Password, Submitted};
use password_verify_core::reason::Reason;
use password_verify_core::secret::Secret;
use password_verify_core::user_id::UserId;
use password_verify_core::verifier::Verifier;

use crate::error::Error;
use crate::pg::credential::Credential;
use crate::pg::session;
use crate::pg::store::{Edit, Found, Store, Written};
use crate::pg::table::Access;
use crate::{salt, settings};

/// `pv_validate_password`: is this the password, and is it worth anything?
pub fn validate(request: Request) -> Result<Result<(), Reason>, Error> {
    let proof = match attempt(request)? {
        Outcome::Right(proof) => proof,
        Outcome::Wrong => return Ok(Err(Reason::InvalidCredentials)),
    };
    if let Err(reason) = proof.account.may_log_in(session::now()) {
        return Ok(Err(reason));
    }
    proof.renew_if_weak()?;
    Ok(Ok(()))
}

/// The way of an attempt. Stages that this release does not have yet are named where they belong.
pub fn attempt(request: Request) -> Result<Outcome, Error> {
    // policy: length bound first, then Unicode NFC. What is too long is nobody's password.
    let Some(candidate) = request.normalize() else { return Ok(Outcome::Wrong) };
    // throttle: the attempt is charged here, before any hashing.       (not in this release)
    // slots: it waits here, for a bounded time, for memory to hash in. (not in this release)
    // store: the user's record, or for an unknown user a decoy of the same cost.
    let fetched = candidate.fetch()?;
    // hash: Argon2id, compared in constant time.
    let outcome = fetched.hash_and_compare()?;
    // settle: a right password refunds the charge.                     (not in this release)
    // audit: the event is committed here, before the answer leaves.    (not in this release)
    Ok(outcome)
}

/// Requires: arguments. Produces: an attempt that nothing has happened to yet.
pub struct Request {
    user: UserId,
    claim: Claim,
}

/// The password of a request.
enum Claim {
    Submitted(Submitted),
    /// Of a request that is made once more.
    Normalized(Password),
}

/// Produced by [`Request::normalize`]: a password in the one form in which it is hashed.
#[must_use]
struct Candidate {
    user: UserId,
    password: Password,
}

/// Produced by [`Candidate::fetch`]: the password, and what to compare it with.
#[must_use]
struct Fetched {
    user: UserId,
    password: Password,
    target: Target,
}

/// What a password is hashed against.
enum Target {
    /// The user's own record.
    Own { verifier: Verifier, stored: Secret, account: Account },
    /// There is none. The cost of somebody else's is spent, and the result thrown away.
    Decoy(Verifier),
}

/// Produced by [`Fetched::hash_and_compare`].
#[must_use]
pub enum Outcome {
    /// Unknown user or wrong password: nothing tells which.
    Wrong,
    /// The right password of an existing account.
    Right(Proof),
}

/// Somebody knows the password of this account. Only [`attempt`] makes one, and replacing a password
/// by its owner takes one.
#[must_use]
pub struct Proof {
    user: UserId,
    password: Password,
    verifier: Verifier,
    stored: Secret,
    account: Account,
}

impl Request {
    pub fn new(user: UserId, submitted: Submitted) -> Self {
        Self { user, claim: Claim::Submitted(submitted) }
    }

    fn normalize(self) -> Option<Candidate> {
        let password = match self.claim {
            Claim::Submitted(submitted) => Password::normalize(submitted).ok()?,
            Claim::Normalized(password) => password,
        };
        Some(Candidate { user: self.user, password })
    }
}

impl Candidate {
    fn fetch(self) -> Result<Fetched, Error> {
        let current = settings::cost()?;
        let target = match Store::open(Access::Read)?.find(&self.user)? {
            Found::Own(row) => Target::Own {
                verifier: Verifier::parse(row.verifier.expose())
                    .map_err(|why| Error::stored(why, row.number))?,
                stored: row.verifier,
                account: row.account,
            },
            // Parameters of a real record, always the same one for the same id: a stranger's id takes
            // as long as somebody's. A broken record is its own user's trouble only.
            Found::Neighbour(row) => {
                let cost = Verifier::parse(row.verifier.expose()).map_or(current, |v| v.cost());
                Target::Decoy(Verifier::decoy(cost))
            }
            Found::Nothing => Target::Decoy(Verifier::decoy(current)),
        };
        Ok(Fetched { user: self.user, password: self.password, target })
    }
}

impl Fetched {
    fn hash_and_compare(self) -> Result<Outcome, Error> {
        let Self { user, password, target } = self;
        match target {
            Target::Decoy(verifier) => {
                let _ = verifier.matches(&password)?;
                Ok(Outcome::Wrong)
            }
            Target::Own { verifier, stored, account } => Ok(if verifier.matches(&password)? {
                Outcome::Right(Proof { user, password, verifier, stored, account })
            } else {
                Outcome::Wrong
            }),
        }
    }
}

impl Proof {
    /// What is known of the account beside its password.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Is this the password that was proven?
    pub fn is_of(&self, password: &Password) -> bool {
        self.password.same_as(password)
    }

    /// The request for an attempt with the same password, against the record as it is by then.
    pub fn again(self) -> Request {
        Request { user: self.user, claim: Claim::Normalized(self.password) }
    }

    /// Puts another password in the place of the one that was proven: [`Written::Done`], or
    /// [`Written::Unchanged`] where the record has been changed since; an attempt [`Proof::again`]
    /// tells what that means.
    ///
    /// # Errors
    /// What [`Store::edit`] says.
    pub fn replace(&self, verifier: &Verifier, patience: Duration) -> Result<Written, Error> {
        let now = session::now();
        self.rewrite(patience, |row| {
            row.verifier = verifier.expose();
            row.changed_at = now;
            row.account.must_change = false;
            row.account.expires_at = None;
        })
    }

    /// Hashes the password again where its record is weaker than today's settings. The answer does
    /// not depend on it: not done where nothing can be written, and given up rather than waited for.
    fn renew_if_weak(&self) -> Result<(), Error> {
        let current = settings::cost()?;
        if !self.verifier.cost().weaker_than(current) || !session::writable() {
            return Ok(());
        }
        let renewed = Verifier::remake(&self.password, current, salt::fresh()?)?;
        self.rewrite(Duration::ZERO, |row| row.verifier = renewed.expose())?;
        Ok(())
    }

    /// Changes the record if it is still the one that the password was proven against.
    fn rewrite(
        &self,
        patience: Duration,
        change: impl Fn(&mut Credential),
    ) -> Result<Written, Error> {
        Store::open(Access::Write)?.edit(&self.user, patience, |row| {
            if !row.verifier.same_as(&self.stored) {
                return Edit::Keep;
            }
            change(row);
            Edit::Replace
        })
    }
}
