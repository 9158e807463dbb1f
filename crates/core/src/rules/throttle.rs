//! How often a secret may be tried: budgets that are charged before the test and settled after it.
//!
//! If attempts were charged afterwards, an attacker could have a hundred of them hashed at once. So
//! an attempt is in flight between [`Budget::admit`] and [`Budget::settle`], and counts as wrong
//! until it is known not to be.

use crate::keeper::schedule::MAX_LEASE;
pub use crate::rules::account::Timestamp;

/// How many comparisons of a new password with stored ones an account gets until its next change.
/// They are few because each is an answer about a secret, to a caller who may know none.
pub const MAX_COMPARISONS: u32 = 5;

/// Openings of a secret during one lease. The next comes when the longest lease has ended.
pub const OPENINGS: Rate = Rate { burst: 3, interval: MAX_LEASE };

/// The throttle policy. All times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that cost no wait. 0 counts as 1: otherwise no attempt could ever begin.
    pub free_failures: u32,
    /// The wait after the last free failure. Each further failure doubles it.
    pub first_wait: i64,
    /// The longest wait, even if [`Rules::first_wait`] is longer.
    pub max_wait: i64,
    /// Failures in a row at which the account is locked (NIST SP 800-63B-4 section 3.2.2).
    pub lock_after: u32,
    /// Failures are forgotten this long after the last one, unless the account is locked.
    pub forget_after: i64,
    /// How long a client stays known after a login. 0: no client is ever known.
    pub known_for: i64,
    /// The budget of failures of one client address.
    pub client: Rate,
    /// The budget of hashes of one login role.
    pub caller: Rate,
}

/// A token bucket: `burst` tokens, one more every `interval` microseconds. `burst` 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub burst: u32,
    pub interval: i64,
}

/// The payers of attempts. Their numbers are stored and must never be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Payer {
    /// One user: failures in a row, with waits and a lock.
    Account = 0,
    /// One user from one client address. Pays for nothing; says whether that client is known.
    Known = 1,
    /// One client address, for all users.
    Client = 2,
    /// One login role, for right and wrong secrets.
    Caller = 3,
    /// One user from one client address: pays when the account or the caller is over budget, so
    /// that an attacker's guesses do not lock the owner out.
    Chance = 4,
    /// One user: comparisons of new passwords with stored ones, whatever their result. Only
    /// [`Budget::clear`] gives them back.
    Comparison = 5,
    /// The vault of one user: failures in a row, with waits and a lock, like [`Payer::Account`].
    Vault = 6,
    /// One lease of a job: openings of its secret, right or wrong.
    Lease = 7,
}

/// What a right answer does to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRight {
    /// All failures are forgotten.
    Cleared,
    /// The charge is given back.
    Refunded,
    /// The charge stays.
    Kept,
}

pub const PAYERS: usize = Payer::ALL.len();

impl Payer {
    /// Every payer, in the order of the numbers.
    pub const ALL: [Self; 8] = [
        Self::Account,
        Self::Known,
        Self::Client,
        Self::Caller,
        Self::Chance,
        Self::Comparison,
        Self::Vault,
        Self::Lease,
    ];

    /// The bit of this payer in a set of payers.
    pub const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// What a right answer does to a charge of this payer.
    pub const fn on_right(self) -> OnRight {
        match self {
            Self::Account | Self::Known | Self::Chance | Self::Vault => OnRight::Cleared,
            Self::Client => OnRight::Refunded,
            Self::Caller | Self::Comparison | Self::Lease => OnRight::Kept,
        }
    }

    /// Whether the budget counts failures in a row and forgets them in time.
    const fn forgets(self) -> bool {
        matches!(self, Self::Account | Self::Known | Self::Chance | Self::Vault)
    }

    /// Whether the budget grows waits, and locks in the end.
    pub const fn locks(self) -> bool {
        matches!(self, Self::Account | Self::Vault)
    }
}

/// One budget as it is kept in shared memory, and in the table without `in_flight`.
///
/// The default is a fresh budget, at any time from 0 on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Failures in a row; unused in a token bucket.
    pub count: u32,
    /// Attempts that were admitted and are not yet settled.
    pub in_flight: u32,
    /// When the last failure was; when a token bucket is full (GCRA's theoretical arrival time).
    pub at: Timestamp,
    /// Until when a [`Payer::Known`] client is known; unused elsewhere.
    pub known_until: Timestamp,
}

/// Whether an attempt may be tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may, and has been charged.
    Admitted,
    /// Over budget only because of attempts in flight: ask again when one of them is settled.
    Wait,
    /// Not before `until`.
    Refused { until: Timestamp },
    /// Not before the budget is cleared.
    Locked,
}

/// How an admitted attempt came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Right,
    Wrong,
    /// The secret was never tested.
    Withdrawn,
}

impl Rules {
    fn free(&self) -> u32 {
        self.free_failures.max(1)
    }

    /// The wait after failure number `count`, which is not a free one.
    fn wait(&self, count: u32) -> i64 {
        let doubled = 2_i64.saturating_pow(count.saturating_sub(self.free()));
        self.first_wait.saturating_mul(doubled).min(self.max_wait)
    }

    /// Until when a login now makes a client known. 0 if no client is: `now` would last if the
    /// clock moved back.
    fn known_until(&self, now: Timestamp) -> Timestamp {
        if self.known_for > 0 { now.saturating_add(self.known_for) } else { 0 }
    }

    /// The rate of a token bucket that has a limit.
    fn rate(&self, payer: Payer) -> Option<Rate> {
        match payer {
            Payer::Account | Payer::Known | Payer::Chance | Payer::Comparison | Payer::Vault => {
                None
            }
            Payer::Client => Some(self.client),
            Payer::Caller => Some(self.caller),
            Payer::Lease => Some(OPENINGS),
        }
        .filter(|rate| rate.burst > 0)
    }
}

impl Rate {
    fn interval(&self) -> i64 {
        self.interval.max(0)
    }

    /// Microseconds in which an empty bucket fills.
    fn depth(&self) -> i64 {
        self.interval().saturating_mul(i64::from(self.burst))
    }
}

impl Budget {
    /// Decides on one more attempt. [`Admission::Admitted`] charges it, and it must be settled.
    pub fn admit(&mut self, payer: Payer, now: Timestamp, rules: &Rules) -> Admission {
        self.catch_up(payer, now, rules);
        let admission = self.judge(payer, now, rules);
        if admission == Admission::Admitted {
            self.in_flight = self.in_flight.saturating_add(1);
            if let Some(rate) = rules.rate(payer) {
                self.at = self.at.saturating_add(rate.interval());
            }
        }
        admission
    }

    /// Settles one attempt in flight. If there is none, no token is given back.
    pub fn settle(&mut self, payer: Payer, settled: Settlement, now: Timestamp, rules: &Rules) {
        self.catch_up(payer, now, rules);
        let effect = match settled {
            Settlement::Right => payer.on_right(),
            Settlement::Wrong => OnRight::Kept,
            Settlement::Withdrawn => OnRight::Refunded,
        };
        match (rules.rate(payer), effect) {
            // An attempt in flight is not counted yet, so there is nothing to give back.
            (None, OnRight::Refunded) => {}
            (None, OnRight::Cleared) => {
                self.count = 0;
                if payer == Payer::Known {
                    self.known_until = rules.known_until(now);
                }
            }
            (None, OnRight::Kept) if matches!(payer, Payer::Client | Payer::Caller) => {}
            (None, OnRight::Kept) => {
                self.count = self.count.saturating_add(1);
                self.at = now;
            }
            (Some(_), OnRight::Kept) => {}
            (Some(rate), OnRight::Refunded | OnRight::Cleared) => {
                if self.in_flight > 0 {
                    self.at = self.at.saturating_sub(rate.interval()).max(now);
                }
            }
        }
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Makes a client known after a login that another payer was charged for.
    ///
    /// The end is left as it is while it is right to a thirtieth of [`Rules::known_for`], so that
    /// frequent logins do not rewrite the row each time.
    pub fn remember(&mut self, now: Timestamp, rules: &Rules) {
        self.count = 0;
        let until = rules.known_until(now);
        if self.known_until.abs_diff(until) >= rules.known_for.max(0).unsigned_abs() / 30 {
            self.known_until = until;
        }
    }

    /// Whether the user has logged in from this client lately.
    pub fn is_known(&self, now: Timestamp) -> bool {
        self.known_until > now
    }

    /// Forgets the failures, which also unlocks the account. Attempts in flight, known clients and
    /// token buckets stay as they are.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Takes over the failures of another budget of the same payer if they are more.
    pub fn take_over(&mut self, other: &Self) {
        if other.count > 0 {
            (self.count, self.at) = (self.count.max(other.count), self.at.max(other.at));
        }
    }

    /// Whether the budget answers every future question like a fresh one, as long as the rules stay
    /// and the clock does not move back. Then it need not be kept.
    pub fn at_rest(&self, payer: Payer, now: Timestamp, rules: &Rules) -> bool {
        let mut budget = *self;
        budget.catch_up(payer, now, rules);
        let spent = match payer {
            Payer::Account | Payer::Known | Payer::Chance | Payer::Comparison | Payer::Vault => {
                budget.count > 0
            }
            Payer::Client | Payer::Caller | Payer::Lease => {
                rules.rate(payer).is_some() && budget.at > now
            }
        };
        !spent && budget.in_flight == 0 && !budget.is_known(now)
    }

    /// When the budget will be at rest if nothing else happens, and never earlier. Attempts in
    /// flight do not count, because settling them changes the budget again.
    pub fn rests_at(&self, payer: Payer, rules: &Rules) -> Timestamp {
        let failures = match (rules.rate(payer), self.count) {
            (Some(Rate { burst: 0, .. }), _) => 0,
            (Some(_), _) => self.at,
            (None, 0) => 0,
            (None, count) if payer.locks() && count >= rules.lock_after => i64::MAX,
            (None, _) if payer == Payer::Comparison => i64::MAX,
            (None, _) => self.at.saturating_add(rules.forget_after),
        };
        failures.max(self.known_until)
    }

    /// The [`Admission::Refused`] or [`Admission::Locked`] that [`Budget::admit`] would give, without
    /// charging; `None` if it would admit now, or may after attempts in flight are settled.
    pub fn waits(&self, payer: Payer, now: Timestamp, rules: &Rules) -> Option<Admission> {
        let mut budget = *self;
        budget.catch_up(payer, now, rules);
        match budget.judge(payer, now, rules) {
            Admission::Admitted | Admission::Wait => None,
            admission @ (Admission::Refused { .. } | Admission::Locked) => Some(admission),
        }
    }

    /// Applies what time alone changes. After the clock has moved back, no wait is longer than its
    /// full length from now, and no bucket is emptier than empty.
    fn catch_up(&mut self, payer: Payer, now: Timestamp, rules: &Rules) {
        if let Some(rate) = rules.rate(payer) {
            self.at = self.at.clamp(now, now.saturating_add(rate.depth()));
        } else if payer == Payer::Comparison {
            self.at = self.at.min(now);
        } else if payer.forgets() {
            self.at = self.at.min(now);
            let locked = payer.locks() && self.count >= rules.lock_after;
            if !locked && now.saturating_sub(self.at) >= rules.forget_after {
                self.count = 0;
            }
        }
    }

    /// The admission on a budget after [`Budget::catch_up`].
    fn judge(&self, payer: Payer, now: Timestamp, rules: &Rules) -> Admission {
        // If every attempt in flight failed, would one more still be within the limit?
        let within = |limit| self.count.saturating_add(self.in_flight) < limit;
        let (free, lock) = (rules.free(), rules.lock_after);
        let (until, room) = match payer {
            Payer::Account | Payer::Vault if self.count >= lock => return Admission::Locked,
            Payer::Account | Payer::Vault if self.count < free => (now, within(free.min(lock))),
            // One attempt at a time, because the next wait depends on its result.
            Payer::Account | Payer::Vault => {
                (self.at.saturating_add(rules.wait(self.count)), self.in_flight == 0)
            }
            Payer::Known | Payer::Chance if self.count < free => (now, within(free)),
            // No attempt: the wait ends when the failures are forgotten.
            Payer::Known | Payer::Chance => (self.at.saturating_add(rules.forget_after), false),
            Payer::Comparison if self.count >= MAX_COMPARISONS => return Admission::Locked,
            Payer::Comparison => (now, within(MAX_COMPARISONS)),
            Payer::Client | Payer::Caller | Payer::Lease => {
                // The time from which on the bucket holds a token.
                let until = rules
                    .rate(payer)
                    .map_or(now, |rate| self.at.saturating_sub(rate.depth() - rate.interval()));
                // An attempt in flight may give its token back.
                let may_come_back = payer == Payer::Client && self.in_flight > 0;
                if may_come_back { (now, until <= now) } else { (until, true) }
            }
        };
        match room {
            _ if now < until => Admission::Refused { until },
            true => Admission::Admitted,
            false => Admission::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Admission::{Admitted, Locked, Refused, Wait};
    use Payer::{Account, Caller, Chance, Client, Comparison, Known};
    use Settlement::{Right, Withdrawn, Wrong};

    const RULES: Rules = Rules {
        free_failures: 3,
        first_wait: 10,
        max_wait: 35,
        lock_after: 8,
        forget_after: 1000,
        known_for: 3000,
        client: Rate { burst: 2, interval: 100 },
        caller: Rate { burst: 2, interval: 100 },
    };
    const NO_LIMIT: Rate = Rate { burst: 0, interval: 100 };

    /// Admits one attempt and settles it at once.
    fn attempt(budget: &mut Budget, payer: Payer, settled: Settlement, now: Timestamp) {
        assert_eq!(budget.admit(payer, now, &RULES), Admitted);
        budget.settle(payer, settled, now, &RULES);
    }

    fn failed(payer: Payer, count: u32, now: Timestamp) -> Budget {
        let mut budget = Budget::default();
        for _ in 0..count {
            budget.admit(payer, now, &RULES);
            budget.settle(payer, Wrong, now, &RULES);
        }
        assert_eq!(budget.in_flight, 0);
        budget
    }

    /// An account with `count` failures, the last one at time 0.
    fn account(count: u32) -> Budget {
        Budget { count, ..Budget::default() }
    }

    #[test]
    fn what_is_admitted_is_in_flight_until_it_is_settled() {
        for payer in Payer::ALL {
            for settled in [Right, Wrong, Withdrawn] {
                let mut budget = Budget::default();
                assert_eq!(budget.admit(payer, 5, &RULES), Admitted);
                assert_eq!(budget.in_flight, 1);
                budget.settle(payer, settled, 5, &RULES);
                assert_eq!(budget.in_flight, 0);
                budget.settle(payer, settled, 5, &RULES);
                assert_eq!(budget.in_flight, 0);
            }
        }
    }

    #[test]
    fn free_failures_cost_no_wait() {
        let mut budget = Budget::default();
        for _ in 0..3 {
            attempt(&mut budget, Account, Wrong, 5);
        }
        assert_eq!(budget.admit(Account, 5, &RULES), Refused { until: 15 });
        assert_eq!(budget, Budget { count: 3, at: 5, ..Budget::default() });
    }

    #[test]
    fn no_more_are_in_flight_than_are_free() {
        for payer in [Account, Known, Chance] {
            let mut budget = failed(payer, 1, 5);
            assert_eq!(
                [(); 3].map(|()| budget.admit(payer, 5, &RULES)),
                [Admitted, Admitted, Wait]
            );
            budget.settle(payer, Withdrawn, 5, &RULES);
            assert_eq!(budget.admit(payer, 5, &RULES), Admitted);
            budget.settle(payer, Wrong, 5, &RULES);
            assert_eq!(budget.admit(payer, 5, &RULES), Wait);
            budget.settle(payer, Right, 5, &RULES);
            assert_eq!([(); 3].map(|()| budget.admit(payer, 5, &RULES)), [Admitted; 3]);
        }
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        for (count, until) in [(3, 10), (4, 20), (5, 35), (6, 35), (7, 35)] {
            let mut budget = account(count);
            assert_eq!(budget.admit(Account, until - 1, &RULES), Refused { until });
            assert_eq!(budget.admit(Account, until, &RULES), Admitted);
        }
    }

    #[test]
    fn comparisons_come_back_by_clearing_only() {
        let mut budget = Budget::default();
        for settled in [Right, Wrong, Right, Wrong, Right] {
            attempt(&mut budget, Comparison, settled, 5);
        }
        for now in [5, 5 + RULES.forget_after, i64::MAX] {
            assert_eq!(budget.admit(Comparison, now, &RULES), Locked);
            assert!(!budget.at_rest(Comparison, now, &RULES));
        }
        assert_eq!(budget.rests_at(Comparison, &RULES), i64::MAX);
        budget.clear();
        assert!(budget.at_rest(Comparison, 5, &RULES));
        assert_eq!(budget.admit(Comparison, 5, &RULES), Admitted);
    }

    #[test]
    fn no_more_comparisons_are_in_flight_than_there_are() {
        let mut budget = Budget::default();
        assert_eq!([(); 5].map(|()| budget.admit(Comparison, 5, &RULES)), [Admitted; 5]);
        assert_eq!(budget.admit(Comparison, 5, &RULES), Wait);
        budget.settle(Comparison, Withdrawn, 5, &RULES);
        assert_eq!(budget.admit(Comparison, 5, &RULES), Admitted, "that one compared nothing");
        for _ in 0..5 {
            assert_eq!(budget.admit(Comparison, 5, &RULES), Wait);
            budget.settle(Comparison, Wrong, 5, &RULES);
        }
        assert_eq!(budget.admit(Comparison, 5, &RULES), Locked);
    }

    #[test]
    fn the_longest_wait_bounds_the_first() {
        let rules = Rules { first_wait: 50, ..RULES };
        assert_eq!(account(3).admit(Account, 0, &rules), Refused { until: 35 });
    }

    #[test]
    fn after_a_wait_there_is_one_at_a_time() {
        let mut budget = account(3);
        assert_eq!(budget.admit(Account, 10, &RULES), Admitted);
        assert_eq!(budget.admit(Account, 10, &RULES), Wait);
        budget.settle(Account, Wrong, 12, &RULES);
        assert_eq!(budget.admit(Account, 12, &RULES), Refused { until: 32 });
    }

    #[test]
    fn a_refusal_costs_nothing() {
        let mut budget = account(3);
        for now in 0..10 {
            assert_eq!(budget.admit(Account, now, &RULES), Refused { until: 10 });
        }
        assert_eq!(budget, account(3));
    }

    #[test]
    fn the_lock_does_not_end() {
        let mut budget = account(7);
        attempt(&mut budget, Account, Wrong, 35);
        assert_eq!(budget.admit(Account, 35, &RULES), Locked);
        assert_eq!(budget.admit(Account, i64::MAX, &RULES), Locked);
        assert!(!budget.at_rest(Account, i64::MAX, &RULES));
        budget.clear();
        assert_eq!(budget.admit(Account, 35, &RULES), Admitted);
    }

    #[test]
    fn nothing_in_flight_overshoots_the_lock() {
        let rules = Rules { lock_after: 2, ..RULES };
        let mut budget = Budget::default();
        assert_eq!([(); 3].map(|()| budget.admit(Account, 5, &rules)), [Admitted, Admitted, Wait]);
        budget.settle(Account, Wrong, 5, &rules);
        assert_eq!(budget.admit(Account, 5, &rules), Wait);
        budget.settle(Account, Wrong, 5, &rules);
        assert_eq!(budget.admit(Account, 5, &rules), Locked);
    }

    #[test]
    fn a_right_one_ends_the_row() {
        for payer in [Account, Known, Chance] {
            let mut budget = failed(payer, 2, 5);
            attempt(&mut budget, payer, Right, 6);
            assert_eq!(budget.count, 0);
        }
    }

    #[test]
    fn a_withdrawn_one_was_never_there() {
        for payer in [Account, Known, Chance, Client, Caller] {
            let before = failed(payer, 1, 5);
            let mut budget = before;
            attempt(&mut budget, payer, Withdrawn, 5);
            assert_eq!(budget, before);
        }
    }

    #[test]
    fn a_count_is_forgotten_after_its_last_failure() {
        for payer in [Account, Known, Chance] {
            let mut budget = failed(payer, 3, 5);
            budget.admit(payer, 1004, &RULES);
            assert_eq!(budget.count, 3);
            assert!(!budget.at_rest(payer, 1004, &RULES));
            let mut budget = failed(payer, 3, 5);
            assert!(budget.at_rest(payer, 1005, &RULES));
            assert_eq!(budget.admit(payer, 1005, &RULES), Admitted);
            assert_eq!(budget.count, 0);
        }
    }

    #[test]
    fn it_is_forgotten_before_a_failure_is_added_too() {
        let mut budget = failed(Account, 2, 5);
        budget.admit(Account, 900, &RULES);
        budget.settle(Account, Wrong, 1005, &RULES);
        assert_eq!(budget, Budget { count: 1, at: 1005, ..Budget::default() });
    }

    #[test]
    fn a_clock_that_moved_back_makes_no_wait_longer() {
        let mut budget = failed(Account, 3, 500);
        assert_eq!(budget.admit(Account, 100, &RULES), Refused { until: 110 });
        assert_eq!(budget.admit(Account, 105, &RULES), Refused { until: 110 });
        assert_eq!(budget.admit(Account, 110, &RULES), Admitted);
        let mut budget = failed(Known, 3, 500);
        assert_eq!(budget.admit(Known, 100, &RULES), Refused { until: 1100 });
    }

    #[test]
    fn a_known_client_has_the_free_failures_and_then_waits_until_they_are_forgotten() {
        let mut budget = Budget::default();
        for now in [5, 6, 7] {
            attempt(&mut budget, Known, Wrong, now);
        }
        assert_eq!(budget.admit(Known, 1006, &RULES), Refused { until: 1007 });
        assert_eq!(budget.admit(Known, 1007, &RULES), Admitted);
        // The lock is the account's.
        let rules = Rules { lock_after: 1, ..RULES };
        assert_eq!(failed(Known, 2, 5).admit(Known, 5, &rules), Admitted);
        assert_eq!(failed(Known, 3, 5).admit(Known, 1005, &rules), Admitted);
    }

    #[test]
    fn a_client_is_known_from_a_login_for_a_time() {
        let mut budget = failed(Known, 1, 5);
        assert!(!budget.is_known(5));
        attempt(&mut budget, Known, Right, 10);
        assert!(budget.is_known(10) && budget.is_known(3009) && !budget.is_known(3010));
        let mut budget = failed(Known, 1, 5);
        budget.remember(10, &RULES);
        assert_eq!(budget, Budget { at: 5, known_until: 3010, ..Budget::default() });
    }

    #[test]
    fn only_a_known_budget_makes_known() {
        for payer in [Account, Chance, Client, Caller] {
            let mut budget = Budget::default();
            attempt(&mut budget, payer, Right, 5);
            assert_eq!(budget.known_until, 0);
        }
    }

    #[test]
    fn nobody_is_known_where_that_is_off() {
        let rules = Rules { known_for: 0, ..RULES };
        let mut budget = Budget { known_until: 3010, ..Budget::default() };
        budget.remember(10, &rules);
        assert_eq!(budget, Budget::default());
        budget.admit(Known, 10, &rules);
        budget.settle(Known, Right, 10, &rules);
        // Even if the clock moves back.
        assert!(!budget.is_known(0));
    }

    #[test]
    fn a_login_a_minute_does_not_rewrite_the_row() {
        let mut budget = Budget::default();
        budget.remember(10, &RULES);
        budget.remember(109, &RULES);
        assert_eq!(budget.known_until, 3010);
        budget.remember(110, &RULES);
        assert_eq!(budget.known_until, 3110);
    }

    #[test]
    fn a_later_end_than_the_rules_allow_does_not_stay() {
        let mut budget = Budget { known_until: 3110, ..Budget::default() };
        budget.remember(10, &RULES);
        assert_eq!(budget.known_until, 3010);
    }

    #[test]
    fn the_larger_of_two_budgets_is_taken_over() {
        let few = Budget { count: 2, in_flight: 1, at: 50, known_until: 9 };
        let many = Budget { count: 7, in_flight: 3, at: 5, known_until: 50 };
        let (mut a, mut b, mut none) = (few, many, few);
        a.take_over(&many);
        b.take_over(&few);
        assert_eq!(a, Budget { count: 7, ..few });
        assert_eq!(b, Budget { at: 50, ..many });
        none.take_over(&Budget { at: 99, ..Budget::default() });
        assert_eq!(none, few);
    }

    #[test]
    fn clearing_forgets_only_failures() {
        let mut budget = Budget { count: 8, in_flight: 2, at: 5, known_until: 50 };
        budget.clear();
        assert_eq!(budget, Budget { count: 0, in_flight: 2, at: 5, known_until: 50 });
    }

    #[test]
    fn a_bucket_admits_its_burst_and_then_one_each_interval() {
        for payer in [Client, Caller] {
            let mut budget = failed(payer, 2, 5);
            assert_eq!(budget.admit(payer, 5, &RULES), Refused { until: 105 });
            assert_eq!(budget.admit(payer, 104, &RULES), Refused { until: 105 });
            attempt(&mut budget, payer, Wrong, 105);
            assert_eq!(budget.admit(payer, 105, &RULES), Refused { until: 205 });
            // And never more than its burst.
            attempt(&mut budget, payer, Wrong, 9000);
            attempt(&mut budget, payer, Wrong, 9000);
            assert_eq!(budget.admit(payer, 9000, &RULES), Refused { until: 9100 });
        }
    }

    #[test]
    fn a_client_is_given_back_what_was_not_wrong() {
        for (settled, admission) in
            [(Right, Admitted), (Withdrawn, Admitted), (Wrong, Refused { until: 105 })]
        {
            let mut budget = failed(Client, 1, 5);
            attempt(&mut budget, Client, settled, 5);
            assert_eq!(budget.admit(Client, 5, &RULES), admission);
        }
    }

    #[test]
    fn a_caller_is_given_back_what_was_not_hashed() {
        for (settled, admission) in [
            (Right, Refused { until: 105 }),
            (Withdrawn, Admitted),
            (Wrong, Refused { until: 105 }),
        ] {
            let mut budget = failed(Caller, 1, 5);
            attempt(&mut budget, Caller, settled, 5);
            assert_eq!(budget.admit(Caller, 5, &RULES), admission);
        }
    }

    #[test]
    fn nothing_in_flight_gives_nothing_back() {
        for payer in [Client, Caller] {
            let mut budget = failed(payer, 2, 5);
            budget.settle(payer, Withdrawn, 5, &RULES);
            assert_eq!(budget.admit(payer, 5, &RULES), Refused { until: 105 });
        }
    }

    #[test]
    fn a_client_waits_for_what_may_be_given_back_and_a_caller_does_not() {
        for (payer, admission) in [(Client, Wait), (Caller, Refused { until: 105 })] {
            let mut budget = failed(payer, 1, 5);
            assert_eq!(budget.admit(payer, 5, &RULES), Admitted);
            assert_eq!(budget.admit(payer, 5, &RULES), admission);
            assert_eq!(budget.waits(payer, 5, &RULES), (payer == Caller).then_some(admission));
        }
    }

    #[test]
    fn a_clock_that_moved_back_leaves_no_bucket_emptier_than_empty() {
        for payer in [Client, Caller] {
            let mut budget = failed(payer, 2, 5000);
            assert_eq!(budget.admit(payer, 5, &RULES), Refused { until: 105 });
            assert_eq!(budget.admit(payer, 105, &RULES), Admitted);
        }
    }

    #[test]
    fn a_bucket_without_a_limit_only_counts_what_is_in_flight() {
        let rules = Rules { client: NO_LIMIT, caller: NO_LIMIT, ..RULES };
        for payer in [Client, Caller] {
            let mut budget = Budget { at: 7000, ..Budget::default() };
            for in_flight in 1..50 {
                assert_eq!(budget.admit(payer, 5, &rules), Admitted);
                assert_eq!(budget, Budget { in_flight, at: 7000, ..Budget::default() });
            }
            for settled in [Right, Wrong, Withdrawn] {
                budget.settle(payer, settled, 5, &rules);
            }
            assert_eq!(budget, Budget { in_flight: 46, at: 7000, ..Budget::default() });
            assert!(Budget { in_flight: 0, ..budget }.at_rest(payer, 5, &rules));
        }
    }

    #[test]
    fn waiting_is_told_without_being_charged() {
        assert_eq!(account(2).waits(Account, 5, &RULES), None);
        assert_eq!(account(3).waits(Account, 5, &RULES), Some(Refused { until: 10 }));
        assert_eq!(account(3).waits(Account, 10, &RULES), None);
        assert_eq!(account(8).waits(Account, 5, &RULES), Some(Locked));
        assert_eq!(account(8).waits(Known, 5, &RULES), Some(Refused { until: 1000 }));
        assert_eq!(failed(Client, 2, 5).waits(Client, 5, &RULES), Some(Refused { until: 105 }));
    }

    #[test]
    fn what_is_in_flight_makes_nobody_wait() {
        assert_eq!(Budget { in_flight: 9, ..account(2) }.waits(Account, 5, &RULES), None);
        assert_eq!(Budget { in_flight: 9, ..account(3) }.waits(Account, 10, &RULES), None);
        assert_eq!(Budget { in_flight: 9, ..account(2) }.waits(Known, 5, &RULES), None);
    }

    #[test]
    fn a_budget_is_at_rest_when_nothing_about_it_matters() {
        for payer in [Account, Known, Chance, Client, Caller] {
            assert!(Budget::default().at_rest(payer, 0, &RULES));
            let in_flight = Budget { in_flight: 1, ..Budget::default() };
            assert!(!in_flight.at_rest(payer, 9000, &RULES));
        }
        let known = Budget { known_until: 50, ..Budget::default() };
        assert!(!known.at_rest(Known, 49, &RULES) && known.at_rest(Known, 50, &RULES));
        let spent = failed(Client, 2, 5);
        assert!(!spent.at_rest(Client, 204, &RULES) && spent.at_rest(Client, 205, &RULES));
    }

    #[test]
    fn no_free_failures_are_one() {
        let rules = Rules { free_failures: 0, ..RULES };
        let mut budget = Budget::default();
        assert_eq!([(); 2].map(|()| budget.admit(Account, 0, &rules)), [Admitted, Wait]);
        budget.settle(Account, Wrong, 0, &rules);
        assert_eq!(budget.admit(Account, 0, &rules), Refused { until: 10 });
    }

    #[test]
    fn a_budget_is_four_numbers() {
        assert_eq!(size_of::<Budget>(), 24);
        assert!(Payer::ALL.iter().map(|payer| *payer as usize).eq(0..PAYERS));
    }

    #[test]
    fn it_rests_at_the_moment_it_says() {
        let budgets = [
            (Account, failed(Account, 1, 100)),
            (Account, failed(Account, RULES.lock_after, 100)),
            (Account, Budget::default()),
            (Known, failed(Known, 2, 100)),
            (Known, Budget { known_until: 5000, ..failed(Known, 1, 100) }),
            (Client, Budget { at: 700, ..Budget::default() }),
            (Caller, Budget { at: 700, ..Budget::default() }),
        ];
        for (payer, budget) in budgets {
            let at = budget.rests_at(payer, &RULES);
            if at > 0 && at < i64::MAX {
                assert!(!budget.at_rest(payer, at - 1, &RULES), "{payer:?} {budget:?}");
            }
            assert_eq!(budget.at_rest(payer, at, &RULES), at < i64::MAX, "{payer:?} {budget:?}");
        }
    }
}
