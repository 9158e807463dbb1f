//! What a worker finds when it comes to a database: the chain to continue or to open, and whether the tables are
//! as the last worker left them.

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::trail::anchor::{Anchor, Sums};
use password_verify_core::trail::audit_id::AuditIdKey;
use password_verify_core::trail::chain::{Chain, ChainKey, Head, Opening, Why};

use super::anchored::Anchored;
use super::work;
use crate::error::{Error, Name};
use crate::pg::heap::lock::Access;
use crate::pg::heap::moment::Moment;
use crate::pg::keys::{keyring, unsealed};
use crate::pg::server;
use crate::pg::shared::central::HandOver;
use crate::pg::tables::anchors::Anchors;
use crate::pg::tables::events::Events;
use crate::pg::vault::store::Store;
use crate::salt;

/// Epochs that are passed to find one without rows: one look-up each.
const MAX_PLANTED: i64 = 10_000;

pub struct Arrival {
    pub chain: Chain,
    /// How a new epoch opens.
    pub opening: Option<Opening>,
    /// `None` without a keyring.
    pub anchored: Option<Anchored>,
    /// Did the transactions that have not ended run on another server?
    pub restored: bool,
}

/// Looks at what the last worker has left.
///
/// # Errors
/// [`Error::OtherIndexKey`], [`Error::NotDeclared`]: nothing can be served. [`Error::NotInstalled`].
pub fn arrive(left: &HandOver, of: Installation) -> Result<Arrival, Error> {
    let events = Events::open(Access::Read)?;
    let last = events.last()?.map(|row| row.head());
    let before = match last {
        Some(head) => opening_of(&events, head.epoch)?,
        None => None,
    };
    let known = (left.events == events.id().to_u32() && left.epoch != 0).then(|| left.head());
    let found = match keyring::active_seal() {
        None => None,
        Some(_) => Some(anchor(&events, last, before.as_ref(), of)?),
    };
    // Where there is an anchor, it says what came last, whatever the table says.
    let anchored = found.as_ref().filter(|found| found.anchor.number != 0);
    let previous = anchored.map_or(last, |found| Some(found.anchor.anchor.head));
    // Somebody has written where the next row belongs.
    let is_taken = match previous {
        Some(Head { epoch, seq, .. }) => {
            events.of_epoch_as_of(epoch, seq.saturating_add(1), &Moment::now()).next()?.is_some()
        }
        None => false,
    };
    let strange = |found: &Found| {
        let was_broken = found.anchor.anchor.broken != 0;
        let reached = found.anchor.number == 0 || last == previous;
        let older = known.is_some_and(|known| is_older(previous, known));
        is_taken || !was_broken && (found.strange || !reached || older)
    };
    let place = match anchored {
        Some(found) => Some(found.anchor.anchor.place),
        None => before.as_ref().map(|before| (before.system, before.database)),
    };
    let restored = place.is_some_and(|place| place != here());
    let why = match &before {
        _ if found.as_ref().is_some_and(strange) => Why::Mismatch,
        _ if found.as_ref().is_some_and(Found::moves) => Why::Unsealed,
        Some(_) if restored => Why::Restore,
        Some(o) if o.timeline != work::identity().1 => Why::Promotion,
        Some(o) if o.key != keyring::active().1 => Why::Key,
        Some(_) if previous.is_some() && previous == known => {
            let (key, _) = keyring::active();
            let chain = Chain::resume(key, left.epoch, left.seq + 1, left.mac);
            let anchored = found.map(|found| found.anchor);
            return Ok(Arrival { chain, opening: None, anchored, restored });
        }
        _ => Why::Start,
    };
    let (key, opening) = new_epoch(why, previous);
    let newest = previous.into_iter().chain(known).map(|head| head.epoch).max().unwrap_or(0);
    let epoch = free_epoch(&events, newest)?;
    let anchored = found.map(|Found { mut anchor, .. }| {
        let Anchored { number, anchor: new } = &mut anchor;
        new.place = here();
        if *number == 0 {
            (new.keyed_since, new.first) = (epoch, new.first.min(epoch));
        }
        if why == Why::Mismatch {
            new.broken = epoch;
        }
        anchor
    });
    Ok(Arrival { chain: Chain::open(key, epoch), opening: Some(opening), anchored, restored })
}

/// The next epoch of which there are no rows: the anchor may have been put back, or rows may have been planted.
///
/// # Errors
/// [`Error::NotInstalled`]; [`Error::Altered`].
pub fn free_epoch(events: &Events, newest: i64) -> Result<i64, Error> {
    let next = newest.saturating_add(1);
    for epoch in next..next.saturating_add(MAX_PLANTED) {
        if events.of_epoch(epoch).next()?.is_none() {
            return Ok(epoch);
        }
    }
    Err(Error::Altered(Name::of(c"event")))
}

/// An epoch after all rows that there are, also those that were planted.
///
/// # Errors
/// [`Error::NotInstalled`]; [`Error::Altered`].
pub fn epoch_after_all(events: &Events, newest: i64) -> Result<i64, Error> {
    let last = events.last()?.map_or(newest, |row| row.epoch.max(newest));
    // One that is far ahead was planted, and leaves no number to go on with.
    if last - newest > MAX_PLANTED { free_epoch(events, newest) } else { Ok(last + 1) }
}

/// Did this one come before that one, or is it another one in the same place?
fn is_older(previous: Option<Head>, known: Head) -> bool {
    previous.is_none_or(|head| {
        (head.epoch, head.seq) < (known.epoch, known.seq)
            || (head.epoch, head.seq) == (known.epoch, known.seq) && head.mac != known.mac
    })
}

/// How an epoch was opened, if its first row says so.
///
/// # Errors
/// [`Error::NotInstalled`].
pub fn opening_of(events: &Events, epoch: i64) -> Result<Option<Opening>, Error> {
    let row = events.since(epoch).next()?;
    let event = row.and_then(|row| row.event.ok());
    Ok(event.and_then(|event| event.detail.as_deref().and_then(Opening::parse)))
}

struct Found {
    anchor: Anchored,
    /// Is something missing that has to be there?
    strange: bool,
}

impl Found {
    /// Does a move to a keyring begin?
    fn moves(&self) -> bool {
        self.anchor.number == 0 && !self.anchor.anchor.sealed
    }
}

/// The anchor that is there, or a new one where none can be.
fn anchor(
    events: &Events,
    last: Option<Head>,
    before: Option<&Opening>,
    of: Installation,
) -> Result<Found, Error> {
    let anchors = Anchors::open(Access::Write)?;
    let (strange, sealed) = match anchors.newest(None) {
        Ok(Some((number, anchor))) if anchor.installation == of => {
            return Ok(Found { anchor: Anchored { number, anchor }, strange: false });
        }
        Ok(Some(_)) => return Err(Error::OtherIndexKey),
        Ok(None) if last.is_none() && !Store::open(Access::Read)?.has_any() => (false, true),
        Ok(None) if before.is_some_and(|before| before.key.is_some()) => (true, true),
        // From the time before the keyring.
        Ok(None) if unsealed::is_accepted() => (false, false),
        // Rows that were signed had an anchor.
        Ok(None) if Store::open(Access::Read)?.has_signed()? => (true, true),
        Ok(None) => return Err(Error::NotDeclared),
        Err(error) if Anchors::is_of_the_row(error) => {
            anchors.clear()?;
            (true, true)
        }
        Err(error) => return Err(error),
    };
    let anchor = Anchor {
        installation: of,
        place: here(),
        head: last.unwrap_or(Head { epoch: 0, seq: -1, mac: Default::default() }),
        first: events.since(0).next()?.map_or(i64::MAX, |row| row.epoch),
        keyed_since: 0,
        accepted: 0,
        sealed,
        broken: 0,
        sums: Sums::default(),
        unknown: Vec::new(),
        lost: false,
        audit_ids: AuditIdKey::new(salt::random()?),
    };
    Ok(Found { anchor: Anchored { number: 0, anchor }, strange })
}

/// The key and the first row of another epoch.
pub fn new_epoch(why: Why, previous: Option<Head>) -> (ChainKey, Opening) {
    let (chain_key, key) = keyring::active();
    let (system, database) = here();
    let timeline = work::identity().1;
    (chain_key, Opening { why, previous, key, system, database, timeline })
}

/// System identifier and database OID, by which a restored chain is recognised.
pub fn here() -> (u64, u32) {
    (work::identity().0, server::database().to_u32())
}
