//! What a server may make the keeper spend: memory and time of one answer have an end, whatever the answer is made of, and
//! whoever is there beside it is served meanwhile.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::Certificates;
use password_verify_tests::mail::hostile::Act::{Crumbs, Flood, Say};
use password_verify_tests::mail::hostile::{Act, Hostile, Manner, Step};
use password_verify_tests::mail_app::Mailbox;
use password_verify_tests::pv_keeper::{PvKeeper, Setup};
use postgres::Client;

const PASSWORD: &str = "velvet-anvil-under";
/// In KiB.
const MEMORY: u64 = 60 << 10;

/// What a server does, and what comes of it.
const CASES: &[(Step, &[Act], &str)] = &[
    // The parser makes half a kilobyte of each of these values.
    (
        Step::Search,
        &[Say(b"* 1 FETCH (X {0}\r\n"), Flood(b" X {0}\r\n", 150_000), Say(b")\r\n%t OK\r\n")],
        "failed protocol",
    ),
    (
        Step::Bodies,
        &[
            Say(b"* 1 FETCH (UID 1 X {0}\r\n"),
            Flood(b" X {0}\r\n", 150_000),
            Say(b")\r\n%t OK\r\n"),
        ],
        "failed protocol",
    ),
    (
        Step::Search,
        &[Say(b"* 1 FETCH (X (a(b)"), Flood(b" X 1", 300_000), Say(b"))\r\n%t OK\r\n")],
        "failed protocol",
    ),
    (
        Step::Search,
        &[Say(b"* SEARCH"), Flood(b" 1234567", 150_000), Say(b"\r\n%t OK\r\n")],
        "done ok",
    ),
    // It could begin anew with each of these bytes.
    (
        Step::Search,
        &[Say(b"* SEARCH"), Crumbs(b" 0000001", 25_000), Say(b"\r\n%t OK\r\n")],
        "done ok",
    ),
];

#[test]
fn an_answer_costs_no_more_than_it_may() {
    let (kept, certificates) = (KeptSite::shared(), Certificates::new());
    let setup = Setup::new(env!("CARGO_BIN_EXE_pv-keeper"), &kept, &certificates);
    let keeper = setup.connect("per_host = 100").start();
    let mut app = kept.depositor();
    let good = Manner::good(&certificates.good);
    let start = |app: &mut Client, user: &str| {
        let server = Hostile::start(good.clone());
        let mailbox = Mailbox::new(&certificates, server.port(), user, PASSWORD);
        let request = mailbox.register(app);
        assert_eq!(await_end(app, &keeper, &mailbox, request), "done ok");
        (server, mailbox)
    };
    let (_neighbour, friend) = start(&mut app, "friend");
    let mut runs = Vec::new();
    for (number, (at, acts, expected)) in CASES.iter().enumerate() {
        let (server, mailbox) = start(&mut app, &format!("user{number}"));
        server.behave(&[good.clone().but(*at, acts)]);
        runs.push((server, mailbox, *expected));
    }
    let before = processor(&keeper);
    let requests: Vec<i64> = runs.iter().map(|(_, it, _)| it.request(&mut app)).collect();
    for _ in 0..5 {
        let begun = Instant::now();
        let request = friend.request(&mut app);
        assert_eq!(await_end(&mut app, &keeper, &friend, request), "done ok");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    for ((_, mailbox, expected), request) in runs.iter().zip(requests) {
        assert_eq!(await_end(&mut app, &keeper, mailbox, request), *expected, "{}", mailbox.user);
    }
    let (spent, (_, most)) = (processor(&keeper) - before, keeper.memory());
    println!("{most} KiB at most, {spent:?} of a processor");
    assert!(most <= MEMORY, "{most} KiB");
    assert!(spent < Duration::from_secs(20), "{spent:?}");
    assert!(keeper.stop().success());
    kept.assert_sound();
}

/// "outcome detail" of a request, once there is one.
fn await_end(app: &mut Client, keeper: &PvKeeper, mailbox: &Mailbox, request: i64) -> String {
    let sql = "SELECT outcome || ' ' || detail FROM auth.pv_requests($1::text) WHERE request = $2";
    let begun = Instant::now();
    loop {
        let end: Option<String> = app.query_one(sql, &[&mailbox.user, &request]).unwrap().get(0);
        if let Some(end) = end {
            return end;
        }
        let late = begun.elapsed() >= Duration::from_secs(60);
        assert!(!late, "{} has no end; {:?}\n{}", mailbox.user, keeper.memory(), keeper.log());
        sleep(Duration::from_millis(10));
    }
}

/// How long its threads have run.
fn processor(keeper: &PvKeeper) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", keeper.pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = rest.split(' ').skip(11).take(2).map(|it| it.parse::<u64>().unwrap()).sum();
    // A hundredth of a second each.
    Duration::from_millis(10 * ticks)
}
