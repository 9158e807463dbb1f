//! One transaction of a worker: rows of the audit, and the budgets they are about.

use std::collections::{BTreeMap, BTreeSet};

use password_verify_core::chain::{Chain, Opening};
use password_verify_core::event::{Action, Event, Outcome};
use password_verify_core::user_id::UserId;

use super::changes::{self, Open, OpenChanges};
use super::folds::Folds;
use super::journal::Journal;
use super::key::ActiveKey;
use super::ledger::Ledger;
use super::shared::budgets::{self, Place, Seat, Stored, Unwritten};
use super::shared::queue::NONE;
use super::table::Access;
use super::{session, worker};
use crate::error::Error;

/// The tables, opened, and what is to be believed once it is committed.
pub struct Batch {
    pub chain: Chain,
    pub journal: Journal,
    ledger: Ledger,
    pub folds: Folds,
    pub changes: OpenChanges,
    /// Budgets that are in the table now.
    pub written: Vec<Unwritten>,
    /// Users whose failures were forgotten.
    pub cleared: BTreeSet<String>,
    /// Events that a DBA wants to hear of.
    pub alerts: Vec<Event>,
    pub rows: i64,
}

impl Batch {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(chain: Chain) -> Result<Self, Error> {
        Ok(Self {
            chain,
            journal: Journal::open(Access::Write)?,
            ledger: Ledger::open(Access::Write)?,
            folds: Folds::open(Access::Write)?,
            changes: OpenChanges::open(Access::Write)?,
            written: Vec::new(),
            cleared: BTreeSet::new(),
            alerts: Vec::new(),
            rows: 0,
        })
    }

    /// The first row of a new chain; when that is.
    ///
    /// # Errors
    /// As [`Batch::append`].
    pub fn open_epoch(&mut self, opening: &Opening) -> Result<i64, Error> {
        let mut event = Event::new(session::now(), Action::Epoch, Outcome::Recorded);
        event.detail = Some(opening.to_detail());
        self.append(&event)?;
        Ok(event.at)
    }

    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn append(&mut self, event: &Event) -> Result<(), Error> {
        let epoch = self.chain.head().epoch;
        let (seq, mac) = self.chain.append(event);
        self.journal.append(epoch, seq, event, &mac)?;
        self.rows += 1;
        if !event.alert.is_empty() {
            self.alerts.push(event.clone());
        }
        Ok(())
    }

    /// The transaction of a change has ended.
    ///
    /// # Errors
    /// As [`Batch::append`].
    pub fn end(&mut self, change: Open, outcome: Outcome, at: i64) -> Result<(), Error> {
        if outcome == Outcome::Committed && change.clears {
            let users = match &change.users {
                Some(users) => users.clone(),
                None => self.users_to_clear(change.epoch, &BTreeSet::from([change.xid]))?,
            };
            users.iter().try_for_each(|user| self.clear(user))?;
        }
        self.note_end(&change, outcome, at)
    }

    fn note_end(&mut self, change: &Open, outcome: Outcome, at: i64) -> Result<(), Error> {
        let mut event = Event::new(at, Action::End, outcome);
        (event.xid, event.since) = (Some(change.xid), change.since);
        self.append(&event)?;
        self.changes.remove(change)
    }

    /// Completes the changes of which the last worker did not see the end, and puts those that are still
    /// open where their end will be looked for.
    ///
    /// # Errors
    /// As [`Batch::append`].
    pub fn resume(
        &mut self,
        restored: bool,
        open: &mut BTreeMap<u64, Vec<Open>>,
    ) -> Result<(), Error> {
        let (mut to_clear, mut from) = (BTreeSet::new(), i64::MAX);
        for change in self.changes.all()? {
            if worker::is_stopping() {
                break;
            }
            let outcome =
                if restored { Some(Outcome::Unknown) } else { changes::outcome(change.xid) };
            match outcome {
                None => open.entry(change.top_xid).or_default().push(change),
                Some(outcome) => {
                    if outcome == Outcome::Committed && change.clears {
                        to_clear.insert(change.xid);
                        from = from.min(change.epoch);
                    }
                    self.note_end(&change, outcome, session::now())?;
                }
            }
        }
        if !to_clear.is_empty() {
            let users = self.users_to_clear(from, &to_clear)?;
            users.iter().try_for_each(|user| self.clear(user))?;
        }
        Ok(())
    }

    /// Whose failures these transactions were to clear: their events say.
    fn users_to_clear(&self, from: i64, xids: &BTreeSet<u64>) -> Result<Vec<String>, Error> {
        let mut users = Vec::new();
        let mut rows = self.journal.since(from);
        while let Some(row) = rows.next()? {
            pgrx::check_for_interrupts!();
            let event = row.event?;
            let clears = matches!(event.action, Action::Create | Action::Set | Action::Unlock);
            if clears && event.xid.is_some_and(|xid| xids.contains(&xid)) {
                users.extend(event.user_id);
            }
        }
        Ok(users)
    }

    /// Forgets the failures of an account.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn clear(&mut self, user: &str) -> Result<(), Error> {
        let Ok(id) = UserId::from_text(user) else { return Ok(()) };
        let key = ActiveKey::read()?.key.budget(Seat::Account as u8, &[], Some(&id));
        self.cleared.insert(user.to_owned());
        if let Some(place) = budgets::clear_if_present(session::database(), &key) {
            return self.write_budget(place);
        }
        match self.ledger.read(key)? {
            Some(_) => self.ledger.write(key, None),
            None => Ok(()),
        }
    }

    /// The budgets at these places, as they are now.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; PostgreSQL's own.
    pub fn write_budgets(&mut self, places: impl Iterator<Item = u32>) -> Result<(), Error> {
        let places: BTreeSet<u32> = places.filter(|place| *place != NONE).collect();
        places.into_iter().try_for_each(|place| self.write_budget(Place(place)))
    }

    fn write_budget(&mut self, place: Place) -> Result<(), Error> {
        let Some(unwritten) = budgets::unwritten(place, session::database()) else {
            return Ok(());
        };
        let Stored { budget, rests_at } = unwritten.stored;
        // What is in flight is not stored: whatever becomes of it will be.
        let stored = Stored {
            budget: password_verify_core::throttle::Budget { in_flight: 0, ..budget },
            rests_at,
        };
        let kept = (rests_at > session::now()).then_some((unwritten.seat, stored));
        self.ledger.write(unwritten.key, kept)?;
        self.written.push(unwritten);
        Ok(())
    }
}
