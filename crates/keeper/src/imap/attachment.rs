//! One part of one mail, delivered in pieces.

use async_imap::imap_proto::{AttributeValue, Response};
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::of_command;
use super::talk::Talk;
use super::transfer::Transfer;
use crate::connector::Desk;
use crate::job::Job;
use crate::trouble::Trouble;

/// A piece, in bytes as they are sent.
const PIECE: usize = 512 << 10;
/// The longest part, in bytes as it is sent.
const MOST: usize = 64 << 20;
/// What a server may write around it.
const AROUND: usize = 2000;

/// How far it has come.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
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
/// [`Trouble::MailboxReset`] if the numbers are others by now; [`Trouble::MailboxMissing`] if the mail is gone.
pub async fn read<D: Desk>(
    talk: &mut Talk,
    job: &Job,
    (mailbox, uidvalidity, uid, part): (&str, u32, u32, &str),
    desk: &mut D,
) -> Result<(), Trouble> {
    if talk.examine(mailbox).await?.uid_validity != uidvalidity {
        return Err(Trouble::MailboxReset);
    }
    let noted = job.progress.as_ref().and_then(|it| Progress::deserialize(it).ok());
    let mut progress = noted.unwrap_or_default();
    let mut rest = progress.rest.clone().into_bytes();
    // The header of the only part of a mail is that of the mail.
    let name = if part == "1" { "1.MIME] BODY.PEEK[HEADER" } else { &format!("{part}.MIME") };
    let headers = sections(talk, uid, &format!("BODY.PEEK[{name}]"), 256 << 10).await?;
    let transfer = Transfer::of(headers.first().map_or(&[], Vec::as_slice));
    while !progress.complete {
        if progress.read >= MOST {
            return Err(Trouble::TooLarge);
        }
        let query = format!("BODY.PEEK[{part}]<{}.{PIECE}>", progress.read);
        let piece =
            sections(talk, uid, &query, PIECE).await?.into_iter().next().unwrap_or_default();
        progress.complete = piece.len() < PIECE;
        let offset = progress.read;
        progress.read += piece.len();
        let mut data = transfer.decode(&mut rest, &piece, progress.complete);
        talk.scrub.clean(&mut data);
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

/// The sections that a mail has of those that are asked for.
async fn sections(
    talk: &mut Talk,
    uid: u32,
    query: &str,
    most: usize,
) -> Result<Vec<Vec<u8>>, Trouble> {
    let (mut found, mut is_there) = (Vec::new(), false);
    let command = format!("UID FETCH {uid} (UID {query})");
    let answer = talk.say(&command, most + AROUND, |response| {
        let Response::Fetch(_, attributes) = response else { return };
        if !attributes.iter().any(|it| matches!(it, AttributeValue::Uid(it) if *it == uid)) {
            return;
        }
        is_there = true;
        found.extend(attributes.iter().filter_map(|it| match it {
            AttributeValue::BodySection { data: Some(data), .. } => Some(data.to_vec()),
            _ => None,
        }));
    });
    answer.await.map_err(|why| of_command(&why))?;
    if is_there { Ok(found) } else { Err(Trouble::MailboxMissing) }
}
