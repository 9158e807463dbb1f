//! The authenticator of a user's vault: the vault password, which opens the vault's key.

use core::net::IpAddr;

use password_verify_core::keeper::vault::Lock;
use password_verify_core::keeper::vault::VaultKey;
use password_verify_core::rules::account::Account;
use password_verify_core::rules::policy::{Password, Submitted};
use password_verify_core::rules::purpose::Purpose;
use password_verify_core::rules::user_id::UserId;

use super::{Authenticator, Verdict};
use crate::answer::Stop;
use crate::error::Error;
use crate::gate::claim::Claimant;
use crate::gate::hasher::Hasher;
use crate::gate::stages::Claim;
use crate::pg::kept::Room;
use crate::pg::kept::vaults::VaultRow;
use crate::pg::server;
use crate::pg::vault::store::Store;
use crate::settings;

/// A vault password that the claimant presents for a user.
pub struct VaultPassword {
    user: UserId,
    password: Password,
    purpose: Purpose,
}

/// What a vault password is tested on.
pub struct Target {
    /// That of the user's vault, or for a user without one a stand-in that nothing opens.
    lock: Lock,
    vault: Option<VaultRow>,
    account: Account,
}

/// The claimant knows the vault password of this user.
#[must_use]
pub struct Proof {
    user: UserId,
    password: Password,
    pub key: VaultKey,
    pub vault: VaultRow,
}

impl VaultPassword {
    /// Claims a vault password in order to unlock the vault.
    pub fn to_unlock(user: UserId, submitted: Submitted, client: Option<IpAddr>) -> Claim<Self> {
        Self::submitted(user, submitted, client, Purpose::Unlock)
    }

    /// Claims one in order to put something into the vault, or to choose another.
    pub fn to_change(user: UserId, submitted: Submitted, client: Option<IpAddr>) -> Claim<Self> {
        Self::submitted(user, submitted, client, Purpose::Vault)
    }

    fn submitted(
        user: UserId,
        submitted: Submitted,
        client: Option<IpAddr>,
        purpose: Purpose,
    ) -> Claim<Self> {
        let claimant = Claimant::of(&user, client);
        let normalized = Password::normalize(submitted).ok();
        let secret = normalized.map(|password| Self { user, password, purpose });
        Claim::new(purpose, claimant, secret)
    }
}

impl Proof {
    /// Whether `password` is the one that was proven.
    pub fn is_of(&self, password: &Password) -> bool {
        self.password.same_as(password)
    }
}

impl Authenticator for VaultPassword {
    type Target = Target;
    type Proof = Proof;

    fn find(&self, store: &Store) -> Result<Target, Error> {
        let decoy = Lock::decoy(settings::cost()?);
        let account = store.account(&self.user)?;
        // The attempt holds a hash slot, and waits for no lock.
        let vault = Room::at_once()?.vault(&self.user)?.filter(VaultRow::is_locked);
        let lock = vault.as_ref().map(VaultRow::lock).transpose()?.unwrap_or(decoy);
        Ok(Target { lock, vault, account })
    }

    fn test(self, target: Target, hasher: &mut Hasher) -> Result<Verdict<Proof>, Stop> {
        let Self { user, password, purpose } = self;
        let Target { lock, vault, account } = target;
        let id = vault.as_ref().map_or([0; 16], |row| row.id);
        let key =
            hasher.hash(Some(lock.cost()), |workspace| lock.open(&password, &id, workspace))?;
        Ok(match (key, vault) {
            (Some(key), Some(vault)) => {
                let worth = purpose.conditions().admits(&account, server::now());
                Verdict::Right(Proof { user, password, key, vault }, worth)
            }
            _ => Verdict::Wrong(None),
        })
    }

    fn owner(proof: &Proof) -> &UserId {
        &proof.user
    }
}
