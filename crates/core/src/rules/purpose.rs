//! The table of authenticators, which the gate follows: what a secret is tested for, who pays, and
//! what a right one is worth.
//!
//! An authenticator (NIST SP 800-63B-4, section 3) is something that a claimant proves to know or
//! hold. Every kind of test has a row here; an incomplete row does not compile. `make tables`
//! prints the table into `docs/reference.md`.

use crate::rules::account::{Account, Timestamp};
use crate::rules::event::Action;
use crate::rules::reason::Reason;
use crate::rules::throttle::Payer::{
    self, Account as TheAccount, Caller, Chance, Client, Comparison, Known, Lease, Vault,
};

/// What a secret is tested for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A password is tested to log in.
    LogIn,
    /// The old password is tested to choose a new one. It may be one that is only good for that.
    Change,
    /// A reset token is tested to choose a new password.
    Reset,
    /// A new password is compared with the current and former ones. That too is an answer about a
    /// secret: with a reset token it tells whether a guess is the current password.
    Reuse,
    /// A vault password is tested to unlock the vault.
    Unlock,
    /// A vault password is tested to put a secret into the vault, or to choose another one.
    Vault,
    /// The keeper opens the secret of a job. Its secret is the lease.
    Open,
}

/// The work that one test takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A look-up. A wrong secret costs the server almost nothing, so floods of them are folded in
    /// the audit like floods of refusals.
    LookUp,
    /// One or more hashes, each in a slot. The attempt stays charged once the first has begun.
    Hash,
}

/// Which client and caller budgets are charged: cheap tests must not use up the budget for hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Passwords,
    Tokens,
    Vaults,
}

/// The rules for one [`Purpose`].
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// The name of the attempt in the audit.
    pub action: Action,
    pub work: Work,
    /// Whose budgets the attempt holds. All are charged but [`Payer::Known`], which is only read,
    /// and [`Payer::Chance`], which pays where others cannot. [`Payer::on_right`] says what a right
    /// secret gives back.
    pub payers: &'static [Payer],
    pub pool: Pool,
    /// The answer to a wrong secret.
    pub wrong: Reason,
    /// The answer while the account is locked; `None`: the lock does not apply.
    pub locked: Option<Reason>,
    /// The answer to a right secret while the account is disabled; `None`: it is accepted.
    pub disabled: Option<Reason>,
    /// The answer to a right secret after the password has expired; `None`: it is accepted.
    pub expired: Option<Reason>,
    /// The answer to a right secret that has to be changed first; `None`: it is accepted.
    pub must_change: Option<Reason>,
}

impl Purpose {
    /// Every purpose; it does not compile while one is missing.
    pub const ALL: [Self; 7] = {
        let all = [
            Self::LogIn,
            Self::Change,
            Self::Reset,
            Self::Reuse,
            Self::Unlock,
            Self::Vault,
            Self::Open,
        ];
        match Self::LogIn {
            Self::LogIn | Self::Change | Self::Reset | Self::Reuse => {}
            Self::Unlock | Self::Vault | Self::Open => assert!(all.len() == 7),
        }
        all
    };

    /// The table: who pays for each purpose, and what a right secret is worth.
    pub const fn conditions(self) -> Conditions {
        match self {
            Self::LogIn => Conditions {
                action: Action::Validate,
                work: Work::Hash,
                payers: &[TheAccount, Known, Chance, Client, Caller],
                pool: Pool::Passwords,
                wrong: Reason::InvalidCredentials,
                locked: Some(Reason::Locked),
                disabled: Some(Reason::Disabled),
                expired: Some(Reason::Expired),
                must_change: Some(Reason::ChangeRequired),
            },
            Self::Change => Conditions {
                action: Action::Prove,
                work: Work::Hash,
                payers: &[TheAccount, Known, Chance, Client, Caller],
                pool: Pool::Passwords,
                wrong: Reason::InvalidCredentials,
                locked: Some(Reason::Locked),
                disabled: Some(Reason::Disabled),
                expired: Some(Reason::Expired),
                must_change: None,
            },
            // The token names no account until it is found. Issuing it was the decision to allow
            // the reset; it does not enable a disabled account.
            Self::Reset => Conditions {
                action: Action::Prove,
                work: Work::LookUp,
                payers: &[Client, Caller],
                pool: Pool::Tokens,
                wrong: Reason::InvalidToken,
                locked: None,
                disabled: None,
                expired: None,
                must_change: None,
            },
            // The claimant has proven a password or a token, which client and caller have paid for.
            Self::Reuse => Conditions {
                action: Action::Compare,
                work: Work::Hash,
                payers: &[Comparison],
                pool: Pool::Passwords,
                wrong: Reason::Reused,
                // Time does not lift this lock: the next change of the password does, or an unlock.
                locked: Some(Reason::Throttled),
                disabled: None,
                expired: None,
                must_change: None,
            },
            Self::Unlock => VAULT,
            Self::Vault => Conditions { action: Action::ProveVault, ..VAULT },
            // What names the job is no secret. The lease is what allows it, and it is used up.
            Self::Open => Conditions {
                action: Action::OpenSecret,
                work: Work::LookUp,
                payers: &[Lease],
                pool: Pool::Tokens,
                wrong: Reason::NotLeased,
                locked: None,
                disabled: Some(Reason::Disabled),
                expired: None,
                must_change: None,
            },
        }
    }
}

/// A vault password is tested like the one to log in, and paid for by budgets of its own.
const VAULT: Conditions = Conditions {
    action: Action::UnlockVault,
    work: Work::Hash,
    payers: &[Vault, Known, Chance, Client, Caller],
    pool: Pool::Vaults,
    wrong: Reason::InvalidCredentials,
    locked: Some(Reason::Locked),
    disabled: Some(Reason::Disabled),
    // The password to log in has its own terms.
    expired: None,
    must_change: None,
};

impl Conditions {
    /// Decides what a right secret is worth for this account.
    ///
    /// # Errors
    /// The first that applies: the answer for a disabled account, for an expired password, for a
    /// password that has to be changed.
    pub fn admits(&self, account: &Account, now: Timestamp) -> Result<(), Reason> {
        let expired = account.expires_at.is_some_and(|end| end <= now);
        let hindrances = [
            self.disabled.filter(|_| account.disabled_at.is_some()),
            self.expired.filter(|_| expired),
            self.must_change.filter(|_| account.must_change),
        ];
        hindrances.into_iter().flatten().next().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG_IN: Conditions = Purpose::LogIn.conditions();
    const CHANGE: Conditions = Purpose::Change.conditions();

    #[test]
    fn a_plain_account_may_do_everything() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.conditions().admits(&Account::default(), 0), Ok(()));
        }
    }

    #[test]
    fn a_password_ends_at_its_end_not_after_it() {
        let account = Account { expires_at: Some(10), ..Account::default() };
        assert_eq!(LOG_IN.admits(&account, 9), Ok(()));
        assert_eq!(LOG_IN.admits(&account, 10), Err(Reason::Expired));
        assert_eq!(CHANGE.admits(&account, 10), Err(Reason::Expired));
    }

    #[test]
    fn a_password_that_must_change_can_be_changed() {
        let account = Account { must_change: true, ..Account::default() };
        assert_eq!(LOG_IN.admits(&account, 0), Err(Reason::ChangeRequired));
        assert_eq!(CHANGE.admits(&account, 0), Ok(()));
    }

    #[test]
    fn disabled_comes_before_everything_else() {
        let account = Account { disabled_at: Some(1), expires_at: Some(0), must_change: true };
        assert_eq!(LOG_IN.admits(&account, 5), Err(Reason::Disabled));
        assert_eq!(CHANGE.admits(&account, 5), Err(Reason::Disabled));
        assert_eq!(Purpose::Reset.conditions().admits(&account, 5), Ok(()));
    }

    #[test]
    fn payers_for_hashes_are_charged_for_hashes() {
        for purpose in Purpose::ALL {
            let Conditions { work, payers, locked, .. } = purpose.conditions();
            let locks = |payer: &Payer| matches!(payer, TheAccount | Comparison | Vault);
            assert_eq!(locked.is_some(), payers.iter().any(locks), "{purpose:?}");
            assert_eq!(work == Work::Hash, payers.iter().any(locks), "{purpose:?}");
            assert!(!payers.is_empty());
        }
    }
}
