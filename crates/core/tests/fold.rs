//! Folding loses no event, and a flood of events does not become a flood of rows.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::fold::{
    BURST, FoldKey, Folding, MAX_COARSE, MAX_KEYS, Placed, WINDOW,
};
use proptest::prelude::*;
use proptest::sample::select;

const SECOND: i64 = 1_000_000;

fn event(at: i64, user: &str, outcome: Outcome) -> Event {
    Event {
        user_id: Some(user.into()),
        client_addr: Some("192.0.2.1".into()),
        login_role: Some("app".into()),
        acting_role: Some("app".into()),
        peer_addr: Some("local".into()),
        certificate_subject: Some("CN=app".into()),
        certificate_serial: Some("7".into()),
        application_name: Some("web".into()),
        pid: Some(1),
        ..Event::new(at, Action::Validate, outcome)
    }
}

fn wrong(at: i64, user: &str) -> Event {
    event(at, user, Outcome::InvalidCredentials)
}

fn valid(at: i64, user: &str) -> Event {
    event(at, user, Outcome::Valid)
}

fn folded(placed: Placed) -> bool {
    matches!(placed, Placed::Folded(_))
}

/// The worker and its two tables: rows and open folds.
#[derive(Default)]
struct Worker {
    folding: Folding,
    rows: Vec<Event>,
    open: BTreeMap<[u8; 16], Event>,
}

impl Worker {
    fn write(&mut self, events: impl IntoIterator<Item = Event>, now: i64) {
        for event in events {
            if let Placed::Alone(row) = self.folding.place(event) {
                self.rows.push(row);
            }
        }
        for (key, row) in self.folding.due(now) {
            assert_eq!(FoldKey::of(&row), key);
            self.open.remove(&key.to_bytes());
            self.rows.push(row);
        }
        for (key, event) in self.folding.dirty() {
            assert_eq!(FoldKey::of(&event), key, "the key can be computed again");
            self.open.insert(key.to_bytes(), event);
        }
        assert!(self.folding.dirty().is_empty(), "nothing has changed since");
    }

    /// Replaces the worker by a new one that starts from the tables.
    fn die(&mut self) {
        self.folding = Folding::new();
        self.open.values().for_each(|event| self.folding.restore(event.clone()));
        assert!(self.folding.dirty().is_empty(), "the table holds it already");
    }

    fn counts(&self) -> HashMap<(Action, Outcome), i64> {
        count(self.rows.iter().chain(self.open.values()))
    }
}

fn count<'a>(events: impl Iterator<Item = &'a Event>) -> HashMap<(Action, Outcome), i64> {
    let mut counts = HashMap::new();
    events.for_each(|e| *counts.entry((e.action, e.outcome)).or_default() += e.count);
    counts
}

#[test]
fn the_first_is_alone_and_what_repeats_it_is_one_row() {
    let mut folding = Folding::new();
    assert_eq!(folding.place(wrong(5, "a")), Placed::Alone(wrong(5, "a")));
    for at in 6..=9 {
        assert_eq!(folding.place(wrong(at, "a")), Placed::Folded(FoldKey::of(&wrong(0, "a"))));
    }
    assert_eq!(folding.due(5 + WINDOW - 1), []);
    let expected = Event { since: 6, count: 4, ..wrong(9, "a") };
    assert_eq!(folding.due(5 + WINDOW), [(FoldKey::of(&wrong(0, "a")), expected)]);
    assert_eq!(folding.due(5 + WINDOW), []);
    assert_eq!(folding.dirty(), [], "what was taken is not open");
}

#[test]
fn a_window_is_a_minute_from_its_opening() {
    let mut folding = Folding::new();
    folding.place(valid(0, "a"));
    assert!(folded(folding.place(valid(WINDOW - 1, "a"))));
    assert!(!folded(folding.place(valid(WINDOW, "a"))));
    assert!(folded(folding.place(valid(2 * WINDOW - 1, "a"))));
    assert!(!folded(folding.place(valid(2 * WINDOW, "a"))));
}

#[test]
fn whatever_tells_events_apart_is_in_the_key() {
    let mut folding = Folding::new();
    let first = wrong(0, "a");
    let others = [
        Event { action: Action::Prove, ..first.clone() },
        Event { outcome: Outcome::Throttled, ..first.clone() },
        Event { user_id: Some("b".into()), ..first.clone() },
        Event { user_id: None, ..first.clone() },
        Event { client_addr: Some("192.0.2.2".into()), ..first.clone() },
        Event { client_addr: None, ..first.clone() },
        Event { login_role: Some("b".into()), ..first.clone() },
        Event { login_role: None, ..first.clone() },
        Event { certificate_subject: Some("CN=b".into()), ..first.clone() },
        Event { certificate_subject: None, ..first.clone() },
        Event { certificate_serial: Some("8".into()), ..first.clone() },
        Event { certificate_serial: None, ..first.clone() },
        // The same texts in different fields.
        Event {
            user_id: first.client_addr.clone(),
            client_addr: first.user_id.clone(),
            ..first.clone()
        },
    ];
    assert!(!folded(folding.place(first)));
    for other in others {
        assert!(!folded(folding.place(other.clone())), "{other:?}");
        assert!(folded(folding.place(other)));
    }
}

#[test]
fn known_answer() {
    // blake2b(bytes([2, 3]) + opt(b'42') + opt(None) + opt(b'app') + opt(b'CN=app') + opt(b'7'), digest_size=16), opt as
    // in chain.rs
    let event = Event { client_addr: None, ..wrong(0, "42") };
    let expected = 0x7bc1_9b9a_d3e5_78f9_13c7_c350_461b_5941_u128;
    assert_eq!(u128::from_be_bytes(FoldKey::of(&event).to_bytes()), expected);
}

#[test]
fn what_has_to_be_read_on_its_own_is_never_folded() {
    let alone = [
        Event { alert: Alert::ACCOUNT_WAITS, ..wrong(0, "a") },
        Event { xid: Some(7), ..wrong(0, "a") },
        Event { action: Action::Epoch, ..valid(0, "a") },
        Event { action: Action::End, ..valid(0, "a") },
        Event { action: Action::Prune, ..valid(0, "a") },
    ];
    let mut folding = Folding::new();
    for event in alone.iter().cycle().take(50) {
        assert_eq!(folding.place(event.clone()), Placed::Alone(event.clone()));
    }
    // Such events open no window either.
    assert!(!folded(folding.place(wrong(0, "a"))));
}

#[test]
fn a_fold_tells_what_its_events_have_in_common() {
    let mut folding = Folding::new();
    let first = Event { detail: Some("x".into()), ..wrong(0, "a") };
    folding.place(wrong(0, "a"));
    folding.place(first.clone());
    folding.place(first.clone());
    let same = Event { count: 2, ..first.clone() };
    assert_eq!(folding.dirty()[0].1, same);
    let other = |text: &str| Some(String::from(text));
    folding.place(Event { acting_role: other("b"), ..first.clone() });
    folding.place(Event { peer_addr: None, ..first.clone() });
    folding.place(Event { application_name: other("b"), ..first.clone() });
    folding.place(Event { pid: Some(2), ..first.clone() });
    folding.place(Event { detail: other("y"), ..first.clone() });
    folding.place(first.clone());
    let common = Event {
        acting_role: None,
        peer_addr: None,
        application_name: None,
        pid: None,
        detail: None,
        count: 8,
        ..first
    };
    assert_eq!(folding.dirty()[0].1, common);
}

#[test]
fn folds_are_folded_in_full_and_in_any_order() {
    let mut folding = Folding::new();
    let fold = |since, at, count| Event { since, count, ..wrong(at, "a") };
    folding.restore(fold(10, 20, 7));
    folding.restore(fold(15, 17, 3));
    assert!(folded(folding.place(wrong(9, "a"))));
    assert_eq!(folding.dirty()[0].1, fold(9, 20, 11));
}

#[test]
fn only_what_has_changed_is_dirty() {
    let mut folding = Folding::new();
    for user in ["a", "a", "b", "b", "c"] {
        folding.place(wrong(0, user));
    }
    assert_eq!(folding.dirty().len(), 2);
    assert_eq!(folding.dirty(), []);
    folding.place(wrong(1, "b"));
    let expected = Event { since: 0, count: 2, ..wrong(1, "b") };
    assert_eq!(folding.dirty(), [(FoldKey::of(&expected), expected)]);
}

#[test]
fn a_new_worker_goes_on_with_the_open_folds() {
    let mut worker = Worker::default();
    worker.write([wrong(0, "a"), wrong(1, "a"), wrong(2, "a")], 2);
    worker.die();
    worker.write([wrong(WINDOW, "a")], WINDOW);
    assert_eq!(worker.rows.len(), 1, "the window began with the first folded event");
    worker.write([], WINDOW + 1);
    assert_eq!(worker.rows[1], Event { since: 1, count: 3, ..wrong(WINDOW, "a") });
    assert!(worker.open.is_empty());
}

#[test]
fn a_flood_that_never_pauses_is_written_every_minute() {
    let mut worker = Worker::default();
    for second in 0..600 {
        let at = second * SECOND;
        // Events that have waited for a while are placed before the folds are taken.
        worker.write((0..10).map(|n| wrong(at + n, "a")), at + 10);
        let rows = 2 * (second / 60) + 1;
        assert_eq!(worker.rows.len() as i64, rows, "after {second} s");
    }
    assert_eq!(worker.counts()[&(Action::Validate, Outcome::InvalidCredentials)], 6000);
}

#[test]
fn folds_are_taken_oldest_first() {
    let mut folding = Folding::new();
    for (at, user) in ["d", "b", "a", "c"].into_iter().enumerate() {
        folding.place(wrong(at as i64, user));
        folding.place(wrong(at as i64, user));
    }
    let since: Vec<_> = folding.due(2 * WINDOW).iter().map(|(_, event)| event.since).collect();
    assert_eq!(since, [0, 1, 2, 3]);
}

#[test]
fn a_clock_that_is_set_back_opens_windows_anew() {
    let mut folding = Folding::new();
    let day = 24 * 60 * WINDOW;
    folding.place(wrong(day, "a"));
    assert!(folded(folding.place(wrong(day - 1, "a"))), "two processes out of step");
    assert_eq!(folding.dirty()[0].1, wrong(day - 1, "a"));
    assert!(!folded(folding.place(wrong(0, "a"))));
    assert_eq!(folding.due(0).len(), 1);
}

/// Calls [`Worker::write`] once per second.
fn flood(worker: &mut Worker, seconds: i64, mut events: impl FnMut(i64) -> Vec<Event>) {
    for second in 0..seconds {
        worker.write(events(second * SECOND), second * SECOND);
    }
}

fn alone(rows: &[Event]) -> i64 {
    rows.iter().filter(|row| row.user_id.is_some()).count() as i64
}

#[test]
fn a_flood_of_many_users_makes_no_more_rows_than_the_bucket_allows() {
    // Each event once, and three times in a row, because a fold is a row as well.
    for times in [1, 3] {
        let mut worker = Worker::default();
        flood(&mut worker, 300, |at| {
            let user = |n| wrong(at, &format!("{at}-{}", n / times));
            (0..1000).map(user).collect()
        });
        let rows = alone(&worker.rows) + alone(&worker.open.values().cloned().collect::<Vec<_>>());
        assert!(rows <= BURST + 300, "{rows}");
        assert!(rows > BURST + 240, "{rows}");
        let others = worker.rows.len() + worker.open.len() - rows as usize;
        assert!(others <= 6, "one coarse fold a minute, not {others}");
        let fault = (Action::Validate, Outcome::InvalidCredentials);
        assert_eq!(worker.counts()[&fault], 300_000);
    }
}

#[test]
fn a_coarse_fold_names_nobody() {
    let mut folding = Folding::new();
    // Spread over minutes, so that the bucket runs out before the memory for keys does.
    for n in 0..BURST + 500 {
        folding.place(wrong(n * WINDOW / 8000, &n.to_string()));
    }
    let event = Event { client_addr: Some("192.0.2.9".into()), ..wrong(WINDOW, "late") };
    let nobody = Event { user_id: None, client_addr: None, ..event.clone() };
    assert_eq!(folding.place(event.clone()), Placed::Folded(FoldKey::of(&nobody)));
    // Another outcome has another fold, and a success is not a failure.
    let other = Event { outcome: Outcome::Throttled, ..event.clone() };
    assert_eq!(
        folding.place(other),
        Placed::Folded(FoldKey::of(&Event { outcome: Outcome::Throttled, ..nobody }))
    );
    assert!(!folded(folding.place(valid(WINDOW, "late"))));
}

/// A state whose bucket is empty at this time.
fn emptied(at: i64) -> Folding {
    let mut folding = Folding::new();
    // In two halves, because no more keys than that are remembered at once.
    for n in 0..BURST {
        let at = if n < BURST / 2 { at - 2 * WINDOW } else { at };
        folding.place(wrong(at, &n.to_string()));
    }
    for n in 0..120 {
        assert!(!folded(folding.place(wrong(at, &format!("given back {n}")))));
    }
    assert!(folded(folding.place(wrong(at, "one too many"))));
    folding
}

#[test]
fn the_bucket_gives_one_row_a_second() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    assert!(folded(folding.place(wrong(at + SECOND - 1, "a"))));
    assert!(!folded(folding.place(wrong(at + SECOND, "b"))));
    assert!(folded(folding.place(wrong(at + SECOND, "c"))));
    for n in 0..10 {
        assert!(!folded(folding.place(wrong(at + 11 * SECOND, &format!("d{n}")))));
    }
    assert!(folded(folding.place(wrong(at + 11 * SECOND, "e"))));
}

#[test]
fn a_clock_that_is_set_back_neither_fills_the_bucket_nor_stops_it() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    for step in 1..50 {
        assert!(folded(folding.place(wrong(at - step * SECOND, "a"))));
        assert!(folded(folding.place(wrong(at, "b"))));
    }
    let earlier = at - 1000 * WINDOW;
    assert!(folded(folding.place(wrong(earlier, "c"))));
    assert!(!folded(folding.place(wrong(earlier + SECOND, "d"))));
}

#[test]
fn there_are_only_so_many_coarse_folds() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    folding.dirty();
    let role = |n: usize| Event { login_role: Some(n.to_string()), ..wrong(at, "x") };
    (0..2000).for_each(|n| assert!(folded(folding.place(role(n)))));
    let dirty = folding.dirty();
    let (named, nameless): (Vec<_>, Vec<_>) =
        dirty.iter().partition(|(_, event)| event.login_role.is_some());
    // One of them is the fold that was open when the bucket ran out.
    assert_eq!((named.len(), nameless.len()), (MAX_COARSE - 1, 1));
    assert_eq!(nameless[0].1.count, 2000 - named.len() as i64);
    // A certificate of many would make as many folds as a role of many.
    let certificates =
        |event: &Event| (event.certificate_subject.is_some(), event.certificate_serial.is_some());
    assert_eq!(certificates(&nameless[0].1), (false, false));
    assert!(named.iter().all(|(_, event)| certificates(event) == (true, true)));
    // Events are still added to an open fold, and taking the folds makes room again.
    assert!(folded(folding.place(role(0))));
    assert_eq!(folding.dirty()[0].1.login_role.as_deref(), Some("0"));
    assert_eq!(folding.due(at + WINDOW).len(), MAX_COARSE + 1);
    folding.place(Event { at: at + 1, ..role(1999) });
    assert_eq!(folding.dirty()[0].1.login_role.as_deref(), Some("1999"));
}

#[test]
fn a_coarse_fold_is_open_for_a_minute() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    let nobody = |at| Event { user_id: None, client_addr: None, pid: Some(7), ..wrong(at, "") };
    let role = |event| Event { login_role: Some("z".into()), ..event };
    // An exact key without user and client has a window apart from that of the coarse fold.
    let later = at + SECOND + WINDOW;
    assert!(!folded(folding.place(role(nobody(at + SECOND)))));
    (0..60).for_each(|n| assert!(!folded(folding.place(wrong(later, &format!("x{n}"))))));
    assert_eq!(
        folding.place(role(wrong(later, "y"))),
        Placed::Folded(FoldKey::of(&role(nobody(0))))
    );
    let due: Vec<_> =
        folding.due(later + WINDOW - 1).into_iter().map(|(_, e)| e.login_role).collect();
    assert_eq!(due, [Some("app".into())]);
    assert_eq!(folding.due(later + WINDOW).len(), 1);
}

#[test]
fn other_folds_are_not_counted_as_coarse() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    (0..2 * MAX_COARSE).for_each(|n| folding.restore(valid(at, &n.to_string())));
    folding.dirty();
    for role in ["new", "newer"] {
        folding.place(Event { login_role: Some(role.into()), ..wrong(at, "x") });
        assert_eq!(folding.dirty()[0].1.login_role.as_deref(), Some(role));
        folding.due(at);
    }
}

#[test]
fn coarse_folds_of_an_earlier_worker_count_too() {
    let at = 1 << 50;
    let mut folding = emptied(at);
    for n in 0..1000 {
        let nobody = Event { user_id: None, client_addr: None, ..wrong(at, "") };
        folding.restore(Event { login_role: Some(format!("old {n}")), ..nobody });
    }
    folding.dirty();
    folding.place(Event { login_role: Some("new".into()), ..wrong(at, "x") });
    assert_eq!(folding.dirty()[0].1.login_role, None);
}

#[test]
fn when_no_more_keys_are_remembered_only_failures_are_folded() {
    let mut folding = Folding::new();
    assert!(!folded(folding.place(wrong(0, "first"))));
    for n in 1..MAX_KEYS {
        assert!(!folded(folding.place(valid(n as i64, &n.to_string()))));
    }
    for _ in 0..2 {
        assert!(!folded(folding.place(valid(9999, "new"))));
        assert!(folded(folding.place(wrong(9999, "new"))));
    }
    assert_eq!(folding.dirty()[0].1.user_id, None);
    // Events with remembered keys are still folded.
    for event in [valid(9999, "1"), wrong(9999, "first")] {
        assert_eq!(folding.place(event.clone()), Placed::Folded(FoldKey::of(&event)));
    }
    // A minute later all but the open folds are forgotten, even if no fold has been taken.
    assert!(!folded(folding.place(valid(2 * WINDOW, "new"))));
    assert!(folded(folding.place(valid(2 * WINDOW, "new"))));
    assert!(!folded(folding.place(wrong(2 * WINDOW, "new"))));
    assert_eq!(folding.due(2 * WINDOW).len(), 3);
}

fn text(of: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    proptest::option::of(select(of).prop_map(String::from))
}

prop_compose! {
    fn any_event()(
        at in prop_oneof![8 => 0..4 * WINDOW, 1 => any::<i64>()],
        action in select(&[Action::Validate, Action::Prove, Action::Change, Action::End][..]),
        outcome in select(
            &[Outcome::Valid, Outcome::InvalidCredentials, Outcome::Busy, Outcome::Pending][..]
        ),
        (user_id, client_addr) in (text(&["a", "b"]), text(&["a", "b"])),
        (login_role, acting_role) in (text(&["a", "b"]), text(&["a"])),
        certificate_subject in text(&["a", "b"]),
        pid in proptest::option::of(0..3),
        xid in proptest::option::weighted(0.1, any::<u64>()),
        alert in prop_oneof![9 => Just(0), 1 => any::<u8>()],
    ) -> Event {
        let event = Event::new(at, action, outcome);
        Event {
            user_id, client_addr, login_role, acting_role, certificate_subject, pid, xid,
            alert: Alert(alert), ..event
        }
    }
}

proptest! {
    #[test]
    fn counts_add_up(
        transactions in proptest::collection::vec(
            (
                proptest::collection::vec(any_event(), 0..40),
                prop_oneof![8 => 0..5 * WINDOW, 1 => any::<i64>()],
                any::<bool>(),
            ),
            1..10,
        ),
        in_order: bool,
        starved in proptest::bool::weighted(0.05),
    ) {
        let mut worker = Worker::default();
        let mut all: Vec<Event> = Vec::new();
        if starved {
            // From here on, failures can only go to coarse folds.
            worker.folding = emptied(1 << 50);
            worker.folding.due(i64::MAX);
        }
        for (mut events, now, dies) in transactions {
            if in_order {
                events.sort_by_key(|event| event.at);
            }
            all.extend(events.iter().cloned());
            worker.write(events, now);
            if dies {
                worker.die();
            }
            prop_assert_eq!(worker.counts(), count(all.iter()));
        }
        for row in worker.rows.iter().chain(worker.open.values()) {
            prop_assert!(row.since <= row.at && row.count > 0);
            // A row names only users that were there, and no invented time.
            let like = |event: &&Event| {
                (event.action, event.outcome) == (row.action, row.outcome)
                    && (row.user_id.is_none() || event.user_id == row.user_id)
                    && (row.client_addr.is_none() || event.client_addr == row.client_addr)
                    && (row.login_role.is_none()
                        || (&event.login_role, &event.certificate_subject)
                            == (&row.login_role, &row.certificate_subject))
                    && (row.pid.is_none() || event.pid == row.pid)
            };
            let of_row = || all.iter().filter(like);
            prop_assert!(of_row().any(|event| event.at == row.at));
            prop_assert!(of_row().any(|event| event.at == row.since));
        }
    }

    #[test]
    fn repeats_within_a_minute_are_two_rows_for_each_key(
        mut events in proptest::collection::vec((any_event(), 0..WINDOW), 1..200),
    ) {
        let mut worker = Worker::default();
        events.sort_by_key(|(_, at)| *at);
        let foldable = |event: &Event| {
            event.action != Action::End && event.xid.is_none() && event.alert.is_empty()
        };
        let events: Vec<_> = events
            .into_iter()
            .map(|(event, at)| Event { at, since: at, ..event })
            .filter(foldable)
            .collect();
        let mut keys = HashMap::new();
        events.iter().for_each(|event| *keys.entry(FoldKey::of(event)).or_insert(0) += 1);
        worker.write(events, WINDOW - 1);
        let expected: usize = keys.values().map(|&times| times.min(2)).sum();
        prop_assert_eq!(worker.rows.len() + worker.open.len(), expected);
    }
}

#[test]
fn a_flood_does_not_make_a_hashed_guess_anonymous() {
    use password_verify_core::rules::event::{Action, Event, Outcome};
    use password_verify_core::trail::fold::{BURST, Folding, Placed};
    let mut folding = Folding::new();
    let event = |user: String, outcome| {
        let mut event = Event::new(1_000_000, Action::Validate, outcome);
        event.user_id = Some(user);
        event
    };
    for i in 0..2 * BURST {
        let _ = folding.place(event(format!("flood{i}"), Outcome::Throttled));
    }
    let guess = || event("victim".into(), Outcome::InvalidCredentials);
    let mut named = 0;
    for _ in 0..3 {
        if let Placed::Alone(row) = folding.place_hashed(guess()) {
            assert_eq!(row.user_id.as_deref(), Some("victim"));
            named += row.count;
        }
    }
    let counted = folding.due(120_000_000);
    let mine = counted.iter().filter(|(_, event)| event.user_id.as_deref() == Some("victim"));
    assert_eq!(named + mine.map(|(_, event)| event.count).sum::<i64>(), 3);
    // Without a flood, a repetition is folded too.
    let mut folding = Folding::new();
    assert!(matches!(folding.place_hashed(guess()), Placed::Alone(_)));
    assert!(matches!(folding.place_hashed(guess()), Placed::Folded(_)));
}
