//! One command and its answer. The library's own commands take an answer that was cut off, or a refusal, for an empty
//! one, which for a mailbox means mail that is lost.

use std::time::Duration;

use async_imap::Client;
use async_imap::error::Error;
use async_imap::imap_proto::{MailboxDatum, Response, ResponseCode};
use tokio::time::timeout;

use super::answer::{of_command, of_mailbox};
use super::exchange;
use super::login::Stream;
use super::utf7;
use crate::trouble::Trouble;

/// The longest name of a mailbox, in bytes as they are sent.
const MAX_MAILBOX: usize = 1000;
/// The longest wait for the answer to LOGOUT.
const GOODBYE: Duration = Duration::from_secs(5);

/// A session in which somebody is logged in.
pub struct Talk {
    client: Client<Stream>,
    /// Commands so far.
    commands: u32,
}

/// What a mailbox is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mailbox {
    pub uid_validity: u32,
    pub uid_next: Option<u32>,
}

impl Talk {
    pub fn new(client: Client<Stream>) -> Self {
        Self { client, commands: 0 }
    }

    /// Sends a command, and passes on what is answered, to the end. `allowance`: how many bytes the answer may have.
    ///
    /// # Errors
    /// As the library says it: [`Error::No`] has the server's text.
    pub async fn say(
        &mut self,
        command: &str,
        allowance: usize,
        each: impl FnMut(&Response<'_>),
    ) -> Result<(), Error> {
        self.client.get_mut().allow(allowance);
        self.commands += 1;
        exchange::say(&mut self.client, &format!("A{}", self.commands), command, each).await
    }

    /// Opens a mailbox to read it.
    ///
    /// # Errors
    /// [`Trouble::MailboxMissing`], or what the server says.
    pub async fn examine(&mut self, name: &str) -> Result<Mailbox, Trouble> {
        let name = utf7::encode(name);
        if name.len() > MAX_MAILBOX || name.contains(['\r', '\n', '\0']) {
            return Err(Trouble::MailboxMissing);
        }
        let name = name.replace('\\', "\\\\").replace('"', "\\\"");
        let mut found = Mailbox::default();
        let command = format!("EXAMINE \"{name}\"");
        let answer = self.say(&command, 0, |response| {
            let Response::Data { outcome, .. } = response else { return };
            match outcome.code {
                Some(ResponseCode::UidValidity(number)) => found.uid_validity = number,
                Some(ResponseCode::UidNext(number)) => found.uid_next = Some(number),
                _ => {}
            }
        });
        answer.await.map_err(|why| of_mailbox(&why))?;
        // Without it the numbers of mails mean nothing (RFC 9051 section 2.3.1.1).
        if found.uid_validity == 0 { Err(Trouble::Protocol) } else { Ok(found) }
    }

    /// The numbers of mails that match, in order.
    ///
    /// # Errors
    /// What the server says.
    pub async fn search(&mut self, what: &str, allowance: usize) -> Result<Vec<u32>, Trouble> {
        let mut found = Vec::new();
        let command = format!("UID SEARCH {what}");
        let answer = self.say(&command, allowance, |response| {
            if let Response::MailboxData(MailboxDatum::Search(numbers)) = response {
                found.extend_from_slice(numbers);
            }
        });
        answer.await.map_err(|why| of_command(&why))?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Says good-bye. Nobody needs the answer, and others wait for their turn.
    pub async fn leave(mut self) {
        let _ = timeout(GOODBYE, self.say("LOGOUT", 0, |_| {})).await;
    }
}
