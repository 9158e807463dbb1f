//! The authenticator of the keeper: a job that it has leased, which opens the secret of that job, a few times, and
//! nothing else.

use password_verify_core::keeper::data_key::DataKey;
use password_verify_core::rules::account::Account;
use password_verify_core::rules::event::Alert;
use password_verify_core::rules::purpose::Purpose;
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::secret::Secret;
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::stages::Claim;
use crate::pg::kept::Room;
use crate::pg::kept::jobs::JobRow;
use crate::pg::kept::secrets::SecretRow;
use crate::pg::server;
use crate::pg::shared::opened;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::vault::store::Store;
use crate::settings;

/// A lease that the keeper claims to hold.
pub struct Lease {
    job: i64,
    lease: [u8; 16],
}

/// The secret that may be opened, or why not.
pub type Target = Result<(SecretRow, DataKey, Account), Reason>;

/// The lease was held, and this is the secret.
#[must_use]
pub struct Proof {
    user: UserId,
    job: i64,
    row: SecretRow,
    pub secret: Secret,
}

impl Lease {
    /// Claims the lease of a job in order to open its secret. `found`: the job as it is now, if it is leased.
    pub fn to_open(job: i64, found: Option<&JobRow>) -> Claim<Self> {
        let lease = found.map(JobRow::lease);
        // What is no lease is recorded, and not charged: there would be no end of such budgets.
        let secret = lease.map(|lease| Self { job, lease });
        let lease = lease.unwrap_or_else(|| JobRow::no_lease(job));
        let claimant = Claimant { user: None, client: None, lease: Some(lease) };
        Claim::new(Purpose::Open, claimant, secret)
    }
}

impl Authenticator for Lease {
    type Target = Target;
    type Proof = Proof;

    fn find(&self, store: &Store) -> Result<Target, Error> {
        let room = Room::at_once()?;
        let held = |job: &JobRow| job.is_held(server::now()) && job.lease() == self.lease;
        let Some(job) = room.job(self.job)?.filter(held) else {
            return Ok(Err(Reason::NotLeased));
        };
        let Some(row) = room.secret_at(job.secret)? else { return Ok(Err(Reason::NoSecret)) };
        if !job.is_with(&row) || !job.is_of(&row) {
            return Ok(Err(Reason::NotLeased));
        }
        let account = store.account(&row.user()?)?;
        let data_key = room.data_key(&row, self.job)?;
        Ok(data_key.map(|key| (row, key, account)).ok_or(Reason::VaultLocked))
    }

    fn test(self, target: Target, _: &mut Hasher) -> Result<Verdict<Proof>, Stop> {
        let (row, data_key, account) = match target {
            Ok(found) => found,
            Err(Reason::NotLeased) => return Ok(Verdict::Wrong(None)),
            Err(reason) => return Err(reason.into()),
        };
        let worth = Purpose::Open.conditions().admits(&account, server::now());
        let (user, secret) = (row.user()?, row.open(&data_key)?);
        Ok(Verdict::Right(Proof { user, job: self.job, row, secret }, worth))
    }

    fn owner(proof: &Proof) -> &UserId {
        &proof.user
    }

    fn note(proof: &Proof, event: &mut QueuedEvent) {
        event.name_secret(&proof.row.name, proof.job);
        if opened::count(&proof.row.id, settings::secrets_opened_expected()) {
            event.alert |= Alert::MANY_OPENED.0;
        }
    }
}
