//! What the answers of IMAP servers mean. Their texts end here.

use async_imap::error::Error;

use crate::net::tls::of_io;
use crate::trouble::Trouble;

/// What `NO` to AUTHENTICATE or LOGIN means: a refusal, unless the server says that it is something else (RFC 5530).
pub fn of_login(error: &Error) -> Trouble {
    match error {
        Error::No(text) => code(text).unwrap_or(Trouble::Refused),
        other => of_command(other),
    }
}

/// What went wrong with any other command.
pub fn of_command(error: &Error) -> Trouble {
    match error {
        Error::Io(why) => of_io(why),
        Error::ConnectionLost => Trouble::Disconnected,
        Error::No(text) => code(text).unwrap_or(Trouble::ServerBug),
        _ => Trouble::Protocol,
    }
}

/// What `NO` to EXAMINE means.
pub fn of_mailbox(error: &Error) -> Trouble {
    match error {
        Error::No(text) => code(text).unwrap_or(Trouble::MailboxMissing),
        other => of_command(other),
    }
}

/// What the response code at the beginning of a text says, if it says that the fault is not ours.
pub fn code(text: &str) -> Option<Trouble> {
    let code = text.trim_start().strip_prefix('[')?.split([']', ' ']).next()?;
    match code.to_ascii_uppercase().as_str() {
        "UNAVAILABLE" => Some(Trouble::Unavailable),
        "LIMIT" | "OVERQUOTA" => Some(Trouble::Limited),
        "INUSE" => Some(Trouble::InUse),
        "SERVERBUG" | "CORRUPTION" => Some(Trouble::ServerBug),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn no(info: &str) -> Error {
        Error::No(info.into())
    }

    #[test]
    fn a_no_to_a_login_is_a_refusal_unless_it_says_otherwise() {
        for (info, trouble) in [
            ("[AUTHENTICATIONFAILED] Authentication failed.", Trouble::Refused),
            ("authentication failure", Trouble::Refused),
            ("[EXPIRED] Password expired", Trouble::Refused),
            ("[UNAVAILABLE] Temporary authentication failure.", Trouble::Unavailable),
            ("[unavailable] later", Trouble::Unavailable),
            ("[LIMIT] Too many connections", Trouble::Limited),
            ("[INUSE] locked", Trouble::InUse),
            ("[SERVERBUG] Internal error", Trouble::ServerBug),
            ("see [UNAVAILABLE]", Trouble::Refused),
        ] {
            assert_eq!(of_login(&no(info)), trouble, "{info}");
        }
        assert_eq!(of_login(&no("")), Trouble::Refused);
    }

    #[test]
    fn a_connection_that_is_lost_is_no_refusal() {
        assert_eq!(of_login(&Error::ConnectionLost), Trouble::Disconnected);
        for (kind, trouble) in [
            (io::ErrorKind::ConnectionReset, Trouble::Disconnected),
            (io::ErrorKind::UnexpectedEof, Trouble::Disconnected),
            (io::ErrorKind::TimedOut, Trouble::Timeout),
            (io::ErrorKind::FileTooLarge, Trouble::TooLarge),
        ] {
            assert_eq!(of_login(&Error::Io(kind.into())), trouble);
        }
        assert_eq!(of_login(&Error::Bad(String::new())), Trouble::Protocol);
        // What the parser says of what it cannot read.
        assert_eq!(of_command(&Error::Io(io::Error::other("?"))), Trouble::Protocol);
    }
}
