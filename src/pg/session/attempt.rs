//! What this session pins in shared memory for the attempt it is making: an entry of the queue, and
//! budgets that are pinned and charged. Given back whatever happens to the session.
//!
//! An error unwinds and drops the [`Attempt`]. A session that is terminated does not unwind; then
//! PostgreSQL calls what was registered for the end of the process. A killed one makes PostgreSQL reset
//! shared memory. In each case the attempt is recorded as abandoned and, if its hash had
//! begun, stays charged.

use std::cell::Cell;
use std::time::Instant;

use password_verify_core::rules::event::{Alert, Outcome};
use password_verify_core::rules::throttle::{Budget, Rules, Settlement, Verdict};
use password_verify_core::rules::user_id::UserId;
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::server;
use crate::pg::shared::board;
use crate::pg::shared::budgets;
use crate::pg::shared::budgets::{BudgetKey, Place, Stored};
use crate::pg::shared::central::NONE;
use crate::pg::shared::databases;
use crate::pg::shared::note::Note;
use crate::pg::shared::queue;
use crate::pg::shared::queue::Ticket;
use password_verify_core::rules::throttle::{PAYERS, Payer};

/// Wrong passwords in a row after which a right one is worth an alert.
const REMARKABLE: u32 = 3;

#[derive(Clone, Copy)]
struct Current {
    database: usize,
    /// [`NONE`] on a standby, where nothing is written.
    entry: u32,
    record: Note,
    rules: Rules,
    /// Has its hash begun?
    hashing: bool,
    /// At most one of each.
    budgets: [Option<Pin>; PAYERS],
}

#[derive(Clone, Copy)]
struct Pin {
    place: Place,
    charged: bool,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// The attempt that this session is making. There is one at a time.
#[must_use]
pub struct Attempt(());

/// Where its event is.
pub enum Conclusion {
    /// On its way to the table.
    Queued(Ticket),
    /// On a standby, where nothing is written: for the server log.
    ForLog(Box<Note>),
}

impl Attempt {
    /// Takes an entry of the queue for it. `None` when there is none, or no worker, until the deadline.
    ///
    /// # Errors
    /// [`Error::TooManyDatabases`].
    pub fn begin(record: Note, rules: Rules, deadline: Instant) -> Result<Option<Self>, Error> {
        register_exit();
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
        let current = Current { database, entry, record, rules, hashing: false, budgets };
        // Invariant: nothing inside an attempt calls a function of ours.
        assert!(CURRENT.replace(Some(current)).is_none(), "an attempt inside an attempt");
        Ok(Some(Self(())))
    }

    fn current(&self) -> Current {
        // Invariant: set by `begin`, taken only by what consumes the attempt.
        #[allow(clippy::expect_used)]
        CURRENT.get().expect("an attempt that is being made")
    }

    fn update(&self, change: impl FnOnce(&mut Current)) {
        let mut current = self.current();
        change(&mut current);
        CURRENT.set(Some(current));
    }

    /// Pins a budget, reading it if need be; false when there was no room until the deadline.
    ///
    /// # Errors
    /// What `load` says.
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

    /// Charges a pinned budget, if it admits. One that is not pinned admits.
    pub fn charge(&self, payer: Payer) -> Verdict {
        let mut current = self.current();
        let Some(pin) = &mut current.budgets[payer as usize] else { return Verdict::Admitted };
        let now = server::now();
        let verdict = budgets::admit(pin.place, now, &current.rules);
        if verdict == Verdict::Admitted {
            pin.charged = true;
            let left = budgets::read(pin.place);
            if payer == Payer::Caller && left.waits(payer, now, &current.rules).is_some() {
                current.record.alert |= Alert::CALLER_EXHAUSTED.0;
            }
        }
        CURRENT.set(Some(current));
        verdict
    }

    /// Takes all charges back, as if it had not been asked for.
    pub fn withdraw(&self) {
        Payer::ALL.into_iter().for_each(|payer| self.withdraw_one(payer));
    }

    /// Takes one charge back, if there is one.
    pub fn withdraw_one(&self, payer: Payer) {
        let mut current = self.current();
        if let Some(pin) = &mut current.budgets[payer as usize]
            && std::mem::take(&mut pin.charged)
        {
            budgets::settle(pin.place, Settlement::Withdrawn, server::now(), &current.rules);
        }
        CURRENT.set(Some(current));
    }

    /// Waits until somebody settles what stands in the way of this budget, or the deadline.
    pub fn await_others(&self, payer: Payer, deadline: Instant) {
        let current = self.current();
        let Some(pin) = current.budgets[payer as usize] else { return };
        let judged = || {
            // On a copy: nothing is charged.
            let mut budget = budgets::read(pin.place);
            let verdict = budget.admit(payer, server::now(), &current.rules);
            (verdict != Verdict::Wait).then_some(())
        };
        budgets::settled(pin.place.shard()).wait(deadline, judged);
    }

    /// A pinned budget as it is now.
    pub fn budget(&self, payer: Payer) -> Option<Budget> {
        self.current().budgets[payer as usize].map(|pin| budgets::read(pin.place))
    }

    /// From here on it stays charged when it is cut off.
    pub fn begin_hash(&self) {
        self.update(|current| current.hashing = true);
    }

    /// Whose attempt it is has turned out.
    pub fn name_user(&self, user: &UserId) {
        self.update(|current| current.record.name_user(user));
    }

    /// The client of this attempt has logged in: it is known from now on, and has its chances back.
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

    /// A wrong password: where this client is known and has tried it before, the account gets back its
    /// charge.
    pub fn forgive_repeat(&self, mark: u64) {
        let pins = self.current().budgets;
        if let Some(known) = pins[Payer::Known as usize] {
            let charged = pins[Payer::Account as usize].is_some_and(|account| account.charged);
            if budgets::repeats(known.place, mark, server::now(), charged) {
                self.withdraw_one(Payer::Account);
            }
        }
    }

    /// Nothing was hashed: the event is recorded, nothing is charged.
    pub fn refuse(self, outcome: Outcome) -> Conclusion {
        self.withdraw();
        self.conclude(outcome, Settlement::Withdrawn)
    }

    /// A secret was tested. Was it right?
    pub fn settle(self, outcome: Outcome, right: bool) -> Conclusion {
        self.conclude(outcome, if right { Settlement::Right } else { Settlement::Wrong })
    }

    /// The test came to no end: it counts as wrong if a hash had begun.
    pub fn settle_unfinished(self, outcome: Outcome) -> Conclusion {
        let settled = self.current().cut_off();
        self.conclude(outcome, settled)
    }

    fn conclude(self, outcome: Outcome, settled: Settlement) -> Conclusion {
        std::mem::forget(self);
        // Invariant: as in `current`.
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
                self.record.alert |= alert(payer, &before, &after, now, &self.rules).0;
            }
            if self.entry == NONE {
                budgets::leave_unwritten(pin.place);
            }
            touched[payer as usize] = pin.place.0;
        }
        (self.record.at, self.record.outcome) = (now, outcome as u8);
        // What is wrong and costs no hash comes in floods, which are counted like those of refusals.
        self.record.hashed = match settled {
            Settlement::Right => true,
            Settlement::Wrong => self.hashing,
            Settlement::Withdrawn => false,
        };
        let conclusion = match self.entry {
            NONE => Conclusion::ForLog(Box::new(self.record)),
            entry => Conclusion::Queued(queue::submit(entry, &self.record, touched)),
        };
        for pin in self.budgets.into_iter().flatten() {
            budgets::unpin(pin.place);
        }
        board::of(self.database)
            .count(crate::counter::of(self.record.action, self.record.outcome), 1);
        conclusion
    }

    fn abandon(self) {
        let settled = self.cut_off();
        self.conclude(Outcome::Abandoned, settled);
    }

    /// What it comes to when it is not settled by whoever has begun it.
    fn cut_off(&self) -> Settlement {
        if self.hashing { Settlement::Wrong } else { Settlement::Withdrawn }
    }
}

/// What a DBA wants to hear of.
fn alert(payer: Payer, before: &Budget, after: &Budget, now: i64, rules: &Rules) -> Alert {
    let exhausted = |budget: &Budget| budget.waits(payer, now, rules).is_some();
    let passed = |line: u32| before.count < line && after.count >= line;
    match payer {
        Payer::Account if passed(rules.lock_after) => Alert::ACCOUNT_LOCKED,
        Payer::Account if passed(rules.free_failures) => Alert::ACCOUNT_WAITS,
        Payer::Account if before.count >= REMARKABLE && after.count == 0 => {
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

/// Once a process: an attempt that is cut off by the end of the session is abandoned.
fn register_exit() {
    thread_local! {
        static REGISTERED: Cell<bool> = const { Cell::new(false) };
    }
    if !REGISTERED.replace(true) {
        // SAFETY: a plain function of this library, which stays loaded.
        unsafe { pg_sys::before_shmem_exit(Some(on_exit), pg_sys::Datum::null()) };
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn on_exit(_code: i32, _arg: pg_sys::Datum) {
    if let Some(current) = CURRENT.take() {
        current.abandon();
    }
}
