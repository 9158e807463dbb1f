//! `password_verify.open_change`: transactions that have made changes and whose end is not fully
//! recorded.
//!
//! A row's key is the transaction's id and a number that orders its rows: first how far the
//! recording of its end has come, then the accounts to clear, then its subtransactions. So nothing
//! must be kept in memory, however many savepoints a transaction has, and a new worker continues
//! where the last one stopped.

use std::collections::HashSet;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::kept::seal::Binding;
use password_verify_core::rules::event::Outcome;
use password_verify_core::rules::secret::Secret;
use password_verify_core::trail::anchor::MAX_UNKNOWN;
use pgrx::datum::{FromDatum, IntoDatum};
use pgrx::pg_sys;

use super::keyed::{Keyed, Passed, RowKey};
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::row::Row;
use crate::pg::heap::text;
use crate::pg::keys::keyring;

/// Set in the second half of a subtransaction's key, together with its id.
const PART: u64 = 1 << 63;
const COLUMNS: usize = 9;
/// The readable part of the seal of a share.
const LABEL: &str = "share -";

/// A transaction or subtransaction that has made changes.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// Its full transaction id.
    pub xid: u64,
    /// That of the top-level transaction.
    pub top_xid: u64,
    /// The position of its first event, and the time.
    pub epoch: i64,
    pub first_seq: i64,
    pub since: i64,
}

/// An account whose failures are forgotten when a subtransaction commits.
#[derive(Debug, Clone, Copy)]
pub struct Clearing {
    pub open: Open,
    /// The key of its budget.
    pub account: RowKey,
    /// Will the session clear it, unless the server crashes first?
    pub by_session: bool,
}

/// A transaction that has ended, and how far that is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    pub top_xid: u64,
    pub at: i64,
    /// Did it run on this server? Otherwise its outcome is unknown.
    pub ours: bool,
    /// Was its session there to clear accounts?
    pub orderly: bool,
    /// The second half of the key of the last row that is done.
    pub done_to: u64,
}

/// A transaction or subtransaction, and what its changes add to the sum of all credentials.
#[derive(Clone, Copy)]
pub struct Part {
    pub open: Open,
    pub share: u128,
}

#[derive(Clone, Copy)]
pub enum ChangeRow {
    Ending(Ending),
    Clearing(Clearing),
    Part(Part),
}

impl ChangeRow {
    /// The top-level transaction of this row.
    pub fn top_xid(&self) -> u64 {
        match self {
            Self::Ending(ending) => ending.top_xid,
            Self::Clearing(clearing) => clearing.open.top_xid,
            Self::Part(part) => part.open.top_xid,
        }
    }

    fn place(&self) -> u64 {
        match self {
            Self::Ending(_) => 0,
            Self::Clearing(Clearing { open, account, .. }) => {
                // Two accounts of one transaction collide once in 2^63 pairs, and an attacker
                // cannot search for such a pair without the secret key.
                let (half, _) = account.as_chunks::<8>();
                let mixed =
                    u64::from_be_bytes(half[0]) ^ open.xid.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                (mixed & !PART).max(1)
            }
            Self::Part(part) => part.open.xid | PART,
        }
    }
}

pub struct OpenChanges(Keyed<COLUMNS>);

impl OpenChanges {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(of: Installation, access: Access) -> Result<Self, Error> {
        Keyed::open(c"open_change", c"open_change_pkey", of, access).map(Self)
    }

    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn put(&self, row: &ChangeRow) -> Result<(), Error> {
        let mut key = key(row.top_xid(), row.place());
        let (xid, epoch, number, at, account, flag) = match row {
            ChangeRow::Ending(ending) => {
                let xid = if ending.ours { ending.top_xid } else { 0 };
                (xid, 0, ending.done_to.cast_signed(), ending.at, None, ending.orderly)
            }
            ChangeRow::Clearing(Clearing { open, account, by_session }) => {
                (open.xid, open.epoch, open.first_seq, open.since, Some(account), *by_session)
            }
            ChangeRow::Part(Part { open, .. }) => {
                (open.xid, open.epoch, open.first_seq, open.since, None, false)
            }
        };
        let share = match row {
            ChangeRow::Part(part) => seal_share(part)?,
            ChangeRow::Ending(_) | ChangeRow::Clearing(_) => None,
        };
        let columns = [
            Some(pg_sys::Datum::from(key.as_mut_ptr())),
            xid.cast_signed().into_datum(),
            row.top_xid().cast_signed().into_datum(),
            epoch.into_datum(),
            number.into_datum(),
            at.into_datum(),
            account.map(|account| pg_sys::Datum::from(account.as_ptr())),
            flag.into_datum(),
            share,
        ];
        // SAFETY: uuid, four bigint, timestamptz (int64), uuid, boolean and text, as the SQL file
        // declares.
        unsafe { self.0.put(key, Some(columns)) }
    }

    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn remove(&self, row: &ChangeRow) -> Result<(), Error> {
        // SAFETY: there are no values.
        unsafe { self.0.put(key(row.top_xid(), row.place()), None) }
    }

    /// The row of this subtransaction, if it has one. One look-up.
    ///
    /// # Errors
    /// Those of [`Keyed::exactly`].
    pub fn part(&self, open: &Open) -> Result<Option<Part>, Error> {
        let place = ChangeRow::Part(Part { open: *open, share: 0 }).place();
        let row = self.0.exactly(key(open.top_xid, place), read)?;
        Ok(row.and_then(|row| match row {
            ChangeRow::Part(part) => Some(part),
            ChangeRow::Ending(_) | ChangeRow::Clearing(_) => None,
        }))
    }

    /// [`Keyed::renew`]. Shares are sealed again as well.
    ///
    /// # Errors
    /// Those of [`Keyed::pass`] and [`OpenChanges::put`].
    pub fn renew(
        &self,
        after: Option<RowKey>,
        count: usize,
        discard: bool,
    ) -> Result<Option<RowKey>, Error> {
        let Passed { last, outdated } = self.0.pass(after, count, discard, |_| false)?;
        for key in outdated {
            if let Some(row) = self.0.exactly(key, read)? {
                self.put(&row)?;
            }
        }
        Ok(last)
    }

    /// What the writes so far have added to the sum of the table.
    pub fn added(&self) -> u128 {
        self.0.added()
    }

    /// What transactions that were committed at that moment, and whose end was not recorded yet, add to the sum of
    /// all credentials; and the shares of those of which nobody knows, because they ran on another server. `here`:
    /// those that have no end yet ran on this one.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn committed_as_of(&self, moment: &Moment, here: bool) -> Result<(u128, Vec<u128>), Error> {
        let mut elsewhere = HashSet::new();
        self.0.all_as_of(moment, |row| {
            if let ChangeRow::Ending(Ending { top_xid, ours: false, .. }) = read(row)? {
                elsewhere.insert(top_xid);
            }
            Ok(())
        })?;
        // There may be a million parts: only what is told apart is kept of each.
        let (mut sum, mut unknown) = (0u128, Vec::new());
        self.0.all_as_of(moment, |row| {
            let ChangeRow::Part(Part { open, share }) = read(row)? else { return Ok(()) };
            if !here || elsewhere.contains(&open.top_xid) {
                unknown.extend((share != 0 && unknown.len() <= MAX_UNKNOWN).then_some(share));
            } else if moment.has_committed(open.xid) {
                sum = sum.wrapping_add(share);
            }
            Ok(())
        })?;
        Ok((sum, unknown))
    }

    /// At most `count` rows of one transaction after a place.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn of(&self, top_xid: u64, place: u64, count: usize) -> Result<Vec<ChangeRow>, Error> {
        let of_it = |row| Ok(Some(read(row)?).filter(|row: &ChangeRow| row.top_xid() == top_xid));
        self.0.after_while(Some(key(top_xid, place)), count, of_it)
    }

    /// The first row of each transaction. One look-up for each.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn transactions(&self) -> Result<Vec<ChangeRow>, Error> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            pgrx::check_for_interrupts!();
            match self.0.after(after, 1, read)?.pop() {
                Some(row) => {
                    after = Some(key(row.top_xid(), u64::MAX));
                    found.push(row);
                }
                None => return Ok(found),
            }
        }
    }

    /// The second half of a row's key, after which a scan continues.
    pub fn place_of(row: &ChangeRow) -> u64 {
        row.place()
    }
}

fn read(row: Row<COLUMNS>) -> Result<ChangeRow, Error> {
    let wrong = Error::NotInstalled;
    let number = |i: usize| row[i].map(|datum| datum.value() as i64).ok_or(wrong);
    // SAFETY: columns 0 and 6 are uuids, copied while the row is valid.
    let uuid = |i: usize| row[i].map(|datum| unsafe { *datum.cast_mut_ptr::<RowKey>() });
    let (_, place) = halves(uuid(0).ok_or(wrong)?);
    let (xid, top_xid) = (number(1)?.cast_unsigned(), number(2)?.cast_unsigned());
    let (epoch, first_seq, since) = (number(3)?, number(4)?, number(5)?);
    let flag = number(7)? & 1 != 0;
    let open = Open { xid, top_xid, epoch, first_seq, since };
    Ok(match uuid(6) {
        _ if place == 0 => ChangeRow::Ending(Ending {
            top_xid,
            at: since,
            ours: xid != 0,
            orderly: flag,
            done_to: first_seq.cast_unsigned(),
        }),
        Some(account) => ChangeRow::Clearing(Clearing { open, account, by_session: flag }),
        None => ChangeRow::Part(Part { open, share: open_share(row[8], &open)? }),
    })
}

/// Sealed, because differences between rows would help to find others that add up to the same. NULL without a
/// keyring, which nothing adds up for.
fn seal_share(part: &Part) -> Result<Option<pg_sys::Datum>, Error> {
    if part.share == 0 {
        return Ok(None);
    }
    let text = Secret::new(format!("{:032x}", part.share));
    let sealed = keyring::seal(&text, LABEL, &binding(&part.open))?;
    text::to_datum(sealed.expose()).map(Some)
}

fn open_share(sealed: Option<pg_sys::Datum>, open: &Open) -> Result<u128, Error> {
    let Some(sealed) = sealed else { return Ok(0) };
    // SAFETY: a text, copied while the row is valid.
    let sealed = unsafe { text::to_utf8(sealed)? };
    let number = key(open.top_xid, open.xid);
    let share = keyring::unseal(sealed.expose(), &binding(open), number)?;
    u128::from_str_radix(share.expose(), 16).map_err(|_| Error::Corrupt(number))
}

fn binding(open: &Open) -> Binding<'static> {
    Binding::share(open.top_xid, open.xid)
}

fn key(top_xid: u64, place: u64) -> RowKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&top_xid.to_be_bytes());
    key[8..].copy_from_slice(&place.to_be_bytes());
    key
}

fn halves(key: RowKey) -> (u64, u64) {
    let (halves, _) = key.as_chunks::<8>();
    (u64::from_be_bytes(halves[0]), u64::from_be_bytes(halves[1]))
}

/// The outcome of a transaction; `None` while it is in progress.
pub fn outcome(xid: u64) -> Option<Outcome> {
    // SAFETY: reads shared memory.
    if xid >= unsafe { pg_sys::ReadNextFullTransactionId() }.value {
        // From another server, or from before a pg_resetwal of this one: PostgreSQL would raise an
        // error.
        return Some(Outcome::Unknown);
    }
    // SAFETY: reads the commit log, which returns NULL for a transaction it no longer covers.
    let status = unsafe {
        let argument = Some(pg_sys::Datum::from(xid));
        pgrx::direct_function_call_as_datum(pg_sys::pg_xact_status, &[argument])
            .and_then(|datum| String::from_datum(datum, false))
    };
    match status.as_deref() {
        Some("in progress") => None,
        Some("committed") => Some(Outcome::Committed),
        Some("aborted") => Some(Outcome::RolledBack),
        _ => Some(Outcome::Unknown),
    }
}
