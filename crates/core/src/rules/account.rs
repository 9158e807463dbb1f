//! What a right password is worth.
//!
//! What is kept of an account lies in two places. [`Terms`] were decided with the password and are written
//! with it; [`State`] is what managers say of the account, apart from the password, so that neither a login
//! nor its owner's change ever stands in their way. [`Account`] is what both come to.

/// Microseconds, on whatever scale the caller keeps; only differences and order matter here.
pub type Timestamp = i64;

/// What was decided with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Terms {
    /// An issued password ends here (ASVS 5.0, 6.4.1) and cannot even be changed afterwards.
    pub expires_at: Option<Timestamp>,
    /// It is only good for choosing another.
    pub must_change: bool,
}

/// What was said of an account, whatever its password is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// No password is accepted until it is cleared.
    pub disabled_at: Option<Timestamp>,
    /// Passwords of that time and before are only good for choosing another.
    pub change_required_at: Option<Timestamp>,
    /// Reset tokens of that time and before are worth nothing.
    pub tokens_revoked_at: Option<Timestamp>,
}

/// What is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Set by an administrator; no password is accepted until it is cleared.
    pub disabled_at: Option<Timestamp>,
    /// See [`Terms::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// The password is only good for choosing another.
    pub must_change: bool,
}

impl State {
    /// What is in force for a password that was set at that time.
    pub fn of(&self, terms: Terms, changed_at: Timestamp) -> Account {
        let required = self.change_required_at.is_some_and(|at| changed_at <= at);
        Account {
            disabled_at: self.disabled_at,
            expires_at: terms.expires_at,
            must_change: terms.must_change || required,
        }
    }

    /// The password that was set at that time, and any before it, is to be changed. A clock that was set back
    /// makes no difference.
    pub fn require_change(&mut self, now: Timestamp, changed_at: Timestamp) {
        let at = now.max(changed_at);
        self.change_required_at = self.change_required_at.max(Some(at));
    }

    /// When a password is set that is to meet what was required: now, whatever the clock says.
    pub fn change_at(&self, now: Timestamp) -> Timestamp {
        after(self.change_required_at, now)
    }

    /// Tokens are worth nothing any more, one of that time included.
    pub fn revoke_tokens(&mut self, now: Timestamp, issued_at: Option<Timestamp>) {
        let at = now.max(issued_at.unwrap_or(now));
        self.tokens_revoked_at = self.tokens_revoked_at.max(Some(at));
    }

    /// When a token is issued that is to be worth something.
    pub fn issue_at(&self, now: Timestamp) -> Timestamp {
        after(self.tokens_revoked_at, now)
    }

    /// Is a token of that time worth nothing?
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
        // Not what was changed before, and committed after.
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
