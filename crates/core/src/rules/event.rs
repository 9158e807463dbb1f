//! Audit events: what is recorded of an action.
//!
//! Codes and texts are stable and must never change: the chain of MACs ([`crate::trail::chain`])
//! covers the codes, and queries of the audit compare the texts.

use std::ops::BitOr;

use crate::rules::account::Timestamp;
use crate::rules::reason::Reason;
use crate::rules::throttle::Payer::{self, Account, Comparison, Vault};

/// Defines an enumeration with a stable code and a stable text for each variant.
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
            // Not the trait `FromStr`: an unknown text needs no error type of its own.
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
    /// The action that an event records.
    pub enum Action {
        /// A chain begins; this is its first row.
        Epoch = 1 => "epoch",
        /// A password was checked for a login.
        Validate = 2 => "validate",
        /// The old password or the reset token of a change was checked.
        Prove = 3 => "prove",
        /// A first password is set.
        Create = 4 => "create",
        /// A password is changed by a user who has proven the old one.
        Change = 5 => "change",
        /// A password is set without the old one.
        Set = 6 => "set",
        /// An account is disabled: no password is accepted from now on.
        Disable = 7 => "disable",
        /// An account is enabled again.
        Enable = 8 => "enable",
        /// A password has to be changed: it is only good for choosing another one.
        RequireChange = 9 => "require_change",
        /// A record is deleted.
        Delete = 10 => "delete",
        /// An account is unlocked: its failures are forgotten.
        Unlock = 11 => "unlock",
        /// A transaction that made changes has ended.
        End = 12 => "end",
        /// Events older than `password_verify.audit_retention` were removed.
        Prune = 13 => "prune",
        /// A hash of another system is imported.
        Import = 14 => "import",
        /// A reset token is issued.
        IssueToken = 15 => "issue_token",
        /// A password is reset by a user who holds a reset token.
        Reset = 16 => "reset",
        /// A user gets another id. This event has the old one.
        Rename = 17 => "rename",
        /// This event, in the same transaction as [`Action::Rename`], has the new id.
        Renamed = 18 => "renamed",
        /// Reset tokens issued so far are revoked.
        RevokeTokens = 19 => "revoke_tokens",
        /// A new password was compared with stored ones: [`Outcome::Reused`] or [`Outcome::Valid`].
        Compare = 20 => "compare",
        /// Records are sealed again with the active key, some in each transaction.
        Rotate = 21 => "rotate",
        /// A restore to an earlier state is accepted as it is. The detail says why.
        AcceptRestore = 22 => "accept_restore",
        /// A table is not as it was written. The detail says which.
        Tampered = 23 => "tampered",
        /// A secret is kept for a user, anew or in place of another.
        StoreSecret = 24 => "store_secret",
        /// A kept secret is deleted.
        ForgetSecret = 25 => "forget_secret",
        /// A kept secret is to be used: a job is made.
        Request = 26 => "request",
        /// A job and its results are deleted.
        CancelRequest = 27 => "cancel_request",
        /// The keeper leases a job.
        TakeJob = 28 => "take_job",
        /// The keeper opens the secret of a job that it has leased.
        OpenSecret = 29 => "open_secret",
        /// The keeper replaces a secret that its use has changed.
        StoreRotated = 30 => "store_rotated",
        /// The keeper delivers a result of a job.
        Deliver = 31 => "deliver",
        /// The keeper ends its lease of a job.
        FinishJob = 32 => "finish_job",
        /// Results are acknowledged, and deleted.
        AckResults = 33 => "ack_results",
        /// A user gets a vault.
        CreateVault = 34 => "create_vault",
        /// A vault gets another password.
        ChangeVaultPassword = 35 => "change_vault_password",
        /// A vault is deleted, with the secrets in it.
        DeleteVault = 36 => "delete_vault",
        /// A vault password was checked to unlock the vault.
        UnlockVault = 37 => "unlock_vault",
        /// A vault is locked before its time.
        LockVault = 38 => "lock_vault",
        /// A vault password was checked to store a secret in the vault, or to change it.
        ProveVault = 39 => "prove_vault",
        /// A user is deleted and to be forgotten ([`Outcome::Pending`]); or the id was erased from events, and the detail
        /// says from how many ([`Outcome::Recorded`]).
        Forget = 40 => "forget",
        /// Somebody had the whole audit verified. The detail says whether it is as it was written.
        Verify = 41 => "verify",
    }
}

/// The role of an action in the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The action concerns the chain itself and always has a row of its own.
    Chain,
    /// The action tests a secret: see [`crate::rules::purpose::Purpose::conditions`].
    Attempt,
    /// The action changes something about a user, as part of a transaction.
    Change {
        /// The budgets whose failures are forgotten when the transaction commits.
        clears: &'static [Payer],
    },
}

/// Shortens the table in [`Action::role`].
const fn change(clears: &'static [Payer]) -> Role {
    Role::Change { clears }
}

impl Action {
    /// The table of roles.
    pub const fn role(self) -> Role {
        match self {
            Self::Epoch
            | Self::End
            | Self::Prune
            | Self::AcceptRestore
            | Self::Tampered
            | Self::Verify => Role::Chain,
            Self::Validate
            | Self::Prove
            | Self::Compare
            | Self::OpenSecret
            | Self::UnlockVault
            | Self::ProveVault => Role::Attempt,
            Self::Create | Self::Set | Self::Reset => change(&[Account, Comparison]),
            Self::Unlock => change(&[Account, Comparison, Vault]),
            Self::CreateVault => change(&[Vault]),
            // The proof of the old password has already cleared the account's failures, unless the
            // Chance budget paid for it; then other clients still have to wait.
            Self::Change | Self::Delete | Self::Forget => change(&[Comparison]),
            Self::Import
            | Self::Rename
            | Self::Renamed
            | Self::Disable
            | Self::Enable
            | Self::RequireChange
            | Self::IssueToken
            | Self::RevokeTokens
            | Self::Rotate
            | Self::StoreSecret
            | Self::ForgetSecret
            | Self::Request
            | Self::CancelRequest
            | Self::TakeJob
            | Self::StoreRotated
            | Self::Deliver
            | Self::FinishJob
            | Self::AckResults
            | Self::ChangeVaultPassword
            | Self::DeleteVault
            | Self::LockVault => change(&[]),
        }
    }

    /// The budgets whose failures are forgotten when the change commits.
    pub const fn clears(self) -> &'static [Payer] {
        match self.role() {
            Role::Change { clears } => clears,
            Role::Chain | Role::Attempt => &[],
        }
    }
}

coded! {
    /// The outcome of an action.
    pub enum Outcome {
        /// A fact that has no answer: [`Action::Epoch`], [`Action::Prune`].
        Recorded = 1 => "recorded",
        /// The secret is right and was accepted.
        Valid = 2 => "valid",
        /// See [`Reason::InvalidCredentials`].
        InvalidCredentials = 3 => "invalid_credentials",
        /// See [`Reason::Throttled`]: a budget of the account, the client or the caller is used up.
        Throttled = 4 => "throttled",
        /// See [`Reason::Locked`].
        Locked = 5 => "locked",
        /// See [`Reason::Busy`].
        Busy = 6 => "busy",
        /// See [`Reason::Disabled`].
        Disabled = 7 => "disabled",
        /// See [`Reason::Expired`].
        Expired = 8 => "expired",
        /// See [`Reason::ChangeRequired`].
        ChangeRequired = 9 => "change_required",
        /// The call ended without an answer.
        Abandoned = 10 => "abandoned",
        /// The change belongs to a transaction that has not ended.
        Pending = 11 => "pending",
        /// The transaction has committed.
        Committed = 12 => "committed",
        /// The transaction was rolled back.
        RolledBack = 13 => "rolled_back",
        /// The transaction ran on another server, so this one cannot tell how it ended.
        Unknown = 14 => "unknown",
        /// See [`Reason::TooShort`].
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
        /// See [`Reason::NotLeased`].
        NotLeased = 27 => "not_leased",
        /// See [`Reason::NoSecret`].
        NoSecret = 28 => "no_secret",
        /// See [`Reason::VaultLocked`].
        VaultLocked = 29 => "vault_locked",
        /// See [`Reason::TooMany`].
        TooMany = 30 => "too_many",
    }
}

impl Outcome {
    /// Whether something was denied. Failures come in floods when an attacker guesses.
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
            | Self::NoPassword
            | Self::NotLeased
            | Self::NoSecret
            | Self::VaultLocked
            | Self::TooMany => true,
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
            Reason::NotLeased => Self::NotLeased,
            Reason::NoSecret => Self::NoSecret,
            Reason::VaultLocked => Self::VaultLocked,
            Reason::TooMany => Self::TooMany,
            Reason::Busy => Self::Busy,
        }
    }
}

/// What an administrator should look at: a set of bits, usually empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Alert(pub u8);

impl Alert {
    /// No alert.
    pub const NONE: Self = Self(0);
    /// The account has to wait between attempts from now on.
    pub const ACCOUNT_WAITS: Self = Self(1);
    /// The account is locked.
    pub const ACCOUNT_LOCKED: Self = Self(2);
    /// The client's failure budget is used up.
    pub const CLIENT_EXHAUSTED: Self = Self(4);
    /// The login role's budget of hashes is used up.
    pub const CALLER_EXHAUSTED: Self = Self(8);
    /// A right password followed several wrong ones: an attacker may have guessed it.
    pub const SUCCESS_AFTER_FAILURES: Self = Self(16);

    /// A table is not as it was written.
    pub const TAMPERED: Self = Self(32);

    /// What was stored without a key counts, until it is sealed.
    pub const UNSEALED: Self = Self(64);

    /// More distinct secrets were opened within an hour than are expected.
    pub const MANY_OPENED: Self = Self(128);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::ACCOUNT_WAITS, "account_waits"),
        (Self::ACCOUNT_LOCKED, "account_locked"),
        (Self::CLIENT_EXHAUSTED, "client_exhausted"),
        (Self::CALLER_EXHAUSTED, "caller_exhausted"),
        (Self::SUCCESS_AFTER_FAILURES, "success_after_failures"),
        (Self::TAMPERED, "tampered"),
        (Self::UNSEALED, "unsealed"),
        (Self::MANY_OPENED, "many_opened"),
    ];

    /// Whether there is no alert.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of the bits, lowest first. Bits without a name are skipped.
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
    /// The time of the event; in a folded row, of the last occurrence.
    pub at: Timestamp,
    /// The time of the event; in a folded row, of the first occurrence.
    pub since: Timestamp,
    /// 1, or the number of events that a folded row stands for.
    pub count: i64,
    pub action: Action,
    pub outcome: Outcome,
    /// The user, in the canonical spelling.
    pub user_id: Option<String>,
    /// The client's address, as reported by the application.
    pub client_addr: Option<String>,
    /// The role that logged in to the database (`session_user`).
    pub login_role: Option<String>,
    /// The role whose rights were in force (`current_user`).
    pub acting_role: Option<String>,
    /// The address at the other end of the database connection.
    pub peer_addr: Option<String>,
    /// The subject of the client certificate that the server has verified, in the form of RFC 2253; see
    /// [`crate::trail::subject`].
    pub certificate_subject: Option<String>,
    /// Its serial number, in decimal digits.
    pub certificate_serial: Option<String>,
    pub application_name: Option<String>,
    /// Process id of the backend.
    pub pid: Option<i32>,
    /// Full transaction id of the change, or of the transaction that ended.
    pub xid: Option<u64>,
    pub alert: Alert,
    /// Further details; for [`Action::Epoch`], a [`crate::trail::chain::Opening`].
    pub detail: Option<String>,
}

impl Event {
    /// Makes a single event with all other fields empty.
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
            certificate_subject: None,
            certificate_serial: None,
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
        // Existing rows were chained with these codes.
        let texts: Vec<_> = Action::ALL.iter().map(|it| it.as_str()).collect();
        let expected = "epoch validate prove create change set disable enable require_change delete \
                        unlock end prune import issue_token reset rename renamed revoke_tokens \
                        compare rotate \
                        accept_restore tampered \
                        store_secret forget_secret request cancel_request take_job open_secret \
                        store_rotated deliver finish_job ack_results create_vault \
                        change_vault_password delete_vault unlock_vault lock_vault prove_vault forget \
                        verify";
        assert_eq!(texts.join(" "), expected);
        assert!(Action::ALL.iter().map(|&it| it as u8).eq(1..=41));

        let texts: Vec<_> = Outcome::ALL.iter().map(|it| it.as_str()).collect();
        let expected = "recorded valid invalid_credentials throttled locked busy disabled expired \
                        change_required abandoned pending committed rolled_back unknown too_short \
                        too_long too_weak contains_user_id reused already_set blocklisted \
                        unsupported_format malformed over_limit invalid_token no_password \
                        not_leased no_secret vault_locked too_many";
        assert_eq!(texts.join(" "), expected);
        assert!(Outcome::ALL.iter().map(|&it| it as u8).eq(1..=30));
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
            NotLeased,
            NoSecret,
            VaultLocked,
            TooMany,
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
