//! How far a request has come with a mailbox: nothing is read twice, and nothing is left out.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::talk::Mailbox;
use crate::job::Destination;

/// What is noted with each result, in one transaction with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Which mailbox of which server: a secret may be stored anew, for another one.
    pub of: String,
    pub uidvalidity: u32,
    /// The first number that was not read yet.
    pub next: u32,
}

/// Where to go on.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    pub progress: Progress,
    /// The numbers of mails are not those that they were: what was read before may come again (RFC 9051 section
    /// 2.3.1.1).
    pub is_reset: bool,
}

/// Which mailbox of which server.
pub fn of(to: &Destination, name: &str) -> String {
    format!("{}/{}/{name}", to.host, to.login)
}

/// What was noted, if it can be read.
pub fn noted(value: Option<&Value>) -> Option<Progress> {
    value.and_then(|it| Progress::deserialize(it).ok())
}

/// Where to go on with a mailbox that was found like this.
pub fn start(noted: Option<Progress>, to: &Destination, name: &str, found: Mailbox) -> Start {
    let of = of(to, name);
    let noted = noted.filter(|it| it.of == of);
    let uidvalidity = found.uid_validity;
    match noted {
        Some(progress) if progress.uidvalidity == uidvalidity => {
            Start { progress, is_reset: false }
        }
        other => {
            Start { progress: Progress { of, uidvalidity, next: 1 }, is_reset: other.is_some() }
        }
    }
}

impl Progress {
    /// A mail was read. There is none after the last number.
    pub fn pass(&mut self, uid: u32) {
        self.next = self.next.max(uid.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Mechanism, Protocol};
    use serde_json::json;

    fn to() -> Destination {
        Destination {
            protocol: Protocol::Imaps,
            host: "mail.example".into(),
            port: 993,
            login: "ann".into(),
            mechanism: Mechanism::Plain,
            token_endpoint: None,
            scopes: None,
            ca: None,
        }
    }

    #[test]
    fn it_goes_on_where_it_was_unless_the_numbers_are_others() {
        let found = Mailbox { uid_validity: 5, uid_next: Some(10) };
        let from = |noted: Value| {
            let Start { progress, is_reset } =
                start(super::noted(Some(&noted)), &to(), "INBOX", found);
            (progress.uidvalidity, progress.next, is_reset)
        };
        let noted =
            |of: &str, uidvalidity: u32| json!({"of": of, "uidvalidity": uidvalidity, "next": 7});
        assert_eq!(from(noted("mail.example/ann/INBOX", 5)), (5, 7, false));
        assert_eq!(from(noted("mail.example/ann/INBOX", 4)), (5, 1, true));
        assert_eq!(from(noted("mail.example/bob/INBOX", 5)), (5, 1, false));
        assert_eq!(from(json!({"next": 7})), (5, 1, false));
        assert_eq!(start(None, &to(), "INBOX", found).progress.next, 1);
    }
}
