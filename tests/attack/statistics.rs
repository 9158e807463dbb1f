//! Beside the answer, a known and an unknown id look alike in every statistic: no read is counted at
//! all, so that not even the number of a row's versions can be.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::validate;
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site};
use postgres::{Client, SimpleQueryMessage};

const KNOWN: usize = 60;
const UNKNOWN: usize = 300;

/// A database with many records, so that its index has many pages, and some real users among them.
///
/// On a server where nothing else happens: when autovacuum or another session changes the catalog,
/// every session looks things up anew at its next call, for known and unknown ids alike.
fn crowd() -> Site {
    let quiet = Cluster::start(&[PRELOADED[0], "autovacuum = off"]);
    let site = Site::on(Arc::new(quiet));
    for i in 0..KNOWN {
        site.enroll(&format!("known{i}"), GOOD);
    }
    let mut admin = site.admin();
    admin
        .batch_execute(
            "INSERT INTO password_verify.credential (blind_index, user_id, verifier, must_change, expires_at, created_at, changed_at, mac)
             SELECT gen_random_uuid(), 'crowd' || i, c.verifier, false, NULL, now(), now(), ''
               FROM generate_series(1, 20000) i, password_verify.credential c WHERE c.user_id = 'known0';
             INSERT INTO password_verify.account
             SELECT c.blind_index, c.user_id, NULL, NULL, NULL, c.created_at, '', ''
               FROM password_verify.credential c WHERE c.user_id LIKE 'crowd%'",
        )
        .unwrap();
    admin
        .batch_execute("VACUUM ANALYZE password_verify.credential, password_verify.account")
        .unwrap();
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
    all_alike(&mut app, &known, &unknown);
}

#[test]
fn versions_of_a_row_do_not_show() {
    // The attacker changes the password of an account of their own again and again in an open
    // transaction, and another one has just been deleted: their rows, and whatever unknown id lies
    // beside them, take more steps than others.
    let site = crowd();
    let (mut known, unknown) = ids();
    known.truncate(12);
    let mut mallory = site.login();
    let mut open = mallory.transaction().unwrap();
    let sql = "SELECT success FROM auth.pv_change_password($1::text, $2, $3)";
    for i in 0..40 {
        let (old, new) = if i % 2 == 0 { (GOOD, OTHER) } else { (OTHER, GOOD) };
        assert!(open.query_one(sql, &[&known[3], &old, &new]).unwrap().get::<_, bool>(0));
    }
    site.admin().query("SELECT auth.pv_delete_user($1::text)", &[&known[5]]).unwrap();
    let mut app = site.login();
    reads(&mut app, "warm up");
    all_alike(&mut app, &known, &unknown);
    open.rollback().unwrap();
    all_alike(&mut app, &known, &unknown);
}

fn all_alike(app: &mut Client, known: &[String], unknown: &[String]) {
    let mut first = None;
    for user in known.iter().chain(unknown) {
        let counts = reads(app, user);
        assert!(counts.iter().sum::<i64>() > 0, "the test sees something: {counts:?}");
        let first = first.get_or_insert_with(|| counts.clone());
        assert_eq!(*first, counts, "{user}");
    }
}

#[test]
fn the_same_reads_in_the_views() {
    let site = crowd();
    // After a start the worker counts the records, and reads the key meanwhile.
    site.cluster.down();
    site.cluster.up();
    let mut app = site.login();
    // What this session reads: the key twice a call, and nothing that depends on the user.
    let counters =
        "SELECT array[c.seq_scan, c.seq_tup_read, c.idx_scan, c.idx_tup_fetch, c.n_tup_ins,
                                 c.n_tup_upd, k.seq_scan]
                      FROM pg_stat_xact_all_tables c, pg_stat_xact_all_tables k
                     WHERE c.relname = 'credential' AND k.relname = 'blind_index_key'";
    growth(&mut app, counters, "warm up");
    let seen = growth(&mut app, counters, "known7");
    assert_eq!(seen, [0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(seen, growth(&mut app, counters, "nobody7"));
    drop(app);

    // The cumulative ones, after the sessions have ended and reported: the reads of the key have arrived.
    let total = |client: &mut Client| -> Vec<i64> {
        client.batch_execute("SELECT pg_stat_clear_snapshot()").unwrap();
        let sql = "SELECT c.idx_scan, c.idx_tup_fetch, c.seq_scan, c.seq_tup_read, k.seq_scan
                     FROM pg_stat_all_tables c, pg_stat_all_tables k
                    WHERE c.relname = 'credential' AND k.relname = 'blind_index_key'";
        let row = client.query_one(sql, &[]).unwrap();
        (0..5).map(|i| row.get(i)).collect()
    };
    let mut watcher = site.login();
    for prefix in ["known", "nobody"] {
        let before = settled(&mut watcher, &total);
        let mut app = site.login();
        for i in 0..20 {
            validate(&mut app, &format!("{prefix}{i}"), "guess");
        }
        drop(app);
        let growth = loop {
            let now = settled(&mut watcher, &total);
            let growth: Vec<i64> = now.iter().zip(&before).map(|(now, then)| now - then).collect();
            if growth[4] >= 40 {
                break growth;
            }
        };
        assert_eq!(growth[..4], [0; 4], "{prefix}");
    }
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
fn a_look_up_writes_nothing() {
    // Users who sign up one after the other share a page. The attacker changes the password of their own
    // account, so that the next visit cleans the page up, and looks at what was written while asking
    // for an id beside it: was the page visited?
    let site = crowd();
    let mut app = site.login();
    site.enroll("mallory", GOOD);
    let mut victims: Vec<String> = (0..50).map(|i| format!("victim{i}")).collect();
    for victim in &victims {
        site.enroll(victim, GOOD);
    }
    // Those on the page of the attacker, which is full by now.
    victims.truncate(15);
    let mut position = {
        let mut watcher = site.login();
        move || -> String {
            // With a commit that flushes it: pg_waldump reads what is in the files.
            let sql = "SELECT pg_current_wal_insert_lsn()::text,
                              pg_logical_emit_message(true, 'test', '')";
            watcher.query_one(sql, &[]).unwrap().get(0)
        }
    };
    // Records of the WAL between two positions that are about the credentials. (The position itself
    // moves with every attempt, which is recorded.)
    let sql =
        "SELECT pg_relation_filenode(t)::oid FROM unnest(ARRAY['credential', 'credential_pkey',
               'account', 'account_pkey']) n, to_regclass('password_verify.' || n) t";
    let relations: Vec<u32> =
        site.admin().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(relations.len(), 4);
    let about_credentials = |from: &str, to: &str| -> usize {
        let mut waldump = site.cluster.command("pg_waldump");
        waldump.arg("-p").arg(site.cluster.data().join("pg_wal")).args(["-s", from, "-e", to]);
        let records = String::from_utf8(run(&mut waldump).stdout).unwrap();
        let ours = |line: &&str| {
            relations
                .iter()
                .any(|rel| line.contains(&format!("/{rel} ")) || line.contains(&format!("/{rel};")))
        };
        records.lines().filter(ours).count()
    };
    let (mut old, mut new) = (GOOD, OTHER);
    let (mut changes, mut lookups) = (0, 0);
    for victim in &victims {
        validate(&mut app, victim, "guess");
        let sql = "SELECT success FROM auth.pv_change_password('mallory', $1, $2)";
        let start = position();
        assert!(app.query_one(sql, &[&old, &new]).unwrap().get::<_, bool>(0));
        std::mem::swap(&mut old, &mut new);
        let before = position();
        validate(&mut app, victim, "guess");
        let after = position();
        changes += about_credentials(&start, &before);
        lookups += about_credentials(&before, &after);
    }
    assert!(changes >= victims.len(), "the test sees changes: {changes}");
    assert_eq!(lookups, 0, "of {} look-ups", victims.len());
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
