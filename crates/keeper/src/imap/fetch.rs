//! Reads mail that was not read before. Nothing is left out that the server has, and nothing is changed there.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::ask::imap_day;
use super::mails::{FACTS, Known, Much, facts, set};
use super::progress::{Progress, noted, start};
use super::talk::Talk;
use crate::connector::Desk;
use crate::job::Job;
use crate::mail::Parts;
use crate::trouble::Trouble;

/// Sizes that are asked for at once.
const SIZES: usize = 500;
/// Mails that are read at once, and about how many bytes of them.
const GROUP: usize = 50;
const GROUP_BYTES: usize = 512 << 10;
/// A result is delivered with so many bytes or mails.
const RESULT_BYTES: usize = 256 << 10;
const RESULT_MAILS: usize = 100;
/// The longest answer to a search. The longest list of numbers that is asked for has 1.1 MB. The parser begins anew with
/// every 4 KiB of a line: twice as much takes four times as long.
const NUMBERS: usize = 1_200_000;
/// So many numbers are searched at once, and more where there are few mails.
const WINDOW: u32 = 100_000;
/// So many other mails are asked for, to know whether a server hands out any, and they are looked for among so many
/// numbers before those that are read.
const OTHERS: usize = 3;
const BEFORE: u32 = 1000;
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

/// What is being done, so that what ends a connection is laid to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Doing {
    #[default]
    Other,
    /// So many numbers are searched.
    Searching(u32),
    /// What is known of mails is asked for.
    Facts,
    /// This mail is read, and no other. `vouched`: a connection has ended with it before, and in this one the server has
    /// handed out another mail just now.
    Reading { uid: u32, vouched: bool },
}

/// A round, of which each connection does what it can.
pub struct Round<'a> {
    wanted: Wanted<'a>,
    progress: Option<Progress>,
    /// Mails that were read and not delivered yet, and their size in JSON.
    mails: Vec<Value>,
    bytes: usize,
    left: u32,
    doing: Doing,
    /// Up to this number one mail is read at a time, because the answer for several could not be read.
    singly_to: u32,
    /// With which mail alone a connection has ended.
    suspect: Option<u32>,
    /// The last mail that the server has handed out.
    handed_out: Option<u32>,
    /// How many numbers are searched at most: fewer after an answer that was too long.
    widest: u32,
    /// Which of [`FACTS`] are asked for: fewer after an answer that could not be read.
    facts: usize,
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
            doing: Doing::Other,
            singly_to: 0,
            suspect: None,
            handed_out: None,
            widest: u32::MAX,
            facts: 0,
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
        let known = self.progress.take().or_else(|| noted(job.progress.as_ref()));
        let begin = start(known, &job.destination, self.wanted.mailbox, found);
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
            self.doing = Doing::Searching(width);
            let mut uids = talk.search(&format!("UID {first}:{last}{since}"), NUMBERS).await?;
            self.doing = Doing::Other;
            uids.retain(|uid| (first..=last).contains(uid));
            let few = uids.len() < 1000;
            width = if few { width.saturating_mul(4).min(self.widest) } else { WINDOW };
            uids.truncate(self.left as usize);
            for some in uids.chunks(SIZES) {
                self.doing = Doing::Facts;
                let known = facts(talk, some, FACTS.get(self.facts)).await?;
                self.doing = Doing::Other;
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
            let size = self.much().expected(known.get(uid));
            let full = at - begin >= GROUP || bytes + size > GROUP_BYTES;
            if at > begin && (full || uids[at - 1] <= self.singly_to) {
                groups.push(&uids[begin..at]);
                (begin, bytes) = (at, 0);
            }
            bytes += size;
        }
        groups.push(&uids[begin..]);
        groups
    }

    /// How much of each mail is read.
    const fn much(&self) -> Much {
        Much { parts: self.wanted.parts, most: self.wanted.max_bytes }
    }

    async fn read_group<D: Desk>(
        &mut self,
        talk: &mut Talk,
        group: &[u32],
        known: &BTreeMap<u32, Known>,
        desk: &mut D,
    ) -> Result<(), Trouble> {
        let mut mails = match group {
            [uid] => self.read_alone(talk, *uid, known).await?,
            _ => self.much().bodies(talk, group, known).await?,
        };
        self.handed_out = mails.keys().next_back().copied().or(self.handed_out);
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
        Ok(())
    }

    /// Reads one mail. If a connection has ended with it before, it is asked first for another one: the server may answer
    /// nothing at present.
    async fn read_alone(
        &mut self,
        talk: &mut Talk,
        uid: u32,
        known: &BTreeMap<u32, Known>,
    ) -> Result<BTreeMap<u32, Value>, Trouble> {
        let mut vouched = false;
        if self.suspect == Some(uid) {
            let others = self.others(talk, &[uid], known).await?;
            vouched = self.hands_out(talk, &others, known).await?;
        }
        self.doing = Doing::Reading { uid, vouched };
        let mails = self.much().bodies(talk, &[uid], known).await?;
        self.doing = Doing::Other;
        self.suspect = None;
        Ok(mails)
    }

    /// Some of a group were not handed out, and are there. Is it they, or is it the server? A mail is called unreadable
    /// only by a server that hands out others.
    async fn read_singly(
        &mut self,
        talk: &mut Talk,
        group: &[u32],
        there: &[u32],
        known: &BTreeMap<u32, Known>,
        mails: &mut BTreeMap<u32, Value>,
    ) -> Result<(), Trouble> {
        for uid in there.iter().filter(|_| group.len() > 1) {
            mails.extend(self.much().bodies(talk, &[*uid], known).await?);
        }
        let kept_back: Vec<u32> =
            there.iter().copied().filter(|uid| !mails.contains_key(uid)).collect();
        if kept_back.is_empty() {
            return Ok(());
        }
        // It may have become ill in the middle: what it has handed out before says nothing of it now.
        let others = match mails.keys().next() {
            Some(uid) => vec![*uid],
            None => self.others(talk, group, known).await?,
        };
        if !self.hands_out(talk, &others, known).await? {
            return Err(Trouble::ServerBug);
        }
        mails.extend(kept_back.into_iter().map(|uid| (uid, unreadable(uid))));
        Ok(())
    }

    /// Some other mails: that which the server has handed out last, those that are known, or else what was read in rounds
    /// before. The last ones first: mails that cannot be read often come one after the other.
    async fn others(
        &self,
        talk: &mut Talk,
        group: &[u32],
        known: &BTreeMap<u32, Known>,
    ) -> Result<Vec<u32>, Trouble> {
        let others = self.handed_out.into_iter().chain(known.keys().rev().copied());
        let mut others: Vec<u32> = others.filter(|uid| !group.contains(uid)).collect();
        let before = group.first().map_or(0, |uid| uid.saturating_sub(1));
        if others.is_empty() && before > 0 {
            let first = before.saturating_sub(BEFORE).max(1);
            others = talk.search(&format!("UID {first}:{before}"), NUMBERS).await?;
            others.retain(|uid| (first..=before).contains(uid));
            others.reverse();
        }
        others.truncate(OTHERS);
        Ok(others)
    }

    /// Does the server hand out any of these now?
    async fn hands_out(
        &mut self,
        talk: &mut Talk,
        uids: &[u32],
        known: &BTreeMap<u32, Known>,
    ) -> Result<bool, Trouble> {
        for uid in uids {
            if !self.much().bodies(talk, &[*uid], known).await?.is_empty() {
                self.handed_out = Some(*uid);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn pass(&mut self, uid: u32) {
        self.left = self.left.saturating_sub(1);
        if let Some(progress) = &mut self.progress {
            progress.pass(uid);
        }
    }

    async fn add<D: Desk>(&mut self, mail: Value, desk: &mut D) -> Result<(), Trouble> {
        let bytes = length(&mail);
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
        let ended = matches!(why, Trouble::Disconnected | Trouble::Timeout);
        match std::mem::take(&mut self.doing) {
            _ if !garbled && !ended => {}
            // This mail alone cannot be read, whoever has sent it. The others can.
            Doing::Reading { uid, vouched: true } => {
                self.suspect = None;
                self.add(unreadable(uid), desk).await?;
                self.pass(uid);
            }
            // Or the server answers nothing at present. The next connection tells.
            Doing::Reading { uid, vouched: false } => {
                self.suspect = Some(uid);
                self.singly_to = self.singly_to.max(uid);
            }
            Doing::Searching(width) if garbled => self.widest = WINDOW.max(width / 256),
            Doing::Facts if garbled => self.facts += 1,
            Doing::Searching(_) | Doing::Facts => {}
            Doing::Other => {
                let next = self.progress.as_ref().map_or(0, |it| it.next);
                let singly = if garbled { 10 * GROUP } else { GROUP };
                self.singly_to = next.saturating_add(singly as u32).max(self.singly_to);
            }
        }
        self.deliver(desk).await?;
        let Some(next) = self.progress.as_ref().map(|it| it.next) else { return Ok(false) };
        self.in_vain = if self.reached == Some(next) { self.in_vain + 1 } else { 1 };
        self.reached = Some(next);
        Ok((garbled || ended) && self.in_vain < IN_VAIN)
    }
}

/// How long it is as text, which is not made for that.
fn length(of: &Value) -> usize {
    struct Counts(usize);
    impl io::Write for Counts {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counts = Counts(0);
    // It never fails.
    let _ = serde_json::to_writer(&mut counts, of);
    counts.0
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

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(lengths(&round, &small), [1, 1, 50, 50, 18]);
    }
}
