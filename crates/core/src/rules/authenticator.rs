//! What a secret is tested for, and what follows from it: the table that the gate goes by.
//!
//! An authenticator (NIST SP 800-63B-4, section 3) is what a claimant proves to know. Everything that
//! tests one has a row here; a row that is not complete does not compile. `docs/authenticators.md` is
//! printed from it (`make tables`).

use crate::rules::account::{Account, Timestamp};
use crate::rules::event::Action;
use crate::rules::reason::Reason;
use crate::rules::throttle::Payer::{
    self, Account as TheAccount, Caller, Chance, Client, Comparison, Known,
};

/// What a secret is tested for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A password, to log in.
    LogIn,
    /// A password, to choose another: also one that is only good for that.
    Change,
    /// A reset token, to choose a password.
    Reset,
    /// A new password, against the ones that the account has or had. That is an answer about a secret too:
    /// with a reset token it tells whether a guess is the current password.
    Reuse,
}

/// The work of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A look-up: a wrong one costs the server nothing, and a flood of them is folded like one of
    /// refusals.
    LookUp,
    /// Hashes, each in a slot. What is cut off after the first has begun stays charged.
    Hash,
}

/// Which budgets of client and caller are charged: what costs nothing must not use up what costs a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Passwords,
    Tokens,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the audit.
    pub action: Action,
    pub work: Work,
    /// Who is charged, and so what a right one gives back: see [`Payer::on_right`].
    pub payers: &'static [Payer],
    pub pool: Pool,
    /// What a wrong one is answered.
    pub wrong: Reason,
    /// What a right one is answered while an account is locked; `None`: the lock does not concern it.
    pub locked: Option<Reason>,
    /// Likewise of a disabled account.
    pub disabled: Option<Reason>,
    /// Likewise of a password whose end has passed.
    pub expired: Option<Reason>,
    /// Likewise of a password that is to be changed.
    pub must_change: Option<Reason>,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::LogIn, Self::Change, Self::Reset, Self::Reuse];

    /// THE table.
    pub const fn row(self) -> Row {
        match self {
            Self::LogIn => Row {
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
            Self::Change => Row {
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
            // It names no account. Whoever issued it has decided; a disabled account stays disabled.
            Self::Reset => Row {
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
            // Whoever gets here has proven a password or a token, which was charged to client and caller.
            Self::Reuse => Row {
                action: Action::Compare,
                work: Work::Hash,
                payers: &[Comparison],
                pool: Pool::Passwords,
                wrong: Reason::Reused,
                // Nothing that time changes: the next change of the password, or whoever unlocks.
                locked: Some(Reason::Throttled),
                disabled: None,
                expired: None,
                must_change: None,
            },
        }
    }
}

impl Row {
    /// What the account makes of a right one.
    ///
    /// # Errors
    /// What the row says of a disabled account, of a password whose end has passed, and of one that is to be
    /// changed: the first that holds.
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

    const LOG_IN: Row = Purpose::LogIn.row();
    const CHANGE: Row = Purpose::Change.row();

    #[test]
    fn a_plain_account_may_do_everything() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.row().admits(&Account::default(), 0), Ok(()));
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
        assert_eq!(Purpose::Reset.row().admits(&account, 5), Ok(()));
    }

    #[test]
    fn whoever_pays_for_hashes_is_charged_for_them() {
        for purpose in Purpose::ALL {
            let Row { work, payers, locked, .. } = purpose.row();
            let locks = |payer: &Payer| matches!(payer, TheAccount | Comparison);
            assert_eq!(locked.is_some(), payers.iter().any(locks), "{purpose:?}");
            assert_eq!(work == Work::Hash, payers.iter().any(locks), "{purpose:?}");
            assert!(!payers.is_empty());
        }
    }
}
