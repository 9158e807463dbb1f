//! Tamper evidence: each audit row carries a MAC over itself and over the MAC of the previous row.
//!
//! An attacker who can write the table but does not have the key cannot change, remove, insert or
//! reorder rows without breaking the chain at the first of them. Rows cut off at the end show only
//! if a later [`Head`] is known, so heads should be stored elsewhere. Without a key the chain
//! consists of plain hashes, which reveal accidents, but not an attacker who recomputes them.

use blake2::digest::{Digest, FixedOutput, KeyInit, Update, consts::U32};
use blake2::{Blake2b, Blake2bMac};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::kept::keyring::{self, AUDIT, LOG, in_ids, is_id};
use crate::rules::event::{Event, coded};
use crate::trail::erasable::Commitment;

/// Length of a row's MAC in bytes.
pub const MAC_BYTES: usize = 32;

/// First byte of the hashed text. A new encoding needs a new version.
const VERSION: u8 = 2;

/// The key of a chain. Wiped on drop.
pub enum ChainKey {
    /// BLAKE2b-256 with this key.
    Keyed(Zeroizing<[u8; keyring::KEY_BYTES]>),
    /// BLAKE2b-256 without a key.
    Plain,
}

impl From<&keyring::Key> for ChainKey {
    /// Derives the key for [`AUDIT`].
    fn from(key: &keyring::Key) -> Self {
        Self::Keyed(key.derive(AUDIT))
    }
}

impl ChainKey {
    /// Derives the key for [`LOG`].
    pub fn for_log(key: &keyring::Key) -> Self {
        Self::Keyed(key.derive(LOG))
    }

    pub(crate) fn mac(&self, message: &[u8]) -> [u8; MAC_BYTES] {
        match self {
            Self::Keyed(key) => {
                // Invariant: BLAKE2b takes keys of up to 64 bytes, and ours has 32.
                #[allow(clippy::expect_used)]
                let mut mac = Blake2bMac::<U32>::new_from_slice(&key[..]).expect("a 32-byte key");
                mac.update(message);
                mac.finalize_fixed().into()
            }
            Self::Plain => Blake2b::<U32>::digest(message).into(),
        }
    }
}

/// The last row of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub epoch: i64,
    /// -1 in a chain without rows.
    pub seq: i64,
    /// Zeros in a chain without rows.
    pub mac: [u8; MAC_BYTES],
}

/// How a row differs from the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The row is not the next one: rows are missing, repeated or out of order.
    Missing,
    /// The row, the previous row or the key is not the one that the MAC was made with.
    Changed,
}

/// The end of one chain of rows.
pub struct Chain {
    key: ChainKey,
    epoch: i64,
    next: i64,
    last: [u8; MAC_BYTES],
}

impl Chain {
    /// Opens a chain without rows.
    pub const fn open(key: ChainKey, epoch: i64) -> Self {
        Self::resume(key, epoch, 0, [0; MAC_BYTES])
    }

    /// Resumes a chain at row `next_seq`, after a row with the MAC `last_mac`.
    pub const fn resume(
        key: ChainKey,
        epoch: i64,
        next_seq: i64,
        last_mac: [u8; MAC_BYTES],
    ) -> Self {
        Self { key, epoch, next: next_seq, last: last_mac }
    }

    /// The same chain at row `next_seq`, after a row with the MAC `last_mac`.
    #[must_use]
    pub fn at(self, next_seq: i64, last_mac: [u8; MAC_BYTES]) -> Self {
        Self { next: next_seq, last: last_mac, ..self }
    }

    /// Copies the chain to append to until a transaction commits; drop the copy if it does not.
    ///
    /// This is not `Clone`, because a copy of a key must be easy to notice.
    pub fn fork(&self) -> Self {
        let key = match &self.key {
            ChainKey::Keyed(key) => ChainKey::Keyed(key.clone()),
            ChainKey::Plain => ChainKey::Plain,
        };
        Self { key, epoch: self.epoch, next: self.next, last: self.last }
    }

    /// Appends a row, and returns its sequence number and MAC. Of the user id it covers the commitment, not the text.
    pub fn append(&mut self, event: &Event, user: Option<&Commitment>) -> (i64, [u8; MAC_BYTES]) {
        let seq = self.next;
        self.advance(self.mac(event, user));
        (seq, self.last)
    }

    /// Checks that this is the next row as it was written, and advances to it.
    ///
    /// # Errors
    /// [`Broken`], which leaves the chain where it was.
    pub fn check(
        &mut self,
        seq: i64,
        event: &Event,
        user: Option<&Commitment>,
        mac: &[u8],
    ) -> Result<(), Broken> {
        if seq != self.next {
            return Err(Broken::Missing);
        }
        let expected = self.mac(event, user);
        if !bool::from(expected.ct_eq(mac)) {
            return Err(Broken::Changed);
        }
        self.advance(expected);
        Ok(())
    }

    /// The last row of the chain.
    pub const fn head(&self) -> Head {
        Head { epoch: self.epoch, seq: self.next.wrapping_sub(1), mac: self.last }
    }

    const fn advance(&mut self, mac: [u8; MAC_BYTES]) {
        // Wrapping, because the number may come from a table that an attacker has changed.
        self.next = self.next.wrapping_add(1);
        self.last = mac;
    }

    fn mac(&self, event: &Event, user: Option<&Commitment>) -> [u8; MAC_BYTES] {
        self.key.mac(&encode(&self.last, self.epoch, self.next, event, user))
    }
}

/// The hashed text. Each part has a fixed length or follows its length, so that no two inputs give
/// the same bytes.
fn encode(
    last: &[u8; MAC_BYTES],
    epoch: i64,
    seq: i64,
    event: &Event,
    user: Option<&Commitment>,
) -> Vec<u8> {
    // Names every field, without `..`, so that none can be forgotten.
    let Event {
        at,
        since,
        count,
        action,
        outcome,
        // Covered by its commitment.
        user_id: _,
        client_addr,
        login_role,
        acting_role,
        peer_addr,
        certificate_subject,
        certificate_serial,
        application_name,
        pid,
        xid,
        alert,
        detail,
    } = event;
    let mut out = Vec::with_capacity(512);
    out.push(VERSION);
    out.extend(last);
    for number in [epoch, seq, *at, *since, *count] {
        out.extend(number.to_be_bytes());
    }
    out.extend([*action as u8, *outcome as u8, alert.0]);
    put(&mut out, pid.map(i32::to_be_bytes));
    put(&mut out, xid.map(u64::to_be_bytes));
    put(&mut out, user.map(Commitment::bytes));
    let texts = [
        client_addr,
        login_role,
        acting_role,
        peer_addr,
        certificate_subject,
        certificate_serial,
        application_name,
        detail,
    ];
    for text in texts {
        put(&mut out, text.as_ref());
    }
    out
}

/// Writes whether there is a value, then its length and the value.
pub(crate) fn put(out: &mut Vec<u8>, value: Option<impl AsRef<[u8]>>) {
    match value {
        None => out.push(0),
        Some(value) => {
            let value = value.as_ref();
            out.push(1);
            out.extend((value.len() as u64).to_be_bytes());
            out.extend(value);
        }
    }
}

coded! {
    /// Why a new chain begins.
    pub enum Why {
        /// The server started.
        Start = 1 => "start",
        /// The database is a copy of the one in which the last chain was written.
        Restore = 2 => "restore",
        /// A standby has become a primary.
        Promotion = 3 => "promotion",
        /// Another key has become active.
        Key = 4 => "key",
        /// A day has passed.
        Daily = 5 => "daily",
        /// The tables are not as the last worker left them. What comes before this chain was changed.
        Mismatch = 6 => "mismatch",
        /// A superuser has accepted the state of the tables. Nothing before this chain is vouched for.
        Accepted = 7 => "accepted",
        /// There is a keyring from now on, and what was stored without it still counts: a move is declared.
        Unsealed = 8 => "unsealed",
    }
}

/// What the first row of a chain says in [`Event::detail`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub why: Why,
    /// The end of the previous chain, if there was one.
    pub previous: Option<Head>,
    /// The id of the key (see [`keyring::is_id`]); `None` for a chain without a key.
    pub key: Option<String>,
    /// PostgreSQL's system identifier.
    pub system: u64,
    /// The database's OID.
    pub database: u32,
    /// PostgreSQL's timeline.
    pub timeline: u32,
}

impl Opening {
    /// Writes a JSON object in one fixed form without spaces.
    pub fn to_detail(&self) -> String {
        let previous = self.previous.map_or_else(
            || "null".into(),
            |Head { epoch, seq, mac }| {
                format!(r#"{{"epoch":{epoch},"seq":{seq},"mac":"{}"}}"#, hex(&mac))
            },
        );
        // A character that no id may have becomes `?`, which no reader accepts: no need to quote.
        let key = self.key.as_ref().map_or_else(
            || "null".into(),
            |id| {
                let id: String = id.chars().map(|c| if in_ids(c) { c } else { '?' }).collect();
                format!(r#""{id}""#)
            },
        );
        let Self { why, system, database, timeline, .. } = self;
        format!(
            r#"{{"why":"{}","previous":{previous},"key":{key},"system":{system},"database":{database},"timeline":{timeline}}}"#,
            why.as_str()
        )
    }

    /// The exact inverse of [`Opening::to_detail`]. Any other spelling is refused.
    pub fn parse(text: &str) -> Option<Self> {
        let (why, rest) = text.strip_prefix(r#"{"why":""#)?.split_once(r#"","previous":"#)?;
        let (previous, rest) = rest.split_once(r#","key":"#)?;
        let (key, rest) = rest.split_once(r#","system":"#)?;
        let (system, rest) = rest.split_once(r#","database":"#)?;
        let (database, rest) = rest.split_once(r#","timeline":"#)?;
        let opening = Self {
            why: Why::from_str(why)?,
            previous: if previous == "null" { None } else { Some(parse_head(previous)?) },
            key: if key == "null" { None } else { Some(parse_id(key)?) },
            system: system.parse().ok()?,
            database: database.parse().ok()?,
            timeline: rest.strip_suffix('}')?.parse().ok()?,
        };
        // Refuse signs, leading zeros and capitals, which the parsers above accept.
        (opening.to_detail() == text).then_some(opening)
    }
}

fn parse_head(text: &str) -> Option<Head> {
    let (epoch, rest) = text.strip_prefix(r#"{"epoch":"#)?.split_once(r#","seq":"#)?;
    let (seq, rest) = rest.split_once(r#","mac":""#)?;
    let mac = unhex(rest.strip_suffix(r#""}"#)?)?;
    Some(Head { epoch: epoch.parse().ok()?, seq: seq.parse().ok()?, mac })
}

fn parse_id(text: &str) -> Option<String> {
    let id = text.strip_prefix('"')?.strip_suffix('"')?;
    is_id(id).then(|| id.into())
}

/// Writes lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// Reads a MAC from hexadecimal digits.
pub fn unhex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let mut mac = [0; MAC_BYTES];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != MAC_BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in mac.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(mac)
}
