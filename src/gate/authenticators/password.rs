//! The authenticator of most attempts: a user's password.

use core::net::IpAddr;

use password_verify_core::kept::record::Record;
use password_verify_core::kept::verifier::{NotAVerifier, Verifier};
use password_verify_core::rules::account::Timestamp;
use password_verify_core::rules::policy::{self, Submitted};
use password_verify_core::rules::purpose::Purpose;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::stages::Claim;
use crate::pg::server;
use crate::pg::shared::budgets;
use crate::pg::vault::credential::Credential;
use crate::pg::vault::store::Store;
use crate::pg::vault::store::look::Found;
use crate::settings;

/// A password that the claimant presents for a user.
pub struct Password {
    user: UserId,
    password: policy::Password,
    client: Option<IpAddr>,
    purpose: Purpose,
}

/// The record that a password is hashed against.
// It is taken apart right after it is made: boxing would only cost an allocation.
#[allow(clippy::large_enum_variant)]
pub enum Target {
    /// The user's own record.
    Own { record: Record, stored: Secret, row: Credential },
    /// A stand-in for a user without a record, with the cost of some stored record or of a new one.
    /// The result of its hash is discarded.
    Decoy(Record),
}

/// The claimant knows this account's password. A change by the owner requires this proof.
#[must_use]
pub struct Proof {
    user: UserId,
    password: policy::Password,
    record: Record,
    stored: Secret,
    row: Credential,
    client: Option<IpAddr>,
    purpose: Purpose,
}

impl Password {
    /// Claims a password in order to log in.
    pub fn to_log_in(user: UserId, submitted: Submitted, client: Option<IpAddr>) -> Claim<Self> {
        Self::submitted(user, submitted, client, Purpose::LogIn)
    }

    /// Claims the old password in order to choose a new one.
    pub fn to_change(user: UserId, submitted: Submitted, client: Option<IpAddr>) -> Claim<Self> {
        Self::submitted(user, submitted, client, Purpose::Change)
    }

    fn submitted(
        user: UserId,
        submitted: Submitted,
        client: Option<IpAddr>,
        purpose: Purpose,
    ) -> Claim<Self> {
        let claimant = Claimant::of(&user, client);
        // policy: the length bound first, then Unicode NFC.
        let normalized = policy::Password::normalize(submitted).ok();
        let secret = normalized.map(|password| Self { user, password, client, purpose });
        Claim::new(purpose, claimant, secret)
    }

    fn claim(self) -> Claim<Self> {
        let claimant = Claimant::of(&self.user, self.client);
        Claim::new(self.purpose, claimant, Some(self))
    }
}

impl Authenticator for Password {
    type Target = Target;
    type Proof = Proof;

    fn find(&self, store: &Store) -> Result<Target, Error> {
        Target::find(store, &self.user)
    }

    fn test(self, target: Target, hasher: &mut Hasher) -> Result<Verdict<Proof>, Stop> {
        let Self { user, password, client, purpose } = self;
        let record = target.record();
        let (right, mark) = hasher.hash(record.cost(), |workspace| {
            let comparison = record.compare(&password, user.as_str(), workspace)?;
            // Made for every user and address, known or not, so that timing tells nothing.
            let forgives = settings::throttle_forgive_repeats();
            let mark = forgives.then(|| comparison.mark(budgets::repeat_key()));
            Ok((comparison.is_right(), mark))
        })?;
        match target {
            Target::Own { record, stored, row } if right => {
                let now: Timestamp = server::now();
                let worth = purpose.conditions().admits(&row.account()?, now);
                let proof = Proof { user, password, record, stored, row, client, purpose };
                Ok(Verdict::Right(proof, worth))
            }
            Target::Own { .. } | Target::Decoy(_) => Ok(Verdict::Wrong(mark)),
        }
    }

    fn owner(proof: &Proof) -> &UserId {
        &proof.user
    }
}

impl Target {
    fn find(store: &Store, user: &UserId) -> Result<Self, Error> {
        let (limit, current) = (settings::hash_memory_limit(), settings::cost()?);
        // The decoy is looked up and parsed even if it is not used, so that timing tells nothing.
        let today = || Record::Argon2id(Verifier::decoy(current));
        let decoy = match store.decoy(user)?.map(|template| Record::parse(&template, limit)) {
            // A broken template belongs to no user, so it causes no error.
            None | Some(Err(NotAVerifier::Malformed)) => Ok(today()),
            Some(decoy) => decoy,
        };
        Ok(match store.find(user)? {
            Found::Own(row) => {
                let stored = row.unseal()?;
                let record = Record::parse(stored.expose(), limit)
                    .map_err(|why| Error::stored(why, row.number))?;
                Self::Own { record, stored, row }
            }
            Found::Neighbour(row) => {
                // A missing key fails for unknown users too: the error does not tell them apart.
                if let Err(error @ (Error::UnknownKey(_) | Error::OtherKey(_))) = row.unseal() {
                    return Err(error);
                }
                // A decoy above the limits fails exactly as the records that it stands for.
                Self::Decoy(decoy.map_err(|why| Error::stored(why, store.place(user)))?)
            }
            Found::Nothing => {
                Self::Decoy(decoy.map_err(|why| Error::stored(why, store.place(user)))?)
            }
        })
    }

    fn record(&self) -> &Record {
        match self {
            Self::Own { record, .. } | Self::Decoy(record) => record,
        }
    }
}

impl Proof {
    /// Whose password it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The password that was proven.
    pub fn password(&self) -> &policy::Password {
        &self.password
    }

    /// The record that it was hashed against.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the row still has the record that the password was hashed against.
    ///
    /// # Errors
    /// Those of [`Credential::unseal`].
    pub fn holds_for(&self, row: &Credential) -> Result<bool, Error> {
        Ok(row.unseal()?.same_as(&self.stored))
    }

    /// The row that the record was in.
    pub fn row(&self) -> &Credential {
        &self.row
    }

    /// Whether `password` is the one that was proven.
    pub fn is_of(&self, password: &policy::Password) -> bool {
        self.password.same_as(password)
    }

    /// Claims the same password again, for a test against the record as it is by then.
    pub fn again(self) -> Claim<Password> {
        let Self { user, password, client, purpose, .. } = self;
        Password { user, password, client, purpose }.claim()
    }
}
