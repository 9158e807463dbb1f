//! What somebody without the key can break, nobody else is stopped by, and it can be mended.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{VALIDATE, change, manage, set, validate};
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::keeper;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{assert_intact, settle, verify, wait_until};
use password_verify_tests::whole::{assert_index_is_named, assert_whole, await_tampered, problem};
use password_verify_tests::{Answer, GOOD, OTHER, Site, WRONG, refused, sqlstate};

fn site() -> Site {
    let site = sealed_site(&line("a", &fresh_key()));
    site.configure(&["throttle_free_failures = 3", "throttle_first_wait = '1h'"]);
    for user in ["victim", "other"] {
        site.enroll(user, GOOD);
    }
    assert_eq!(validate(&mut site.login(), "victim", WRONG), Answer::wrong());
    settle(&mut site.admin());
    site
}

fn restart(site: &Site) {
    site.cluster.down();
    site.cluster.up();
}

const RAISED: &str = "UPDATE password_verify.throttle SET count = count + 1 WHERE kind = 0";

/// A worker that comes anew has to clear a budget: whatever its row holds.
#[test]
fn a_broken_budget_keeps_no_worker_from_coming() {
    let site = site();
    let (mut unlocker, mut blocker) = (site.admin(), site.admin());
    unlocker.batch_execute("BEGIN").unwrap();
    assert!(manage(&mut unlocker, "pv_unlock_user", "victim"));
    // The end of the change is not on record when the server goes down.
    let seen = "SELECT count(*) FROM password_verify.open_change WHERE clears IS NOT NULL";
    wait_until("the change is on record", || number(&mut site.admin(), seen) == 1);
    blocker
        .batch_execute("BEGIN; LOCK TABLE password_verify.event IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    unlocker.batch_execute("COMMIT").unwrap();
    site.cluster.kill_postmaster();
    site.cluster.up();
    site.admin().batch_execute(RAISED).unwrap();
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
    // And it is gone.
    assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::yes());
    assert_eq!(
        number(&mut site.admin(), "SELECT count(*) FROM password_verify.throttle WHERE kind = 0"),
        0
    );
}

#[test]
fn whoever_unlocks_or_accepts_is_rid_of_a_broken_budget() {
    for repair in [
        "SELECT auth.pv_unlock_user('victim'::text)",
        "SELECT auth.pv_set_password('victim'::text, 'correct horse battery staple')",
        "SELECT auth.pv_accept_restore('budgets were changed')",
    ] {
        let site = site();
        restart(&site);
        let mut admin = site.admin();
        admin.batch_execute(RAISED).unwrap();
        assert_eq!(
            sqlstate(site.login().query(VALIDATE, &[&"victim", &GOOD])),
            "XX001",
            "{repair}"
        );
        await_tampered(&site, "throttle");
        admin.batch_execute(repair).unwrap();
        let mut last = String::new();
        wait_until("it is mended", || {
            last = sqlstate(site.login().query(VALIDATE, &[&"victim", &GOOD]));
            last == "no error"
        });
        assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::yes(), "{repair}");
    }
}

/// What everybody pays from who logs in by this role.
#[test]
fn an_accepted_restore_discards_what_was_planted_where_only_the_worker_writes() {
    let site = site();
    restart(&site);
    let mut admin = site.admin();
    let planted = "INSERT INTO password_verify.throttle
                   SELECT gen_random_uuid(), kind, count, at, known_until, rests_at, mac FROM password_verify.throttle WHERE kind > 0 LIMIT 3;
                   UPDATE password_verify.throttle SET count = 1000000 WHERE kind > 0;
                   INSERT INTO password_verify.event_fold
                   SELECT gen_random_uuid(), at, since, count, action, outcome, 'planted', client_addr, login_role, acting_role,
                          peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, mac FROM password_verify.event LIMIT 1;
                   INSERT INTO password_verify.open_change VALUES (gen_random_uuid(), 3, 3, 1, 1, now(), NULL, false, NULL, '');
                   INSERT INTO password_verify.cost_class
                   SELECT gen_random_uuid(), template, users, part, current, cells, mac FROM password_verify.cost_class LIMIT 1";
    admin.batch_execute(planted).unwrap();
    assert!(problem(&mut admin).is_some());
    admin.batch_execute("SELECT auth.pv_accept_restore('planted')").unwrap();
    wait_until("the worker has discarded it", || {
        let sql = "SELECT intact FROM auth.pv_verify_credentials()";
        admin.query_one(sql, &[]).unwrap().get(0)
    });
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
    assert_intact(&mut admin);
    let sql = "SELECT count(*) FROM auth.pv_events WHERE user_id = 'planted'";
    assert_eq!(number(&mut admin, sql), 0);
}

/// Nobody is told that the tables are missing, and should be made anew, because one row was broken.
#[test]
fn an_event_without_a_mac_is_a_changed_event() {
    let site = site();
    restart(&site);
    let mut admin = site.admin();
    let (epoch, seq): (i64, i64) = {
        let sql =
            "SELECT epoch, seq FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 1";
        let row = admin.query_one(sql, &[]).unwrap();
        (row.get(0), row.get(1))
    };
    admin
        .batch_execute(&format!(
            "ALTER TABLE password_verify.event ALTER mac DROP NOT NULL;
             UPDATE password_verify.event SET mac = NULL WHERE (epoch, seq) = ({epoch}, {seq});
             ALTER TABLE password_verify.event ALTER action DROP NOT NULL;
             UPDATE password_verify.event SET action = NULL WHERE (epoch, seq) = (1, 1)"
        ))
        .unwrap();
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
    let verdict = verify(&mut admin);
    assert_eq!((verdict.at, verdict.problem.as_deref()), (Some((1, 1)), Some("changed")));
}

/// Without the unique index there could be two rows of one user, of which one opens and the other is deleted.
#[test]
fn a_table_without_its_primary_key_is_refused_and_named() {
    let site = site();
    let mut admin = site.admin();
    for (table, column) in
        [("credential", "blind_index"), ("throttle", "key"), ("event", "epoch, seq")]
    {
        let drop = format!("ALTER TABLE password_verify.{table} DROP CONSTRAINT {table}_pkey");
        let plain = format!("CREATE INDEX {table}_pkey ON password_verify.{table} ({column})");
        for sql in [&drop, &plain] {
            admin.batch_execute(sql).unwrap();
            // A session says so, or the worker in the log.
            let said = || {
                let answer = site.login().query(VALIDATE, &[&"other", &GOOD]);
                let busy = answer
                    .as_ref()
                    .is_ok_and(|rows| rows[0].get::<_, Option<&str>>(1) == Some("busy"));
                let hint =
                    answer.err().and_then(|why| why.as_db_error()?.hint().map(str::to_owned));
                assert!(busy || hint.is_some(), "{table}");
                hint.unwrap_or_else(|| site.cluster.log())
            };
            let told = format!(
                "Index \"{table}_pkey\" of password_verify.{table} is not as it was created"
            );
            wait_until("it is named", || said().contains(&told));
        }
        admin.batch_execute(&format!("DROP INDEX password_verify.{table}_pkey")).unwrap();
        let add = format!("ALTER TABLE password_verify.{table} ADD PRIMARY KEY ({column})");
        admin.batch_execute(&add).unwrap();
        wait_until("it goes on", || validate(&mut site.login(), "other", GOOD) == Answer::yes());
    }
    assert_intact(&mut admin);
    assert_whole(&mut admin);
}

#[test]
fn what_would_hide_rows_or_lose_them_is_refused() {
    let site = site();
    let mut admin = site.admin();
    for (done, undone, says) in [
        (
            "ALTER TABLE password_verify.event FORCE ROW LEVEL SECURITY",
            "ALTER TABLE password_verify.event NO FORCE ROW LEVEL SECURITY",
            "NO FORCE ROW LEVEL SECURITY",
        ),
        (
            "ALTER TABLE password_verify.event RENAME at TO after",
            "ALTER TABLE password_verify.event RENAME after TO at",
            "Column \"after\"",
        ),
    ] {
        admin.batch_execute(done).unwrap();
        let said = || {
            let answer = site.login().query(VALIDATE, &[&"other", &GOOD]);
            answer
                .err()
                .and_then(|why| why.as_db_error()?.hint().map(str::to_owned))
                .unwrap_or_default()
        };
        wait_until("it is named", || said().contains(says) || site.cluster.log().contains(says));
        admin.batch_execute(undone).unwrap();
        wait_until("it goes on", || validate(&mut site.login(), "other", GOOD) == Answer::yes());
    }
    assert_intact(&mut admin);
}

/// The row that belongs to nobody looks one way only: with a sealed text in it, unknown users would be told from
/// known ones by an error.
#[test]
fn in_the_first_row_nothing_can_be_hidden() {
    for (table, column) in [("credential", "verifier"), ("account", "seal")] {
        let site = site();
        let mut admin = site.admin();
        let sql = format!(
            "UPDATE password_verify.{table} f SET {column} = replace(v.{column}, '$a$', '$z$')
               FROM password_verify.{table} v WHERE f.user_id = '' AND v.user_id = 'victim'"
        );
        assert_eq!(admin.execute(&sql, &[]).unwrap(), 1);
        let mut app = site.login();
        for i in 0..20 {
            assert_eq!(validate(&mut app, &format!("nobody{i}"), GOOD), Answer::wrong(), "{table}");
        }
        assert_eq!(problem(&mut admin).unwrap().0, table);
        await_tampered(&site, table);
    }
    let site = site();
    let mut admin = site.admin();
    let forms = [
        "credential SET user_id = 'planted'",
        "credential SET must_change = true",
        "credential SET former = 'x'",
        "throttle SET count = 7",
        "throttle SET kind = 0",
    ];
    for form in forms {
        let (table, _) = form.split_once(' ').unwrap();
        let first = if table == "throttle" { "key" } else { "blind_index" };
        let sql = format!(
            "BEGIN; UPDATE password_verify.{form} WHERE {first} = '00000000-0000-0000-0000-000000000000'"
        );
        admin.batch_execute(&sql).unwrap();
        let found = problem(&mut admin);
        admin.batch_execute("ROLLBACK").unwrap();
        assert_eq!(found.map(|(table, _)| table).as_deref(), Some(table), "{form}");
    }
    assert_whole(&mut admin);
}

#[test]
fn a_transaction_does_not_verify_its_own_changes() {
    let site = site();
    let mut admin = site.admin();
    for call in ["pv_verify_credentials()", "pv_accept_restore('mine')", "pv_rotate_rest()"] {
        admin.batch_execute("BEGIN").unwrap();
        assert_eq!(set(&mut admin, "other", OTHER), Answer::yes());
        let (state, message, _) = refused(admin.query(&format!("SELECT auth.{call}"), &[]));
        assert_eq!(state, "25001", "{message}");
        admin.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(change(&mut admin, "other", GOOD, OTHER), Answer::yes());
    assert_whole(&mut admin);
    assert_eq!(
        text(&mut admin, "SELECT count(*)::text FROM auth.pv_events WHERE action = 'tampered'"),
        "0"
    );
}

/// Rows that are in a table and not in its index: nobody finds them by their place, and every MAC and every sum is
/// right.
#[test]
fn a_row_that_is_kept_out_of_an_index_is_noticed() {
    let hidden = [
        ("credential_pkey", "credential", "user_id = 'victim'"),
        ("account_pkey", "account", "user_id = 'victim'"),
        ("throttle_pkey", "throttle", "kind = 0"),
        ("event_fold_pkey", "event_fold", "true"),
        ("cost_class_pkey", "cost_class", "true"),
        ("event_pkey", "event", "epoch = 1 AND seq = 2"),
        ("secret_pkey", "secret", "user_id = 'victim'"),
        ("job_pkey", "job", "true"),
        ("job_due", "job", "true"),
        ("result_pkey", "result", "true"),
        ("vault_pkey", "vault", "user_id = 'victim'"),
    ];
    let site = site();
    keeper::fill(&mut site.admin(), ["victim", "other"]);
    site.allow_failures();
    for i in 0..3 {
        validate(&mut site.login(), "nobody", &format!("{WRONG} {i}"));
    }
    settle(&mut site.admin());
    let mut admin = site.admin();
    for (index, table, which) in hidden {
        let ready = |ready: bool| {
            format!(
                "UPDATE pg_index SET indisready = {ready} WHERE indexrelid = 'password_verify.{index}'::regclass;"
            )
        };
        // The worker would write another row where it finds none.
        let stopped = stop_worker(&site);
        let sql = format!(
            "CREATE TEMP TABLE kept AS SELECT * FROM password_verify.{table} WHERE {which}"
        );
        admin.batch_execute(&sql).unwrap();
        let rows = number(&mut admin, "SELECT count(*) FROM kept");
        assert!(rows > 0, "{table}");
        // (Catalogs are read anew by the next session.)
        admin.batch_execute(&ready(false)).unwrap();
        site.admin()
            .batch_execute(&format!("DELETE FROM password_verify.{table} WHERE {which}"))
            .unwrap();
        let insert = format!("INSERT INTO password_verify.{table} SELECT * FROM kept");
        admin.batch_execute(&insert).unwrap();
        admin.batch_execute(&ready(true)).unwrap();
        admin.batch_execute("DROP TABLE kept").unwrap();
        assert_index_is_named(&site, table);
        // As it was.
        admin.batch_execute(&format!("REINDEX TABLE password_verify.{table}")).unwrap();
        drop(stopped);
        assert_whole(&mut site.admin());
        assert_intact(&mut site.admin());
    }
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
}

#[test]
fn a_first_row_that_is_missing_is_noticed() {
    let site = site();
    let mut admin = site.admin();
    for (table, key) in
        [("credential", "blind_index"), ("account", "blind_index"), ("throttle", "key")]
    {
        let sql = format!(
            "BEGIN; DELETE FROM password_verify.{table} WHERE {key} = '00000000-0000-0000-0000-000000000000'"
        );
        admin.batch_execute(&sql).unwrap();
        assert_eq!(problem(&mut admin).unwrap().0, table);
        admin.batch_execute("ROLLBACK").unwrap();
    }
    assert_whole(&mut admin);
}

/// With the lines of docs/operating.md.
#[test]
fn a_first_row_that_was_changed_can_be_put_back() {
    let site = site();
    let mut admin = site.admin();
    let tampering = "UPDATE password_verify.throttle SET count = 7 WHERE kind = -1;
                     UPDATE password_verify.account SET seal = 'x' WHERE user_id = '';
                     DELETE FROM password_verify.credential WHERE user_id = ''";
    admin.batch_execute(tampering).unwrap();
    assert!(problem(&mut admin).is_some());
    let accept = "SELECT auth.pv_accept_restore('first rows were changed')";
    // The worker discards waits that were changed, but not this row.
    let page = include_str!("../../docs/operating.md");
    let (_, lines) = page.split_once("```sql\n  DELETE FROM password_verify.credential").unwrap();
    let lines = lines.split_once("```").unwrap().0;
    let mend = format!("DELETE FROM password_verify.credential {lines}");
    admin.batch_execute(&mend).unwrap();
    admin.batch_execute(accept).unwrap();
    assert_whole(&mut admin);
    assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::yes());
    assert_eq!(validate(&mut site.login(), "nobody", GOOD), Answer::wrong());
}
