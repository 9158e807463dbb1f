//! Somebody has taken every lock that the server has room for.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use password_verify_tests::calls::{VALIDATE, ask, create, validate};
use password_verify_tests::cluster::server;
use password_verify_tests::{Answer, GOOD, OTHER, Site};
use postgres::Client;

/// Advisory locks until there is no room for one more; all of them stay until the transaction ends.
fn fill(client: &mut Client) {
    client.batch_execute("BEGIN").unwrap();
    let mut next = 0_i64;
    for step in [10_000_i64, 1000, 100, 10, 1] {
        loop {
            let sql = format!(
                "SAVEPOINT s; SELECT count(pg_advisory_xact_lock(g)) FROM generate_series({next}, {}) g",
                next + step - 1
            );
            next += step;
            if client.batch_execute(&sql).is_err() {
                client.batch_execute("ROLLBACK TO s").unwrap();
                break;
            }
        }
    }
}

#[test]
fn whoever_takes_all_locks_takes_no_server_down() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.allow_failures();
    let (mut app, mut hoarder, mut admin) = (site.login(), site.login(), site.admin());
    let begun = "SELECT min(backend_start)::text FROM pg_stat_get_activity(NULL) a
                  WHERE a.pid <> pg_backend_pid()";
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    for leave in [Duration::ZERO, Duration::from_secs(3)] {
        // In the second round no worker is there when it begins.
        assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
        std::thread::sleep(leave);
        let before: String = admin.query_one(begun, &[]).unwrap().get(0);
        fill(&mut hoarder);
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            // An error or `busy`: never an answer to the question, and the session goes on.
            for password in [GOOD, OTHER] {
                let answer = ask(&mut app, VALIDATE, &[&"42", &password]);
                let refused = match &answer {
                    Ok(answer) => *answer == Answer::no("busy"),
                    Err(error) => error.as_db_error().is_some_and(|error| {
                        ["53200", "58030", "55P03"].contains(&error.code().code())
                    }),
                };
                assert!(refused, "{answer:?}");
            }
        }
        let after: String = admin.query_one(begun, &[]).unwrap().get(0);
        assert_eq!(before, after, "the server has begun again");
        hoarder.batch_execute("ROLLBACK").unwrap();
        let start = Instant::now();
        while ask(&mut app, VALIDATE, &[&"42", &GOOD]).ok() != Some(Answer::yes()) {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody logs in any more");
        }
    }
    assert!(!cluster.log().contains("terminated by signal"), "{}", cluster.log());
}
