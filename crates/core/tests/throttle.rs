//! Compares budgets with slow references that keep the whole history, and checks what always holds.
#![allow(clippy::unwrap_used, clippy::panic)]

use password_verify_core::rules::throttle::Admission::{Admitted, Locked, Refused, Wait};
use password_verify_core::rules::throttle::Payer::{
    Account, Caller, Chance, Client, Comparison, Known, Lease, Vault,
};
use password_verify_core::rules::throttle::Settlement::{Right, Withdrawn, Wrong};
use password_verify_core::rules::throttle::{
    Admission, Budget, MAX_COMPARISONS, OPENINGS, Payer, Rate, Rules, Settlement, Timestamp,
};
use proptest::prelude::*;

/// One operation on a budget.
#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    Settle(Settlement),
    Remember,
    Clear,
    /// The clock moves by this much.
    Tick(i64),
    /// The clock moves to this distance from the end of the last refusal (off-by-one errors).
    Until(i64),
}

/// What has happened to a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// The budget was asked, with any admission.
    Asked,
    Admitted,
    Settlement(Settlement),
    Remembered,
    Cleared,
}

fn payers() -> impl Strategy<Value = Payer> {
    prop::sample::select(&Payer::ALL[..])
}

fn settled() -> impl Strategy<Value = Settlement> {
    prop_oneof![3 => Just(Wrong), 1 => Just(Right), 1 => Just(Withdrawn)]
}

/// Rules with small numbers, so that limits coincide often.
fn rules() -> impl Strategy<Value = Rules> {
    let rate = || (0_u32..5, 0_i64..20).prop_map(|(burst, interval)| Rate { burst, interval });
    let times = (0_i64..6, 0_i64..40, 1_i64..60, 0_i64..150);
    (1_u32..5, 1_u32..9, times, rate(), rate()).prop_map(
        |(free_failures, lock_after, times, client, caller)| {
            let (first_wait, max_wait, forget_after, known_for) = times;
            Rules {
                free_failures,
                first_wait,
                max_wait,
                lock_after,
                forget_after,
                known_for,
                client,
                caller,
            }
        },
    )
}

fn steps(backward: bool) -> impl Strategy<Value = Vec<Step>> {
    let tick = if backward { -30_i64..31 } else { 0..31 };
    let step = prop_oneof![
        8 => Just(Step::Admit),
        8 => settled().prop_map(Step::Settle),
        1 => Just(Step::Remember),
        1 => Just(Step::Clear),
        3 => tick.prop_map(Step::Tick),
        1 => (0_i64..100).prop_map(Step::Tick),
        4 => (-1_i64..2).prop_map(Step::Until),
    ];
    prop::collection::vec(step, 1..120)
}

/// Whether failures in a row lock this payer's budget.
fn locks(payer: Payer) -> bool {
    payer == Account || payer == Vault
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// The rate of a token bucket: whoever leases a job has no part in the rules.
fn rate_of(payer: Payer, rules: &Rules) -> Rate {
    match payer {
        Client => rules.client,
        Lease => OPENINGS,
        _ => rules.caller,
    }
}

/// A budget that keeps its whole history and computes each answer from the definition.
struct Reference {
    payer: Payer,
    rules: Rules,
    history: Vec<(Timestamp, Event)>,
}

impl Reference {
    fn count_of(&self, wanted: impl Fn(Event) -> bool) -> u32 {
        self.history.iter().filter(|(_, event)| wanted(*event)).count() as u32
    }

    fn in_flight(&self) -> u32 {
        let settled = self.count_of(|event| matches!(event, Event::Settlement(_)));
        self.count_of(|event| event == Event::Admitted) - settled
    }

    /// The failures since the count was last reset, oldest first.
    fn row(&self) -> Vec<Timestamp> {
        let ends = [Event::Settlement(Right), Event::Cleared, Event::Remembered];
        let since = self.history.rsplit(|(_, event)| ends.contains(event)).next().unwrap();
        let wrong = since.iter().filter(|(_, event)| *event == Event::Settlement(Wrong));
        wrong.map(|(at, _)| *at).collect()
    }

    /// The number of failures that still count, and the last of them, for a clock that only moves
    /// forward. A gap of `forget_after` forgets all failures before it, unless they locked.
    fn failures_forward(&self, now: Timestamp) -> (u32, Timestamp) {
        let row = self.row();
        let close = |pair: &[Timestamp]| pair[1] - pair[0] < self.rules.forget_after;
        // For each failure, the number of consecutive failures that it ends.
        let lengths: Vec<u32> = (0..row.len())
            .map(|end| 1 + row[..=end].windows(2).rev().take_while(|pair| close(pair)).count())
            .map(|length| length as u32)
            .collect();
        if locks(self.payer) && lengths.iter().any(|length| *length >= self.rules.lock_after) {
            return (self.rules.lock_after, row[row.len() - 1]);
        }
        match row.last() {
            Some(&last) if close(&[last, now]) => (lengths[lengths.len() - 1], last),
            _ => (0, 0),
        }
    }

    /// Like [`Reference::failures_forward`], for any clock: a failure is never later than a moment
    /// at which the budget was asked or settled since, and is forgotten at such a moment.
    fn failures(&self, now: Timestamp) -> (u32, Timestamp) {
        let mut row: Vec<Timestamp> = Vec::new();
        for (at, event) in self.history.iter().copied().chain([(now, Event::Asked)]) {
            match event {
                Event::Cleared | Event::Remembered => row.clear(),
                Event::Asked | Event::Admitted | Event::Settlement(_) => {
                    row.iter_mut().for_each(|failure| *failure = at.min(*failure));
                    let locked = locks(self.payer) && row.len() as u32 >= self.rules.lock_after;
                    if !locked && row.last().is_some_and(|l| at - l >= self.rules.forget_after) {
                        row.clear();
                    }
                    match event {
                        Event::Settlement(Right) => row.clear(),
                        Event::Settlement(Wrong) => row.push(at),
                        _ => {}
                    }
                }
            }
        }
        (row.len() as u32, row.last().copied().unwrap_or(0))
    }

    /// The number of comparisons since the budget was last cleared.
    fn compared(&self) -> u32 {
        let ends = [Event::Cleared, Event::Remembered];
        let since = self.history.rsplit(|(_, event)| ends.contains(event)).next().unwrap();
        let told = [Right, Wrong].map(Event::Settlement);
        since.iter().filter(|(_, event)| told.contains(event)).count() as u32
    }

    fn rate(&self) -> Rate {
        rate_of(self.payer, &self.rules)
    }

    /// The level of the bucket in tokens times `interval`: now, and if all attempts in flight gave
    /// their tokens back.
    fn level(&self, now: Timestamp) -> (i128, i128) {
        let (burst, interval) = (i128::from(self.rate().burst), i128::from(self.rate().interval));
        let full = burst * interval;
        let asked =
            |(_, event): &(Timestamp, Event)| !matches!(event, Event::Cleared | Event::Remembered);
        let mut level = full;
        let mut last = self.history.iter().copied().find(asked).map_or(now, |(at, _)| at);
        let until_now = self.history.iter().copied().filter(asked).chain([(now, Event::Asked)]);
        for (at, event) in until_now {
            level = (level + i128::from(at) - i128::from(last)).clamp(0, full);
            last = at;
            match event {
                Event::Admitted => level -= interval,
                Event::Settlement(Withdrawn) => level = (level + interval).min(full),
                Event::Settlement(Right) if self.payer == Client => {
                    level = (level + interval).min(full);
                }
                _ => {}
            }
        }
        let back = if self.payer == Client { i128::from(self.in_flight()) * interval } else { 0 };
        (level, (level + back).min(full))
    }

    fn admission(&self, now: Timestamp, (count, last): (u32, Timestamp)) -> Admission {
        let rules = &self.rules;
        let tried = count + self.in_flight();
        match self.payer {
            Account | Vault if count >= rules.lock_after => Locked,
            Account | Vault if count < rules.free_failures => {
                let may = tried < rules.free_failures && tried < rules.lock_after;
                if may { Admitted } else { Wait }
            }
            Account | Vault => {
                let doublings = count - rules.free_failures;
                let wait = (0..doublings).fold(rules.first_wait, |wait, _| wait * 2);
                let until = last + wait.min(rules.max_wait);
                match self.in_flight() {
                    _ if now < until => Refused { until },
                    0 => Admitted,
                    _ => Wait,
                }
            }
            Known | Chance if count >= rules.free_failures => {
                Refused { until: last + rules.forget_after }
            }
            Known | Chance => {
                if tried < rules.free_failures {
                    Admitted
                } else {
                    Wait
                }
            }
            Comparison if self.compared() >= MAX_COMPARISONS => Locked,
            Comparison if self.compared() + self.in_flight() < MAX_COMPARISONS => Admitted,
            Comparison => Wait,
            Client | Caller | Lease => {
                let interval = i128::from(self.rate().interval);
                match self.level(now) {
                    _ if self.rate().burst == 0 => Admitted,
                    (level, _) if level >= interval => Admitted,
                    (_, back) if back >= interval => Wait,
                    (level, _) => {
                        Refused { until: (i128::from(now) + interval - level).try_into().unwrap() }
                    }
                }
            }
        }
    }

    /// Until when the client is known: by the last login, or by an earlier one close to it.
    fn known_until(&self) -> Timestamp {
        let known_for = self.rules.known_for;
        let end = |at| if known_for > 0 { at + known_for } else { 0 };
        self.history.iter().fold(0, |until, (at, event)| match event {
            Event::Settlement(Right) if self.payer == Known => end(*at),
            Event::Remembered if (until - end(*at)).abs() >= known_for / 30 => end(*at),
            _ => until,
        })
    }

    fn at_rest(&self, now: Timestamp, failures: (u32, Timestamp)) -> bool {
        let spent = match self.payer {
            Account | Vault | Known | Chance => failures.0 > 0,
            Comparison => self.compared() > 0,
            Client | Caller | Lease => {
                let full = i128::from(self.rate().burst) * i128::from(self.rate().interval);
                self.level(now).0 < full
            }
        };
        !spent && self.in_flight() == 0 && self.known_until() <= now
    }
}

/// Applies the same steps to a budget and its reference, and compares every answer.
fn compare(
    payer: Payer,
    rules: Rules,
    steps: &[Step],
    failures: impl Fn(&Reference, Timestamp) -> (u32, Timestamp),
) -> Result<(), TestCaseError> {
    let mut reference = Reference { payer, rules, history: Vec::new() };
    let mut budget = Budget::default();
    let mut now = 1000;
    let mut refused_until = now;
    for step in steps {
        let expected = reference.admission(now, failures(&reference, now));
        let refusal = matches!(expected, Refused { .. } | Locked).then_some(expected);
        prop_assert_eq!(budget.waits(payer, now, &rules), refusal);
        prop_assert_eq!(budget.is_known(now), now < reference.known_until());
        let at_rest = reference.at_rest(now, failures(&reference, now));
        prop_assert_eq!(budget.at_rest(payer, now, &rules), at_rest);

        let event = match *step {
            Step::Admit => {
                prop_assert_eq!(budget.admit(payer, now, &rules), expected);
                if let Refused { until } = expected {
                    refused_until = until;
                    let longest = match payer {
                        Account | Vault => rules.max_wait,
                        Known | Chance => rules.forget_after,
                        Client | Caller | Lease => rate_of(payer, &rules).interval,
                        Comparison => 0,
                    };
                    prop_assert!(now < until && until <= now + longest);
                }
                if expected == Admitted { Event::Admitted } else { Event::Asked }
            }
            Step::Settle(settled) if reference.in_flight() > 0 => {
                budget.settle(payer, settled, now, &rules);
                Event::Settlement(settled)
            }
            Step::Settle(_) => continue,
            Step::Remember if payer == Known => {
                budget.remember(now, &rules);
                Event::Remembered
            }
            Step::Remember => continue,
            Step::Clear => {
                budget.clear();
                Event::Cleared
            }
            Step::Tick(by) => {
                now += by;
                continue;
            }
            Step::Until(offset) => {
                now = now.max(refused_until + offset);
                continue;
            }
        };
        reference.history.push((now, event));
        prop_assert_eq!(budget.in_flight, reference.in_flight());
        if locks(payer) {
            prop_assert!(budget.count + budget.in_flight <= rules.lock_after);
        }
    }
    Ok(())
}

/// Steps of a lease are this far apart: its longest time is an hour.
const HOURS: i64 = 3 * 3_600_000_000;

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn a_budget_answers_as_its_history_does(
        payer in payers(), rules in rules(), steps in steps(false),
    ) {
        compare(payer, rules, &steps, Reference::failures_forward)?;
    }

    #[test]
    fn a_budget_answers_as_its_history_does_if_the_clock_moves_back(
        payer in payers(), rules in rules(), steps in steps(true),
    ) {
        compare(payer, rules, &steps, Reference::failures)?;
    }

    #[test]
    fn as_many_wrong_ones_are_admitted_before_a_wait_as_are_free(
        payer in prop_oneof![Just(Account), Just(Vault), Just(Known), Just(Chance)],
        rules in rules(),
        steps in prop::collection::vec(
            prop_oneof![3 => Just(None), 2 => Just(Some(Wrong)), 1 => Just(Some(Withdrawn))],
            1..80,
        ),
    ) {
        let rules = Rules { first_wait: 1, max_wait: 1, ..rules };
        let mut budget = Budget::default();
        let (mut in_flight, mut wrong) = (0, 0);
        for step in steps {
            match step {
                None => match budget.admit(payer, 0, &rules) {
                    Admitted => in_flight += 1,
                    Wait => prop_assert!(in_flight > 0),
                    Refused { .. } => prop_assert_eq!(wrong, rules.free_failures),
                    Locked => prop_assert!(locks(payer) && wrong == rules.lock_after),
                },
                Some(settled) if in_flight > 0 => {
                    budget.settle(payer, settled, 0, &rules);
                    in_flight -= 1;
                    wrong += u32::from(settled == Wrong);
                }
                Some(_) => {}
            }
            prop_assert!(wrong + in_flight <= rules.free_failures);
        }
    }

    #[test]
    fn sixty_right_ones_in_any_order_are_never_refused(
        payer in prop_oneof![Just(Account), Just(Vault)],
        rules in rules(),
        steps in prop::collection::vec((any::<bool>(), 0_i64..3), 0..400),
    ) {
        let client = Rate { burst: rules.client.burst.max(1), ..rules.client };
        let rules = Rules { client, ..rules };
        let (mut account, mut client) = (Budget::default(), Budget::default());
        let (mut now, mut begun, mut ended) = (0, 0, 0);
        // Take the given steps, and then begin and settle the remaining attempts in turn.
        let rest = std::iter::repeat_n([(true, 0), (false, 0)], 120).flatten();
        for (admit, tick) in steps.into_iter().chain(rest) {
            now += tick;
            if admit && begun < 60 {
                match (account.admit(payer, now, &rules), client.admit(Client, now, &rules)) {
                    (Admitted, Admitted) => begun += 1,
                    (Admitted, Wait) => account.settle(payer, Withdrawn, now, &rules),
                    (Wait, Admitted) => client.settle(Client, Withdrawn, now, &rules),
                    (Wait, Wait) => {}
                    other => panic!("{other:?}"),
                }
            } else if !admit && ended < begun {
                account.settle(payer, Right, now, &rules);
                client.settle(Client, Right, now, &rules);
                ended += 1;
            }
        }
        prop_assert_eq!((begun, ended), (60, 60));
    }

    #[test]
    fn right_ones_between_wrong_ones_give_back_only_themselves(
        rules in rules(),
        steps in prop::collection::vec((0_usize..4, 0_i64..40), 1..80),
    ) {
        let (mut alone, mut mixed) = (Budget::default(), Budget::default());
        let mut now = 1000;
        for (right, tick) in steps {
            now += tick;
            for _ in 0..right {
                if mixed.admit(Client, now, &rules) == Admitted {
                    mixed.settle(Client, Right, now, &rules);
                }
            }
            let admission = alone.admit(Client, now, &rules);
            prop_assert_eq!(mixed.admit(Client, now, &rules), admission);
            if admission == Admitted {
                alone.settle(Client, Wrong, now, &rules);
                mixed.settle(Client, Wrong, now, &rules);
            }
        }
    }

    #[test]
    fn wrong_ones_stay_within_the_rate_whatever_is_given_back_meanwhile(
        rules in rules(), interval in 1_i64..20, steps in steps(false),
    ) {
        let rules = Rules { client: Rate { burst: rules.client.burst.max(1), interval }, ..rules };
        let mut budget = Budget::default();
        let (mut elapsed, mut in_flight, mut wrong) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Admit if budget.admit(Client, 1000 + elapsed, &rules) == Admitted => {
                    in_flight += 1;
                }
                Step::Settle(settled) if in_flight > 0 => {
                    budget.settle(Client, settled, 1000 + elapsed, &rules);
                    in_flight -= 1;
                    wrong += i64::from(settled == Wrong);
                }
                Step::Tick(by) => elapsed += by,
                _ => {}
            }
            let most = i64::from(rules.client.burst) + elapsed / interval;
            prop_assert!(wrong + in_flight <= most);
        }
    }

    #[test]
    fn a_lease_opens_three_times_and_once_a_day_whatever_comes_of_it(
        rules in rules(),
        steps in prop::collection::vec((prop::option::of(settled()), 0..HOURS), 1..60),
    ) {
        let mut budget = Budget::default();
        let (mut elapsed, mut in_flight, mut told) = (0, 0, 0);
        for (step, tick) in steps {
            elapsed += tick;
            match step {
                None => match budget.admit(Lease, 1000 + elapsed, &rules) {
                    Admitted => in_flight += 1,
                    // Nothing that is in flight comes back of its own accord: nobody waits for it.
                    Refused { until } => {
                        prop_assert!(until <= 1000 + elapsed + OPENINGS.interval);
                        prop_assert!(told + in_flight >= i64::from(OPENINGS.burst));
                    }
                    other => prop_assert!(false, "{:?}", other),
                },
                Some(settled) if in_flight > 0 => {
                    budget.settle(Lease, settled, 1000 + elapsed, &rules);
                    in_flight -= 1;
                    told += i64::from(settled != Withdrawn);
                }
                Some(_) => {}
            }
            let most = i64::from(OPENINGS.burst) + elapsed / OPENINGS.interval;
            prop_assert!(told + in_flight <= most, "{} and {} of {}", told, in_flight, most);
        }
        // Neither a manager nor a right answer gives openings back.
        let before = budget.at;
        budget.clear();
        prop_assert_eq!(budget.at, before);
    }

    #[test]
    fn in_time_everything_that_is_not_locked_is_at_rest(
        payer in payers(), rules in rules(), steps in steps(false), at_once in any::<bool>(),
    ) {
        let mut budget = Budget::default();
        let mut now = 1000;
        for step in steps {
            match step {
                Step::Admit => drop(budget.admit(payer, now, &rules)),
                Step::Settle(settled) if budget.in_flight > 0 => {
                    budget.settle(payer, settled, now, &rules);
                }
                Step::Remember if payer == Known => budget.remember(now, &rules),
                Step::Tick(by) => now += by,
                _ => {}
            }
        }
        prop_assert!(budget.in_flight == 0 || !budget.at_rest(payer, now + 1_000_000, &rules));
        while budget.in_flight > 0 {
            budget.settle(payer, Wrong, now, &rules);
        }
        let stays = match payer {
            Account | Vault => budget.count >= rules.lock_after,
            Comparison => budget.count > 0,
            _ => false,
        };
        if stays {
            prop_assert!(!budget.at_rest(payer, now + 1_000_000, &rules));
        } else {
            let rate = rate_of(payer, &rules);
            let settled_by = match payer {
                Account | Vault => rules.forget_after,
                Known | Chance => rules.forget_after.max(rules.known_for),
                Client | Caller | Lease => i64::from(rate.burst) * rate.interval,
                Comparison => 0,
            };
            let later = if at_once { 0 } else { 1_000_000 };
            prop_assert!(budget.at_rest(payer, now + settled_by + later, &rules));
        }
    }

    #[test]
    fn what_is_at_rest_is_as_good_as_new(
        payer in payers(),
        rules in rules(),
        count in 0_u32..10,
        in_flight in prop_oneof![9 => Just(0_u32), 1 => 0_u32..3],
        at in 900_i64..1100,
        known_until in 900_i64..1100,
        steps in steps(false),
    ) {
        let mut old = Budget { count, in_flight, at, known_until };
        let mut new = Budget::default();
        let (mut now, mut rested) = (1000, false);
        for step in steps {
            // From the first moment of rest on.
            if !rested {
                rested = old.at_rest(payer, now, &rules);
            }
            if let Step::Tick(by) = step {
                now += by;
            }
            if !rested {
                continue;
            }
            match step {
                Step::Admit => {
                    prop_assert_eq!(old.admit(payer, now, &rules), new.admit(payer, now, &rules));
                }
                Step::Settle(settled) => {
                    old.settle(payer, settled, now, &rules);
                    new.settle(payer, settled, now, &rules);
                }
                Step::Remember => {
                    old.remember(now, &rules);
                    new.remember(now, &rules);
                }
                Step::Clear => {
                    old.clear();
                    new.clear();
                }
                Step::Tick(_) | Step::Until(_) => {}
            }
            prop_assert_eq!(old.waits(payer, now, &rules), new.waits(payer, now, &rules));
            prop_assert_eq!(old.at_rest(payer, now, &rules), new.at_rest(payer, now, &rules));
            prop_assert_eq!(old.is_known(now), new.is_known(now));
            prop_assert_eq!(old.in_flight, new.in_flight);
        }
    }
}

fn any_i64() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -2_i64..3,
        Just(i64::MIN),
        Just(i64::MIN + 1),
        Just(i64::MAX),
        Just(i64::MAX - 1),
    ]
}

fn any_u32() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), 0_u32..70, Just(u32::MAX), Just(u32::MAX - 1)]
}

proptest! {
    #![proptest_config(config(20_000))]

    #[test]
    fn nothing_panics(
        payer in payers(),
        numbers in prop::array::uniform7(any_i64()),
        counts in prop::array::uniform6(any_u32()),
        at in any_i64(),
        steps in prop::collection::vec((any_i64(), prop::option::of(settled())), 1..12),
    ) {
        let [first_wait, max_wait, forget_after, known_for, client, caller, known_until] = numbers;
        let [free_failures, lock_after, client_burst, caller_burst, count, in_flight] = counts;
        let rules = Rules {
            free_failures,
            first_wait,
            max_wait,
            lock_after,
            forget_after,
            known_for,
            client: Rate { burst: client_burst, interval: client },
            caller: Rate { burst: caller_burst, interval: caller },
        };
        let mut budget = Budget { count, in_flight, at, known_until };
        for (now, settled) in steps {
            let refusal = budget.waits(payer, now, &rules);
            let _ = (budget.at_rest(payer, now, &rules), budget.is_known(now));
            let admission = budget.admit(payer, now, &rules);
            prop_assert_eq!(refusal, matches!(admission, Refused { .. } | Locked).then_some(admission));
            if let Refused { until } = admission {
                prop_assert!(now < until);
            }
            match settled {
                Some(settled) => budget.settle(payer, settled, now, &rules),
                None => budget.remember(now, &rules),
            }
        }
        budget.clear();
    }
}
