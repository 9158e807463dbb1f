//! The codes of jobs and secrets: stable texts, because queries compare them.

/// Defines an enumeration with a stable text for each variant.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident => $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The variant with this text.
            // Not the trait `FromStr`: an unknown text needs no error type of its own.
            #[allow(clippy::should_implement_trait)]
            pub fn from_str(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text)
            }
        }
    };
}

named! {
    /// What the keeper reports of an attempt.
    pub enum Outcome {
        /// The round is finished.
        Done => "done",
        /// The job is tried again, after [`crate::keeper::schedule::retry_at`].
        Retry => "retry",
        /// The other side refused the secret.
        Rejected => "rejected",
        /// The job cannot be done.
        Failed => "failed",
    }
}

named! {
    /// What is known of a secret.
    pub enum SecretState {
        /// It has not been used yet.
        New => "new",
        /// The other side accepted it.
        Verified => "verified",
        /// The other side refused it. It is not used again until it is replaced.
        Rejected => "rejected",
    }
}

named! {
    /// Where a job stands.
    pub enum JobState {
        /// It is due at some time.
        Waiting => "waiting",
        /// A keeper works at it.
        Leased => "leased",
        /// It cannot go on until its user does something.
        Blocked => "blocked",
        /// It has no further round.
        Ended => "ended",
    }
}

/// The details that a report may give, and no others: fixed texts cannot carry a secret away.
pub const DETAILS: &[&str] = &[
    "ok",
    "credential_refused",
    "reconsent",
    "unavailable",
    "limited",
    "in_use",
    "server_bug",
    "timeout",
    "disconnected",
    "dns",
    "address_refused",
    "tls",
    "protocol",
    "mailbox_missing",
    "mailbox_reset",
    "too_large",
    "vault_locked",
    "internal",
];

/// The detail with this text.
pub fn detail(text: &str) -> Option<&'static str> {
    DETAILS.iter().copied().find(|it| *it == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back() {
        for it in Outcome::ALL {
            assert_eq!(Outcome::from_str(it.as_str()), Some(*it));
        }
        for it in SecretState::ALL {
            assert_eq!(SecretState::from_str(it.as_str()), Some(*it));
        }
        for it in JobState::ALL {
            assert_eq!(JobState::from_str(it.as_str()), Some(*it));
        }
        assert_eq!((Outcome::from_str("Done"), JobState::from_str("")), (None, None));
        assert!(DETAILS.iter().all(|it| detail(it) == Some(*it)));
        assert_eq!((detail(""), detail("OK"), detail("ok ")), (None, None, None));
    }
}
