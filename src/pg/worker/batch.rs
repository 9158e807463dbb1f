//! One transaction of a worker: it appends audit events and stores the throttle budgets they
//! changed.

use std::collections::BTreeSet;

use password_verify_core::kept::row_mac::Installation;
use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::rules::user_id::UserId;
use password_verify_core::trail::anchor::Sums;
use password_verify_core::trail::chain::{Chain, Head, Opening, Why};
use password_verify_core::trail::erasable::Named;

use super::anchored::{Anchored, Moves};
use crate::error::Error;
use crate::pg::heap::lock::Access;
use crate::pg::server;
use crate::pg::session::event::user_of;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetPlace, Stored, Unwritten};
use crate::pg::shared::central::NONE;
use crate::pg::shared::queued_event::QueuedEvent;
use crate::pg::tables::events::Events;
use crate::pg::tables::folds::Folds;
use crate::pg::tables::keyed::RowKey;
use crate::pg::tables::open_changes::OpenChanges;
use crate::pg::tables::throttle::Throttle;
use crate::pg::vault::blind_index_key::BlindIndexKey;
use crate::salt;
use crate::settings;
use password_verify_core::rules::throttle::Payer;

/// The open tables, and the results that take effect once the transaction is committed.
pub struct Batch {
    pub chain: Chain,
    pub events: Events,
    throttle: Throttle,
    pub folds: Folds,
    pub changes: OpenChanges,
    /// Budgets whose current value this transaction has stored.
    pub written: Vec<Unwritten>,
    /// Accounts whose failures were forgotten, as the keys of their budgets.
    pub cleared: BTreeSet<RowKey>,
    /// Events that the server log reports after the commit, with their places: those with an alert, or all.
    pub told: Vec<(Event, Head)>,
    tells_all: bool,
    pub rows: i64,
    /// `None` without a keyring.
    anchored: Option<Anchored>,
    /// Epochs before this one may be removed from now on.
    pub first: Option<i64>,
    /// What changes that are committed now add to the sum of all credentials.
    pub credentials: u128,
    /// What changes add of which nobody knows whether they were committed.
    pub unknown: Vec<u128>,
    /// Is everything sealed now?
    pub sealed: bool,
    /// A restore is accepted: the epoch that says so, and what the sums are to be corrected by.
    pub accepted: Option<(i64, Sums)>,
    /// What the counts of cost classes add to the sum of theirs.
    pub cost_classes: u128,
}

/// The results of a batch, which take effect once it is committed.
pub struct Done {
    pub chain: Chain,
    pub written: Vec<Unwritten>,
    pub cleared: BTreeSet<RowKey>,
    pub told: Vec<(Event, Head)>,
    pub rows: i64,
    pub anchored: Option<Anchored>,
}

impl Batch {
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn open(chain: Chain, of: Installation, anchored: Option<Anchored>) -> Result<Self, Error> {
        Ok(Self {
            chain,
            events: Events::open(Access::Write)?,
            throttle: Throttle::open(of, Access::Write)?,
            folds: Folds::open(of, Access::Write)?,
            changes: OpenChanges::open(of, Access::Write)?,
            written: Vec::new(),
            cleared: BTreeSet::new(),
            told: Vec::new(),
            tells_all: settings::log_events(),
            rows: 0,
            anchored,
            first: None,
            credentials: 0,
            unknown: Vec::new(),
            sealed: false,
            accepted: None,
            cost_classes: 0,
        })
    }

    /// Writes the anchor, the last write of the transaction.
    ///
    /// # Errors
    /// Those of [`Anchored::moved`].
    pub fn done(self) -> Result<Done, Error> {
        let moves = Moves {
            head: Some(self.chain.head()),
            first: self.first,
            sums: Sums {
                credentials: self.credentials,
                throttle: self.throttle.added(),
                event_fold: self.folds.added(),
                open_change: self.changes.added(),
                cost_class: self.cost_classes,
            },
            unknown: self.unknown,
            sealed: self.sealed,
            accepted: self.accepted,
        };
        let anchored = self.anchored.map(|anchored| anchored.moved(moves)).transpose()?;
        let Self { chain, written, cleared, told, rows, .. } = self;
        Ok(Done { chain, written, cleared, told, rows, anchored })
    }

    /// Appends the first event of a new epoch and returns its time.
    ///
    /// # Errors
    /// Those of [`Batch::append`].
    pub fn open_epoch(&mut self, opening: &Opening) -> Result<i64, Error> {
        let mut event = Event::new(server::now(), Action::Epoch, Outcome::Recorded);
        match opening.why {
            Why::Mismatch => event.alert = Alert::TAMPERED,
            Why::Unsealed => event.alert = Alert::UNSEALED,
            _ => {}
        }
        event.detail = Some(opening.to_detail());
        self.append(&event)?;
        Ok(event.at)
    }

    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn append(&mut self, event: &Event) -> Result<(), Error> {
        let epoch = self.chain.head().epoch;
        let user_id = event.user_id.as_deref();
        let named = Named::new(user_id, salt::random()?);
        // Invariant: what has just been made of an id belongs to it.
        #[allow(clippy::expect_used)]
        let user = named.commitment(user_id).expect("made of this id");
        let (seq, mac) = self.chain.append(event, user.as_ref());
        self.events.append(epoch, seq, event, &named, &mac)?;
        self.rows += 1;
        if self.tells_all || !event.alert.is_empty() {
            self.told.push((event.clone(), self.chain.head()));
        }
        Ok(())
    }

    /// The key of the budget of this kind that belongs to the user of `record`.
    ///
    /// # Errors
    /// [`Error::NotInstalled`].
    pub fn account(&self, queued: &QueuedEvent, payer: Payer) -> Result<Option<RowKey>, Error> {
        let Ok(user) = UserId::from_text(&user_of(queued)) else { return Ok(None) };
        Ok(Some(BlindIndexKey::read()?.key.budget(payer as u8, &[], Some(&user))))
    }

    /// Forgets the failures of an account.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn clear(&mut self, account: RowKey) -> Result<(), Error> {
        self.cleared.insert(account);
        if let Some(place) = budgets::clear_if_present(server::database(), &account) {
            return self.write_budget(place);
        }
        // Also one that is not as it was written: it is not read.
        self.throttle.write(account, None)
    }

    /// Stores the current values of the budgets in these cache slots.
    ///
    /// # Errors
    /// [`Error::NotInstalled`]; any PostgreSQL error.
    pub fn write_budgets(&mut self, places: impl Iterator<Item = u32>) -> Result<(), Error> {
        let places: BTreeSet<u32> = places.filter(|place| *place != NONE).collect();
        places.into_iter().try_for_each(|place| self.write_budget(BudgetPlace(place)))
    }

    fn write_budget(&mut self, place: BudgetPlace) -> Result<(), Error> {
        let Some(unwritten) = budgets::unwritten(place, server::database()) else {
            return Ok(());
        };
        let Stored { budget, rests_at } = unwritten.stored;
        // Attempts in flight are not stored: their outcome will be.
        let stored = Stored {
            budget: password_verify_core::rules::throttle::Budget { in_flight: 0, ..budget },
            rests_at,
        };
        let kept = (rests_at > server::now()).then_some((unwritten.payer, stored));
        self.throttle.write(unwritten.key, kept)?;
        self.written.push(unwritten);
        Ok(())
    }
}
