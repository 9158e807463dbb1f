//! Why a job did not come to its end, and what the extension is told of it.

use password_verify_core::keeper::schedule::Outcome;

/// What is in the way. Never holds a text of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The server has said that the secret is wrong. It is not tried again until it is stored anew.
    Refused,
    /// The user has to consent again (OAuth): the refresh token is not taken any more.
    Reconsent,
    /// The secret is in a vault that is locked.
    VaultLocked,
    Unavailable,
    Limited,
    InUse,
    /// The name has no address, or nobody says so.
    Dns,
    /// The configuration, or the sort of address, forbids to connect there.
    AddressRefused,
    /// No trust: the certificate, or no TLS at all.
    Tls,
    Timeout,
    /// The job's own time is over: nobody's fault.
    OutOfTime,
    Disconnected,
    /// An answer that is none.
    Protocol,
    ServerBug,
    TooLarge,
    MailboxMissing,
    /// The numbers of its mails are not those that they were.
    MailboxReset,
    /// The job asks for something that the keeper does not know.
    Unknown,
    /// The keeper's own fault.
    Internal,
}

impl Trouble {
    /// Outcome and detail of a job.
    pub const fn told_of(done: Result<(), Self>) -> (Outcome, &'static str) {
        match done {
            Ok(()) => (Outcome::Done, "ok"),
            Err(why) => why.told(),
        }
    }

    /// Outcome and detail for `pv_finish_job`.
    pub const fn told(self) -> (Outcome, &'static str) {
        match self {
            Self::Refused => (Outcome::Rejected, "credential_refused"),
            Self::Reconsent => (Outcome::Rejected, "reconsent"),
            // What time may heal. The extension waits longer each time, and gives up after 20.
            Self::Unavailable => (Outcome::Retry, "unavailable"),
            Self::Limited => (Outcome::Retry, "limited"),
            Self::InUse => (Outcome::Retry, "in_use"),
            Self::Dns => (Outcome::Retry, "dns"),
            Self::Timeout | Self::OutOfTime => (Outcome::Retry, "timeout"),
            Self::Disconnected => (Outcome::Retry, "disconnected"),
            Self::ServerBug => (Outcome::Retry, "server_bug"),
            Self::Internal => (Outcome::Retry, "internal"),
            // What would come again. A request that repeats is due for its next round.
            Self::VaultLocked => (Outcome::Failed, "vault_locked"),
            Self::AddressRefused => (Outcome::Failed, "address_refused"),
            Self::Tls => (Outcome::Failed, "tls"),
            Self::Protocol | Self::Unknown => (Outcome::Failed, "protocol"),
            Self::TooLarge => (Outcome::Failed, "too_large"),
            Self::MailboxMissing => (Outcome::Failed, "mailbox_missing"),
            Self::MailboxReset => (Outcome::Failed, "mailbox_reset"),
        }
    }

    /// Does it say something of the host, so that others who wait for it had better wait, too?
    pub const fn is_of_the_host(self) -> bool {
        matches!(
            self,
            Self::Unavailable | Self::Dns | Self::Tls | Self::Timeout | Self::Disconnected
        )
    }
}
