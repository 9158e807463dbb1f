//! How a secret is shown to an IMAP server (RFC 9051 section 6.2.2): the messages of each mechanism.

use async_imap::Authenticator;
use password_verify_core::rules::secret::Secret;
use rsasl::prelude::{Mechname, SASLClient, SASLConfig, Session, State};
use zeroize::Zeroizing;

/// One message, in the clear.
pub type Message = Zeroizing<Vec<u8>>;

/// The most rounds of SCRAM: more than anybody recommends, and less than a second. A server that wants more would keep
/// the keeper from everything else for as long as it likes.
const MOST_ROUNDS: u32 = 100_000;

/// One message that says everything: PLAIN (RFC 4616), OAUTHBEARER (RFC 7628), XOAUTH2.
pub struct Single {
    message: Message,
    /// What answers the server's reasons for a refusal, before it refuses.
    then: &'static [u8],
    said: bool,
}

impl Single {
    pub fn plain(login: &str, password: &Secret) -> Self {
        Self::of(format!("\0{login}\0{}", password.expose()), b"")
    }

    pub fn oauth_bearer(login: &str, host: &str, port: u16, token: &Secret) -> Self {
        // In an authorization identity `,` and `=` are escaped (RFC 5801 section 4).
        let login = login.replace('=', "=3D").replace(',', "=2C");
        let token = token.expose();
        let text = format!(
            "n,a={login},\u{1}host={host}\u{1}port={port}\u{1}auth=Bearer {token}\u{1}\u{1}"
        );
        Self::of(text, b"\x01")
    }

    pub fn xoauth2(login: &str, token: &Secret) -> Self {
        let token = token.expose();
        Self::of(format!("user={login}\u{1}auth=Bearer {token}\u{1}\u{1}"), b"")
    }

    fn of(text: String, then: &'static [u8]) -> Self {
        Self { message: Zeroizing::new(text.into_bytes()), then, said: false }
    }
}

impl Authenticator for &mut Single {
    type Response = Message;

    fn process(&mut self, _challenge: &[u8]) -> Message {
        if std::mem::replace(&mut self.said, true) {
            return Zeroizing::new(self.then.to_vec());
        }
        self.message.clone()
    }
}

/// SCRAM-SHA-256 (RFC 7677): the server does not see the password, and proves that it knows it.
pub struct Scram {
    session: Session,
    state: Option<State>,
    is_at_fault: bool,
}

impl Scram {
    /// `None` if the library does not take the login.
    pub fn new(login: &str, password: &Secret) -> Option<Self> {
        let (login, password) = (login.to_owned(), password.expose().to_owned());
        let config = SASLConfig::with_credentials(None, login, password).ok()?;
        let mechanism = Mechname::parse(b"SCRAM-SHA-256").ok()?;
        let session = SASLClient::new(config).start_suggested(&[mechanism]).ok()?;
        Some(Self { session, state: None, is_at_fault: false })
    }

    /// Was it broken off, because the server has not kept to it?
    pub fn is_at_fault(&self) -> bool {
        self.is_at_fault
    }

    /// Has the server proved that it knows the password?
    pub fn is_proved(&self) -> bool {
        self.state.as_ref().is_some_and(State::is_finished)
    }
}

impl Authenticator for &mut Scram {
    type Response = Message;

    fn process(&mut self, challenge: &[u8]) -> Message {
        let mut message = Zeroizing::new(Vec::new());
        let challenge = Some(challenge).filter(|_| self.state.is_some());
        if challenge.is_some_and(|it| it.starts_with(b"e=")) {
            // An error of the exchange (RFC 5802 section 7), such as a wrong proof. The refusal follows.
            self.state = Some(State::Running);
            return message;
        }
        self.is_at_fault |= challenge.is_some_and(|it| rounds(it) > MOST_ROUNDS);
        if !self.is_at_fault {
            match self.session.step(challenge, &mut *message) {
                Ok(state) => self.state = Some(state),
                Err(_) => self.is_at_fault = true,
            }
        }
        if self.is_at_fault {
            // Nothing is said any more that depends on the password, and the server ends it.
            self.state = Some(State::Running);
            message.clear();
        }
        message
    }
}

/// How many rounds a server wants (RFC 5802 section 5.1): the largest number that could be meant.
fn rounds(challenge: &[u8]) -> u32 {
    let of = |part: &[u8]| match part.strip_prefix(b"i=") {
        Some(number) => str::from_utf8(number).ok()?.parse().ok().or(Some(u32::MAX)),
        None => None,
    };
    challenge.split(|byte| *byte == b',').filter_map(of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new("s3cret".into())
    }

    #[test]
    fn messages_are_those_of_the_standards() {
        let mut plain = Single::plain("ann", &secret());
        assert_eq!(*(&mut plain).process(b""), b"\0ann\0s3cret");
        assert_eq!(*(&mut plain).process(b"why"), b"");
        let mut bearer = Single::oauth_bearer("a=n,n", "mail.example", 993, &secret());
        let text = b"n,a=a=3Dn=2Cn,\x01host=mail.example\x01port=993\x01auth=Bearer s3cret\x01\x01";
        assert_eq!(*(&mut bearer).process(b""), text);
        assert_eq!(*(&mut bearer).process(b"{}"), b"\x01");
        let mut xoauth2 = Single::xoauth2("ann", &secret());
        assert_eq!(*(&mut xoauth2).process(b""), b"user=ann\x01auth=Bearer s3cret\x01\x01");
        assert_eq!(*(&mut xoauth2).process(b"{}"), b"");
    }

    #[test]
    fn a_server_that_does_not_prove_itself_has_not_proved_itself() {
        let mut scram = Scram::new("user", &secret()).unwrap();
        let first = (&mut scram).process(b"");
        assert!(first.starts_with(b"n,,n=user,r="), "{:?}", String::from_utf8_lossy(&first));
        assert!(!scram.is_proved());
        let nonce = String::from_utf8(first[12..].to_vec()).unwrap();
        let challenge = format!("r={nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let second = (&mut scram).process(challenge.as_bytes());
        assert!(second.starts_with(b"c=biws,r="));
        assert_eq!(*(&mut scram).process(b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), b"");
        assert!(!scram.is_proved());
        assert!(scram.is_at_fault());
    }

    #[test]
    fn a_server_that_says_why_it_refuses_is_not_at_fault() {
        let mut scram = Scram::new("user", &secret()).unwrap();
        let nonce = String::from_utf8((&mut scram).process(b"")[12..].to_vec()).unwrap();
        let challenge = format!("r={nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert!(!(&mut scram).process(challenge.as_bytes()).is_empty());
        assert_eq!(*(&mut scram).process(b"e=invalid-proof"), b"");
        assert!(!scram.is_at_fault());
        assert!(!scram.is_proved());
    }

    #[test]
    fn a_server_that_wants_too_many_rounds_gets_nothing() {
        for (rounds, is_much) in [("4096", false), ("100001", true), ("99999999999", true)] {
            let mut scram = Scram::new("user", &secret()).unwrap();
            let nonce = String::from_utf8((&mut scram).process(b"")[12..].to_vec()).unwrap();
            let challenge = format!("r={nonce}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={rounds}");
            assert_eq!((&mut scram).process(challenge.as_bytes()).is_empty(), is_much, "{rounds}");
            assert_eq!(scram.is_at_fault(), is_much, "{rounds}");
        }
    }
}
