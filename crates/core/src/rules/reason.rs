//! Every answer other than yes.

/// Why an answer is not yes. Data, not an error: the caller's transaction survives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Unknown user and wrong password alike.
    InvalidCredentials,
    /// Not checked: too many failures before this one; the same password may be right later.
    Throttled,
    /// Not checked: too many failures in a row; an administrator unlocks the account.
    Locked,
    /// Right password, but the account is disabled.
    Disabled,
    /// Right password, but it was issued with an end that has passed.
    Expired,
    /// Right password, but it must be changed before it is worth anything.
    ChangeRequired,
    /// Fewer code points than `password_verify.min_length`.
    TooShort,
    /// More than [`crate::rules::policy::MAX_BYTES`] bytes.
    TooLong,
    /// Estimated strength below `password_verify.min_strength`.
    TooWeak,
    /// Contains the user id.
    ContainsUserId,
    /// The new password is the old one.
    Reused,
    /// `pv_create_password` sets a first password only.
    AlreadySet,
    /// On the list of breached passwords.
    Blocklisted,
    /// Not the hash of any system that is known here.
    UnsupportedFormat,
    /// A hash of a known system, but broken.
    Malformed,
    /// A hash that asks for more work or memory than is allowed.
    OverLimit,
    /// No reset token, or one that is used, replaced or too old.
    InvalidToken,
    /// There is nothing to rename.
    NoPassword,
    /// Another transaction is writing the same user's record, or the server has no room for another hash:
    /// nothing was changed.
    Busy,
}

impl Reason {
    /// The value of the SQL column `reason`. Stable: applications compare it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "invalid_credentials",
            Self::Throttled => "throttled",
            Self::Locked => "locked",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::ChangeRequired => "change_required",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::TooWeak => "too_weak",
            Self::ContainsUserId => "contains_user_id",
            Self::Reused => "reused",
            Self::AlreadySet => "already_set",
            Self::Blocklisted => "blocklisted",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Malformed => "malformed",
            Self::OverLimit => "over_limit",
            Self::InvalidToken => "invalid_token",
            Self::NoPassword => "no_password",
            Self::Busy => "busy",
        }
    }
}
