//! The way along the chain of the audit trail, row by row, up to the first that is not as it was written.

use password_verify_core::rules::event::{Action, Event};
use password_verify_core::trail::anchor::Anchor;
use password_verify_core::trail::chain::{Broken, Chain, Head, Opening};

use super::erased::Ledger;
use crate::error::Error;
use crate::pg::heap::moment::Moment;
use crate::pg::heap::whole::Met;
use crate::pg::keys::keyring;
use crate::pg::tables::event_row::EventRow;
use crate::pg::tables::event_rows::Rows;
use crate::pg::tables::events::Events;
use crate::pg::worker::tidy::pruned_before;

#[derive(Default)]
pub struct Report {
    /// Rows that are intact.
    pub events: i64,
    /// The first row that is not intact: epoch and sequence number.
    pub at: Option<(i64, i64)>,
    pub problem: Option<&'static str>,
    /// The last intact row.
    pub head: Option<Head>,
}

struct Epoch {
    chain: Chain,
    keyed: bool,
}

pub struct Walk {
    expected: Expected,
    /// What the worker has written last, by the anchor; and has it been met?
    end: Option<Head>,
    reached: bool,
    chain: Option<Epoch>,
    met: Met,
    erased: Ledger,
    report: Report,
}

const BROKEN: &str = "before this epoch the tables were not as the worker had left them";
const NO_HEAD: &str = "the row of this head is missing, or is another one";
const MISSING: &str = "rows before this one are missing";
const INDEX: &str = "the index does not have the rows that the table has";
const CUT: &str = "rows at the end are missing";
const CHANGED: &str = "changed";
const ERASED: &str = "user ids of this epoch are not those that were erased by events that say so";
const UNKEYED: &str = "an epoch without a key follows one with a key";
const NO_LONGER_KEYED: &str = "the newest epoch has no key although there is a keyring";
const NO_KEY: &str = "the keyring does not have the key of this epoch";

impl Walk {
    /// Reads every row that has to be there, or from a head on that somebody has kept.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn run(
        anchor: Option<&Anchor>,
        kept: Option<Head>,
        events: &Events,
        moment: &Moment,
    ) -> Result<Report, Error> {
        let mut walk = Self {
            expected: Expected::new(anchor, events, moment)?,
            end: anchor.map(|anchor| anchor.head),
            reached: anchor.is_none(),
            chain: None,
            met: Met::none(),
            erased: Ledger::default(),
            report: Report::default(),
        };
        let whole = match kept {
            None => walk.all(events.since_as_of(walk.expected.from, moment))?,
            Some(head) => {
                let after = head.seq.saturating_add(1);
                walk.resume(head, events, moment)?
                    && walk.all(events.of_epoch_as_of(head.epoch, after, moment))?
                    && walk.all(events.since_as_of(head.epoch.saturating_add(1), moment))?
            }
        };
        let from = walk.expected.from;
        // Of an epoch that was met in part, nothing can be said.
        let first = kept.map_or(walk.expected.first, |head| head.epoch.saturating_add(1));
        if whole
            && walk.end(anchor, first)
            && kept.is_none()
            && !events.are_all(&walk.met, from, moment)
        {
            walk.report.problem = Some(INDEX);
        }
        Ok(walk.report)
    }

    /// Begins after the row that somebody has kept: it has to be there, as it was. False if it is not.
    fn resume(&mut self, kept: Head, events: &Events, moment: &Moment) -> Result<bool, Error> {
        let Head { epoch, seq, mac } = kept;
        let found = self.row_of(kept, events, moment)?;
        let found = found.filter(|(row, _)| row.mac == mac);
        let Some((row, chain)) = found else { return Ok(self.breaks((epoch, seq), NO_HEAD)) };
        self.chain = Some(chain);
        Ok(self.passes(&row))
    }

    /// The row at the place of that head, and the chain up to it.
    fn row_of(
        &self,
        Head { epoch, seq, .. }: Head,
        events: &Events,
        moment: &Moment,
    ) -> Result<Option<(EventRow, Epoch)>, Error> {
        let Some(first) = events.of_epoch_as_of(epoch, 0, moment).next()? else { return Ok(None) };
        let opening = first.event.as_ref().ok().and_then(opening_of);
        let Some(opened) = opening.and_then(|opening| self.open(&opening, epoch).ok()) else {
            return Ok(None);
        };
        if seq == 0 {
            return Ok(Some((first, opened)));
        }
        let mut rows = events.of_epoch_as_of(epoch, seq.saturating_sub(1), moment);
        let (Some(before), Some(row)) = (rows.next()?, rows.next()?) else { return Ok(None) };
        let Ok(last) = before.mac.as_slice().try_into() else { return Ok(None) };
        Ok(Some((row, Epoch { chain: opened.chain.at(seq, last), ..opened })))
    }

    /// Passes all these rows; false if one is not as it was written.
    fn all(&mut self, mut rows: Rows<'_>) -> Result<bool, Error> {
        while let Some(row) = rows.next()? {
            pgrx::check_for_interrupts!();
            if !self.passes(&row) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn passes(&mut self, row: &EventRow) -> bool {
        if let Err(problem) = self.check(row) {
            return self.breaks((row.epoch, row.seq), problem);
        }
        self.met.add(row.place);
        self.report.events += 1;
        self.report.head = self.chain.as_ref().map(|epoch| epoch.chain.head());
        self.reached = self.reached || self.end == self.report.head;
        true
    }

    /// Everything has been read: was it all?
    fn end(&mut self, anchor: Option<&Anchor>, first: i64) -> bool {
        let newest = self.chain.as_ref().map(|newest| (newest.chain.head().epoch, newest.keyed));
        match (anchor, newest) {
            (Some(anchor), _) if anchor.broken != 0 => self.breaks((anchor.broken, 0), BROKEN),
            (Some(Anchor { head, .. }), _) if !self.reached => {
                self.breaks((head.epoch, head.seq), CUT)
            }
            // With a keyring, the worker requested above has opened an epoch with a key.
            (_, Some((newest, false))) if keyring::is_there() => {
                self.breaks((newest, 0), NO_LONGER_KEYED)
            }
            _ => match self.erased.wrong(first) {
                Some(epoch) => self.breaks((epoch, 0), ERASED),
                None => true,
            },
        }
    }

    /// Reports the problem, and returns false.
    fn breaks(&mut self, at: (i64, i64), problem: &'static str) -> bool {
        (self.report.at, self.report.problem) = (Some(at), Some(problem));
        false
    }

    /// Takes the next row, which may open an epoch.
    fn check(&mut self, row: &EventRow) -> Result<(), &'static str> {
        let (event, user) = row.covered().ok_or(CHANGED)?;
        if self.chain.as_ref().is_none_or(|epoch| epoch.chain.head().epoch != row.epoch) {
            self.chain = Some(self.enter(row.epoch, event)?);
        }
        match self
            .chain
            .as_mut()
            .map(|epoch| epoch.chain.check(row.seq, event, user.as_ref(), &row.mac))
        {
            Some(Ok(())) => {
                self.erased.add(row, event);
                Ok(())
            }
            Some(Err(Broken::Missing)) => Err(MISSING),
            _ => Err(CHANGED),
        }
    }

    /// The epoch that this row opens.
    fn enter(&self, epoch: i64, event: &Event) -> Result<Epoch, &'static str> {
        let first = self.expected.first;
        let opening = opening_of(event).ok_or(MISSING)?;
        match self.chain.as_ref().map(|before| before.chain.head()) {
            // Retention deletes an announced epoch gradually, from its end.
            Some(head) if head.epoch >= first && opening.previous != Some(head) => {
                return Err(MISSING);
            }
            None if epoch > first || first == 1 && epoch != 1 => return Err(MISSING),
            _ => {}
        }
        self.open(&opening, epoch)
    }

    /// The chain without rows of an epoch that opens like that.
    fn open(&self, opening: &Opening, epoch: i64) -> Result<Epoch, &'static str> {
        let keyed = opening.key.is_some();
        let after_key = self.chain.as_ref().is_some_and(|before| before.keyed);
        if !keyed && (after_key || epoch >= self.expected.keyed) && keyring::is_there() {
            return Err(UNKEYED);
        }
        let key = keyring::of_chain(opening.key.as_deref()).ok_or(NO_KEY)?;
        Ok(Epoch { chain: Chain::open(key, epoch), keyed })
    }
}

/// What the first row of an epoch says.
fn opening_of(event: &Event) -> Option<Opening> {
    let detail = event.detail.as_deref().filter(|_| event.action == Action::Epoch);
    detail.and_then(Opening::parse)
}

/// What the chain has to look like.
struct Expected {
    /// The first epoch that is verified.
    from: i64,
    /// The first epoch that has to be there as a whole.
    first: i64,
    /// The first epoch that has a key.
    keyed: i64,
}

impl Expected {
    /// By the anchor, or without one by what the events themselves say.
    fn new(anchor: Option<&Anchor>, events: &Events, moment: &Moment) -> Result<Self, Error> {
        let Some(anchor) = anchor else {
            return Ok(Self {
                from: i64::MIN,
                first: first_epoch(events, moment)?,
                keyed: i64::MAX,
            });
        };
        let from = if anchor.accepted == 0 { i64::MIN } else { anchor.accepted };
        Ok(Self { from, first: anchor.first.max(from), keyed: anchor.keyed_since })
    }
}

/// The first epoch that should exist. A forged announcement moves it, but the row itself fails the
/// check later.
fn first_epoch(events: &Events, moment: &Moment) -> Result<i64, Error> {
    let mut first = 1;
    let mut rows = events.all_as_of(moment);
    while let Some(row) = rows.next()? {
        if let Ok(event) = row.event
            && event.action == Action::Prune
            && let Some(before) = event.detail.as_deref().and_then(pruned_before)
        {
            first = first.max(before);
        }
    }
    Ok(first)
}
