//! Attacks, each told as a story and replayed with the application's login, which holds the kinds
//! verifier and enroller and may create schemas in its database: reading what plans,
//! activity, locks and snapshots show of a call.
#![allow(clippy::unwrap_used)]

use password_verify_tests::GOOD;
use password_verify_tests::victim::{verifier, victim};
use postgres::SimpleQueryMessage;

/// They have plans and activity explained to them, and look for the verifier in what they read.
#[test]
fn plans_and_activity() {
    let site = victim();
    let mut app = site.login();
    let mut seen = String::new();
    for sql in [
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS) SELECT * FROM auth.pv_validate_password('victim', 'guess')",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT auth.pv_create_password('another', 'correct horse battery staple')",
        "SELECT * FROM pg_stat_activity",
        "SELECT * FROM pg_locks",
        "SELECT * FROM pg_prepared_statements",
        "SELECT * FROM pg_cursors",
        "SELECT * FROM pg_stat_all_tables WHERE schemaname = 'password_verify'",
        "SELECT * FROM pg_stats",
        "SELECT * FROM pg_settings WHERE name LIKE 'password_verify%'",
        "SELECT prosrc, proconfig FROM pg_proc WHERE proname LIKE 'pv%'",
    ] {
        for message in app.simple_query(sql).unwrap() {
            if let SimpleQueryMessage::Row(row) = message {
                for i in 0..row.len() {
                    seen.push_str(row.get(i).unwrap_or_default());
                }
            }
        }
    }
    assert!(seen.contains("pv_validate_password"), "the test looks");
    assert!(!seen.contains("$argon2id"));
    assert!(!seen.contains(&verifier(&site)));
}

/// They watch the locks while somebody signs up: the place of a record is a secret, because whoever
/// knows it for chosen ids could put a record of their own beside a victim's.
#[test]
fn locks_do_not_tell_places() {
    let site = victim();
    for i in 0..10 {
        site.enroll(&format!("user{i}"), GOOD);
    }
    let watched = std::sync::atomic::AtomicBool::new(false);
    let all: Vec<(u32, u32)> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = site.login_with(&["manager"]);
            let sql = "SELECT auth.pv_disable_user('user' || i), auth.pv_enable_user('user' || i) FROM generate_series(0, 9) i";
            while !watched.load(std::sync::atomic::Ordering::Relaxed) {
                session.query(sql, &[]).unwrap();
            }
        });
        let mut app = site.login();
        app.batch_execute(
            "CREATE TEMP TABLE seen (a oid, b oid, UNIQUE (a, b));
             DO $$ BEGIN
                 FOR i IN 1..500000 LOOP
                     INSERT INTO seen SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory' ON CONFLICT DO NOTHING;
                     EXIT WHEN (SELECT count(*) FROM seen) >= 4;
                 END LOOP;
             END $$",
        )
        .unwrap();
        watched.store(true, std::sync::atomic::Ordering::Relaxed);
        let rows = app.query("SELECT a, b FROM seen", &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    });
    assert!(all.len() >= 4, "the test sees locks");
    let places =
        site.admin().query("SELECT blind_index FROM password_verify.credential", &[]).unwrap();
    assert_eq!(places.len(), 12);
    for row in places {
        let words = row.get::<_, uuid::Uuid>(0).as_u128().to_be_bytes();
        for word in words.chunks(4) {
            let word = u32::from_be_bytes(word.try_into().unwrap());
            assert!(word == 0 || all.iter().all(|(a, b)| word != *a && word != *b), "{word:x}");
        }
    }
    // Holding advisory locks of the same numbers stands in nobody's way.
    let mut app = site.login();
    for (a, b) in all {
        let (a, b) = (a.cast_signed(), b.cast_signed());
        let both = (i64::from(a) << 32) | i64::from(b.cast_unsigned());
        app.query("SELECT pg_advisory_lock($1, $2), pg_advisory_lock($3)", &[&a, &b, &both])
            .unwrap();
    }
    let mut registrar = site.login_with(&["registrar"]);
    for i in 0..10 {
        let sql = "SELECT success FROM auth.pv_set_password($1::text, $2)";
        let row = registrar.query_one(sql, &[&format!("user{i}"), &GOOD]).unwrap();
        assert!(row.get::<_, bool>(0));
    }
}

/// They read in SERIALIZABLE, where PostgreSQL notes in pg_locks which page and row was read, and
/// anybody can read that.
#[test]
fn serializable_leaves_no_trace_of_the_row() {
    let site = victim();
    let mut app = site.login();
    for user in ["victim", "nobody"] {
        let mut transaction = app
            .build_transaction()
            .isolation_level(postgres::IsolationLevel::Serializable)
            .start()
            .unwrap();
        let sql = "SELECT * FROM auth.pv_validate_password($1::text, 'guess')";
        transaction.query(sql, &[&user]).unwrap();
        let sql = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                    WHERE l.mode = 'SIReadLock' AND c.relname IN ('credential', 'credential_pkey', 'blind_index_key')";
        assert_eq!(transaction.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0, "{user}");
    }
}
