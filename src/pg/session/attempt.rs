//! What a session holds in shared memory for its current attempt: a queue entry, and budgets that
//! are pinned and charged. It is released whatever happens to the session: an error unwinds and
//! drops the [`Attempt`]; a terminated session does not unwind but runs the callback registered for
//! its exit; a killed one makes PostgreSQL reset shared memory. Except after such a reset, the
//! attempt is recorded as abandoned and, if its hash had begun, stays charged.

use std::cell::Cell;
use std::time::Instant;

use password_verify_core::rules::event::{Alert, Outcome};
use password_verify_core::rules::throttle::{Admission, Budget, Rules, Settlement};
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::server;
use crate::pg::server::callbacks;
use crate::pg::server::callbacks::Registered;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, BudgetPlace, Stored};
use crate::pg::shared::central::NONE;
use crate::pg::shared::databases;
use crate::pg::shared::queue;
use crate::pg::shared::queue::Ticket;
use crate::pg::shared::queued_event::QueuedEvent;
use password_verify_core::rules::throttle::{PAYERS, Payer};

/// Consecutive wrong passwords after which a right one raises an alert.
const REMARKABLE: u32 = 3;

#[derive(Clone, Copy)]
struct Current {
    database: usize,
    /// [`NONE`] on a standby, where nothing is written.
    entry: u32,
    queued: QueuedEvent,
    rules: Rules,
    /// Has the computation of its hash begun?
    hashing: bool,
    /// At most one for each payer.
    budgets: [Option<Pin>; PAYERS],
}

#[derive(Clone, Copy)]
struct Pin {
    place: BudgetPlace,
    charged: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// The session's current attempt. There is one at a time.
#[must_use]
pub struct Attempt(());

/// Where the attempt's event is.
pub enum Conclusion {
    /// On its way to the table.
    Queued(Ticket),
    /// On a standby, which writes no table: an event for the server log.
    ForLog(Box<QueuedEvent>),
}

impl Attempt {
    /// Reserves a queue entry. `None` if there is no entry, or no worker, by the deadline.
    ///
    /// # Errors
    /// [`Error::TooManyDatabases`].
    pub fn begin(
        queued: QueuedEvent,
        rules: Rules,
        deadline: Instant,
    ) -> Result<Option<Self>, Error> {
        callbacks::at_exit(&REGISTERED, on_exit);
        let database = databases::mine()?;
        let entry = if server::in_recovery() {
            NONE
        } else {
            let Some(entry) = databases::await_worker(database, deadline)
                .then(|| queue::reserve(database, deadline))
                .flatten()
            else {
                return Ok(None);
            };
            entry
        };
        let budgets = [None; PAYERS];
        let current = Current { database, entry, queued, rules, hashing: false, budgets };
        // Invariant: no function of this extension is called during an attempt.
        assert!(CURRENT.replace(Some(current)).is_none(), "an attempt inside an attempt");
        Ok(Some(Self(())))
    }

    fn current(&self) -> Current {
        // Invariant: set by `begin`, and taken only by functions that consume the attempt.
        #[allow(clippy::expect_used)]
        CURRENT.get().expect("an attempt that is being made")
    }

    fn update(&self, change: impl FnOnce(&mut Current)) {
        let mut current = self.current();
        change(&mut current);
        CURRENT.set(Some(current));
    }

    /// Pins a budget, reading it if necessary; false if there was no room by the deadline.
    ///
    /// # Errors
    /// Those of `load`.
    pub fn pin(
        &self,
        payer: Payer,
        key: &BudgetKey,
        deadline: Instant,
        load: impl FnOnce() -> Result<Option<Stored>, Error>,
    ) -> Result<bool, Error> {
        // SAFETY: a plain value of this process.
        let database = unsafe { pg_sys::MyDatabaseId };
        let note = |place| {
            self.update(|current| {
                current.budgets[payer as usize] = Some(Pin { place, charged: false });
            });
        };
        let pinned = budgets::pin(database, payer, key, deadline, note, load)?;
        Ok(pinned.is_some())
    }

    /// Charges a pinned budget, if it admits the attempt. A budget that is not pinned admits it.
    pub fn charge(&self, payer: Payer) -> Admission {
        let mut current = self.current();
        let Some(pin) = &mut current.budgets[payer as usize] else { return Admission::Admitted };
        let now = server::now();
        let admission = budgets::admit(pin.place, now, &current.rules);
        if admission == Admission::Admitted {
            pin.charged = true;
            let left = budgets::read(pin.place);
            if payer == Payer::Caller && left.waits(payer, now, &current.rules).is_some() {
                current.queued.alert |= Alert::CALLER_EXHAUSTED.0;
            }
        }
        CURRENT.set(Some(current));
        admission
    }

    /// Takes back all charges, as if there had been no attempt.
    pub fn withdraw(&self) {
        Payer::ALL.into_iter().for_each(|payer| self.withdraw_one(payer));
    }

    pub fn withdraw_one(&self, payer: Payer) {
        let mut current = self.current();
        if let Some(pin) = &mut current.budgets[payer as usize]
            && std::mem::take(&mut pin.charged)
        {
            budgets::settle(pin.place, Settlement::Withdrawn, server::now(), &current.rules);
        }
        CURRENT.set(Some(current));
    }

    /// Waits until other attempts have settled and this budget could admit or refuse, or for the
    /// deadline.
    pub fn await_others(&self, payer: Payer, deadline: Instant) {
        let current = self.current();
        let Some(pin) = current.budgets[payer as usize] else { return };
        let judged = || {
            // Tried on a copy, which charges nothing.
            let mut budget = budgets::read(pin.place);
            let admission = budget.admit(payer, server::now(), &current.rules);
            (admission != Admission::Wait).then_some(())
        };
        budgets::settled(pin.place.shard()).wait(deadline, judged);
    }

    /// The current value of a pinned budget.
    pub fn budget(&self, payer: Payer) -> Option<Budget> {
        self.current().budgets[payer as usize].map(|pin| budgets::read(pin.place))
    }

    /// From here on an aborted attempt stays charged.
    pub fn begin_hash(&self) {
        self.update(|current| current.hashing = true);
    }

    /// Records the user, once it is known whose attempt this is.
    pub fn name_user(&self, user: &UserId) {
        self.update(|current| current.queued.name_user(user));
    }

    /// Adds to the attempt's event.
    pub fn note(&self, add: impl FnOnce(&mut QueuedEvent)) {
        self.update(|current| add(&mut current.queued));
    }

    /// Notes that the attempt's client has logged in: it becomes known, and its chances are
    /// restored.
    pub fn remember_client(&self) {
        let Current { budgets: pins, rules, .. } = self.current();
        if let Some(known) = pins[Payer::Known as usize] {
            let now = server::now();
            budgets::alter(known.place, &rules, |budget| budget.remember(now, &rules));
        }
        if let Some(chance) = pins[Payer::Chance as usize] {
            budgets::alter(chance.place, &rules, Budget::clear);
        }
    }

    /// After a wrong password: takes back the account's charge if a known client has tried the same
    /// password before.
    pub fn forgive_repeat(&self, mark: u64) {
        let pins = self.current().budgets;
        if let Some(known) = pins[Payer::Known as usize] {
            let charged = pins[Payer::Account as usize].is_some_and(|account| account.charged);
            if budgets::repeats(known.place, mark, server::now(), charged) {
                self.withdraw_one(Payer::Account);
            }
        }
    }

    /// Concludes an attempt for which nothing was hashed: it is recorded but not charged.
    pub fn refuse(self, outcome: Outcome) -> Conclusion {
        self.withdraw();
        self.conclude(outcome, Settlement::Withdrawn)
    }

    /// Concludes an attempt whose secret was tested.
    pub fn settle(self, outcome: Outcome, right: bool) -> Conclusion {
        self.conclude(outcome, if right { Settlement::Right } else { Settlement::Wrong })
    }

    /// Concludes a test that was aborted, which counts as wrong if the hash had begun.
    pub fn settle_unfinished(self, outcome: Outcome) -> Conclusion {
        let settled = self.current().cut_off();
        self.conclude(outcome, settled)
    }

    fn conclude(self, outcome: Outcome, settled: Settlement) -> Conclusion {
        std::mem::forget(self);
        // Invariant: set by `begin`, as in `current`.
        #[allow(clippy::expect_used)]
        let current = CURRENT.take().expect("an attempt that is being made");
        current.conclude(outcome, settled)
    }
}

impl Current {
    fn conclude(mut self, outcome: Outcome, settled: Settlement) -> Conclusion {
        let now = server::now();
        let mut touched = [NONE; PAYERS];
        for payer in Payer::ALL {
            let Some(pin) = self.budgets[payer as usize] else { continue };
            if pin.charged {
                let (before, after) = budgets::settle(pin.place, settled, now, &self.rules);
                self.queued.alert |= alert(payer, &before, &after, now, &self.rules).0;
            }
            if self.entry == NONE {
                budgets::leave_unwritten(pin.place);
            }
            touched[payer as usize] = pin.place.0;
        }
        (self.queued.at, self.queued.outcome) = (now, outcome as u8);
        // Wrong secrets that cost no hash come in floods, and are folded like refusals.
        self.queued.hashed = match settled {
            Settlement::Right => true,
            Settlement::Wrong => self.hashing,
            Settlement::Withdrawn => false,
        };
        let conclusion = match self.entry {
            NONE => Conclusion::ForLog(Box::new(self.queued)),
            entry => Conclusion::Queued(queue::submit(entry, &self.queued, touched)),
        };
        for pin in self.budgets.into_iter().flatten() {
            budgets::unpin(pin.place);
        }
        board::of(self.database)
            .count(crate::counter::of(self.queued.action, self.queued.outcome), 1);
        conclusion
    }

    fn abandon(self) {
        let settled = self.cut_off();
        self.conclude(Outcome::Abandoned, settled);
    }

    /// How an attempt is settled that was aborted.
    fn cut_off(&self) -> Settlement {
        if self.hashing { Settlement::Wrong } else { Settlement::Withdrawn }
    }
}

/// The alert, if any, that a change of a budget raises.
fn alert(payer: Payer, before: &Budget, after: &Budget, now: i64, rules: &Rules) -> Alert {
    let exhausted = |budget: &Budget| budget.waits(payer, now, rules).is_some();
    let passed = |line: u32| before.count < line && after.count >= line;
    match payer {
        Payer::Account | Payer::Vault if passed(rules.lock_after) => Alert::ACCOUNT_LOCKED,
        Payer::Account | Payer::Vault if passed(rules.free_failures) => Alert::ACCOUNT_WAITS,
        Payer::Account | Payer::Vault if before.count >= REMARKABLE && after.count == 0 => {
            Alert::SUCCESS_AFTER_FAILURES
        }
        Payer::Client if !exhausted(before) && exhausted(after) => Alert::CLIENT_EXHAUSTED,
        _ => Alert::NONE,
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(current) = CURRENT.take() {
            current.abandon();
        }
    }
}

static REGISTERED: Registered = Registered::new(false);

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(current) = CURRENT.take() {
        current.abandon();
    }
}
