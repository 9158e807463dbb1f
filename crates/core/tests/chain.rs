//! The chain must break at exactly the first row that is not what was written.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use password_verify_core::kept::keyring::{Key, Keyring};
use password_verify_core::rules::event::{Action, Alert, Event, Outcome};
use password_verify_core::trail::chain::{
    Broken, Chain, ChainKey, Head, MAC_BYTES, Opening, Why, hex, unhex,
};
use password_verify_core::trail::erasable::{Commitment, Named};
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone, PartialEq)]
struct Row {
    seq: i64,
    event: Event,
    mac: Vec<u8>,
}

const EPOCH: i64 = 3;

fn key() -> ChainKey {
    ChainKey::Keyed([7; 32].into())
}

/// What the chain covers of the user.
fn user(event: &Event) -> Option<Commitment> {
    let user_id = event.user_id.as_deref();
    Named::new(user_id, [5; 16]).commitment(user_id).unwrap()
}

fn written(events: &[Event]) -> Vec<Row> {
    let mut chain = Chain::open(key(), EPOCH);
    let row = |event: &Event| {
        let (seq, mac) = chain.append(event, user(event).as_ref());
        Row { seq, event: event.clone(), mac: mac.into() }
    };
    events.iter().map(row).collect()
}

/// The place and the kind of the first break.
fn broken_in(mut chain: Chain, rows: &[Row]) -> Option<(usize, Broken)> {
    rows.iter().enumerate().find_map(|(place, Row { seq, event, mac })| {
        let before = chain.head();
        let broken = chain.check(*seq, event, user(event).as_ref(), mac).err()?;
        assert_eq!(chain.head(), before, "a broken chain stays where it was");
        Some((place, broken))
    })
}

fn broken(rows: &[Row]) -> Option<(usize, Broken)> {
    broken_in(Chain::open(key(), EPOCH), rows)
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a\0\u{1}é]{0,4}")
}

prop_compose! {
    fn event()(
        times in any::<(i64, i64, i64)>(),
        action in select(Action::ALL), outcome in select(Outcome::ALL), alert in any::<u8>(),
        (pid, xid) in any::<(Option<i32>, Option<u64>)>(),
        texts in (text(), text(), text(), text(), text(), text(), text()),
        (certificate_subject, certificate_serial) in (text(), text()),
    ) -> Event {
        let (at, since, count) = times;
        let (user_id, client_addr, login_role, acting_role, peer_addr, application_name, detail)
            = texts;
        Event {
            at, since, count, action, outcome, user_id, client_addr, login_role, acting_role,
            peer_addr, certificate_subject, certificate_serial, application_name, pid, xid,
            alert: Alert(alert), detail,
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), 1..8)
}

/// One event per field: `mine`, with that field of `other`.
fn with_one_field_of(mine: &Event, other: &Event) -> Vec<Event> {
    let other = other.clone();
    macro_rules! each {
        ($($field:ident)+) => {
            vec![$(Event { $field: other.$field, ..mine.clone() }),+]
        };
    }
    each!(at since count action outcome user_id client_addr login_role acting_role peer_addr
          certificate_subject certificate_serial application_name pid xid alert detail)
}

/// The MACs of two rows by python's hashlib, from /usr/bin/python3 with `opt = lambda b: b'\0' if b
/// is None else b'\1' + struct.pack('>Q', len(b)) + b` and `blake2b(b'\2' + previous +
/// struct.pack('>5q', epoch, seq, at, since, count) + bytes([action, outcome, alert]) +
/// opt(pack('>i', pid)) + opt(pack('>Q', xid)) + b''.join(map(opt, texts)), key=bytes([7] * 32) or
/// b'', digest_size=32)`, where the first text is the commitment to the user id: `blake2b(b'password_verify user of an
/// event v1' + bytes([5] * 16) + user_id, digest_size=32)`.
#[test]
fn known_answers() {
    let first = Event::new(1000, Action::Epoch, Outcome::Recorded);
    let second = Event {
        at: 2000,
        since: 1500,
        count: 2,
        action: Action::Change,
        outcome: Outcome::Pending,
        user_id: Some("42".into()),
        client_addr: Some("2001:db8::1".into()),
        login_role: Some("app".into()),
        acting_role: Some("owner".into()),
        peer_addr: Some("10.0.0.7:5432".into()),
        certificate_subject: Some("CN=app,O=Example".into()),
        certificate_serial: Some("4711".into()),
        application_name: Some("café".into()),
        pid: Some(4711),
        xid: Some(1 << 40),
        alert: Alert::SUCCESS_AFTER_FAILURES | Alert::ACCOUNT_WAITS,
        detail: Some(String::new()),
    };
    let keyed = [
        "508a5cc2773831343d4fe9c86e230348b5b92b84b650c995aaf180000ce2ce08",
        "e9be6c32eae9bde848e6848c2bf2f009aa7ef45e6359066a31ae1d76a2e040ce",
    ];
    let plain = [
        "3a08d6104b4ac6e6f8b39e325321ad7fddb302a35ce997febce539198306ca1e",
        "f1830942b9b0e252431123adbd04e4df0a57aa718a309f8ede63da6b77bc4e42",
    ];
    for (key, expected) in [(key(), keyed), (ChainKey::Plain, plain)] {
        let mut chain = Chain::open(key, EPOCH);
        for (seq, (event, expected)) in [&first, &second].into_iter().zip(expected).enumerate() {
            let (place, mac) = chain.append(event, user(event).as_ref());
            assert_eq!((place, &*hex(&mac)), (seq as i64, expected));
            assert_eq!(chain.head(), Head { epoch: EPOCH, seq: place, mac });
        }
    }
}

#[test]
fn a_chain_without_rows_has_no_head() {
    let head = Chain::open(key(), 5).head();
    assert_eq!(head, Head { epoch: 5, seq: -1, mac: [0; MAC_BYTES] });
}

#[test]
fn the_key_of_the_chain_is_the_rings_share_for_it() {
    let ring = Keyring::parse("a:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let derived = "7eb7661512a11a05ef2f28742bc1b2fd6b0f0036ab4509b4383e7dd04bd7b3a9";
    let ChainKey::Keyed(key) = ChainKey::from(ring.active().1) else { panic!("no key") };
    assert_eq!(hex(&key[..]), derived);
}

#[test]
fn keys_cannot_be_printed_cloned_or_compared() {
    // If a type has one of the traits, this is ambiguous and does not compile.
    macro_rules! lacks {
        ($ty:ty: $($bound:path),+) => {$({
            trait Lacks<A> {
                const IT: bool = true;
            }
            struct Has;
            impl<T: ?Sized> Lacks<()> for T {}
            impl<T: ?Sized + $bound> Lacks<Has> for T {}
            assert!(<$ty as Lacks<_>>::IT);
        })+};
    }
    lacks!(Key: std::fmt::Debug, Clone, PartialEq);
    lacks!(Keyring: std::fmt::Debug, Clone, PartialEq);
    lacks!(ChainKey: std::fmt::Debug, Clone, PartialEq);
    lacks!(Chain: std::fmt::Debug, Clone, PartialEq);
}

#[test]
fn numbers_from_a_table_do_not_overflow() {
    let event = Event::new(0, Action::Validate, Outcome::Valid);
    let mut chain = Chain::resume(key(), i64::MAX, i64::MAX, [1; MAC_BYTES]);
    assert_eq!(chain.append(&event, None).0, i64::MAX);
    assert_eq!(chain.head().seq, i64::MAX);
    assert_eq!(Chain::resume(key(), 0, i64::MIN, [0; MAC_BYTES]).head().seq, i64::MAX);
}

/// Fills three neighbouring texts in every way with the bytes that a length prefix consists of.
#[test]
fn no_two_events_are_encoded_alike() {
    let mut texts = vec![None];
    for length in 0..=2 {
        let letters = |n: u32| (0..length).map(move |bit| ["\0", "\u{1}"][(n >> bit & 1) as usize]);
        texts.extend((0..1 << length).map(|n| Some(letters(n).collect::<String>())));
    }
    let (mut macs, mut events) = (HashSet::new(), 0);
    for (a, b, c) in triples(&texts) {
        let mut event = Event::new(0, Action::Validate, Outcome::Valid);
        (event.client_addr, event.login_role, event.acting_role) = (a, b, c);
        macs.insert(Chain::open(ChainKey::Plain, 0).append(&event, None).1);
        events += 1;
    }
    assert_eq!((macs.len(), events), (512, 512));
}

type Text = Option<String>;

fn triples(texts: &[Text]) -> impl Iterator<Item = (Text, Text, Text)> {
    let pairs = texts.iter().flat_map(move |a| texts.iter().map(move |b| (a, b)));
    pairs.flat_map(move |(a, b)| texts.iter().map(move |c| (a.clone(), b.clone(), c.clone())))
}

proptest! {
    #[test]
    fn what_was_written_is_found_whole(events in events(), from: Index) {
        let rows = written(&events);
        prop_assert_eq!(broken(&rows), None);
        // A check from the middle finds the same break.
        let from = from.index(rows.len());
        let last = from.checked_sub(1).map_or([0; 32], |i| rows[i].mac.clone().try_into().unwrap());
        let chain = Chain::resume(key(), EPOCH, from as i64, last);
        prop_assert_eq!(broken_in(chain, &rows[from..]), None);
    }

    #[test]
    fn a_fork_goes_its_own_way(events in events()) {
        let mut chain = Chain::open(key(), EPOCH);
        chain.append(&events[0], user(&events[0]).as_ref());
        let before = chain.head();
        let mut fork = chain.fork();
        prop_assert_eq!(fork.head(), before);
        let rows: Vec<_> = events.iter().map(|event| fork.append(event, user(event).as_ref())).collect();
        prop_assert_eq!(chain.head(), before);
        let again = events.iter().map(|event| chain.append(event, user(event).as_ref()));
        prop_assert_eq!(again.collect::<Vec<_>>(), rows);
    }

    #[test]
    fn a_change_of_any_field_is_found(events in events(), other in event(), place: Index) {
        let rows = written(&events);
        let place = place.index(rows.len());
        for changed in with_one_field_of(&rows[place].event, &other) {
            let mut rows = rows.clone();
            let expected = (changed != rows[place].event).then_some((place, Broken::Changed));
            rows[place].event = changed;
            prop_assert_eq!(broken(&rows), expected);
        }
    }

    #[test]
    fn a_change_of_a_mac_is_found(events in events(), place: Index, bit in 0..256_usize) {
        let rows = written(&events);
        let place = place.index(rows.len());
        let expected = Some((place, Broken::Changed));
        let mut flipped = rows.clone();
        flipped[place].mac[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(broken(&flipped), expected);
        let mut cut = rows.clone();
        cut[place].mac.truncate(bit / 8);
        prop_assert_eq!(broken(&cut), expected);
        let mut longer = rows;
        longer[place].mac.push(0);
        prop_assert_eq!(broken(&longer), expected);
    }

    #[test]
    fn a_removal_is_found(events in events(), place: Index) {
        let rows = written(&events);
        let place = place.index(rows.len());
        let mut less = rows.clone();
        less.remove(place);
        let behind = place < less.len();
        prop_assert_eq!(broken(&less), behind.then_some((place, Broken::Missing)));
        // The same with sequence numbers that leave no gap.
        less.iter_mut().enumerate().for_each(|(seq, row)| row.seq = seq as i64);
        prop_assert_eq!(broken(&less), behind.then_some((place, Broken::Changed)));
    }

    #[test]
    fn an_insertion_is_found(events in events(), inserted in event(), place: Index, copy: Index) {
        let rows = written(&events);
        let place = place.index(rows.len() + 1);
        let copy = copy.index(rows.len());
        let foreign = Chain::open(ChainKey::Plain, EPOCH).append(&inserted, user(&inserted).as_ref()).1.to_vec();
        for (event, mac) in [(inserted, foreign), (rows[copy].event.clone(), rows[copy].mac.clone())]
        {
            let mut more = rows.clone();
            more.insert(place, Row { seq: place as i64, event, mac });
            // If the row was inserted at its own place, the following row is the one too many.
            let (at, how) = if place < rows.len() && more[place] == rows[place] {
                (place + 1, Broken::Missing)
            } else {
                (place, Broken::Changed)
            };
            prop_assert_eq!(broken(&more), Some((at, how)));
            more.iter_mut().enumerate().for_each(|(seq, row)| row.seq = seq as i64);
            prop_assert_eq!(broken(&more), Some((at, Broken::Changed)));
        }
    }

    #[test]
    fn a_swap_is_found(events in events(), one: Index, other: Index) {
        let rows = written(&events);
        let (one, other) = (one.index(rows.len()), other.index(rows.len()));
        let (first, differ) = (one.min(other), one != other);
        let mut swapped = rows;
        swapped.swap(one, other);
        prop_assert_eq!(broken(&swapped), differ.then_some((first, Broken::Missing)));
        // The same with the original sequence numbers.
        swapped.iter_mut().enumerate().for_each(|(seq, row)| row.seq = seq as i64);
        prop_assert_eq!(broken(&swapped), differ.then_some((first, Broken::Changed)));
    }

    #[test]
    fn another_epoch_or_key_breaks_at_once(events in events(), epoch: i64, other: [u8; 32]) {
        prop_assume!(epoch != EPOCH && other != [7; 32]);
        let rows = written(&events);
        let chains = [
            Chain::open(key(), epoch),
            Chain::open(ChainKey::Keyed(other.into()), EPOCH),
            Chain::open(ChainKey::Plain, EPOCH),
            Chain::resume(key(), EPOCH, 0, other),
        ];
        for chain in chains {
            prop_assert_eq!(broken_in(chain, &rows), Some((0, Broken::Changed)));
        }
    }

    #[test]
    fn different_events_have_different_macs(one in event(), other in event()) {
        let mac = |event: &Event| Chain::open(ChainKey::Plain, 0).append(event, user(event).as_ref()).1;
        prop_assert_eq!(mac(&one) == mac(&other), one == other);
        for changed in with_one_field_of(&one, &other) {
            prop_assert_eq!(mac(&one) == mac(&changed), one == changed);
        }
    }

    #[test]
    fn hexadecimal_leads_back(mac: [u8; 32]) {
        prop_assert_eq!(unhex(&hex(&mac)), Some(mac));
        prop_assert_eq!(unhex(&hex(&mac[1..])), None);
        prop_assert_eq!(unhex(&format!("{}0", hex(&mac))), None);
        prop_assert_eq!(unhex(&format!("+{}", &hex(&mac)[1..])), None);
    }
}

prop_compose! {
    fn opening(id: &'static str)(
        why in select(Why::ALL),
        previous in proptest::option::of(any::<(i64, i64, [u8; 32])>()),
        key in proptest::option::of(id),
        (system, database, timeline) in any::<(u64, u32, u32)>(),
    ) -> Opening {
        let previous = previous.map(|(epoch, seq, mac)| Head { epoch, seq, mac });
        Opening { why, previous, key, system, database, timeline }
    }
}

#[test]
fn an_opening_is_json_of_one_form() {
    let mut opening = Opening {
        why: Why::Start,
        previous: None,
        key: None,
        system: u64::MAX,
        database: 5,
        timeline: 1,
    };
    let expected = r#"{"why":"start","previous":null,"key":null,"system":18446744073709551615,"database":5,"timeline":1}"#;
    assert_eq!(opening.to_detail(), expected);
    opening.why = Why::Daily;
    opening.previous = Some(Head { epoch: 1, seq: -1, mac: [0xab; 32] });
    opening.key = Some("2026-01".into());
    let expected = format!(
        r#"{{"why":"daily","previous":{{"epoch":1,"seq":-1,"mac":"{}"}},"key":"2026-01","system":18446744073709551615,"database":5,"timeline":1}}"#,
        "ab".repeat(32)
    );
    assert_eq!(opening.to_detail(), expected);
}

#[test]
fn another_spelling_is_no_opening() {
    let text = r#"{"why":"start","previous":{"epoch":1,"seq":2,"mac":"MAC"},"key":"a","system":1,"database":2,"timeline":3}"#;
    let text = text.replace("MAC", &"ab".repeat(32));
    assert!(Opening::parse(&text).is_some());
    let other = [
        ("start", "Start"),
        ("start", "end"),
        (r#""key":"a""#, r#""key": "a""#),
        (r#""key":"a""#, r#""key":"""#),
        (r#""key":"a""#, r#""key":"a b""#),
        (r#""key":"a""#, r#""key":a"#),
        (r#""key":"a","#, ""),
        (r#":1,"database""#, r#":+1,"database""#),
        (r#":1,"database""#, r#":-1,"database""#),
        (r#":1,"database""#, r#":18446744073709551616,"database""#),
        (r#""database":2"#, r#""database":02"#),
        (r#""timeline":3"#, r#""timeline":4294967296"#),
        ("abab", "ABAB"),
        ("abab", "ab"),
        (r#""seq":2"#, r#""seq":-0"#),
        (r#"3}"#, r#"3}}"#),
        (r#"3}"#, r#"3"#),
        (r#"{"why""#, r#" {"why""#),
        (r#"3}"#, "3}\n"),
    ];
    for (from, to) in other {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        assert_eq!(Opening::parse(&changed), None, "{changed}");
    }
}

proptest! {
    #[test]
    fn an_opening_leads_back(opening in opening("[A-Za-z0-9_.-]{1,32}")) {
        prop_assert_eq!(Opening::parse(&opening.to_detail()), Some(opening));
    }

    #[test]
    fn what_is_no_id_is_not_taken_for_one(opening in opening("[^A-Za-z0-9_.-].{0,40}")) {
        let detail = opening.to_detail();
        let quotes = if opening.previous.is_some() { 22 } else { 14 };
        if let Some(key) = &opening.key {
            prop_assert_eq!(detail.matches('"').count(), quotes + 2);
            prop_assert!(detail.is_ascii() && !detail.contains('\\'), "{key}");
            prop_assert_eq!(Opening::parse(&detail), None);
        } else {
            prop_assert_eq!(Opening::parse(&detail), Some(opening));
        }
    }

    #[test]
    fn any_text_is_parsed_without_panic(text in ".{0,80}", opening in opening("a"), cut: Index) {
        prop_assert_eq!(Opening::parse(&text), None);
        let detail = opening.to_detail();
        let cut = cut.index(detail.len());
        prop_assert_eq!(Opening::parse(&detail[..cut]), None);
        if let Some(changed) = Opening::parse(&format!("{}{text}{}", &detail[..cut], &detail[cut..])) {
            prop_assert_ne!(text.is_empty(), changed != opening);
        }
    }
}
