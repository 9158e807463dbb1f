//! Every answer other than yes.

/// Why the answer is not yes. This is data, not an error: the caller's transaction survives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The user is unknown or the password is wrong: the answer is the same for both.
    InvalidCredentials,
    /// Not checked, after too many failures. The same password may be right later.
    Throttled,
    /// Not checked, after too many failures in a row. A manager has to unlock the account.
    Locked,
    /// The password is right, but the account is disabled.
    Disabled,
    /// The password is right, but it was issued with an expiry time, which has passed.
    Expired,
    /// The password is right, but it must be changed before it can be used to log in.
    ChangeRequired,
    /// The password has fewer code points than `password_verify.min_length`.
    TooShort,
    /// The password has more than [`crate::rules::policy::MAX_BYTES`] bytes.
    TooLong,
    /// The estimated strength is below `password_verify.min_strength`.
    TooWeak,
    /// The password contains the user id.
    ContainsUserId,
    /// The new password is the current one or one of the last `password_verify.history` ones.
    Reused,
    /// The user already has a password.
    AlreadySet,
    /// The password is on a list of common or breached passwords.
    Blocklisted,
    /// The text is not a hash in any supported format.
    UnsupportedFormat,
    /// The hash is in a supported format, but broken.
    Malformed,
    /// The hash asks for more work or memory than is allowed.
    OverLimit,
    /// The text is not a reset token, or the token is used, replaced, revoked or expired.
    InvalidToken,
    /// The user to rename has no password.
    NoPassword,
    /// The job is not leased, or not any more.
    NotLeased,
    /// The secret of the job is gone.
    NoSecret,
    /// The secret is in a vault that is not unlocked for the job.
    VaultLocked,
    /// The user has as many secrets as are allowed.
    TooMany,
    /// Another transaction is writing the same user's record, or no hash slot, lock or place in the
    /// audit came free in time. Nothing was changed.
    Busy,
}

impl Reason {
    /// The value of the SQL column `reason`. It is stable, because applications compare it.
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
            Self::NotLeased => "not_leased",
            Self::NoSecret => "no_secret",
            Self::VaultLocked => "vault_locked",
            Self::TooMany => "too_many",
            Self::Busy => "busy",
        }
    }
}
