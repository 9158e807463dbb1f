//! What is recorded: one event of the audit trail.
//!
//! Codes and texts are stable: the chain of MACs ([`crate::trail::chain`]) covers the codes, and queries of
//! the trail compare the texts.

use std::ops::BitOr;

use crate::rules::account::Timestamp;
use crate::rules::reason::Reason;
use crate::rules::throttle::Payer::{self, Account, Comparison};

/// An enumeration with a stable code and a stable text for each variant.
macro_rules! coded {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $code:literal => $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant = $code,)+
        }

        impl $name {
            /// Every variant, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The largest code.
            pub const MAX: u8 = {
                let mut max = 0;
                $(if $code > max {
                    max = $code;
                })+
                max
            };

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The variant with this code.
            pub const fn from_u8(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The variant with this text.
            // Not the trait: a text that is none of these is no error with a story of its own.
            #[allow(clippy::should_implement_trait)]
            pub fn from_str(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
pub(crate) use coded;

coded! {
    /// What was done, or tried.
    pub enum Action {
        /// The first row of a chain.
        Epoch = 1 => "epoch",
        /// A password was checked for a login.
        Validate = 2 => "validate",
        /// The old password that was given to `pv_change_password`.
        Prove = 3 => "prove",
        /// A first password.
        Create = 4 => "create",
        /// A new password from somebody who knows the old one.
        Change = 5 => "change",
        /// A password set by an administrator.
        Set = 6 => "set",
        /// No password is accepted from now on.
        Disable = 7 => "disable",
        /// The opposite of [`Action::Disable`].
        Enable = 8 => "enable",
        /// The password is from now on only good for choosing another.
        RequireChange = 9 => "require_change",
        /// The record is removed.
        Delete = 10 => "delete",
        /// The failures of an account are forgotten.
        Unlock = 11 => "unlock",
        /// A transaction that made changes has ended.
        End = 12 => "end",
        /// Rows were removed because they are older than the retention.
        Prune = 13 => "prune",
        /// A hash of another system is taken over.
        Import = 14 => "import",
        /// A token is issued with which a password can be reset once.
        IssueToken = 15 => "issue_token",
        /// A new password from somebody who has such a token.
        Reset = 16 => "reset",
        /// A user has another id from now on. This is the old one.
        Rename = 17 => "rename",
        /// The new one, in the same transaction as [`Action::Rename`].
        Renamed = 18 => "renamed",
        /// Reset tokens that are out are worth nothing any more.
        RevokeTokens = 19 => "revoke_tokens",
        /// A new password was compared with kept ones: [`Outcome::Reused`] or [`Outcome::Valid`].
        Compare = 20 => "compare",
    }
}

/// What an action is to the trail and to its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It concerns the chain itself and always has a row of its own.
    Chain,
    /// A secret is tested: [`crate::rules::authenticator::Purpose::row`] says what follows.
    Attempt,
    /// Something of a user is changed, as part of a transaction.
    Change {
        /// Whose failures are forgotten when the transaction commits.
        clears: &'static [Payer],
    },
}

/// A row of the table below.
const fn change(clears: &'static [Payer]) -> Role {
    Role::Change { clears }
}

impl Action {
    /// THE table.
    pub const fn role(self) -> Role {
        match self {
            Self::Epoch | Self::End | Self::Prune => Role::Chain,
            Self::Validate | Self::Prove | Self::Compare => Role::Attempt,
            Self::Create | Self::Set | Self::Reset | Self::Unlock => change(&[Account, Comparison]),
            // Whoever knows the old password has already ended what was held against the account, unless
            // it was by the client's own attempts, which leave it waiting for others.
            Self::Change | Self::Delete => change(&[Comparison]),
            Self::Import
            | Self::Rename
            | Self::Renamed
            | Self::Disable
            | Self::Enable
            | Self::RequireChange
            | Self::IssueToken
            | Self::RevokeTokens => change(&[]),
        }
    }

    /// Whose failures are forgotten when the change commits.
    pub const fn clears(self) -> &'static [Payer] {
        match self.role() {
            Role::Change { clears } => clears,
            Role::Chain | Role::Attempt => &[],
        }
    }
}

coded! {
    /// How it came out.
    pub enum Outcome {
        /// A fact without an answer: [`Action::Epoch`], [`Action::Prune`].
        Recorded = 1 => "recorded",
        /// The right password, and it is worth something.
        Valid = 2 => "valid",
        /// Unknown user and wrong password alike.
        InvalidCredentials = 3 => "invalid_credentials",
        /// Not checked: too many failures of the account, its client or its caller; later perhaps.
        Throttled = 4 => "throttled",
        /// Not checked: too many failures in a row; an administrator unlocks.
        Locked = 5 => "locked",
        /// Another transaction is writing the same user's record.
        Busy = 6 => "busy",
        /// Right password, disabled account.
        Disabled = 7 => "disabled",
        /// Right password, ended.
        Expired = 8 => "expired",
        /// Right password, to be changed first.
        ChangeRequired = 9 => "change_required",
        /// The call did not come to an answer.
        Abandoned = 10 => "abandoned",
        /// A change in a transaction that has not ended.
        Pending = 11 => "pending",
        /// The transaction is durable.
        Committed = 12 => "committed",
        /// The transaction's changes are gone.
        RolledBack = 13 => "rolled_back",
        /// The transaction of another server: nobody here can tell.
        Unknown = 14 => "unknown",
        /// A new password that was refused by the policy; see [`Reason::TooShort`].
        TooShort = 15 => "too_short",
        /// See [`Reason::TooLong`].
        TooLong = 16 => "too_long",
        /// See [`Reason::TooWeak`].
        TooWeak = 17 => "too_weak",
        /// See [`Reason::ContainsUserId`].
        ContainsUserId = 18 => "contains_user_id",
        /// See [`Reason::Reused`].
        Reused = 19 => "reused",
        /// See [`Reason::AlreadySet`].
        AlreadySet = 20 => "already_set",
        /// See [`Reason::Blocklisted`].
        Blocklisted = 21 => "blocklisted",
        /// See [`Reason::UnsupportedFormat`].
        UnsupportedFormat = 22 => "unsupported_format",
        /// See [`Reason::Malformed`].
        Malformed = 23 => "malformed",
        /// See [`Reason::OverLimit`].
        OverLimit = 24 => "over_limit",
        /// See [`Reason::InvalidToken`].
        InvalidToken = 25 => "invalid_token",
        /// See [`Reason::NoPassword`].
        NoPassword = 26 => "no_password",
    }
}

impl Outcome {
    /// Was something denied? What comes in floods when somebody guesses.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::InvalidCredentials
            | Self::Throttled
            | Self::Locked
            | Self::Busy
            | Self::Disabled
            | Self::Expired
            | Self::Abandoned
            | Self::TooShort
            | Self::TooLong
            | Self::TooWeak
            | Self::ContainsUserId
            | Self::Reused
            | Self::AlreadySet
            | Self::Blocklisted
            | Self::UnsupportedFormat
            | Self::Malformed
            | Self::OverLimit
            | Self::InvalidToken
            | Self::NoPassword => true,
            Self::Recorded
            | Self::Valid
            | Self::ChangeRequired
            | Self::Pending
            | Self::Committed
            | Self::RolledBack
            | Self::Unknown => false,
        }
    }
}

impl From<Reason> for Outcome {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::InvalidCredentials => Self::InvalidCredentials,
            Reason::Throttled => Self::Throttled,
            Reason::Locked => Self::Locked,
            Reason::Disabled => Self::Disabled,
            Reason::Expired => Self::Expired,
            Reason::ChangeRequired => Self::ChangeRequired,
            Reason::TooShort => Self::TooShort,
            Reason::TooLong => Self::TooLong,
            Reason::TooWeak => Self::TooWeak,
            Reason::ContainsUserId => Self::ContainsUserId,
            Reason::Reused => Self::Reused,
            Reason::AlreadySet => Self::AlreadySet,
            Reason::Blocklisted => Self::Blocklisted,
            Reason::UnsupportedFormat => Self::UnsupportedFormat,
            Reason::Malformed => Self::Malformed,
            Reason::OverLimit => Self::OverLimit,
            Reason::InvalidToken => Self::InvalidToken,
            Reason::NoPassword => Self::NoPassword,
            Reason::Busy => Self::Busy,
        }
    }
}

/// What somebody should look at: a set of bits, most often none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Alert(pub u8);

impl Alert {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// The account has begun to wait between attempts.
    pub const ACCOUNT_WAITS: Self = Self(1);
    /// The account is locked.
    pub const ACCOUNT_LOCKED: Self = Self(2);
    /// The client's allowance of failures is used up.
    pub const CLIENT_EXHAUSTED: Self = Self(4);
    /// The calling role's allowance of failures is used up.
    pub const CALLER_EXHAUSTED: Self = Self(8);
    /// A right password after wrong ones: a guess that hit, perhaps.
    pub const SUCCESS_AFTER_FAILURES: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::ACCOUNT_WAITS, "account_waits"),
        (Self::ACCOUNT_LOCKED, "account_locked"),
        (Self::CLIENT_EXHAUSTED, "client_exhausted"),
        (Self::CALLER_EXHAUSTED, "caller_exhausted"),
        (Self::SUCCESS_AFTER_FAILURES, "success_after_failures"),
    ];

    /// Is it none?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Are all bits of `other` in it?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of its bits, lowest first; bits without a name have none.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |&(bit, _)| self.contains(bit)).map(|(_, name)| name)
    }
}

impl BitOr for Alert {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One row of `password_verify.event`, apart from its place in the chain and its MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When; of a folded row, the last occurrence.
    pub at: Timestamp,
    /// As `at`; of a folded row, the first occurrence.
    pub since: Timestamp,
    /// 1, or how many a folded row stands for.
    pub count: i64,
    pub action: Action,
    pub outcome: Outcome,
    /// Whose password, in its canonical spelling.
    pub user_id: Option<String>,
    /// Where the application says that its client is.
    pub client_addr: Option<String>,
    /// Who logged in to the database, `session_user`.
    pub login_role: Option<String>,
    /// Whose rights were in force, `current_user`.
    pub acting_role: Option<String>,
    /// The other end of the database connection.
    pub peer_addr: Option<String>,
    pub application_name: Option<String>,
    /// Process id of the server process.
    pub pid: Option<i32>,
    /// The full transaction id of a change, or of the transaction that ended.
    pub xid: Option<u64>,
    pub alert: Alert,
    /// Whatever else belongs to it; of [`Action::Epoch`], a [`crate::trail::chain::Opening`].
    pub detail: Option<String>,
}

impl Event {
    /// A single event of which nothing else is known yet.
    pub const fn new(at: Timestamp, action: Action, outcome: Outcome) -> Self {
        Self {
            at,
            since: at,
            count: 1,
            action,
            outcome,
            user_id: None,
            client_addr: None,
            login_role: None,
            acting_role: None,
            peer_addr: None,
            application_name: None,
            pid: None,
            xid: None,
            alert: Alert::NONE,
            detail: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    macro_rules! codes_and_texts_lead_back {
        ($ty:ty) => {
            for &it in <$ty>::ALL {
                assert_eq!(<$ty>::from_u8(it as u8), Some(it));
                assert_eq!(<$ty>::from_str(it.as_str()), Some(it));
            }
            let texts: HashSet<_> = <$ty>::ALL.iter().map(|it| it.as_str()).collect();
            assert_eq!(texts.len(), <$ty>::ALL.len());
            let known = (0..=u8::MAX).filter_map(<$ty>::from_u8).count();
            assert_eq!(known, <$ty>::ALL.len());
            assert_eq!((<$ty>::from_str(""), <$ty>::from_str("Epoch")), (None, None));
        };
    }

    #[test]
    fn codes_and_texts_lead_back() {
        codes_and_texts_lead_back!(Action);
        codes_and_texts_lead_back!(Outcome);
    }

    #[test]
    fn codes_are_never_given_anew() {
        // Rows that are out there were chained with these.
        let texts: Vec<_> = Action::ALL.iter().map(|it| it.as_str()).collect();
        let expected = "epoch validate prove create change set disable enable require_change delete \
                        unlock end prune import issue_token reset rename renamed revoke_tokens \
                        compare";
        assert_eq!(texts.join(" "), expected);
        assert!(Action::ALL.iter().map(|&it| it as u8).eq(1..=20));

        let texts: Vec<_> = Outcome::ALL.iter().map(|it| it.as_str()).collect();
        let expected = "recorded valid invalid_credentials throttled locked busy disabled expired \
                        change_required abandoned pending committed rolled_back unknown too_short \
                        too_long too_weak contains_user_id reused already_set blocklisted \
                        unsupported_format malformed over_limit invalid_token no_password";
        assert_eq!(texts.join(" "), expected);
        assert!(Outcome::ALL.iter().map(|&it| it as u8).eq(1..=26));
    }

    #[test]
    fn every_reason_is_an_outcome_of_the_same_name() {
        use Reason::*;
        let reasons = [
            InvalidCredentials,
            Throttled,
            Locked,
            Disabled,
            Expired,
            ChangeRequired,
            TooShort,
            TooLong,
            TooWeak,
            ContainsUserId,
            Reused,
            AlreadySet,
            Blocklisted,
            UnsupportedFormat,
            Malformed,
            OverLimit,
            InvalidToken,
            NoPassword,
            Busy,
        ];
        for reason in reasons {
            let outcome = Outcome::from(reason);
            assert_eq!(outcome.as_str(), reason.as_str());
            assert_eq!(outcome.is_failure(), reason != ChangeRequired);
        }
    }

    #[test]
    fn what_is_not_denied_is_no_failure() {
        let fine: Vec<_> = Outcome::ALL.iter().filter(|it| !it.is_failure()).collect();
        use Outcome::*;
        let expected = [Recorded, Valid, ChangeRequired, Pending, Committed, RolledBack, Unknown];
        assert!(fine.into_iter().eq(&expected));
        assert!(Abandoned.is_failure());
    }

    #[test]
    fn alerts_are_bits_with_names() {
        let names = |bits| Alert(bits).names().collect::<Vec<_>>();
        assert_eq!(names(0), [""; 0]);
        let all = "account_waits account_locked client_exhausted caller_exhausted \
                   success_after_failures";
        assert_eq!(names(31).join(" "), all);
        for (bit, name) in all.split(' ').enumerate() {
            assert_eq!(names(1 << bit), [name]);
        }
        let both = Alert::ACCOUNT_LOCKED | Alert::SUCCESS_AFTER_FAILURES;
        assert_eq!(both, Alert(18));
        assert!(both.contains(Alert::ACCOUNT_LOCKED) && !both.contains(Alert(3)));
        assert!(Alert::NONE.is_empty() && !both.is_empty());
    }
}
