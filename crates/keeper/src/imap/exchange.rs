//! What is sent and what comes back, one after the other. The library reads the answers. Its own commands are not used:
//! they take a tagged answer with any tag for theirs, and leave copies of secrets in memory.

use core::fmt::Debug;
use std::panic::AssertUnwindSafe;

use async_imap::error::Error;
use async_imap::imap_proto::{Response, Status};
use async_imap::{Authenticator, Client};
use base64ct::{Base64, Encoding};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::sasl::Message;

/// What a client runs on.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Debug + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Debug + Send> Wire for T {}

/// What the next response is to whoever reads it.
///
/// # Errors
/// As the library says it. A panic of its parser is a response that cannot be read.
pub async fn next<S: Wire, T>(
    client: &mut Client<S>,
    reads: impl FnOnce(&Response<'_>) -> T,
) -> Result<T, Error> {
    let response = AssertUnwindSafe(client.read_response()).catch_unwind().await;
    let response = response.map_err(|_| Error::Bad(String::new()))??;
    response.map(|it| reads(it.parsed())).ok_or(Error::ConnectionLost)
}

/// Sends a command, and passes on what is answered, to the end.
///
/// # Errors
/// As the library says it: [`Error::No`] has the server's text.
pub async fn say<S: Wire>(
    client: &mut Client<S>,
    tag: &str,
    words: &str,
    mut each: impl FnMut(&Response<'_>),
) -> Result<(), Error> {
    send(client, &Zeroizing::new(format!("{tag} {words}\r\n"))).await?;
    loop {
        let end = next(client, |response| {
            end(response, tag).or_else(|| {
                each(response);
                None
            })
        });
        if let Some(end) = end.await? {
            return end;
        }
    }
}

/// Shows who somebody is, as the server asks for it (RFC 9051 section 6.2.2). `shown`: did it ask?
///
/// # Errors
/// As [`say`].
pub async fn authenticate<S: Wire>(
    client: &mut Client<S>,
    tag: &str,
    mechanism: &str,
    mut shows: impl Authenticator<Response = Message>,
    shown: &mut bool,
) -> Result<(), Error> {
    send(client, &format!("{tag} AUTHENTICATE {mechanism}\r\n")).await?;
    loop {
        let (challenge, end) = next(client, |response| match response {
            Response::Continue(outcome) => {
                let challenge = outcome.information.as_deref().unwrap_or_default();
                (Some(Base64::decode_vec(challenge)), None)
            }
            other => (None, end(other, tag)),
        })
        .await?;
        if let Some(challenge) = challenge {
            let message = shows.process(&challenge.map_err(|_| Error::Bad(String::new()))?);
            // Room for all of it, so that no copy is left behind.
            let mut line = Zeroizing::new(String::with_capacity(message.len().div_ceil(3) * 4 + 2));
            line.push_str(&Zeroizing::new(Base64::encode_string(&message)));
            line.push_str("\r\n");
            *shown = true;
            send(client, &line).await?;
        } else if let Some(end) = end {
            return end;
        }
    }
}

async fn send<S: Wire>(client: &mut Client<S>, line: &str) -> Result<(), Error> {
    client.get_mut().write_all(line.as_bytes()).await?;
    Ok(client.get_mut().flush().await?)
}

/// Is it the end of the answer to that command, and which?
fn end(response: &Response<'_>, tag: &str) -> Option<Result<(), Error>> {
    match response {
        Response::Done { tag: other, status, outcome } if other.0 == tag => Some(match status {
            Status::Ok => Ok(()),
            Status::No => {
                Err(Error::No(outcome.information.as_deref().unwrap_or_default().to_owned()))
            }
            _ => Err(Error::Bad(String::new())),
        }),
        // It says good-bye, and the connection ends.
        Response::Data { status: Status::Bye, .. } => Some(Err(Error::ConnectionLost)),
        _ => None,
    }
}
