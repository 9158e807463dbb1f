//! The anchor: what the worker last wrote, sealed, so that whoever writes the tables without the key cannot
//! make them look older, shorter or like another database's.

use std::rc::Rc;

use zeroize::Zeroizing;

use crate::kept::row_mac::Installation;
use crate::rules::secret::Secret;
use crate::trail::audit_id::{self, AuditIdKey};
use crate::trail::chain::{Head, MAC_BYTES};

/// What the rows of each table add up to: the sums of their hidden halves ([`crate::kept::row_mac::RowMac`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// `credential` and `account`, of transactions whose end is recorded.
    pub credentials: u128,
    pub throttle: u128,
    pub event_fold: u128,
    pub open_change: u128,
    pub cost_class: u128,
}

impl Sums {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            credentials: self.credentials.wrapping_add(other.credentials),
            throttle: self.throttle.wrapping_add(other.throttle),
            event_fold: self.event_fold.wrapping_add(other.event_fold),
            open_change: self.open_change.wrapping_add(other.open_change),
            cost_class: self.cost_class.wrapping_add(other.cost_class),
        }
    }

    pub const fn to_array(self) -> [u128; 5] {
        let Self { credentials, throttle, event_fold, open_change, cost_class } = self;
        [credentials, throttle, event_fold, open_change, cost_class]
    }

    pub const fn from_array(sums: [u128; 5]) -> Self {
        let [credentials, throttle, event_fold, open_change, cost_class] = sums;
        Self { credentials, throttle, event_fold, open_change, cost_class }
    }
}

/// The content of the newest row of `password_verify.anchor`.
#[derive(Clone)]
pub struct Anchor {
    /// By which the blind index key is known.
    pub installation: Installation,
    /// PostgreSQL's system identifier and the database's OID.
    pub place: (u64, u32),
    /// The last row of the audit trail.
    pub head: Head,
    /// The first epoch that exists, but for what retention has still to delete.
    pub first: i64,
    /// The first epoch that has a key: no later one has none.
    pub keyed_since: i64,
    /// The epoch that was opened when a restore was accepted last, before which nothing is verified; 0 if none was.
    pub accepted: i64,
    /// Is every row sealed? From then on, no row counts that is not.
    pub sealed: bool,
    /// The epoch that was opened when the tables were found not to be as they were left, until a restore is
    /// accepted; 0 if they were.
    pub broken: i64,
    pub sums: Sums,
    /// Shares of transactions that ran on another server and may have been committed or not: at most
    /// [`MAX_UNKNOWN`].
    pub unknown: Vec<u128>,
    /// Were there more of them? Then nothing can be said of `credential` and `account` until a restore is
    /// accepted.
    pub lost: bool,
    /// It stays as it is, whichever key of the keyring seals the anchor.
    pub audit_ids: Rc<AuditIdKey>,
}

/// With so many shares, all of their subsets can be tried.
pub const MAX_UNKNOWN: usize = 16;

/// A new layout needs a new version.
const VERSION: u8 = 2;
/// All of it, but the unknown shares.
const BYTES: usize =
    1 + 16 + 8 + 4 + 8 + 8 + MAC_BYTES + 8 + 8 + 8 + 8 + 2 + audit_id::KEY_BYTES + 5 * 16;

impl Anchor {
    /// In one fixed layout, as hexadecimal digits.
    pub fn to_text(&self) -> Secret {
        // Names every field, without `..`, so that none can be forgotten.
        let Self {
            installation,
            place,
            head,
            first,
            keyed_since,
            accepted,
            sealed,
            broken,
            sums,
            unknown,
            lost,
            audit_ids,
        } = self;
        let mut out = Zeroizing::new(Vec::with_capacity(BYTES + 16 * unknown.len()));
        out.push(VERSION);
        out.extend(installation.0);
        out.extend(place.0.to_be_bytes());
        out.extend(place.1.to_be_bytes());
        out.extend([head.epoch, head.seq].iter().flat_map(|number| number.to_be_bytes()));
        out.extend(head.mac);
        let epochs = [first, keyed_since, accepted, broken];
        out.extend(epochs.iter().flat_map(|number| number.to_be_bytes()));
        out.extend([sealed, lost].map(|flag| u8::from(*flag)));
        out.extend(audit_ids.expose());
        out.extend(sums.to_array().iter().chain(unknown).flat_map(|sum| sum.to_be_bytes()));
        Secret::new(crate::trail::chain::hex(&out))
    }

    /// The exact inverse of [`Anchor::to_text`].
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(unhex(text)?);
        let mut rest = bytes.as_slice();
        let unknown = bytes.len().checked_sub(BYTES)?;
        if unknown % 16 != 0 || unknown / 16 > MAX_UNKNOWN || take::<1>(&mut rest)? != [VERSION] {
            return None;
        }
        let flag = |byte: [u8; 1]| match byte[0] {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        let rest = &mut rest;
        let installation = Installation(take(rest)?);
        let place = (u64::from_be_bytes(take(rest)?), u32::from_be_bytes(take(rest)?));
        let (epoch, seq) = (i64::from_be_bytes(take(rest)?), i64::from_be_bytes(take(rest)?));
        let head = Head { epoch, seq, mac: take(rest)? };
        let mut epoch = || take(rest).map(i64::from_be_bytes);
        let [first, keyed_since, accepted, broken] = [epoch()?, epoch()?, epoch()?, epoch()?];
        let [sealed, lost] = [take(rest)?, take(rest)?];
        let audit_ids = AuditIdKey::new(take(rest)?);
        let mut sums = [0; 5];
        for sum in &mut sums {
            *sum = u128::from_be_bytes(take(rest)?);
        }
        let unknown =
            rest.as_chunks::<16>().0.iter().map(|sum| u128::from_be_bytes(*sum)).collect();
        Some(Self {
            installation,
            place,
            head,
            first,
            keyed_since,
            accepted,
            sealed: flag(sealed)?,
            broken,
            sums: Sums::from_array(sums),
            unknown,
            lost: flag(lost)?,
            audit_ids,
        })
    }

    /// Adds shares of which nobody knows whether they were committed.
    pub fn add_unknown(&mut self, shares: Vec<u128>) {
        self.unknown.extend(shares);
        if self.unknown.len() > MAX_UNKNOWN {
            (self.unknown, self.lost) = (Vec::new(), true);
        }
    }

    /// Do the rows of `credential` and `account` add up, if this is what they add up to? Tries every subset of
    /// the unknown shares. `None`: that cannot be told.
    pub fn adds_up(&self, credentials: u128) -> Option<bool> {
        if self.lost {
            return None;
        }
        let subset = |chosen: u32| {
            let shares = self.unknown.iter().enumerate();
            let shares = shares.filter(|(i, _)| chosen >> i & 1 == 1).map(|(_, share)| *share);
            shares.fold(self.sums.credentials, u128::wrapping_add)
        };
        Some((0..1u32 << self.unknown.len()).any(|chosen| subset(chosen) == credentials))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, others) = rest.split_first_chunk::<N>()?;
    *rest = others;
    Some(*first)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let byte = |pair: &[u8; 2]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    odd.is_empty().then(|| pairs.iter().map(byte).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> Anchor {
        let head = Head { epoch: 7, seq: -1, mac: [9; MAC_BYTES] };
        let sums = Sums::from_array([1, 2, u128::MAX, 4, 5]);
        Anchor {
            installation: Installation([3; 16]),
            place: (u64::MAX, 5),
            head,
            first: 2,
            keyed_since: 4,
            accepted: 6,
            sealed: false,
            broken: 3,
            sums,
            unknown: vec![6, 7],
            lost: false,
            audit_ids: AuditIdKey::new([8; audit_id::KEY_BYTES]),
        }
    }

    fn text() -> String {
        anchor().to_text().expose().to_owned()
    }

    #[test]
    fn what_is_written_is_read() {
        let anchor = anchor();
        let text = anchor.to_text();
        assert!(Anchor::parse(text.expose()).is_some_and(|it| it.to_text().same_as(&text)));
        assert_eq!(text.expose().len(), 2 * (BYTES + 2 * 16));
        assert_eq!(anchor.adds_up(1), Some(true));
    }

    #[test]
    fn every_part_has_a_place_of_its_own() {
        let text = text();
        let mut seen = std::collections::HashSet::new();
        for at in 0..text.len() {
            let mut other = text.clone();
            let to = if &text[at..=at] == "1" { "0" } else { "1" };
            other.replace_range(at..=at, to);
            if let Some(other) = Anchor::parse(&other) {
                let other = other.to_text().expose().to_owned();
                assert_ne!(other, text, "{at}");
                assert!(seen.insert(other), "{at}");
            }
        }
        assert!(seen.len() > text.len() - 12, "{}", seen.len());
    }

    #[test]
    fn nothing_else_is_an_anchor() {
        let text = text();
        for other in [
            String::new(),
            text[2..].to_owned(),
            format!("{text}00"),
            text[..2 * (BYTES - 16)].to_owned(),
            text.clone() + &"00".repeat(16 * (MAX_UNKNOWN - 1)),
            format!("{text}0"),
            text.to_uppercase(),
            format!("01{}", &text[2..]),
        ] {
            assert!(Anchor::parse(&other).is_none(), "{other}");
        }
    }

    #[test]
    fn unknown_shares_count_or_not() {
        let mut anchor = anchor();
        anchor.sums.credentials = u128::MAX;
        for (sum, adds_up) in
            [(0, false), (u128::MAX, true), (5, true), (6, true), (12, true), (13, false)]
        {
            assert_eq!(anchor.adds_up(sum), Some(adds_up), "{sum}");
        }
        anchor.lost = true;
        assert_eq!(anchor.adds_up(5), None);
    }

    #[test]
    fn sums_wrap() {
        let sums = anchor().sums;
        let back = Sums::from_array(sums.to_array().map(u128::wrapping_neg));
        assert_eq!(sums.plus(back), Sums::default());
        assert_eq!(sums.plus(Sums { throttle: 1, ..Sums::default() }).throttle, 3);
    }
}
