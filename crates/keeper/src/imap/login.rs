//! From a destination and a secret to a session.

use std::time::Duration;

use async_imap::Client;
use async_imap::error::Error;
use async_imap::imap_proto::{Capability, Response, Status};
use password_verify_core::rules::secret::Secret;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::answer::{code, of_command, of_login};
use super::exchange::{self, Wire};
use super::sasl::{Scram, Single};
use crate::job::{Destination, Mechanism, Protocol};
use crate::net::stream::Bounded;
use crate::trouble::Trouble;
use crate::ways::Ways;

/// What the session runs on.
pub type Stream = Bounded<TlsStream<TcpStream>>;

/// Connects, with TLS and the greeting done.
///
/// # Errors
/// [`Trouble`].
pub async fn connect(
    ways: &Ways,
    to: &Destination,
    end: Instant,
) -> Result<Client<Stream>, Trouble> {
    let stream = ways.dialer.dial(&to.host, to.port).await?;
    // A server that says nothing, or little by little, is soon found out: others wait for its place.
    let greeted = tokio::time::timeout(ways.dialer.patience, greeted(ways, to, stream, end));
    greeted.await.map_err(|_| Trouble::Timeout)?
}

async fn greeted(
    ways: &Ways,
    to: &Destination,
    mut stream: TcpStream,
    end: Instant,
) -> Result<Client<Stream>, Trouble> {
    let starts = to.protocol == Protocol::Imap;
    if starts {
        stream = start_tls(stream, ways.silence, end).await?;
    }
    let handshake = ways.trust.connect(&to.host, to.ca.as_deref(), stream);
    let handshake = tokio::time::timeout(ways.silence, handshake).await;
    let stream = handshake.map_err(|_| Trouble::Timeout)??;
    let mut client = Client::new(Bounded::new(stream, ways.silence, end));
    if !starts {
        greeting(&mut client).await?;
    }
    Ok(client)
}

/// Asks for TLS (RFC 9051 section 6.2.1). Without it there is no connection. What came in the clear is forgotten.
async fn start_tls(
    stream: TcpStream,
    silence: Duration,
    end: Instant,
) -> Result<TcpStream, Trouble> {
    let mut client = Client::new(Bounded::new(stream, silence, end));
    greeting(&mut client).await?;
    let answer = exchange::say(&mut client, "S1", "STARTTLS", |_| {}).await;
    answer.map_err(|why| match of_command(&why) {
        gone @ (Trouble::Disconnected | Trouble::Timeout | Trouble::TooLarge) => gone,
        _ => Trouble::Tls,
    })?;
    Ok(client.into_inner().into_inner())
}

/// Reads the greeting.
async fn greeting<S: Wire>(client: &mut Client<S>) -> Result<(), Trouble> {
    let first = exchange::next(client, |first| match first {
        Response::Data { status: Status::Ok, .. } => Ok(()),
        Response::Data { status: Status::Bye, outcome, .. } => {
            Err(outcome.information.as_deref().and_then(code).unwrap_or(Trouble::Unavailable))
        }
        // Nobody is logged in before a secret was shown.
        _ => Err(Trouble::Protocol),
    });
    first.await.map_err(|why| of_command(&why))?
}

/// Shows the secret: the password, or for OAuth the access token.
///
/// # Errors
/// [`Trouble::Refused`] if the server says so, and nothing else.
pub async fn log_in(
    client: &mut Client<Stream>,
    to: &Destination,
    secret: &Secret,
) -> Result<(), Trouble> {
    if !offers(client, to.mechanism).await? {
        return Err(Trouble::Protocol);
    }
    client.get_mut().allow(0);
    let (login, mut shown) = (&to.login, false);
    let mut single = match to.mechanism {
        Mechanism::Login => {
            let (login, password) = (quoted(login)?, quoted(secret.expose())?);
            let words = Zeroizing::new(format!("LOGIN {} {}", *login, *password));
            let done = exchange::say(client, LOGIN, &words, |_| {}).await;
            return done.map_err(|why| of_login(&why));
        }
        Mechanism::ScramSha256 => {
            let mut scram = Scram::new(login, secret).ok_or(Trouble::Protocol)?;
            let name = name(to.mechanism);
            let done = exchange::authenticate(client, LOGIN, name, &mut scram, &mut shown).await;
            // A refusal of what the keeper has broken off says nothing of the secret.
            let refused =
                |why| if scram.is_at_fault() { Trouble::Protocol } else { of_answer(&why, shown) };
            done.map_err(refused)?;
            return if scram.is_proved() { Ok(()) } else { Err(Trouble::Protocol) };
        }
        Mechanism::Plain => Single::plain(login, secret),
        Mechanism::OauthBearer => Single::oauth_bearer(login, &to.host, to.port, secret),
        Mechanism::Xoauth2 => Single::xoauth2(login, secret),
        Mechanism::Basic | Mechanism::Bearer => return Err(Trouble::Unknown),
    };
    let name = name(to.mechanism);
    let done = exchange::authenticate(client, LOGIN, name, &mut single, &mut shown).await;
    done.map_err(|why| of_answer(&why, shown))
}

/// A server that says NO before it was shown anything has refused no secret.
fn of_answer(why: &Error, shown: bool) -> Trouble {
    if shown { of_login(why) } else { of_command(why) }
}

/// The tag of whatever logs in.
const LOGIN: &str = "L1";

/// A string as LOGIN has it.
fn quoted(text: &str) -> Result<Zeroizing<String>, Trouble> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(Trouble::Protocol);
    }
    let mut quoted = Zeroizing::new(String::with_capacity(2 * text.len() + 2));
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Ok(quoted)
}

const fn name(mechanism: Mechanism) -> &'static str {
    match mechanism {
        Mechanism::Plain => "PLAIN",
        Mechanism::ScramSha256 => "SCRAM-SHA-256",
        Mechanism::OauthBearer => "OAUTHBEARER",
        Mechanism::Xoauth2 => "XOAUTH2",
        Mechanism::Login | Mechanism::Basic | Mechanism::Bearer => "",
    }
}

/// Does the server offer that mechanism? One that it does not would be refused like a wrong password.
async fn offers(client: &mut Client<Stream>, mechanism: Mechanism) -> Result<bool, Trouble> {
    client.get_mut().allow(0);
    let (mut named, mut no_login) = (false, false);
    let answer = exchange::say(client, "C1", "CAPABILITY", |response| {
        let Response::Capabilities(all) = response else { return };
        for capability in all {
            match capability {
                Capability::Auth(it) => named |= it.eq_ignore_ascii_case(name(mechanism)),
                Capability::Atom(it) => no_login |= it.eq_ignore_ascii_case("LOGINDISABLED"),
                Capability::Imap4rev1 => {}
            }
        }
    });
    answer.await.map_err(|why| of_command(&why))?;
    Ok(if mechanism == Mechanism::Login { !no_login } else { named })
}
