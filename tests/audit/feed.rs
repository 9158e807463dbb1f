//! The feed of events: who reads it page by page sees each row once, or notices what is missing.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{SET, create};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::crowd::AtEnd;
use password_verify_tests::feed::{Problem, Reader, place};
use password_verify_tests::kill::crash_by;
use password_verify_tests::query::number;
use password_verify_tests::told::{load, with_clients};
use password_verify_tests::trail::{await_no_worker, settle, verify_from, wait_for, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, Site, attack};
use postgres::Client;

/// The places of all rows, in order.
fn all(client: &mut Client) -> Vec<(i64, i64)> {
    let sql = "SELECT epoch, seq FROM password_verify.event ORDER BY epoch, seq";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn each_row_is_read_once_while_eight_logins_write_and_the_worker_is_killed() {
    let site = with_clients(server(&[]));
    let stop = AtomicBool::new(false);
    let reader = thread::scope(|scope| {
        let _end = AtEnd(&stop);
        let reading = scope.spawn(|| {
            let (mut reader, mut pages) = (Reader::default(), 0);
            while !stop.load(Ordering::Relaxed) {
                let Ok(mut client) = site.cluster.try_connect("postgres", &site.database) else {
                    continue;
                };
                // Small pages, so that the reader is always somewhere else; and a connection that was cut off is no gap.
                loop {
                    match reader.page(&mut client, 7) {
                        Ok(_) if stop.load(Ordering::Relaxed) => break,
                        Ok(new) => pages += usize::from(new > 0),
                        Err(Problem::Database(_)) => break,
                        Err(problem) => panic!("{problem:?} after {:?}", reader.events.last()),
                    }
                }
            }
            (reader, pages)
        });
        for round in 0..8 {
            create(&mut site.admin(), &format!("before {round}"), "short");
            let mut killer = site.cluster.admin("postgres");
            let sql = "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'password_verify'";
            load(&site, round, 8, || {
                let look = || {
                    let found = killer.query_opt(sql, &[&site.database]).unwrap();
                    found.map(|row| row.get(0))
                };
                // Long enough for many batches.
                thread::sleep(Duration::from_secs(1));
                crash_by(&site.cluster, wait_for("there is a worker", look));
            });
        }
        create(&mut site.admin(), "the last", "short");
        settle(&mut site.admin());
        stop.store(true, Ordering::Relaxed);
        let (reader, pages) = reading.join().unwrap();
        println!("{} rows in {pages} pages", reader.events.len());
        assert!(pages > 50, "{pages}");
        reader
    });
    let mut reader = reader;
    let mut admin = site.admin();
    reader.rest(&mut admin, 1000).unwrap();
    let expected = all(&mut admin);
    assert!(expected.len() > 500, "{}", expected.len());
    assert_eq!(reader.places(), expected);
    attack("rows that a reader of the feed has missed or met twice", expected.len(), 0);
}

/// Every change is there with how it ended, put together as docs/siem.md says.
#[test]
fn the_end_of_each_change_can_be_put_together() {
    let site = with_clients(server(&[]));
    let told = load(&site, 0, 6, || thread::sleep(Duration::from_secs(2)));
    let mut admin = site.admin();
    settle(&mut admin);
    let mut reader = Reader::default();
    reader.rest(&mut admin, 1000).unwrap();
    let (mut pending, mut ended) = (Vec::new(), BTreeMap::new());
    for event in &reader.events {
        let transaction = event["password_verify"]["transaction_id"].as_str();
        match (event["event"]["action"].as_str().unwrap(), transaction) {
            ("end", Some(transaction)) => {
                let outcome = event["event"]["reason"].as_str().unwrap();
                let start =
                    event["event"]["start"].as_str().or(event["@timestamp"].as_str()).unwrap();
                pending.retain(|(of, at, user): &(&str, &str, &str)| {
                    let is_its = *of == transaction && *at >= start;
                    if is_its {
                        ended.insert((*user).to_owned(), outcome.to_owned());
                    }
                    !is_its
                });
            }
            (_, Some(transaction)) => {
                assert_eq!(event["event"]["outcome"], "unknown", "{event}");
                let (at, user) = (&event["@timestamp"], &event["user"]["id"]);
                pending.push((transaction, at.as_str().unwrap(), user.as_str().unwrap()));
            }
            (_, None) => {}
        }
    }
    assert!(pending.is_empty(), "{pending:?}");
    let mut changes = 0;
    for (user, event) in &told.answered {
        if let (_, outcome @ ("committed" | "rolled_back")) = event.split_once(' ').unwrap() {
            assert_eq!(ended[user], outcome, "{user}");
            changes += 1;
        }
    }
    assert!(changes > 20 && ended.values().any(|it| it == "rolled_back"), "{changes}");
}

#[test]
fn a_reader_who_comes_late_notices_that_retention_has_been_faster() {
    let site = with_clients(server(&[]));
    let mut admin = site.admin();
    create(&mut admin, "first", "short");
    settle(&mut admin);
    let (mut late, mut last) = (Reader::default(), Reader::default());
    late.page(&mut admin, 1).unwrap();
    last.rest(&mut admin, 1000).unwrap();
    assert!(late.events.len() < last.events.len());
    site.cluster.down();
    site.cluster.up();
    let mut admin = site.admin();
    create(&mut admin, "second", "short");
    settle(&mut admin);
    // What retention does, without waiting a minute for it: tests/audit/retention.rs sees it happen.
    let first = number(&mut admin, "SELECT min(epoch) FROM password_verify.event");
    let whole = |admin: &mut Client, reader: &Reader| {
        let mut again = Reader { events: reader.events.clone() };
        again.rest(admin, 1000).map(|()| again.events.len())
    };
    assert!(whole(&mut admin, &late).unwrap() > last.events.len());
    admin.execute("DELETE FROM password_verify.event WHERE epoch = $1", &[&first]).unwrap();
    // The row that both have read last is gone, so they go on without reading it again: one of them had read all before.
    for (reader, complete) in [(&late, false), (&last, true)] {
        let mut again = Reader { events: reader.events.clone() };
        assert!(matches!(again.page(&mut admin, 1000), Err(Problem::AnotherTrail)));
        let (epoch, seq) = place(reader.events.last().unwrap());
        let sql = "SELECT event->'password_verify'->>'detail' FROM auth.pv_events_after($1, $2, 1)";
        let row = admin.query_one(sql, &[&epoch, &seq]).unwrap();
        let detail: serde_json::Value = serde_json::from_str(row.get(0)).unwrap();
        let named = (detail["previous"]["epoch"].as_i64(), detail["previous"]["seq"].as_i64());
        assert_eq!(named == (Some(epoch), Some(seq)), complete, "{detail}");
    }
}

/// A standby that lagged behind is promoted, or an older state is restored: it goes on with numbers that somebody has read.
#[test]
fn a_reader_notices_that_the_trail_is_another_one() {
    let site = with_clients(server(&[]));
    create(&mut site.admin(), "both", "short");
    settle(&mut site.admin());
    site.cluster.down();
    let other = Cluster::copy_of(&site.cluster);
    let mut readers = Vec::new();
    for (cluster, calls) in [(&*site.cluster, 3), (&other, 9)] {
        cluster.up();
        let mut admin = cluster.admin(&site.database);
        for i in 0..calls {
            create(&mut admin, &format!("user{i}"), "short");
        }
        settle(&mut admin);
        let mut reader = Reader::default();
        reader.rest(&mut admin, 1000).unwrap();
        readers.push(reader);
    }
    let [mine, theirs] = &mut readers[..] else { panic!() };
    let at = place(mine.events.last().unwrap());
    assert!(theirs.places().contains(&at), "the place is taken in both: {at:?}");
    let mut admin = other.admin(&site.database);
    assert!(matches!(mine.page(&mut admin, 10), Err(Problem::AnotherTrail)));
    // Where they part is the last event that both have.
    let same = mine.events.iter().zip(&theirs.events).take_while(|(a, b)| a == b).count();
    assert!(same > 1 && same < mine.events.len());
    let mut back = Reader { events: mine.events[..same].to_vec() };
    back.rest(&mut admin, 10).unwrap();
    assert_eq!(back.events, theirs.events);
}

/// Each event has its MAC, from which on the rest of the trail can be verified.
#[test]
fn an_event_that_was_read_is_a_head_to_verify_from() {
    let site = Site::on(server(&[]));
    let mut app = site.login();
    (0..5).for_each(|i| assert_eq!(create(&mut app, &format!("u{i}"), GOOD), Answer::yes()));
    let mut admin = site.admin();
    settle(&mut admin);
    let mut reader = Reader::default();
    reader.rest(&mut admin, 4).unwrap();
    for (i, event) in reader.events.iter().enumerate() {
        let (epoch, seq) = place(event);
        let head = (epoch, seq, event["event"]["hash"].as_str().unwrap().to_owned());
        // With that row itself.
        let rest = reader.events.len() - i;
        let (intact, problem, events) = verify_from(&mut admin, &head);
        assert_eq!((intact, problem, events), (true, None, rest as i64), "{event}");
    }
}

/// What the lowest kind of login chooses, in every field that it can reach.
#[test]
fn whatever_a_login_chooses_the_feed_goes_on() {
    for options in ["ENCODING 'UTF8'", "ENCODING 'LATIN1' LOCALE 'C'"] {
        let site = Site::with(server(&[]), options);
        let mut app = site.login();
        let users = [
            "\u{1}".repeat(255),
            "\u{85}".repeat(127),
            "\"},{\"event\":{\"id\":\"1.1\"}}\n\\u0000\\".to_owned(),
            "é\u{7f}\r\n\t{}[]".to_owned(),
        ];
        for user in &users {
            app.execute("SELECT set_config('application_name', $1, false)", &[&"x\"}\n{é\\"])
                .unwrap();
            app.execute(SET_WRONG, &[user]).unwrap();
        }
        let mut admin = site.admin();
        settle(&mut admin);
        let mut reader = Reader::default();
        reader.rest(&mut admin, 3).unwrap();
        assert_eq!(reader.places(), all(&mut admin));
        for user in &users {
            let its = reader.events.iter().filter(|event| event["user"]["id"] == **user);
            assert_eq!(its.count(), 1, "{user:?}");
        }
    }
}

const SET_WRONG: &str = "SELECT auth.pv_create_password($1::text, 'short')";

/// A page costs what it has, not what the trail has before it; and nothing is waited for.
#[test]
fn a_page_is_read_beside_a_change_that_is_not_committed() {
    let site = with_clients(server(&[]));
    let mut app = site.cluster.connect("all_kinds", &site.database);
    let mut open = app.transaction().unwrap();
    open.query(SET, &[&"waits", &GOOD]).unwrap();
    let (mut admin, mut reader) = (site.admin(), Reader::default());
    wait_until("the change is in the feed", || {
        reader.rest(&mut admin, 100).unwrap();
        reader.events.iter().any(|event| event["user"]["id"] == "waits")
    });
    let start = Instant::now();
    reader.rest(&mut admin, 100).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    open.rollback().unwrap();
    wait_until("how it ended is in the feed", || {
        reader.rest(&mut admin, 100).unwrap();
        reader.events.iter().any(|event| event["event"]["reason"] == "rolled_back")
    });
}

/// All databases of a server share names, whatever their encodings are.
#[test]
fn a_database_whose_name_is_no_text_has_a_feed() {
    let cluster = server(&["password_verify.log_events = on"]);
    let latin1 = || Site::with(Arc::clone(&cluster), "ENCODING 'LATIN1' LOCALE 'C'");
    let (site, other) = (latin1(), latin1());
    create(&mut site.admin(), "someone", "short");
    settle(&mut site.admin());
    let rename = format!("ALTER DATABASE {} RENAME TO \"j\u{fc}rgen\\x\"", site.database);
    await_no_worker(&mut site.admin());
    other.admin().batch_execute(&rename).unwrap();
    // Its bytes are not what a client that speaks UTF-8 would send.
    let mut psql = cluster.command("psql");
    psql.args(["-X", "-A", "-t", "-d"]).arg(OsStr::from_bytes(b"j\xfcrgen\\x")).args(["-c"]);
    psql.arg("SELECT DISTINCT event->'password_verify'->>'database' FROM auth.pv_events_after(NULL, NULL)");
    let output = run(&mut psql);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "j\\xfcrgen\\x5cx\n");
}
