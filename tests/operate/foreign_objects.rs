//! What a DBA may put on our tables, as on any other: indexes and constraints are served, and tell no value.
//! Nothing crashes, nothing is silently wrong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE, ask, change, create, manage, rename, set, validate};
use password_verify_tests::cluster::{PRELOADED, server};
use password_verify_tests::in_the_way::hold_index;
use password_verify_tests::keeper;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::trail::{assert_intact, of_user, settle, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused};

/// Every kind of write there is: rows added, changed and deleted in every table, by sessions and by the
/// worker.
fn live(site: &Site) {
    let (mut app, mut admin) = (site.login(), site.admin());
    for user in ["Ann", "Bob", "Cid"] {
        assert_eq!(create(&mut app, user, GOOD), Answer::yes());
        assert_eq!(validate(&mut app, user, GOOD), Answer::yes());
        assert_eq!(validate(&mut app, user, OTHER), Answer::no("invalid_credentials"));
        assert_eq!(change(&mut app, user, GOOD, OTHER), Answer::yes());
    }
    assert_eq!(set(&mut admin, "Ann", GOOD), Answer::yes());
    assert!(manage(&mut admin, "pv_disable_user", "Bob"));
    assert!(manage(&mut admin, "pv_delete_user", "Cid"));
    assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "Bob", OTHER), Answer::no("disabled"));
    assert_eq!(validate(&mut app, "Cid", OTHER), Answer::no("invalid_credentials"));
    settle(&mut admin);
    assert_intact(&mut admin);
}

/// As many rows by every index as by a sequential scan, and what `amcheck` says of each btree.
fn agree(site: &Site, conditions: &[(&str, &str)]) {
    let mut admin = site.admin();
    admin.batch_execute("CREATE EXTENSION IF NOT EXISTS amcheck").unwrap();
    let mut count = |with: &str, without: &str, table: &str, condition: &str| {
        let sql = format!("SELECT count(*) FROM password_verify.{table} WHERE {condition}");
        admin
            .batch_execute(&format!("SET enable_{with} = on; SET enable_{without} = off"))
            .unwrap();
        admin.batch_execute("SET enable_bitmapscan = on; SET enable_indexonlyscan = off").unwrap();
        if with == "seqscan" {
            admin.batch_execute("SET enable_bitmapscan = off").unwrap();
        }
        let plan: String = admin
            .query(&format!("EXPLAIN {sql}"), &[])
            .unwrap()
            .iter()
            .map(|row| row.get::<_, String>(0))
            .collect();
        assert_eq!(plan.contains("Seq Scan"), with == "seqscan", "{plan}");
        admin.query_one(&sql, &[]).unwrap().get::<_, i64>(0)
    };
    for (table, condition) in conditions {
        let by_index = count("indexscan", "seqscan", table, condition);
        let by_table = count("seqscan", "indexscan", table, condition);
        assert_eq!(by_index, by_table, "{table}: {condition}");
        assert!(by_table > 0, "{table}: {condition}");
    }
    let sql = "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i
                 JOIN pg_class c ON c.oid = i.indexrelid
                WHERE c.relnamespace = 'password_verify'::regnamespace AND c.relam = 403";
    site.admin().query(sql, &[]).unwrap();
}

#[test]
fn an_index_of_a_dba_on_the_audit_crashes_nobody() {
    let site = Site::new();
    site.admin()
        .batch_execute(
            "CREATE INDEX ON password_verify.event (lower(user_id));
             CREATE INDEX ON password_verify.event (user_id) WHERE action = 'validate';
             CREATE INDEX ON password_verify.event USING brin (at);
             CREATE INDEX ON password_verify.event USING gin (to_tsvector('simple', coalesce(user_id, '')));
             CREATE UNIQUE INDEX ON password_verify.event (mac);
             CREATE INDEX ON password_verify.throttle (abs(count));
             CREATE INDEX ON password_verify.open_change (xid) WHERE clears IS NOT NULL;
             CREATE INDEX ON password_verify.event_fold (upper(action))",
        )
        .unwrap();
    live(&site);
    agree(
        &site,
        &[
            ("event", "lower(user_id) = 'ann'"),
            ("event", "user_id = 'Ann' AND action = 'validate'"),
            ("event", "at > '2000-01-01'::timestamptz"),
            ("event", "to_tsvector('simple', coalesce(user_id, '')) @@ 'ann'::tsquery"),
            ("throttle", "abs(count) >= 0"),
        ],
    );
}

#[test]
fn an_index_of_a_dba_on_the_credentials_crashes_nobody() {
    let site = Site::new();
    site.admin()
        .batch_execute(
            "CREATE INDEX ON password_verify.credential (lower(user_id));
             CREATE INDEX ON password_verify.credential (changed_at) WHERE former IS NULL;
             CREATE INDEX ON password_verify.account (created_at) WHERE disabled_at IS NULL;
             CREATE INDEX ON password_verify.account (disabled_at) INCLUDE (user_id) WHERE disabled_at IS NOT NULL;
             CREATE INDEX ON password_verify.credential USING brin (created_at);
             CREATE INDEX ON password_verify.credential USING hash (user_id);
             CREATE UNIQUE INDEX ON password_verify.credential (user_id);
             ALTER TABLE password_verify.credential ADD EXCLUDE USING btree (blind_index WITH =)",
        )
        .unwrap();
    live(&site);
    agree(
        &site,
        &[
            ("credential", "lower(user_id) = 'ann'"),
            ("credential", "former IS NULL AND changed_at > '2000-01-01'::timestamptz"),
            ("account", "disabled_at IS NULL AND created_at > '2000-01-01'::timestamptz"),
            ("account", "disabled_at > '2000-01-01'::timestamptz"),
            ("credential", "created_at > '2000-01-01'::timestamptz"),
            ("credential", "user_id = 'Ann'"),
        ],
    );
}

#[test]
fn an_index_of_a_dba_on_what_the_keeper_keeps_crashes_nobody() {
    let site = sealed_site(&line("a", &fresh_key()));
    site.admin()
        .batch_execute(
            "CREATE INDEX ON password_verify.secret (lower(user_id));
             CREATE UNIQUE INDEX ON password_verify.secret (user_id, name);
             CREATE INDEX ON password_verify.secret (opened_at) WHERE state = 'verified';
             CREATE INDEX ON password_verify.job (created_at) INCLUDE (state);
             CREATE INDEX ON password_verify.job USING hash (secret);
             CREATE INDEX ON password_verify.result USING brin (delivered_at);
             CREATE INDEX ON password_verify.vault (user_id)",
        )
        .unwrap();
    let mut admin = site.admin();
    keeper::fill(&mut admin, ["Ann", "Bob"]);
    for name in ["mail", "chat"] {
        keeper::store(&mut admin, "Cid", name, "hunter3");
    }
    keeper::request(&mut admin, "Cid", "chat");
    let (job, opened) = keeper::work_once(&mut admin);
    assert_eq!(opened, Ok("hunter3".into()));
    assert!(keeper::acknowledge(&mut admin, job, 1));
    assert!(keeper::forget(&mut admin, "Cid", "mail"));
    assert_eq!(rename(&mut admin, "Ann", "Dora"), Answer::yes());
    assert!(manage(&mut admin, "pv_delete_user", "Bob"));
    settle(&mut admin);
    assert_intact(&mut admin);
    agree(
        &site,
        &[
            ("secret", "lower(user_id) = 'dora'"),
            ("secret", "user_id = 'Cid' AND name = 'chat'"),
            ("secret", "state = 'verified' AND opened_at > '2000-01-01'::timestamptz"),
            ("job", "created_at > '2000-01-01'::timestamptz"),
            ("result", "delivered_at > '2000-01-01'::timestamptz"),
            ("vault", "user_id = 'Dora'"),
        ],
    );
    let (_, job, _) = keeper::requests(&mut admin, "Dora").swap_remove(0);
    assert!(job.contains("leased"), "{job}");
}

#[test]
fn a_check_of_a_dba_on_what_the_keeper_keeps_is_kept_and_tells_no_value() {
    let site = sealed_site(&line("a", &fresh_key()));
    let mut admin = site.admin();
    admin
        .batch_execute(
            "ALTER TABLE password_verify.secret ADD CONSTRAINT no_bobs CHECK (user_id <> 'Bob');
             ALTER TABLE password_verify.job ADD CONSTRAINT never CHECK (leases = 0)",
        )
        .unwrap();
    keeper::store(&mut admin, "Ann", "mail", "hunter2");
    let job = keeper::request(&mut admin, "Ann", "mail");
    for (error, name) in [
        (keeper::try_store(&mut admin, "Bob", "mail", "hunter3", None).unwrap_err(), "no_bobs"),
        (keeper::try_take(&mut admin, "1 minute").unwrap_err(), "never"),
    ] {
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "23000", "{error:?}");
        assert!(error.hint().unwrap().contains(name), "{error:?}");
        assert_eq!((error.detail(), error.where_()), (None, None));
    }
    let log = site.cluster.log();
    assert!(!log.contains("$sealed$") && !log.contains("$kept$"), "a secret is in the server log");
    admin.batch_execute("ALTER TABLE password_verify.job DROP CONSTRAINT never").unwrap();
    assert_eq!(keeper::take(&mut admin), Some(job));
    assert_eq!(keeper::open(&mut admin, job), Ok("hunter2".into()));
}

#[test]
fn a_unique_index_of_a_dba_is_kept_and_tells_no_value() {
    let site = Site::new();
    let mut admin = site.admin();
    admin
        .batch_execute(
            "CREATE UNIQUE INDEX one_of_each ON password_verify.credential (lower(user_id))",
        )
        .unwrap();
    let mut app = site.login();
    assert_eq!(create(&mut app, "Ann", GOOD), Answer::yes());
    let error = app.query("SELECT auth.pv_create_password('ANN', $1)", &[&GOOD]).unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "23000");
    assert!(error.hint().unwrap().contains("one_of_each"), "{error:?}");
    assert_eq!(error.detail(), None);
    // Nobody waits for another transaction for long.
    let mut holder = site.login();
    let mut transaction = holder.transaction().unwrap();
    transaction.query("SELECT auth.pv_create_password('Bob', $1)", &[&GOOD]).unwrap();
    let start = std::time::Instant::now();
    let (state, _, _) = refused(app.query("SELECT auth.pv_create_password('BOB', $1)", &[&GOOD]));
    assert_eq!(state, "55P03");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    transaction.rollback().unwrap();
    assert_eq!(create(&mut app, "BOB", GOOD), Answer::yes());
    let timeout: String = app.query_one("SHOW lock_timeout", &[]).unwrap().get(0);
    assert_eq!(timeout, "0");
}

#[test]
fn a_check_of_a_dba_is_kept_and_tells_no_value() {
    let site = Site::new();
    let mut admin = site.admin();
    admin
        .batch_execute(
            "ALTER TABLE password_verify.credential ADD CONSTRAINT no_bobs CHECK (user_id <> 'Bob');
             ALTER TABLE password_verify.account ADD CONSTRAINT nobody_disabled CHECK (disabled_at IS NULL)",
        )
        .unwrap();
    let mut app = site.login();
    assert_eq!(create(&mut app, "Ann", GOOD), Answer::yes());
    for (client, sql, name) in [
        (
            &mut app,
            "SELECT auth.pv_create_password('Bob', 'correct horse battery staple')",
            "no_bobs",
        ),
        (&mut admin, "SELECT auth.pv_disable_user('Ann')", "nobody_disabled"),
    ] {
        let error = client.batch_execute(sql).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "23000", "{error:?}");
        assert!(error.hint().unwrap().contains(name), "{error:?}");
        assert_eq!((error.detail(), error.where_()), (None, None));
    }
    assert_eq!(validate(&mut app, "Ann", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "Bob", GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn an_index_whose_expression_fails_tells_no_hash() {
    let site = Site::new();
    let mut admin = site.admin();
    admin
        .batch_execute("CREATE INDEX ON password_verify.credential ((length(verifier) / length(user_id))) WHERE user_id <> ''; 
             CREATE INDEX ON password_verify.credential ((verifier::numeric)) WHERE user_id <> ''")
        .unwrap();
    let error =
        site.login().query("SELECT auth.pv_create_password('Ann', $1)", &[&GOOD]).unwrap_err();
    let error = format!("{:?}", error.as_db_error().unwrap());
    assert!(
        error.contains("23000") && !error.contains("argon2") && !error.contains("Ann"),
        "{error}"
    );
    let log = site.cluster.log();
    assert!(
        !log.contains("$argon2id$") && !log.contains("$sealed$"),
        "a hash is in the server log"
    );
}

#[test]
fn a_check_that_refuses_events_ends_in_errors_until_it_is_gone() {
    let cluster = server(&[]);
    let site = Site::on(Arc::clone(&cluster));
    site.configure(&["audit_timeout = '2s'", "queue_timeout = '2s'"]);
    site.enroll("Ann", GOOD);
    let mut admin = site.admin();
    admin
        .batch_execute("ALTER TABLE password_verify.event ADD CONSTRAINT quiet CHECK (action <> 'validate') NOT VALID")
        .unwrap();
    let mut app = site.login();
    let sql = "SELECT valid, reason FROM auth.pv_validate_password('Ann'::text, $1)";
    for _ in 0..2 {
        // Recorded too late, or nobody there to record it.
        match app.query_one(sql, &[&GOOD]) {
            Ok(row) => assert_eq!((row.get(0), row.get(1)), (false, "busy")),
            Err(error) => assert_eq!(error.code().unwrap().code(), "58030"),
        }
    }
    wait_until("the log says so", || cluster.log().contains("violates check constraint \"quiet\""));
    assert!(!cluster.log().contains("Failing row"), "{}", cluster.log());
    admin.batch_execute("ALTER TABLE password_verify.event DROP CONSTRAINT quiet").unwrap();
    wait_until("it goes on by itself", || {
        ask(&mut app, VALIDATE, &[&"Ann", &GOOD]).is_ok_and(|answer| answer == Answer::yes())
    });
    assert!(of_user(&mut admin, "Ann").iter().any(|line| line == "validate valid"));
    settle(&mut admin);
    assert_intact(&mut admin);
}

#[test]
fn a_publication_of_all_tables_keeps_nobody_out() {
    let cluster = Arc::new(Cluster::start(
        &[PRELOADED, &["wal_level = logical", "max_wal_senders = 4"]].concat(),
    ));
    let site = Site::on(Arc::clone(&cluster));
    let mut admin = site.admin();
    admin.batch_execute("CREATE PUBLICATION everything FOR ALL TABLES").unwrap();
    live(&site);
    // Every update and every row that was deleted can be told by its key.
    let sql = "SELECT count(*) FROM pg_class c WHERE c.relkind = 'r'
                  AND c.relnamespace = 'password_verify'::regnamespace
                  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)";
    assert_eq!(admin.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    admin.batch_execute("ALTER TABLE password_verify.credential REPLICA IDENTITY FULL").unwrap();
    assert_eq!(set(&mut admin, "Ann", OTHER), Answer::yes());
    // Without any, subscribers would miss it: PostgreSQL's own error, as for any UPDATE.
    admin.batch_execute("ALTER TABLE password_verify.credential REPLICA IDENTITY NOTHING").unwrap();
    let sql = "SELECT auth.pv_set_password('Ann', $1)";
    let (state, _, hint) = refused(admin.query(sql, &[&GOOD]));
    assert_eq!(state, "55000");
    assert!(hint.contains("REPLICA IDENTITY"), "{hint}");
    admin.batch_execute("ALTER TABLE password_verify.credential REPLICA IDENTITY DEFAULT").unwrap();
    assert_eq!(set(&mut admin, "Ann", GOOD), Answer::yes());
}

/// An index of a DBA's that is being moved to another tablespace ends writes before they have begun: what is
/// answered, not raised, does not roll the caller's transaction back.
#[test]
fn an_index_of_a_dba_that_is_locked_ends_no_write_half_way() {
    for table in ["credential", "account"] {
        let site = Site::new();
        site.configure(&["queue_timeout = '1s'"]);
        let (mut app, mut admin) = (site.login(), site.admin());
        site.enroll("old", GOOD);
        assert!(manage(&mut admin, "pv_disable_user", "old"));
        let sql = format!("CREATE INDEX extra ON password_verify.{table} (created_at)");
        admin.batch_execute(&sql).unwrap();
        let mut holder = site.admin();
        holder.batch_execute(&hold_index("extra")).unwrap();
        assert_eq!(rename(&mut admin, "old", "new"), Answer::no("busy"), "{table}");
        assert_eq!(create(&mut app, "another", GOOD), Answer::no("busy"), "{table}");
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(validate(&mut app, "old", GOOD), Answer::no("disabled"), "{table}");
        assert_eq!(rename(&mut admin, "old", "new"), Answer::yes(), "{table}");
        assert_eq!(validate(&mut app, "new", GOOD), Answer::no("disabled"), "{table}");
        assert_eq!(validate(&mut app, "another", GOOD), Answer::wrong(), "{table}");
        assert_eq!(create(&mut app, "another", GOOD), Answer::yes(), "{table}");
        assert_eq!(validate(&mut app, "another", GOOD), Answer::yes(), "{table}");
    }
}
