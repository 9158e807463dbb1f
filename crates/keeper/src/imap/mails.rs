//! Mails as a server hands them out: what is asked for, and what comes of the answer.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, Response};
use serde_json::Value;

use super::answer::of_command;
use super::talk::Talk;
use crate::mail::{Parts, Raw, to_json};
use crate::trouble::Trouble;

/// What a server may write around one mail, in bytes.
pub const AROUND: usize = 2000;

/// What is asked for before mails are read; and what instead after an answer that could not be read. In the end nothing
/// is.
pub const FACTS: [&str; 2] = ["RFC822.SIZE INTERNALDATE", "RFC822.SIZE"];

/// What is known of a mail before it is read.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub size: Option<u32>,
    pub received: Option<String>,
}

/// How much of each mail is read.
#[derive(Debug, Clone, Copy)]
pub struct Much {
    pub parts: Parts,
    /// In bytes.
    pub most: u32,
}

/// What is known of these mails, if the server says such facts of them.
///
/// # Errors
/// What the server says.
pub async fn facts(
    talk: &mut Talk,
    uids: &[u32],
    facts: Option<&&str>,
) -> Result<BTreeMap<u32, Known>, Trouble> {
    let mut known: BTreeMap<u32, Known> = uids.iter().map(|uid| (*uid, Known::default())).collect();
    let Some(facts) = facts else { return Ok(known) };
    let command = format!("UID FETCH {} (UID {facts})", set(uids));
    let answer = talk.say(&command, uids.len() * AROUND, |response| {
        let Response::Fetch(_, attributes) = response else { return };
        let Some(of) = uid_of(attributes).and_then(|uid| known.get_mut(&uid)) else { return };
        for attribute in attributes {
            match attribute {
                AttributeValue::Rfc822Size(size) => of.size = Some(*size),
                AttributeValue::InternalDate(date) => of.received = rfc3339(date),
                _ => {}
            }
        }
    });
    answer.await.map_err(|why| of_command(&why))?;
    Ok(known)
}

impl Much {
    /// How many bytes of it will come, if it is as long as the server says.
    pub fn expected(self, known: Option<&Known>) -> usize {
        known.and_then(|it| it.size).unwrap_or(self.most).min(self.most) as usize
    }

    /// Those of these mails that the server hands out.
    ///
    /// # Errors
    /// What the server says, unless it is only that it does not hand them out. Whoever has asked looks at what is missing.
    pub async fn bodies(
        self,
        talk: &mut Talk,
        uids: &[u32],
        known: &BTreeMap<u32, Known>,
    ) -> Result<BTreeMap<u32, Value>, Trouble> {
        let most = self.most as usize;
        let bytes: usize = match uids {
            // It may be longer than it was said to be.
            [_] => most,
            _ => uids.iter().map(|uid| self.expected(known.get(uid))).sum::<usize>() * 5 / 4,
        };
        let section = if self.parts == Parts::Headers { "HEADER" } else { "" };
        let command = format!("UID FETCH {} (UID BODY.PEEK[{section}]<0.{most}>)", set(uids));
        let mut mails = BTreeMap::new();
        let answer = talk.say(&command, bytes + uids.len() * AROUND, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let Some((uid, body)) = uid_of(attributes).zip(body_of(attributes)) else { return };
            if uids.contains(&uid) {
                let Known { size, received } = known.get(&uid).cloned().unwrap_or_default();
                let body = &body[..body.len().min(most)];
                // Of one whose size nobody knows, there may be more than was asked for.
                let size =
                    size.or_else(|| u32::try_from(body.len()).ok().filter(|it| *it < self.most));
                mails.insert(uid, to_json(&Raw { uid, received, size, bytes: body }, self.parts));
            }
        });
        match answer.await.map_err(|why| of_command(&why)) {
            Ok(()) | Err(Trouble::ServerBug) => Ok(mails),
            Err(why) => Err(why),
        }
    }
}

/// The number of a mail of which a server says something.
pub fn uid_of(attributes: &[AttributeValue<'_>]) -> Option<u32> {
    attributes.iter().find_map(|it| match it {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

fn body_of<'r>(attributes: &'r [AttributeValue<'_>]) -> Option<&'r [u8]> {
    attributes.iter().find_map(|it| match it {
        AttributeValue::BodySection { data, .. } => data.as_deref(),
        _ => None,
    })
}

/// Numbers in order as a set: runs as `a:b`.
pub fn set(uids: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = uids;
    while let [first, ..] = rest {
        let run =
            rest.iter().zip(*first..=u32::MAX).take_while(|(uid, next)| **uid == *next).count();
        let last = rest[run - 1];
        let comma = if text.is_empty() { "" } else { "," };
        text += &match run {
            1 => format!("{comma}{first}"),
            _ => format!("{comma}{first}:{last}"),
        };
        rest = &rest[run..];
    }
    text
}

/// `27-Nov-2026 10:00:00 +0100` as RFC 3339 writes it.
fn rfc3339(date: &str) -> Option<String> {
    let header = format!("Date: {}\r\n\r\n", date.trim().replacen('-', " ", 2));
    let message = mail_parser::MessageParser::default().parse(header.as_bytes())?;
    message.date().map(mail_parser::DateTime::to_rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_short() {
        assert_eq!(set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(set(&[u32::MAX]), "4294967295");
        assert_eq!(set(&[]), "");
    }

    #[test]
    fn the_time_of_receipt() {
        let read = |text| rfc3339(text);
        assert_eq!(
            read("27-Nov-2026 10:00:00 +0100").as_deref(),
            Some("2026-11-27T10:00:00+01:00")
        );
        assert_eq!(
            read(" 7-Nov-2026 10:00:00 -0330").as_deref(),
            Some("2026-11-07T10:00:00-03:30")
        );
        assert_eq!(read("yesterday"), None);
    }
}
