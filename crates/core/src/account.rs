//! What a right password is worth.

use crate::reason::Reason;

/// Microseconds, on whatever scale the caller keeps; only differences and order matter here.
pub type Timestamp = i64;

/// What is known of an account beside its verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Set by an administrator; no password is accepted until it is cleared.
    pub disabled_at: Option<Timestamp>,
    /// An issued password ends here (ASVS 5.0, 6.4.1) and cannot even be changed afterwards.
    pub expires_at: Option<Timestamp>,
    /// The password is only good for choosing another.
    pub must_change: bool,
}

impl Account {
    /// May somebody who has just given the right password choose a new one?
    ///
    /// # Errors
    /// [`Reason::Disabled`] or [`Reason::Expired`].
    pub fn may_change(&self, now: Timestamp) -> Result<(), Reason> {
        if self.disabled_at.is_some() {
            Err(Reason::Disabled)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(Reason::Expired)
        } else {
            Ok(())
        }
    }

    /// May somebody who has just given the right password come in?
    ///
    /// # Errors
    /// [`Reason::Disabled`], [`Reason::Expired`] or [`Reason::ChangeRequired`], the first that holds.
    pub fn may_log_in(&self, now: Timestamp) -> Result<(), Reason> {
        self.may_change(now)?;
        if self.must_change { Err(Reason::ChangeRequired) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_account_may_do_both() {
        assert_eq!(Account::default().may_log_in(0), Ok(()));
        assert_eq!(Account::default().may_change(0), Ok(()));
    }

    #[test]
    fn a_password_ends_at_its_end_not_after_it() {
        let account = Account { expires_at: Some(10), ..Account::default() };
        assert_eq!(account.may_log_in(9), Ok(()));
        assert_eq!(account.may_log_in(10), Err(Reason::Expired));
        assert_eq!(account.may_change(10), Err(Reason::Expired));
    }

    #[test]
    fn a_password_that_must_change_can_be_changed() {
        let account = Account { must_change: true, ..Account::default() };
        assert_eq!(account.may_log_in(0), Err(Reason::ChangeRequired));
        assert_eq!(account.may_change(0), Ok(()));
    }

    #[test]
    fn disabled_comes_before_everything_else() {
        let account = Account { disabled_at: Some(1), expires_at: Some(0), must_change: true };
        assert_eq!(account.may_log_in(5), Err(Reason::Disabled));
        assert_eq!(account.may_change(5), Err(Reason::Disabled));
    }
}
