//! Attacks, each told as a story and replayed with the application's login, which holds the kinds
//! verifier and enroller and may create schemas in its database: at the tables, and for the owner's place.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{create, validate};
use password_verify_tests::cluster::major;
use password_verify_tests::keeper;
use password_verify_tests::victim::{all_refused, unharmed, verifier, victim};
use password_verify_tests::{Answer, GOOD, OTHER, sqlstate};
use postgres::Client;

/// They read the table, write it, or copy it out.
#[test]
fn touching_the_tables() {
    let site = victim();
    let before = verifier(&site);
    all_refused(
        &mut site.login(),
        &[
            "SELECT * FROM password_verify.credential",
            "SELECT count(*) FROM password_verify.credential",
            "SELECT verifier FROM ONLY password_verify.credential",
            "TABLE password_verify.blind_index_key",
            "COPY password_verify.credential TO STDOUT",
            "COPY (SELECT * FROM password_verify.credential) TO STDOUT",
            "COPY password_verify.credential FROM STDIN",
            "INSERT INTO password_verify.credential SELECT * FROM password_verify.credential",
            "UPDATE password_verify.credential SET verifier = 'x'",
            "DELETE FROM password_verify.credential",
            "TRUNCATE password_verify.credential",
            "DO $$ BEGIN LOCK TABLE password_verify.credential; END $$",
            "SELECT * FROM password_verify.credential FOR UPDATE",
            "SELECT * FROM password_verify.kind",
            "SELECT * FROM auth.pv_users",
            "SELECT * FROM auth.pv_grants",
            "MERGE INTO password_verify.credential c USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
        ][..if major() >= 15 { 17 } else { 16 }],
    );
    unharmed(&site, &before);
}

/// Rows in the keeper's tables that anybody can tell, whether they are sealed or not.
fn fill_kept(admin: &mut Client) {
    admin
        .batch_execute(
            "INSERT INTO password_verify.secret VALUES (gen_random_uuid(), gen_random_uuid(), 'victim', 'mail', '{}', 'k', false, 's', 'new', NULL, now(), NULL, '');
             INSERT INTO password_verify.result VALUES (gen_random_uuid(), 's', now(), '');
             INSERT INTO password_verify.vault (key, id, user_id, sealed, secrets, jobs, created_at, changed_at, mac)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'victim', 's', 1, 1, now(), now(), '');
             INSERT INTO password_verify.job (key, due, secret, what, state, leases, leased_by, due_at, attempts, next_seq, acked, created_at, mac)
             VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'w', 'waiting', 0, 0, now(), 0, 1, 0, now(), '')",
        )
        .unwrap();
}

/// They have been given pg_read_all_data, "for reporting", which reads every table and reaches every
/// schema. There is row security without a policy, and that role does not bypass it.
#[test]
fn pg_read_all_data() {
    let site = victim();
    site.admin().batch_execute(&format!("GRANT pg_read_all_data TO {}", site.app)).unwrap();
    fill_kept(&mut site.admin());
    let mut app = site.login();
    for sql in [
        "SELECT count(*) FROM password_verify.secret",
        "SELECT count(*) FROM password_verify.job",
        "SELECT count(*) FROM password_verify.result",
        "SELECT count(*) FROM password_verify.vault",
        "SELECT count(*) FROM password_verify.credential",
        "SELECT count(*) FROM password_verify.blind_index_key",
        "SELECT count(*) FROM pg_statistic WHERE starelid = 'password_verify.credential'::regclass",
        "SELECT count(*) FROM pg_stats WHERE schemaname = 'password_verify'",
    ] {
        assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0, "{sql}");
    }
    // They ask not to be filtered: an error, not rows.
    app.batch_execute("SET row_security = off").unwrap();
    assert_eq!(sqlstate(app.query("SELECT * FROM password_verify.credential", &[])), "42501");
    // A leaky function in the condition sees no row either.
    app.batch_execute(
        "SET row_security = on;
         CREATE SCHEMA mine;
         CREATE FUNCTION mine.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
             $$ BEGIN RAISE EXCEPTION 'leaked %', $1; END $$",
    )
    .unwrap();
    let sql = "SELECT * FROM password_verify.credential WHERE mine.leak(verifier)";
    assert!(app.query(sql, &[]).unwrap().is_empty());
}

/// They have been given pg_write_all_data, which writes every table.
#[test]
fn pg_write_all_data() {
    let site = victim();
    let before = verifier(&site);
    site.admin()
        .batch_execute(&format!("GRANT pg_write_all_data, pg_read_all_data TO {}", site.app))
        .unwrap();
    fill_kept(&mut site.admin());
    let mut app = site.login();
    for sql in [
        "UPDATE password_verify.secret SET destination = 'mine'",
        "DELETE FROM password_verify.secret",
        "UPDATE password_verify.job SET state = 'leased'",
        "DELETE FROM password_verify.job",
        "DELETE FROM password_verify.result",
        "DELETE FROM password_verify.vault",
        "UPDATE password_verify.credential SET verifier = 'x'",
        "UPDATE password_verify.credential SET user_id = 'mine' WHERE user_id = 'victim'",
        "DELETE FROM password_verify.credential",
        "UPDATE password_verify.account SET disabled_at = NULL",
        "DELETE FROM password_verify.account",
        "DELETE FROM password_verify.blind_index_key",
        "DELETE FROM password_verify.throttle",
        "UPDATE password_verify.event SET user_id = 'somebody else'",
        "DELETE FROM password_verify.event",
        "DELETE FROM password_verify.event_fold",
        "DELETE FROM password_verify.open_change",
        "DELETE FROM password_verify.cost_class",
    ] {
        assert_eq!(app.execute(sql, &[]).unwrap(), 0, "{sql}");
    }
    let forged = "INSERT INTO password_verify.credential VALUES (gen_random_uuid(), 'x', 'y', false, NULL, now(), now())";
    assert_eq!(sqlstate(app.execute(forged, &[])), "42501");
    let forged = "INSERT INTO password_verify.blind_index_key VALUES (decode(repeat('00', 32), 'hex'), true)";
    assert_eq!(sqlstate(app.execute(forged, &[])), "42501");
    assert_eq!(sqlstate(app.execute("TRUNCATE password_verify.credential", &[])), "42501");
    for table in keeper::TABLES {
        assert_eq!(keeper::rows(&mut site.admin(), table), 1, "{table}");
        let forged =
            format!("INSERT INTO password_verify.{table} SELECT * FROM password_verify.{table}");
        assert_eq!(app.execute(&forged, &[]).unwrap(), 0, "{table}");
        let all = format!("TRUNCATE password_verify.{table}");
        assert_eq!(sqlstate(app.execute(&all, &[])), "42501", "{table}");
    }
    unharmed(&site, &before);
}

/// The same, by way of the views, which belong to the owner: whoever may write every table and view
/// might write credentials through them.
#[test]
fn data_roles_and_the_views() {
    let site = victim();
    let before = verifier(&site);
    let mut admin = site.admin();
    admin
        .batch_execute(&format!("GRANT pg_write_all_data, pg_read_all_data TO {}", site.app))
        .unwrap();
    let sql = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'e'
                WHERE c.relkind = 'v' AND c.relowner = 'pv_owner'::regrole";
    let views: Vec<String> = admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(views.len(), 15);
    let mut app = site.login();
    for view in views {
        let writable = format!("SELECT pg_relation_is_updatable('{view}'::regclass, true)");
        assert_eq!(admin.query_one(&writable, &[]).unwrap().get::<_, i32>(0), 0, "{view}");
        assert_eq!(sqlstate(app.batch_execute(&format!("DELETE FROM {view}"))), "55000", "{view}");
    }
    all_refused(
        &mut app,
        &["SELECT * FROM auth.pv_users", "SELECT * FROM password_verify.users(NULL)"],
    );
    unharmed(&site, &before);
}

/// They become the owner.
#[test]
fn becoming_the_owner() {
    let site = victim();
    let app = &site.app;
    all_refused(
        &mut site.login(),
        &[
            "SET ROLE pv_owner",
            "SET SESSION AUTHORIZATION pv_owner",
            &format!("GRANT pv_owner TO {app}"),
            "ALTER ROLE pv_owner LOGIN PASSWORD 'x'",
            "ALTER ROLE pv_owner SET session_preload_libraries = 'x'",
            "DROP ROLE pv_owner",
            "REASSIGN OWNED BY pv_owner TO CURRENT_USER",
            "DROP OWNED BY pv_owner",
            "SET ROLE postgres",
            &format!("SELECT auth.pv_grant('{app}', 'manager')"),
            &format!("SELECT auth.pv_revoke('{app}', 'verifier')"),
            &format!(
                "SELECT password_verify.change_grant('{app}', 'manager', 'GRANT %s ON %s %s TO %I')"
            ),
            &format!(
                "GRANT EXECUTE ON FUNCTION auth.pv_set_password(text, text, boolean, timestamptz) TO {app}"
            ),
        ],
    );
    // What they hold they cannot pass on: PostgreSQL warns and grants nothing.
    let mut login = site.login();
    let _ = login.batch_execute(
        "GRANT EXECUTE ON FUNCTION auth.pv_validate_password(text, text, inet) TO PUBLIC",
    );
    let sql = "SELECT has_function_privilege('public', 'auth.pv_validate_password(text, text, inet)', 'EXECUTE')";
    assert!(!site.admin().query_one(sql, &[]).unwrap().get::<_, bool>(0));
}

/// They replace the functions, or stand in front of them.
#[test]
fn replacing_the_functions() {
    let site = victim();
    let before = verifier(&site);
    let fake = "LANGUAGE sql AS $$ SELECT true, NULL::text, NULL::interval $$";
    all_refused(
        &mut site.login(),
        &[
            &format!(
                "CREATE OR REPLACE FUNCTION auth.pv_validate_password(user_id text, password text, client_addr inet DEFAULT NULL, OUT valid boolean, OUT reason text, OUT retry_after interval) {fake}"
            ),
            &format!(
                "CREATE FUNCTION auth.pv_validate_password(user_id int, password text, OUT valid boolean, OUT reason text, OUT retry_after interval) {fake}"
            ),
            &format!(
                "CREATE FUNCTION password_verify.f(OUT a boolean, OUT b text, OUT c interval) {fake}"
            ),
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) SECURITY INVOKER",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) RESET search_path",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) SET search_path = mine",
            "ALTER FUNCTION auth.pv_validate_password(text, text, inet) RENAME TO x",
            "DROP FUNCTION auth.pv_validate_password(text, text, inet)",
            "ALTER EXTENSION password_verify SET SCHEMA public",
            "ALTER EXTENSION password_verify DROP TABLE password_verify.credential",
            "ALTER EXTENSION password_verify UPDATE",
            "DROP EXTENSION password_verify CASCADE",
            "DROP SCHEMA password_verify CASCADE",
            "ALTER SCHEMA password_verify RENAME TO x",
            "CREATE FUNCTION pg_temp.raw(text) RETURNS boolean LANGUAGE c AS '$libdir/password_verify', 'pv_has_password_wrapper'",
        ],
    );
    unharmed(&site, &before);
}

/// They hang something onto the table: a trigger, a rule, a policy, an index, a view, a child.
#[test]
fn hanging_something_onto_the_table() {
    let site = victim();
    let before = verifier(&site);
    site.admin().batch_execute(&format!("GRANT pg_read_all_data TO {}", site.app)).unwrap();
    let mut app = site.login();
    app.batch_execute(
        "CREATE SCHEMA mine;
         CREATE FUNCTION mine.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;",
    )
    .unwrap();
    all_refused(
        &mut app,
        &[
            "CREATE TRIGGER t BEFORE UPDATE ON password_verify.credential FOR EACH ROW EXECUTE FUNCTION mine.t()",
            "CREATE RULE r AS ON UPDATE TO password_verify.credential DO ALSO NOTHING",
            "CREATE POLICY p ON password_verify.credential USING (true)",
            "ALTER TABLE password_verify.credential NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE password_verify.credential DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE password_verify.credential ALTER verifier SET STATISTICS 100",
            "CREATE INDEX i ON password_verify.credential ((mine.leak(verifier)))",
            "CREATE TABLE mine.child () INHERITS (password_verify.credential)",
            "CREATE TABLE mine.f (b uuid REFERENCES password_verify.credential)",
            "CREATE STATISTICS mine.s ON user_id, verifier FROM password_verify.credential",
            "CREATE PUBLICATION p FOR TABLE password_verify.credential",
            "ALTER TABLE password_verify.credential ADD CHECK (verifier IS NULL)",
            "COMMENT ON TABLE password_verify.credential IS 'x'",
            "CREATE VIEW password_verify.v AS SELECT 1",
            "REINDEX TABLE password_verify.credential",
            "CLUSTER password_verify.credential USING credential_pkey",
        ],
    );
    // With USAGE on every schema they can name the row type, and so stand in the way of an upgrade. Of no row.
    app.batch_execute("CREATE TABLE mine.c (c password_verify.credential)").unwrap();
    // A view of their own runs with their own rights, and sees what they see: nothing.
    app.batch_execute("CREATE VIEW mine.v AS SELECT * FROM password_verify.credential").unwrap();
    assert!(app.query("SELECT * FROM mine.v", &[]).unwrap().is_empty());
    unharmed(&site, &before);
}

/// They put tables of the same names where a careless function would find them first.
#[test]
fn tables_of_the_same_names() {
    let site = victim();
    let before = verifier(&site);
    let mut app = site.login();
    app.batch_execute(
        "CREATE TEMP TABLE credential (blind_index uuid PRIMARY KEY, user_id text, verifier text,
             must_change boolean, expires_at timestamptz, disabled_at timestamptz, created_at timestamptz, changed_at timestamptz);
         CREATE TEMP TABLE blind_index_key (key bytea, in_use boolean);
         INSERT INTO blind_index_key VALUES (decode(repeat('00', 32), 'hex'), true);
         SET search_path = pg_temp",
    )
    .unwrap();
    assert_eq!(validate(&mut app, "victim", GOOD), Answer::yes());
    assert_eq!(create(&mut app, "other", OTHER), Answer::yes());
    let sql = "SELECT count(*) FROM pg_temp.credential";
    assert_eq!(app.query_one(sql, &[]).unwrap().get::<_, i64>(0), 0);
    assert_eq!(sqlstate(app.batch_execute("CREATE SCHEMA password_verify")), "42P06");
    unharmed(&site, &before);
}
