//! Beside the answer, a known and an unknown id look alike: same reads in every statistic.
#![allow(clippy::unwrap_used)]

use password_verify_tests::site::validate;
use password_verify_tests::{Answer, GOOD, Site};
use postgres::{Client, SimpleQueryMessage};

const KNOWN: usize = 60;
const UNKNOWN: usize = 300;

/// A database with many records, so that its index has many pages, and some real users among them.
fn crowd() -> Site {
    let site = Site::new();
    for i in 0..KNOWN {
        site.enroll(&format!("known{i}"), GOOD);
    }
    let mut admin = site.admin();
    admin
        .batch_execute(
            "INSERT INTO password_verify.credential
             SELECT gen_random_uuid(), 'crowd' || i, c.verifier, false, NULL, NULL, now(), now()
               FROM generate_series(1, 20000) i, password_verify.credential c WHERE c.user_id = 'known0'",
        )
        .unwrap();
    admin.batch_execute("VACUUM ANALYZE password_verify.credential").unwrap();
    site
}

fn ids() -> (Vec<String>, Vec<String>) {
    let known = (0..KNOWN).map(|i| format!("known{i}")).collect();
    (known, (0..UNKNOWN).map(|i| format!("nobody{i}")).collect())
}

/// What one attempt adds to what the attacker's own transaction can see of reads, table by table,
/// index by index.
fn reads(app: &mut Client, user: &str) -> Vec<i64> {
    let counters = "SELECT array_agg(n ORDER BY relname, what)
                      FROM pg_class c, LATERAL (VALUES
                           ('scans', pg_stat_get_xact_numscans(c.oid)),
                           ('returned', pg_stat_get_xact_tuples_returned(c.oid)),
                           ('fetched', pg_stat_get_xact_tuples_fetched(c.oid)),
                           ('blocks', pg_stat_get_xact_blocks_fetched(c.oid)),
                           ('hits', pg_stat_get_xact_blocks_hit(c.oid))) v (what, n)
                     WHERE c.relname IN ('credential', 'credential_pkey', 'blind_index_key')";
    growth(app, counters, user)
}

/// What one attempt adds to counters, within one transaction.
fn growth(app: &mut Client, counters: &str, user: &str) -> Vec<i64> {
    let mut transaction = app.transaction().unwrap();
    let before: Vec<i64> = transaction.query_one(counters, &[]).unwrap().get(0);
    let sql = "SELECT valid FROM auth.pv_validate_password($1::text, 'guess')";
    assert!(!transaction.query_one(sql, &[&user]).unwrap().get::<_, bool>(0));
    let after: Vec<i64> = transaction.query_one(counters, &[]).unwrap().get(0);
    transaction.commit().unwrap();
    after.iter().zip(before).map(|(after, before)| after - before).collect()
}

#[test]
fn the_same_reads_in_the_statistics_of_the_transaction() {
    let site = crowd();
    let (known, unknown) = ids();
    let mut app = site.login();
    reads(&mut app, "warm up");
    // Once more for every id, so that its page is in memory whoever read it last.
    let mut first = None;
    for user in known.iter().chain(&unknown) {
        reads(&mut app, user);
        let counts = reads(&mut app, user);
        assert!(counts.iter().sum::<i64>() > 3, "the test sees something: {counts:?}");
        let first = first.get_or_insert_with(|| counts.clone());
        assert_eq!(*first, counts, "{user}");
    }
}

#[test]
fn the_same_reads_in_the_views() {
    let site = crowd();
    let mut app = site.login();
    let counters =
        "SELECT array[seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd]
                      FROM pg_stat_xact_all_tables WHERE relname = 'credential'";
    growth(&mut app, counters, "warm up");
    let seen = growth(&mut app, counters, "known7");
    assert_eq!(seen, [0, 0, 1, 1, 0, 0]);
    assert_eq!(seen, growth(&mut app, counters, "nobody7"));
    drop(app);

    // The cumulative ones, after the sessions have ended and reported.
    let total = |client: &mut Client| -> Vec<i64> {
        let sql = "SELECT idx_scan, idx_tup_fetch, seq_scan, seq_tup_read FROM pg_stat_all_tables WHERE relname = 'credential'";
        client.batch_execute("SELECT pg_stat_clear_snapshot()").unwrap();
        let row = client.query_one(sql, &[]).unwrap();
        (0..4).map(|i| row.get(i)).collect()
    };
    let mut watcher = site.login();
    let mut growth_over_a_session = |prefix: &str| {
        let before = settled(&mut watcher, &total);
        let mut app = site.login();
        for i in 0..20 {
            validate(&mut app, &format!("{prefix}{i}"), "guess");
        }
        drop(app);
        let after = loop {
            let now = settled(&mut watcher, &total);
            if now != before {
                break now;
            }
        };
        after.iter().zip(before).map(|(a, b)| a - b).collect::<Vec<_>>()
    };
    let known = growth_over_a_session("known");
    assert_eq!(known, [20, 20, 0, 0]);
    assert_eq!(known, growth_over_a_session("nobody"));
}

/// Statistics arrive late: waits until they have stopped changing.
fn settled(client: &mut Client, total: &impl Fn(&mut Client) -> Vec<i64>) -> Vec<i64> {
    let mut last = total(client);
    loop {
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let now = total(client);
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn the_same_buffers_in_explain() {
    let site = crowd();
    let (known, unknown) = ids();
    let mut app = site.login();
    let mut buffers = |user: &str| -> Vec<String> {
        let sql = format!(
            "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) SELECT * FROM auth.pv_validate_password('{user}', 'guess')"
        );
        let lines = app.simple_query(&sql).unwrap();
        lines
            .iter()
            .filter_map(|line| match line {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
            .filter(|line| line.contains("Buffers"))
            .collect()
    };
    buffers("warm up");
    let mut first: Option<Vec<String>> = None;
    for user in known.iter().chain(&unknown) {
        buffers(user);
        let seen = buffers(user);
        assert!(!seen.is_empty(), "the test sees something");
        let first = first.get_or_insert_with(|| seen.clone());
        assert_eq!(*first, seen, "{user}");
    }
}

#[test]
fn the_neighbours_password_opens_nothing() {
    // An unknown id is hashed with the parameters of a real record. Only with its parameters.
    let site = Site::new();
    site.enroll("only", GOOD);
    let mut app = site.login();
    for i in 0..50 {
        let stranger = format!("stranger{i}");
        assert_eq!(validate(&mut app, &stranger, GOOD), Answer::no("invalid_credentials"));
    }
}
