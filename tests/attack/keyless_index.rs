//! Somebody who edits catalogs, without the key: rows are where they were, and nobody finds them.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{VALIDATE, create, validate};
use password_verify_tests::in_the_way::stop_worker;
use password_verify_tests::keeper;
use password_verify_tests::keeper::VAULT;
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::number;
use password_verify_tests::trail::{assert_intact, settle, verify, wait_until};
use password_verify_tests::whole::{assert_index_is_named, assert_whole, await_tampered, problem};
use password_verify_tests::{Answer, GOOD, OTHER, Site, WRONG, refused, whole};

fn site() -> Site {
    let site = sealed_site(&line("a", &fresh_key()));
    site.configure(&["throttle_free_failures = 3", "throttle_first_wait = '1h'"]);
    for user in ["victim", "other", "third"] {
        site.enroll(user, GOOD);
    }
    assert_eq!(validate(&mut site.login(), "victim", WRONG), Answer::wrong());
    site.allow_failures();
    for i in 0..3 {
        validate(&mut site.login(), "nobody", &format!("{WRONG} {i}"));
    }
    settle(&mut site.admin());
    site
}

fn restart(site: &Site) {
    site.cluster.down();
    site.cluster.up();
}

/// The same with something in the keeper's tables.
fn kept_site() -> Site {
    let site = site();
    keeper::fill(&mut site.admin(), ["victim", "other"]);
    site
}

/// Changes the catalog's row about an index. (It is read anew by the next session.)
fn index(site: &Site, index: &str, set: &str) {
    let sql =
        format!("UPDATE pg_index SET {set} WHERE indexrelid = 'password_verify.{index}'::regclass");
    assert_eq!(site.admin().execute(&sql, &[]).unwrap(), 1);
}

/// The index has every row, in the order of another one: the way down from its root leads elsewhere.
#[test]
fn rows_to_which_an_index_in_another_order_does_not_lead_are_noticed() {
    let site = kept_site();
    for (table, name) in [
        ("credential", "credential_pkey"),
        ("account", "account_pkey"),
        ("throttle", "throttle_pkey"),
        ("event", "event_pkey"),
        ("secret", "secret_pkey"),
        ("job", "job_pkey"),
        ("job", "job_due"),
        ("result", "result_pkey"),
        ("vault", "vault_pkey"),
    ] {
        let rows =
            number(&mut site.admin(), &format!("SELECT count(*) FROM password_verify.{table}"));
        assert!(rows > 1, "{table}");
        let order =
            |order| if table == "event" { format!("{order} {order}") } else { format!("{order}") };
        // The worker would write another row where it finds none.
        let stopped = stop_worker(&site);
        index(&site, name, &format!("indoption = '{}'", order(3)));
        site.admin().batch_execute(&format!("REINDEX TABLE password_verify.{table}")).unwrap();
        index(&site, name, &format!("indoption = '{}'", order(0)));
        assert_index_is_named(&site, table);
        // As it was.
        site.admin().batch_execute(&format!("REINDEX TABLE password_verify.{table}")).unwrap();
        drop(stopped);
        assert_whole(&mut site.admin());
        assert_intact(&mut site.admin());
    }
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
}

/// One entry of the index is not what its row is: the row was changed while the index seemed to be about another
/// column. Its user is unknown, and can be created by anybody.
#[test]
fn an_entry_that_differs_from_its_row_is_noticed() {
    for (table, key, name, which) in [
        ("credential", "blind_index", "credential_pkey", "user_id = 'victim'"),
        ("account", "blind_index", "account_pkey", "user_id = 'victim'"),
        ("throttle", "key", "throttle_pkey", "kind = 0"),
        ("secret", "key", "secret_pkey", "user_id = 'victim'"),
        ("job", "key", "job_pkey", "true"),
        ("job", "due", "job_due", "true"),
        ("result", "key", "result_pkey", "true"),
        ("vault", "key", "vault_pkey", "user_id = 'victim'"),
    ] {
        let site = kept_site();
        let (is, seems) = if key == "due" { (2, 1) } else { (1, 2) };
        let place = format!("SELECT {key} FROM password_verify.{table} WHERE {which} LIMIT 1");
        let was: String = {
            let sql = format!("SELECT ({place})::text");
            site.admin().query_one(&sql, &[]).unwrap().get(0)
        };
        let put = |from: &str, to: &str| {
            let sql =
                format!("UPDATE password_verify.{table} SET {key} = '{to}' WHERE {key} = '{from}'");
            assert_eq!(site.admin().execute(&sql, &[]).unwrap(), 1, "{table}");
        };
        let elsewhere = "ffffffff-ffff-ffff-ffff-ffffffffffff";
        put(&was, elsewhere);
        site.admin().batch_execute(&format!("VACUUM FULL password_verify.{table}")).unwrap();
        index(&site, name, &format!("indkey = '{seems}'"));
        put(elsewhere, &was);
        index(&site, name, &format!("indkey = '{is}'"));
        if table == "credential" {
            assert_eq!(validate(&mut site.login(), "victim", GOOD), Answer::wrong());
            // A user who is created again is a second row, of which one is not found.
            create(&mut site.login(), "victim", OTHER);
        }
        assert_index_is_named(&site, table);
        await_tampered(&site, table);
        restart(&site);
        assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
        assert_eq!(problem(&mut site.admin()).unwrap().0, table);
    }
}

/// Without it a job could be leased twice, or never, and a secret be stored beside another one of its name.
#[test]
fn a_table_of_the_keeper_without_its_index_is_refused_and_named() {
    let site = kept_site();
    let mut admin = site.admin();
    let job = keeper::requests(&mut admin, "victim")[0].0;
    for (table, column, name, call) in [
        ("secret", "key", "secret_pkey", "pv_secrets('victim'::text)"),
        ("job", "key", "job_pkey", "pv_requests('victim'::text)"),
        ("job", "due", "job_due", "pv_take_job()"),
        ("result", "key", "result_pkey", &format!("pv_results({job})")),
        ("vault", "key", "vault_pkey", &format!("pv_unlock_vault('victim'::text, '{VAULT}')")),
    ] {
        let call = format!("SELECT count(*) FROM auth.{call}");
        let drop = match name {
            "job_due" => "DROP INDEX password_verify.job_due".into(),
            _ => format!("ALTER TABLE password_verify.{table} DROP CONSTRAINT {name}"),
        };
        let plain = format!("CREATE INDEX {name} ON password_verify.{table} ({column})");
        for sql in [&drop, &plain] {
            admin.batch_execute(sql).unwrap();
            let (state, _, hint) = refused(admin.query(&call, &[]));
            assert_eq!(state, "55000", "{call}");
            assert!(hint.contains(&format!("\"{name}\" of password_verify.{table}")), "{hint}");
            // Passwords are not in these tables.
            assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
        }
        admin.batch_execute(&format!("DROP INDEX password_verify.{name}")).unwrap();
        let add = match name {
            "job_due" => "CREATE UNIQUE INDEX job_due ON password_verify.job (due)".into(),
            _ => format!("ALTER TABLE password_verify.{table} ADD PRIMARY KEY ({column})"),
        };
        admin.batch_execute(&add).unwrap();
        admin.query(&call, &[]).unwrap();
    }
    assert_intact(&mut admin);
    assert_whole(&mut admin);
}

/// Neither writes with nor reads by an index that PostgreSQL does not keep.
#[test]
fn an_index_that_postgresql_does_not_keep_is_refused() {
    let site = site();
    let class = |has: bool| {
        format!(
            "UPDATE pg_class SET relhasindex = {has} WHERE oid = 'password_verify.credential'::regclass"
        )
    };
    let live = |is: bool| {
        format!(
            "UPDATE pg_index SET indislive = {is} WHERE indexrelid = 'password_verify.credential_pkey'::regclass"
        )
    };
    for (done, undone) in [(class(false), class(true)), (live(false), live(true))] {
        site.admin().batch_execute(&done).unwrap();
        let (state, message, hint) = refused(site.login().query(VALIDATE, &[&"other", &GOOD]));
        assert_eq!(state, "55000", "{message}");
        assert!(hint.contains("PRIMARY KEY"), "{hint}");
        site.admin().batch_execute(&undone).unwrap();
        wait_until("it goes on", || validate(&mut site.login(), "other", GOOD) == Answer::yes());
    }
    assert_whole(&mut site.admin());
}

/// Maintenance may take a table out of the WAL for a while; who leaves it so has it emptied by a crash.
#[test]
fn a_table_that_a_crash_empties_is_missed() {
    let site = site();
    site.admin().batch_execute("ALTER TABLE password_verify.throttle SET UNLOGGED").unwrap();
    site.cluster.kill_postmaster();
    site.cluster.up();
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
    assert_eq!(problem(&mut site.admin()).unwrap().0, "throttle");
    await_tampered(&site, "throttle");
}

/// What the keeper keeps is in one sum with credentials, and that is what is named.
#[test]
fn a_table_of_the_keeper_that_a_crash_empties_is_missed() {
    let site = kept_site();
    for table in keeper::TABLES {
        assert!(keeper::rows(&mut site.admin(), table) > 1, "{table}");
        whole::keep(&mut site.admin(), table);
        site.admin()
            .batch_execute(&format!("ALTER TABLE password_verify.{table} SET UNLOGGED"))
            .unwrap();
        settle(&mut site.admin());
        site.cluster.kill_postmaster();
        site.cluster.up();
        let mut admin = site.admin();
        assert_eq!(keeper::rows(&mut admin, table), 0, "{table}");
        assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
        assert_eq!(problem(&mut admin).unwrap().0, "credential", "{table}");
        await_tampered(&site, "credential");
        // It is not over because the rows are there again.
        let logged = format!("ALTER TABLE password_verify.{table} SET LOGGED");
        admin.batch_execute(&logged).unwrap();
        whole::put_back(&mut admin, table, "true");
        admin.query("SELECT auth.pv_accept_restore('a table was empty')", &[]).unwrap();
        assert_whole(&mut admin);
    }
}

/// Who removes the anchor and all events has not made the database a new one, nor one from before the keyring.
#[test]
fn a_database_without_anchor_and_events_is_served_and_not_called_whole() {
    let site = site();
    let both = "TRUNCATE password_verify.anchor, password_verify.event";
    restart(&site);
    site.admin().batch_execute(both).unwrap();
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::yes());
    assert!(problem(&mut site.admin()).is_some());
    assert!(!verify(&mut site.admin()).intact);
    let alert = "SELECT count(*) FROM auth.pv_events
                  WHERE action = 'epoch' AND alert = 32 AND detail::json->>'why' = 'mismatch'";
    assert_eq!(number(&mut site.admin(), alert), 1);
    site.admin().batch_execute("SELECT auth.pv_accept_restore('the trail is lost')").unwrap();
    assert_whole(&mut site.admin());
    assert_intact(&mut site.admin());

    // Where no record has a MAC any more, nobody can tell, nothing counts, and every function says why.
    let site = site_without_macs(both);
    assert_eq!(validate(&mut site.login(), "other", GOOD), Answer::no("busy"));
    for call in
        ["pv_verify_credentials()", "pv_verify_events()", "pv_accept_restore('there is nothing')"]
    {
        let sql = format!("SELECT auth.{call}");
        let (state, message, _) = refused(site.admin().query(&sql, &[]));
        let what = "the tables of password_verify were not sealed, and there is a keyring";
        assert_eq!((state.as_str(), message.as_str()), ("55000", what), "{call}");
    }
}

fn site_without_macs(both: &str) -> Site {
    let site = site();
    let sql = format!("{both}; UPDATE password_verify.credential SET mac = ''");
    restart(&site);
    site.admin().batch_execute(&sql).unwrap();
    site
}
