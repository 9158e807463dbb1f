//! One part of one mail, delivered in pieces.

use async_imap::imap_proto::{AttributeValue, Response};
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::of_command;
use super::mails::{AROUND, uid_of};
use super::progress;
use super::talk::Talk;
use super::transfer::Transfer;
use crate::connector::Desk;
use crate::job::Job;
use crate::trouble::Trouble;

/// A piece, in bytes as they are sent.
const PIECE: usize = 512 << 10;
/// The longest part, in bytes as it is sent.
const MOST: usize = 64 << 20;

/// How far it has come.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    /// Of which mailbox of which server: a secret may be stored anew, for another one.
    of: String,
    /// Bytes that were read.
    read: usize,
    /// The end of them that was not decoded yet.
    rest: String,
    /// The last piece was delivered.
    complete: bool,
}

/// Reads the rest of a part: mailbox, its UIDVALIDITY, the number of the mail, and the part's name.
///
/// # Errors
/// [`Trouble::MailboxReset`] if the numbers are others by now; [`Trouble::MailboxMissing`] if the mail is gone, or has no
/// such part.
pub async fn read<D: Desk>(
    talk: &mut Talk,
    job: &Job,
    (mailbox, uidvalidity, uid, part): (&str, u32, u32, &str),
    desk: &mut D,
) -> Result<(), Trouble> {
    if talk.examine(mailbox).await?.uid_validity != uidvalidity {
        return Err(Trouble::MailboxReset);
    }
    let mut progress = begin(job, mailbox)?;
    let mut rest = progress.rest.clone().into_bytes();
    // The header of the only part of a mail is that of the mail. Some servers answer with nothing for the one of the part.
    let name = if part == "1" { "1.MIME] BODY.PEEK[HEADER" } else { &format!("{part}.MIME") };
    let headers = sections(talk, uid, &format!("BODY.PEEK[{name}]"), 256 << 10).await?;
    let header = headers.iter().flatten().find(|it| !it.trim_ascii().is_empty());
    let transfer = Transfer::of(header.map_or(&[], Vec::as_slice));
    while !progress.complete {
        if progress.read >= MOST {
            return Err(Trouble::TooLarge);
        }
        let query = format!("BODY.PEEK[{part}]<{}.{PIECE}>", progress.read);
        let mut pieces = sections(talk, uid, &query, PIECE).await?.into_iter();
        let piece = match pieces.next().ok_or(Trouble::ServerBug)? {
            Some(piece) => piece,
            None if progress.read == 0 => return Err(Trouble::MailboxMissing),
            None => Vec::new(),
        };
        if piece.len() > PIECE {
            return Err(Trouble::Protocol);
        }
        progress.complete = piece.len() < PIECE;
        let offset = progress.read;
        progress.read += piece.len();
        let data = transfer.decode(&mut rest, &piece, progress.complete);
        progress.rest = String::from_utf8_lossy(&rest).into_owned();
        let result = json!({
            "mailbox": mailbox, "uidvalidity": uidvalidity, "uid": uid, "part": part,
            "offset": offset, "data": Base64::encode_string(&data), "last": progress.complete,
        });
        let noted = serde_json::to_value(&progress).map_err(|_| Trouble::Internal)?;
        desk.deliver(&result, &noted).await?;
    }
    Ok(())
}

/// How far it had come.
///
/// # Errors
/// [`Trouble::MailboxReset`]: with another mailbox than this.
fn begin(job: &Job, mailbox: &str) -> Result<Progress, Trouble> {
    let of = progress::of(&job.destination, mailbox);
    match job.progress.as_ref().and_then(|it| Progress::deserialize(it).ok()) {
        Some(noted) if noted.of == of => Ok(noted),
        // Pieces of it were delivered. These numbers, too, are of that one.
        Some(_) => Err(Trouble::MailboxReset),
        None => Ok(Progress { of, ..Progress::default() }),
    }
}

/// The sections that come of those that are asked for. `None` for one that is not there.
async fn sections(
    talk: &mut Talk,
    uid: u32,
    query: &str,
    most: usize,
) -> Result<Vec<Option<Vec<u8>>>, Trouble> {
    let (mut found, mut is_there) = (Vec::new(), false);
    let command = format!("UID FETCH {uid} (UID {query})");
    let answer = talk.say(&command, most + AROUND, |response| {
        let Response::Fetch(_, attributes) = response else { return };
        if uid_of(attributes) != Some(uid) {
            return;
        }
        is_there = true;
        found.extend(attributes.iter().filter_map(|it| match it {
            AttributeValue::BodySection { data, .. } => Some(data.as_ref().map(|it| it.to_vec())),
            _ => None,
        }));
    });
    answer.await.map_err(|why| of_command(&why))?;
    if is_there { Ok(found) } else { Err(Trouble::MailboxMissing) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Destination, Held};
    use serde_json::Value;

    fn job(host: &str, login: &str, progress: Option<Value>) -> Job {
        let destination = json!({
            "protocol": "imaps", "host": host, "port": 993, "login": login, "mechanism": "PLAIN",
        });
        Job {
            held: Held { number: 1, lease: 1 },
            destination: Destination::deserialize(destination).unwrap(),
            what: Value::Null,
            progress,
        }
    }

    #[test]
    fn pieces_of_one_mailbox_are_not_followed_by_those_of_another() {
        let mut progress = begin(&job("mail.example", "ann", None), "INBOX").unwrap();
        assert_eq!(progress.read, 0);
        progress.read = 7;
        let noted = serde_json::to_value(&progress).unwrap();
        let again = |host, login, mailbox| {
            begin(&job(host, login, Some(noted.clone())), mailbox).map(|it| it.read)
        };
        assert_eq!(again("mail.example", "ann", "INBOX"), Ok(7));
        for (host, login, mailbox) in [
            ("mail.example", "bob", "INBOX"),
            ("other.example", "ann", "INBOX"),
            ("mail.example", "ann", "Archive"),
        ] {
            assert_eq!(again(host, login, mailbox), Err(Trouble::MailboxReset));
        }
    }
}
