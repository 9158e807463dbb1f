//! What the keeper keeps: users' secrets, sealed, and the jobs that open them. Sessions write these tables, side by
//! side; what they add to the sum of all rows goes into the audit with each change, as that of credentials does.
//!
//! | file | wraps | promises |
//! | --- | --- | --- |
//! | [`table`] | the tables | a row that is not as it was written is an error; no lock is waited for |
//! | [`secrets`] | `password_verify.secret` | opened only for the destination that it was stored for |
//! | [`jobs`] | `password_verify.job` | one holder at a time, by a lease that ends |
//! | [`queue`] | the order of jobs | the oldest first, fair between users, one lease at a time for a secret |
//! | [`results`] | `password_verify.result` | kept until acknowledged, or for the stated time |
//! | [`vaults`], [`holder`] | `password_verify.vault` | one holder at a time; opened with the user's vault password only |
//! | [`whole`] | a secret with its jobs and their results, and all of a user's | moved or deleted together |
//! | [`opening`] | data keys of secrets in vaults | open for a job while the vault is unlocked |

use std::time::Instant;

use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::rules::user_id::UserId;

use crate::error::Error;
use crate::pg::heap::lock;
use crate::pg::heap::lock::Access;
use crate::pg::heap::place::PlaceLock;
use crate::pg::keys::keyring;
use crate::pg::server;
use crate::pg::server::PATIENCE;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use jobs::{JobRow, Jobs};
use results::Results;
use secrets::{SecretRow, Secrets};
use table::{Kept, RowKey};
use vaults::{VaultRow, Vaults};

pub mod holder;
pub mod jobs;
pub mod opening;
pub mod queue;
pub mod results;
pub mod secrets;
pub mod table;
pub mod vaults;
pub mod whole;

/// The most secrets of a user.
pub const MOST: usize = 100;
/// The most jobs of a user, those among them whose results are not acknowledged: so many can come before another one's.
pub const MOST_JOBS: usize = 200;

/// The way to the tables, for one call.
pub struct Room {
    key: BlindIndexKey,
    access: Access,
    deadline: Instant,
}

/// Tries until other transactions let it.
///
/// # Errors
/// [`Error::Held`] after a second; those of `look`.
pub fn patiently<T>(look: impl FnMut() -> Result<Option<T>, Error>) -> Result<T, Error> {
    server::patiently(PATIENCE, look)?.ok_or(Error::Held)
}

/// The job of that number, its secret, and whose that is.
///
/// # Errors
/// [`Error::NoJob`] if there is no such job, or its secret is gone.
pub fn job_of(number: i64) -> Result<(JobRow, SecretRow, UserId), Error> {
    let room = Room::open(Access::Read)?;
    let job = room.job(number)?.ok_or(Error::NoJob)?;
    let secret = room.secret_at(job.secret)?.ok_or(Error::NoJob)?;
    let user = secret.user()?;
    Ok((job, secret, user))
}

/// All tables, open.
pub struct All {
    pub secrets: Secrets,
    pub jobs: Jobs,
    pub results: Results,
    pub vaults: Vaults,
}

impl Room {
    /// # Errors
    /// [`Error::NoKeyring`]; those of [`BlindIndexKey::read`].
    pub fn open(access: Access) -> Result<Self, Error> {
        Self::open_by(access, lock::deadline())
    }

    /// To read, without waiting for anything.
    ///
    /// # Errors
    /// Those of [`Room::open`]; [`Error::Locked`].
    pub fn at_once() -> Result<Self, Error> {
        Self::open_by(Access::Read, Instant::now())
    }

    /// To write, without waiting for anything.
    ///
    /// # Errors
    /// Those of [`Room::at_once`].
    pub fn at_once_to_write() -> Result<Self, Error> {
        Self::open_by(Access::Write, Instant::now())
    }

    fn open_by(access: Access, deadline: Instant) -> Result<Self, Error> {
        // What is kept is nowhere unsealed.
        if !keyring::is_there() {
            return Err(Error::NoKeyring);
        }
        let key = BlindIndexKey::read_by(deadline)?;
        Ok(Self { key, access, deadline })
    }

    /// # Errors
    /// For all tables: [`Error::NotInstalled`], [`Error::Locked`], [`Error::InTheWay`].
    pub fn secrets(&self) -> Result<Secrets, Error> {
        Secrets::open_by(self.key.key.installation(), self.access, self.deadline)
    }

    /// # Errors
    /// As [`Room::secrets`].
    pub fn jobs(&self) -> Result<Jobs, Error> {
        Jobs::open_by(self.key.key.installation(), self.access, self.deadline)
    }

    /// # Errors
    /// As [`Room::secrets`].
    pub fn results(&self) -> Result<Results, Error> {
        Results::open_by(self.key.key.installation(), self.access, self.deadline)
    }

    /// # Errors
    /// As [`Room::secrets`].
    pub fn vaults(&self) -> Result<Vaults, Error> {
        Vaults::open_by(self.key.key.installation(), self.access, self.deadline)
    }

    /// All of them.
    ///
    /// # Errors
    /// As [`Room::secrets`].
    pub fn all(&self) -> Result<All, Error> {
        let (secrets, jobs) = (self.secrets()?, self.jobs()?);
        Ok(All { secrets, jobs, results: self.results()?, vaults: self.vaults()? })
    }

    /// Held while a call looks whether there is a row, and makes one. `None` if another session holds it: nobody waits.
    pub fn try_hold(&self, user: &UserId) -> Option<PlaceLock> {
        PlaceLock::try_take(self.key.key.lock_tag(user))
    }

    /// Lets a dump carry the key by which rows are found.
    ///
    /// # Errors
    /// Those of [`BlindIndexKey::keep`].
    pub fn keep(&self) -> Result<(), Error> {
        self.key.keep()
    }

    /// The place of a secret.
    pub fn place(&self, user: &UserId, name: &str) -> RowKey {
        self.key.key.secret(user, name)
    }

    /// The place of a user's vault.
    pub fn vault_place(&self, user: &UserId) -> RowKey {
        self.key.key.blind_index(user)
    }

    /// All secrets of a user.
    ///
    /// # Errors
    /// Those of [`table::Rows::range`].
    pub fn secrets_of(&self, secrets: &Secrets, user: &UserId) -> Result<Vec<SecretRow>, Error> {
        let mut rows = secrets.range(self.key.key.secrets(user), 8, 2 * MOST)?;
        rows.retain(|row| row.user_id == user.as_str());
        Ok(rows)
    }

    /// All secrets of a user, and the jobs of each.
    ///
    /// # Errors
    /// Those of [`table::Rows::range`].
    pub fn list(&self, user: &UserId) -> Result<Vec<(SecretRow, Vec<JobRow>)>, Error> {
        let jobs = self.jobs()?;
        let secrets = self.secrets_of(&self.secrets()?, user)?;
        secrets.into_iter().map(|secret| jobs.of(&secret).map(|jobs| (secret, jobs))).collect()
    }

    /// The job of that number.
    ///
    /// # Errors
    /// Those of [`table::Rows::find`].
    pub fn job(&self, number: i64) -> Result<Option<JobRow>, Error> {
        self.jobs()?.find(jobs::key(number))
    }

    /// The secret at a place.
    ///
    /// # Errors
    /// Those of [`table::Rows::find`].
    pub fn secret_at(&self, place: RowKey) -> Result<Option<SecretRow>, Error> {
        self.secrets()?.find(place)
    }

    /// The secret of that name.
    ///
    /// # Errors
    /// Those of [`table::Rows::find`]; [`Error::Altered`] if another is in its place.
    pub fn secret(&self, user: &UserId, name: &str) -> Result<Option<SecretRow>, Error> {
        let row = self.secret_at(self.place(user, name))?;
        let is_its = |row: &SecretRow| row.user_id == user.as_str() && row.name == name;
        match row {
            Some(row) if !is_its(&row) => Err(SecretRow::altered()),
            row => Ok(row),
        }
    }

    /// The user's vault.
    ///
    /// # Errors
    /// As [`Room::secret`].
    pub fn vault(&self, user: &UserId) -> Result<Option<VaultRow>, Error> {
        match self.vaults()?.find(self.vault_place(user))? {
            Some(row) if row.user_id != user.as_str() => Err(VaultRow::altered()),
            row => Ok(row),
        }
    }

    /// The data key with which a job opens its secret; `None` if that is in a vault which is not unlocked for the job.
    ///
    /// # Errors
    /// Those of [`SecretRow::data_key`] and [`opening::of_job`].
    pub fn data_key(&self, row: &SecretRow, job: i64) -> Result<Option<DataKey>, Error> {
        if !row.in_vault {
            return row.data_key().map(Some);
        }
        let vault = self.vault(&row.user()?)?;
        Ok(vault.and_then(|vault| opening::of_job(job, row, &vault)))
    }
}
