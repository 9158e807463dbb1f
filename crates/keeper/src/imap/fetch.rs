//! Reads mail that was not read before. Nothing is left out that the server has, and nothing is changed there.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_imap::imap_proto::{AttributeValue, Response};
use serde_json::{Value, json};

use super::answer::of_command;
use super::ask::imap_day;
use super::progress::{Progress, start};
use super::talk::Talk;
use crate::connector::Desk;
use crate::job::Job;
use crate::mail::{Parts, Raw, to_json};
use crate::trouble::Trouble;

/// Sizes that are asked for at once.
const SIZES: usize = 500;
/// Mails that are read at once, and about how many bytes of them.
const GROUP: usize = 50;
const GROUP_BYTES: usize = 512 << 10;
/// A result is delivered with so many bytes or mails.
const RESULT_BYTES: usize = 256 << 10;
const RESULT_MAILS: usize = 100;
/// What a server may write around one mail, in bytes.
const AROUND: usize = 2000;
/// The longest answer to a search. The longest list of numbers that is asked for has 1.1 MB. The parser begins anew with
/// every 4 KiB of a line: twice as much takes four times as long.
const NUMBERS: usize = 1_200_000;
/// So many numbers are searched at once, and more where there are few mails.
const WINDOW: u32 = 100_000;
/// So many other mails are asked for, to know whether a server hands out any.
const OTHERS: usize = 3;
/// So many connections in a row may come to nothing. Servers lock out whoever logs in again and again.
const IN_VAIN: u8 = 3;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub mailbox: &'a str,
    pub since: Option<&'a str>,
    pub parts: Parts,
    pub max_bytes: u32,
    pub max_mails: u32,
}

/// What is known of a mail before it is read.
#[derive(Debug, Clone, Default)]
struct Known {
    size: Option<u32>,
    received: Option<String>,
}

/// A round, of which each connection does what it can.
pub struct Round<'a> {
    wanted: Wanted<'a>,
    progress: Option<Progress>,
    /// Mails that were read and not delivered yet, and their size in JSON.
    mails: Vec<Value>,
    bytes: usize,
    left: u32,
    /// Up to this number one mail is read at a time, because the answer for several could not be read.
    singly_to: u32,
    /// Which mail is read at present, if it is one alone.
    alone: Option<u32>,
    /// With which mail alone a connection has ended, and whether in this one another mail was handed out before it.
    suspect: Option<u32>,
    vouched: bool,
    /// How many numbers are searched at present, and at most: fewer after an answer that was too long.
    searched: Option<u32>,
    widest: u32,
    /// How far it had come when a connection last broke, and how many since then have come no further.
    reached: Option<u32>,
    in_vain: u8,
}

impl<'a> Round<'a> {
    pub fn new(wanted: Wanted<'a>) -> Self {
        let left = wanted.max_mails;
        Self {
            wanted,
            progress: None,
            mails: Vec::new(),
            bytes: 0,
            left,
            singly_to: 0,
            alone: None,
            suspect: None,
            vouched: false,
            searched: None,
            widest: u32::MAX,
            reached: None,
            in_vain: 0,
        }
    }

    /// Reads until there is nothing left, or the connection is of no more use.
    ///
    /// # Errors
    /// [`Trouble`]. Call [`Round::go_on`] then.
    pub async fn read<D: Desk>(
        &mut self,
        talk: &mut Talk,
        job: &Job,
        desk: &mut D,
    ) -> Result<(), Trouble> {
        let found = talk.examine(self.wanted.mailbox).await?;
        let noted = match &self.progress {
            Some(progress) => serde_json::to_value(progress).ok(),
            None => job.progress.clone(),
        };
        let begin = start(noted.as_ref(), &job.destination, self.wanted.mailbox, found);
        let next = begin.progress.next;
        self.progress = Some(begin.progress);
        if begin.is_reset {
            let reset = json!({"mailbox": self.wanted.mailbox, "reset": true, "uidvalidity": found.uid_validity});
            self.deliver_one(&reset, desk).await?;
        }
        if found.uid_next.is_some_and(|it| next >= it) || next == u32::MAX {
            return Ok(());
        }
        let day = self.wanted.since.and_then(imap_day);
        let since = day.map(|day| format!(" SINCE {day}")).unwrap_or_default();
        let (mut from, mut width) = (next, WINDOW);
        while let Some(window) = window(from, width, found.uid_next) {
            let (first, last) = window;
            self.searched = Some(width);
            let mut uids = talk.search(&format!("UID {first}:{last}{since}"), NUMBERS).await?;
            self.searched = None;
            uids.retain(|uid| (first..=last).contains(uid));
            let few = uids.len() < 1000;
            width = if few { width.saturating_mul(4).min(self.widest) } else { WINDOW };
            uids.truncate(self.left as usize);
            for some in uids.chunks(SIZES) {
                let known = sizes(talk, some).await?;
                for group in self.groups(some, &known) {
                    self.read_group(talk, group, &known, desk).await?;
                }
            }
            match last.checked_add(1) {
                Some(after) if self.left > 0 => from = after,
                _ => break,
            }
        }
        self.deliver(desk).await
    }

    /// Divides numbers into groups that are read at once.
    fn groups<'b>(&self, uids: &'b [u32], known: &BTreeMap<u32, Known>) -> Vec<&'b [u32]> {
        let (mut groups, mut begin, mut bytes) = (Vec::new(), 0, 0);
        for (at, uid) in uids.iter().enumerate() {
            let size = self.expected(known.get(uid));
            let full = at - begin >= GROUP || bytes + size > GROUP_BYTES || *uid <= self.singly_to;
            if at > begin && full {
                groups.push(&uids[begin..at]);
                (begin, bytes) = (at, 0);
            }
            bytes += size;
        }
        groups.push(&uids[begin..]);
        groups
    }

    /// How many bytes of it will come, if it is as long as the server says.
    fn expected(&self, known: Option<&Known>) -> usize {
        let size = known.and_then(|it| it.size).unwrap_or(self.wanted.max_bytes);
        size.min(self.wanted.max_bytes) as usize
    }

    async fn read_group<D: Desk>(
        &mut self,
        talk: &mut Talk,
        group: &[u32],
        known: &BTreeMap<u32, Known>,
        desk: &mut D,
    ) -> Result<(), Trouble> {
        if let [uid] = group {
            if self.suspect.take_if(|it| it == uid).is_some() {
                self.vouched = self.hands_out_others(talk, group, known).await?;
            }
            self.alone = Some(*uid);
        }
        let mut mails = self.bodies(talk, group, known).await?;
        let missing = missing(group, &mails);
        if !missing.is_empty() {
            // Deleted meanwhile, or kept back by the server?
            let mut there = talk.search(&format!("UID {}", set(&missing)), NUMBERS).await?;
            there.retain(|uid| missing.contains(uid));
            self.read_singly(talk, group, &there, known, &mut mails).await?;
        }
        for uid in group {
            if let Some(mail) = mails.remove(uid) {
                self.add(mail, desk).await?;
            }
            self.pass(*uid);
        }
        self.alone = None;
        Ok(())
    }

    /// Some of a group were not handed out, and are there. Is it they, or is it the server? A mail is called unreadable
    /// only by a server that hands out others.
    async fn read_singly(
        &self,
        talk: &mut Talk,
        group: &[u32],
        there: &[u32],
        known: &BTreeMap<u32, Known>,
        mails: &mut BTreeMap<u32, Value>,
    ) -> Result<(), Trouble> {
        for uid in there.iter().filter(|_| group.len() > 1) {
            mails.extend(self.bodies(talk, &[*uid], known).await?);
        }
        let kept_back: Vec<u32> =
            there.iter().copied().filter(|uid| !mails.contains_key(uid)).collect();
        let is_healthy = kept_back.is_empty()
            || !mails.is_empty()
            || self.hands_out_others(talk, group, known).await?;
        mails.extend(kept_back.into_iter().map(|uid| (uid, unreadable(uid))));
        if is_healthy { Ok(()) } else { Err(Trouble::ServerBug) }
    }

    /// Does the server hand out any other mail?
    async fn hands_out_others(
        &self,
        talk: &mut Talk,
        group: &[u32],
        known: &BTreeMap<u32, Known>,
    ) -> Result<bool, Trouble> {
        for uid in known.keys().filter(|uid| !group.contains(uid)).take(OTHERS) {
            if !self.bodies(talk, &[*uid], known).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Those of these mails that the server hands out.
    async fn bodies(
        &self,
        talk: &mut Talk,
        uids: &[u32],
        known: &BTreeMap<u32, Known>,
    ) -> Result<BTreeMap<u32, Value>, Trouble> {
        let bytes: usize = match uids {
            // It may be longer than it was said to be.
            [_] => self.wanted.max_bytes as usize,
            _ => uids.iter().map(|uid| self.expected(known.get(uid))).sum::<usize>() * 5 / 4,
        };
        let section = if self.wanted.parts == Parts::Headers { "HEADER" } else { "" };
        let (set, most) = (set(uids), self.wanted.max_bytes);
        let command = format!("UID FETCH {set} (UID BODY.PEEK[{section}]<0.{most}>)");
        let mut mails = BTreeMap::new();
        let (parts, max, scrub) = (self.wanted.parts, most as usize, Arc::clone(&talk.scrub));
        let answer = talk.say(&command, bytes + uids.len() * AROUND, |response| {
            let Some((uid, Some(body))) = body_of(response) else { return };
            if uids.contains(&uid) {
                let known = known.get(&uid).cloned().unwrap_or_default();
                let mut body = body[..body.len().min(max)].to_vec();
                scrub.clean(&mut body);
                let size = known.size.unwrap_or(body.len() as u32);
                let raw = Raw { uid, received: known.received, size, bytes: &body };
                let mut mail = to_json(&raw, parts);
                scrub.clean_decoded(&mut mail);
                mails.insert(uid, mail);
            }
        });
        match answer.await.map_err(|why| of_command(&why)) {
            // Whoever has asked looks at what is missing.
            Ok(()) | Err(Trouble::ServerBug) => Ok(mails),
            Err(why) => Err(why),
        }
    }

    fn pass(&mut self, uid: u32) {
        self.left = self.left.saturating_sub(1);
        if let Some(progress) = &mut self.progress {
            progress.pass(uid);
        }
    }

    async fn add<D: Desk>(&mut self, mail: Value, desk: &mut D) -> Result<(), Trouble> {
        let bytes = mail.to_string().len();
        let full = self.bytes + bytes > RESULT_BYTES || self.mails.len() >= RESULT_MAILS;
        if full {
            self.deliver(desk).await?;
        }
        self.bytes += bytes;
        self.mails.push(mail);
        Ok(())
    }

    /// Delivers what was read.
    ///
    /// # Errors
    /// Those of [`Desk::deliver`].
    pub async fn deliver<D: Desk>(&mut self, desk: &mut D) -> Result<(), Trouble> {
        let Some(progress) = &self.progress else { return Ok(()) };
        if self.mails.is_empty() {
            return Ok(());
        }
        let result = json!({
            "mailbox": self.wanted.mailbox,
            "uidvalidity": progress.uidvalidity,
            "mails": std::mem::take(&mut self.mails),
        });
        self.bytes = 0;
        self.deliver_one(&result, desk).await
    }

    async fn deliver_one<D: Desk>(&self, result: &Value, desk: &mut D) -> Result<(), Trouble> {
        let progress = serde_json::to_value(&self.progress).map_err(|_| Trouble::Internal)?;
        desk.deliver(result, &progress).await
    }

    /// Delivers what was read before the trouble. Is it worth another connection?
    ///
    /// # Errors
    /// Those of [`Desk::deliver`].
    pub async fn go_on<D: Desk>(&mut self, why: Trouble, desk: &mut D) -> Result<bool, Trouble> {
        let garbled = matches!(why, Trouble::Protocol | Trouble::TooLarge);
        if let Some(width) = self.searched.take().filter(|_| garbled) {
            self.widest = WINDOW.max(width / 256);
        }
        let ended = matches!(why, Trouble::Disconnected | Trouble::Timeout);
        match self.alone.take() {
            // This mail alone cannot be read, whoever has sent it. The others can.
            Some(uid) if garbled || ended && self.vouched => {
                self.add(unreadable(uid), desk).await?;
                self.pass(uid);
            }
            Some(uid) if ended => self.suspect = Some(uid),
            _ => {
                let next = self.progress.as_ref().map_or(0, |it| it.next);
                let singly = if garbled { 10 * GROUP } else { GROUP };
                if garbled || ended {
                    self.singly_to = next.saturating_add(singly as u32).max(self.singly_to);
                }
            }
        }
        self.vouched = false;
        self.deliver(desk).await?;
        let Some(next) = self.progress.as_ref().map(|it| it.next) else { return Ok(false) };
        self.in_vain = if self.reached == Some(next) { self.in_vain + 1 } else { 1 };
        self.reached = Some(next);
        Ok((garbled || ended) && self.in_vain < IN_VAIN)
    }
}

/// The numbers that are searched next: to the last that the server has given, or to the last that there is.
fn window(from: u32, width: u32, next: Option<u32>) -> Option<(u32, u32)> {
    let end = next.map_or(u32::MAX, |next| next.saturating_sub(1));
    (from <= end).then(|| (from, from.saturating_add(width - 1).min(end)))
}

fn missing(group: &[u32], mails: &BTreeMap<u32, Value>) -> Vec<u32> {
    group.iter().copied().filter(|uid| !mails.contains_key(uid)).collect()
}

fn unreadable(uid: u32) -> Value {
    json!({"uid": uid, "note": "unreadable"})
}

async fn sizes(talk: &mut Talk, uids: &[u32]) -> Result<BTreeMap<u32, Known>, Trouble> {
    let mut known = BTreeMap::new();
    let command = format!("UID FETCH {} (UID RFC822.SIZE INTERNALDATE)", set(uids));
    let answer = talk.say(&command, uids.len() * AROUND, |response| {
        let Response::Fetch(_, attributes) = response else { return };
        let (mut uid, mut of) = (None, Known::default());
        for attribute in attributes {
            match attribute {
                AttributeValue::Uid(number) => uid = Some(*number),
                AttributeValue::Rfc822Size(size) => of.size = Some(*size),
                AttributeValue::InternalDate(date) => of.received = rfc3339(date),
                _ => {}
            }
        }
        if let Some(uid) = uid {
            known.insert(uid, of);
        }
    });
    answer.await.map_err(|why| of_command(&why))?;
    Ok(known)
}

fn body_of<'r>(response: &'r Response<'_>) -> Option<(u32, Option<&'r [u8]>)> {
    let Response::Fetch(_, attributes) = response else { return None };
    let uid = attributes.iter().find_map(|it| match it {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })?;
    let body = attributes.iter().find_map(|it| match it {
        AttributeValue::BodySection { data, .. } => data.as_deref(),
        _ => None,
    });
    Some((uid, body))
}

/// Numbers in order as a set: runs as `a:b`.
fn set(uids: &[u32]) -> String {
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
    fn windows_end_where_the_numbers_end() {
        assert_eq!(window(5, 10, Some(30)), Some((5, 14)));
        assert_eq!(window(25, 10, Some(30)), Some((25, 29)));
        assert_eq!(window(30, 10, Some(30)), None);
        assert_eq!(window(1, 10, Some(1)), None);
        assert_eq!(window(1, u32::MAX, None), Some((1, u32::MAX)));
        assert_eq!(window(u32::MAX, 10, None), Some((u32::MAX, u32::MAX)));
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

    #[test]
    fn groups_are_bounded_in_bytes_and_in_number() {
        let wanted = Wanted {
            mailbox: "INBOX",
            since: None,
            parts: Parts::Text,
            max_bytes: 400 << 10,
            max_mails: 9,
        };
        let mut round = Round::new(wanted);
        let sized = |size| Known { size: Some(size), received: None };
        let uids: Vec<u32> = (1..=120).collect();
        let small: BTreeMap<u32, Known> = uids.iter().map(|uid| (*uid, sized(1000))).collect();
        let lengths = |round: &Round<'_>, known: &BTreeMap<u32, Known>| -> Vec<usize> {
            round.groups(&uids, known).iter().map(|it| it.len()).collect()
        };
        assert_eq!(lengths(&round, &small), [50, 50, 20]);
        let large: BTreeMap<u32, Known> = uids.iter().map(|uid| (*uid, sized(u32::MAX))).collect();
        assert_eq!(lengths(&round, &large), vec![1; 120]);
        assert_eq!(lengths(&round, &BTreeMap::new()), vec![1; 120]);
        round.singly_to = 2;
        assert_eq!(lengths(&round, &small), [1, 50, 50, 19]);
    }
}
