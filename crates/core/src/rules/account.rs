//! What a right password is worth.
//!
//! The facts about an account are stored in two places. [`Terms`] are decided and written with the
//! password. [`State`] is what managers decide, and is stored apart from the password, so that
//! neither a login nor the owner's change gets in their way. [`Account`] combines both.

/// Microseconds, on whatever scale the caller keeps; only differences and order matter here.
pub type Timestamp = i64;

/// What was decided together with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// An issued password expires then (ASVS 5.0, 6.4.1) and cannot even be changed afterwards.
    pub expires_at: Option<Timestamp>,
    /// The password is only good for choosing another one.
    pub must_change: bool,
}

/// What managers have decided about an account, whatever its password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// When the account was disabled. No password is accepted until this is cleared.
    pub disabled_at: Option<Timestamp>,
    /// Passwords set at this time or before are only good for choosing another one.
    pub change_required_at: Option<Timestamp>,
    /// Reset tokens issued at this time or before are revoked.
    pub tokens_revoked_at: Option<Timestamp>,
}

/// The terms and the state that apply to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// See [`State::disabled_at`].
    pub disabled_at: Option<Timestamp>,
    /// See [`Terms::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// The password is only good for choosing another one.
    pub must_change: bool,
}

impl State {
    /// Combines the state with the terms of a password that was set at `changed_at`.
    pub fn of(&self, terms: Terms, changed_at: Timestamp) -> Account {
        let required = self.change_required_at.is_some_and(|at| changed_at <= at);
        Account {
            disabled_at: self.disabled_at,
            expires_at: terms.expires_at,
            must_change: terms.must_change || required,
        }
    }

    /// Requires a change of the password that was set at `changed_at`, and of any older one. Works
    /// even if the clock was set back since.
    pub fn require_change(&mut self, now: Timestamp, changed_at: Timestamp) {
        let at = now.max(changed_at);
        self.change_required_at = self.change_required_at.max(Some(at));
    }

    /// The time to note for a new password: now, or later if that is needed to meet a requirement.
    pub fn change_at(&self, now: Timestamp) -> Timestamp {
        after(self.change_required_at, now)
    }

    /// Revokes every reset token issued up to now, and the one issued at `issued_at`.
    pub fn revoke_tokens(&mut self, now: Timestamp, issued_at: Option<Timestamp>) {
        let at = now.max(issued_at.unwrap_or(now));
        self.tokens_revoked_at = self.tokens_revoked_at.max(Some(at));
    }

    /// The time to note for a new token: now, or later if it would already be revoked.
    pub fn issue_at(&self, now: Timestamp) -> Timestamp {
        after(self.tokens_revoked_at, now)
    }

    /// Whether a token issued at this time is revoked.
    pub fn is_revoked(&self, issued_at: Timestamp) -> bool {
        self.tokens_revoked_at.is_some_and(|at| issued_at <= at)
    }
}

fn after(at: Option<Timestamp>, now: Timestamp) -> Timestamp {
    at.map_or(now, |at| now.max(at.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_meets_what_was_required_before_it() {
        let mut state = State::default();
        let must_change = |state: &State, at| state.of(Terms::default(), at).must_change;
        assert!(!must_change(&state, 7));
        state.require_change(10, 7);
        assert!(must_change(&state, 7) && must_change(&state, 10) && !must_change(&state, 11));
        assert!(!must_change(&state, state.change_at(10)));
        // A password that was set before the requirement and committed after it does not meet it.
        assert!(must_change(&state, 9));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_difference() {
        let mut state = State::default();
        state.require_change(10, 100);
        assert!(state.of(Terms::default(), 100).must_change);
        assert!(!state.of(Terms::default(), state.change_at(11)).must_change);
        state.require_change(12, 11);
        assert!(state.of(Terms::default(), 100).must_change, "never less than before");
        state.revoke_tokens(10, Some(100));
        assert!(state.is_revoked(100) && !state.is_revoked(state.issue_at(11)));
    }

    #[test]
    fn terms_and_state_are_both_in_force() {
        let terms = Terms { expires_at: Some(5), must_change: true };
        let state = State { disabled_at: Some(3), ..State::default() };
        let account = Account { disabled_at: Some(3), expires_at: Some(5), must_change: true };
        assert_eq!(state.of(terms, 1), account);
        assert!(!State::default().is_revoked(i64::MIN));
    }
}
