//! Dump and restore, and pg_upgrade: credentials and grants come along, and validate.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use password_verify_tests::calls::{create, validate};
use password_verify_tests::cluster::{PRELOADED, run, server};
use password_verify_tests::roles::globals;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate};

/// What a dump is, or why there is none. It says nothing beside.
fn dump(site: &Site, user: &str) -> Result<PathBuf, String> {
    let file = site.cluster.folder().join(format!("{}-{user}.dump", site.database));
    let mut pg_dump = site.cluster.command("pg_dump");
    pg_dump.args(["-Fc", "-U", user, "-f"]).arg(&file).arg(&site.database);
    let output = pg_dump.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(error);
    }
    assert_eq!(error, "", "a dump is silent");
    Ok(file)
}

/// Restores into a database of that name on another server, and says what pg_restore complained of.
fn restore(file: &PathBuf, cluster: &Cluster, database: &str, options: &str) -> String {
    cluster
        .admin("postgres")
        .batch_execute(&format!("CREATE DATABASE {database} TEMPLATE template0 {options}"))
        .unwrap();
    restore_into(file, cluster, database)
}

fn restore_into(file: &PathBuf, cluster: &Cluster, database: &str) -> String {
    let mut pg_restore = cluster.command("pg_restore");
    let output = pg_restore.args(["-d", database]).arg(file).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn populated() -> Site {
    let site = Site::new();
    for (user, password) in [("42", GOOD), ("zoë", OTHER)] {
        site.enroll(user, password);
    }
    site.login_with(&["registrar", "manager", "auditor"])
        .query("SELECT auth.pv_set_password('7', $1, must_change => true)", &[&GOOD])
        .unwrap();
    site
}

fn is_alive(cluster: &Cluster, site: &Site, database: &str) {
    let mut app = cluster.connect(&site.app, database);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "zoë", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::no("invalid_credentials"));
    assert_eq!(validate(&mut app, "7", GOOD), Answer::no("change_required"));
    assert_eq!(create(&mut app, "42", OTHER), Answer::no("already_set"));
    assert_eq!(create(&mut app, "new", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "new", GOOD), Answer::yes());
    assert_eq!(sqlstate(app.query("SELECT auth.pv_delete_user('42')", &[])), "42501");
    assert_eq!(sqlstate(app.query("SELECT * FROM password_verify.credential", &[])), "42501");
    let grants = "SELECT string_agg(role::text || ' ' || kind || ' ' || complete, ', ' ORDER BY role::text, kind) FROM auth.pv_grants";
    let there: String = cluster.admin(database).query_one(grants, &[]).unwrap().get(0);
    let here: String = site.admin().query_one(grants, &[]).unwrap().get(0);
    assert_eq!(there, here);
    let sql = "SELECT count(*) FROM auth.pv_users";
    assert_eq!(cluster.admin(database).query_one(sql, &[]).unwrap().get::<_, i64>(0), 4);
}

#[test]
fn dump_and_restore_on_another_server() {
    let site = populated();
    let file = dump(&site, "postgres").unwrap();
    let elsewhere = Cluster::start(PRELOADED);
    elsewhere.admin("postgres").batch_execute(&globals(&site.cluster)).unwrap();
    assert_eq!(restore(&file, &elsewhere, "restored", ""), "");
    is_alive(&elsewhere, &site, "restored");

    // A dump of the restored database restores as well: the key stays the same one.
    let second =
        Site { cluster: Arc::new(elsewhere), database: "restored".into(), app: site.app.clone() };
    let mut admin = second.admin();
    admin.query("SELECT auth.pv_delete_user('new')", &[]).unwrap();
    let file = dump(&second, "postgres").unwrap();
    assert_eq!(restore(&file, &second.cluster, "again", ""), "");
    let again = Site { database: "again".into(), ..second };
    is_alive(&again.cluster, &site, "again");
}

/// The statements of the README, in its order or with the grant on the schema at the end.
fn set_up(site: &Site, schema: &str, grant_first: bool) {
    let usage = format!("GRANT USAGE ON SCHEMA {schema} TO {}", site.app);
    let extension = format!("CREATE EXTENSION password_verify SCHEMA {schema}");
    let mut statements = match grant_first {
        true => vec![usage, extension],
        false => vec![extension, usage],
    };
    if schema == "auth" {
        statements.insert(0, "CREATE SCHEMA auth".into());
    } else {
        // Before PostgreSQL 15 everybody may create there.
        statements.insert(
            0,
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER SCHEMA public OWNER TO postgres"
                .into(),
        );
    }
    for kind in ["verifier", "enroller"] {
        statements.push(format!("SELECT {schema}.pv_grant('{}', '{kind}')", site.app));
    }
    site.admin().batch_execute(&statements.join(";\n")).unwrap();
}

#[test]
fn whoever_could_reach_the_functions_can_after_a_restore() {
    let here = Cluster::shared();
    let elsewhere = server(&[]);
    let mut roles = String::new();
    for schema in ["auth", "public"] {
        for grant_first in [true, false] {
            let site = Site::bare(Arc::clone(&here), "");
            set_up(&site, schema, grant_first);
            let file = dump(&site, "postgres").unwrap();
            if roles.is_empty() {
                elsewhere.admin("postgres").batch_execute(&globals(&here)).unwrap();
                roles = "there".into();
            } else {
                let role = format!("CREATE ROLE {} LOGIN", site.app);
                elsewhere.admin("postgres").batch_execute(&role).unwrap();
            }
            let what = format!("{schema}, {grant_first}");
            let mut admin = elsewhere.admin("postgres");
            let create = format!("CREATE DATABASE {} TEMPLATE template0", site.database);
            admin.batch_execute(&create).unwrap();
            if schema == "public" {
                // A dump says so after the extension, which refuses to be where everybody may create. As
                // README says, for PostgreSQL 14.
                let revoke = "REVOKE CREATE ON SCHEMA public FROM PUBLIC";
                elsewhere.admin(&site.database).batch_execute(revoke).unwrap();
            }
            assert_eq!(restore_into(&file, &elsewhere, &site.database), "", "{what}");
            for cluster in [&here, &elsewhere] {
                let mut app = cluster.connect(&site.app, &site.database);
                let sql = format!("SELECT success FROM {schema}.pv_create_password('42', $1)");
                let row = app
                    .query_one(&sql, &[&GOOD])
                    .unwrap_or_else(|error| panic!("{what}: {error:?}"));
                assert!(row.get::<_, bool>(0), "{what}");
                let sql = format!("SELECT valid FROM {schema}.pv_validate_password('42', $1)");
                assert!(app.query_one(&sql, &[&GOOD]).unwrap().get::<_, bool>(0), "{what}");
                // Nobody has more than was granted: the owner nothing of the schema.
                let sql = format!("SELECT COALESCE(string_agg(a.grantee::regrole::text || ' ' || a.privilege_type, ', ' ORDER BY 1), '')
                    FROM pg_namespace n, aclexplode(n.nspacl) a
                   WHERE n.nspname = '{schema}' AND a.grantee NOT IN (0, n.nspowner)");
                let held: String =
                    cluster.admin(&site.database).query_one(&sql, &[]).unwrap().get(0);
                assert_eq!(held, format!("{} USAGE", site.app), "{what}");
            }
            // Grants go on there: the restored ones can be taken back.
            let mut admin = elsewhere.admin(&site.database);
            admin
                .execute(&format!("SELECT {schema}.pv_revoke('{}', 'verifier')", site.app), &[])
                .unwrap();
            let mut app = elsewhere.connect(&site.app, &site.database);
            let sql = format!("SELECT {schema}.pv_validate_password('42', 'guess')");
            assert_eq!(sqlstate(app.query(&sql, &[])), "42501", "{what}");
        }
    }
}

#[test]
fn nobody_builds_on_the_row_types() {
    // PUBLIC has USAGE of every type. These cannot be named without USAGE on their schema.
    let site = Site::new();
    let mut admin = site.admin();
    admin.batch_execute(&format!("CREATE SCHEMA mine AUTHORIZATION {}", site.app)).unwrap();
    let mut app = site.login();
    for sql in [
        "CREATE TABLE mine.t (c password_verify.credential)",
        "CREATE TABLE mine.t (c password_verify.credential[])",
        "CREATE TABLE mine.t (c password_verify._credential)",
        "CREATE TABLE mine.t (c password_verify.credential.verifier%TYPE)",
        "CREATE TABLE mine.t (LIKE password_verify.credential)",
        "CREATE TABLE mine.t OF password_verify.event",
        "CREATE TABLE mine.t () INHERITS (password_verify.event)",
        "CREATE FUNCTION mine.f(password_verify.event) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION mine.f(x password_verify.event.mac%TYPE) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW mine.v AS SELECT NULL::password_verify.throttle AS x",
        "CREATE DOMAIN mine.d AS password_verify.throttle",
        "SELECT ROW('a')::password_verify.blind_index_key",
    ] {
        let state = sqlstate(app.batch_execute(sql));
        // A syntax error is no way in either.
        assert!(["42501", "42601"].contains(&state.as_str()), "{sql}: {state}");
    }
}

#[test]
fn a_database_without_passwords_restores_too() {
    let site = Site::new();
    let file = dump(&site, "postgres").unwrap();
    assert_eq!(restore(&file, &site.cluster, "fresh", ""), "");
    let mut app = site.cluster.connect(&site.app, "fresh");
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
}

#[test]
fn a_restore_into_another_encoding_validates() {
    let site = populated();
    let file = dump(&site, "postgres").unwrap();
    let latin1 = "ENCODING 'LATIN1' LOCALE 'C'";
    assert_eq!(restore(&file, &site.cluster, "latin", latin1), "");
    is_alive(&site.cluster, &site, "latin");
}

#[test]
fn a_restore_over_existing_passwords_is_noticed() {
    let site = populated();
    let file = dump(&site, "postgres").unwrap();
    let other = Site::new();
    other.enroll("another", GOOD);
    restore_into(&file, &other.cluster, &other.database);
    let sql = "SELECT * FROM auth.pv_validate_password('another', $1)";
    let (state, _, hint) = refused(other.admin().query(sql, &[&GOOD]));
    assert_eq!(state, "55000");
    assert!(hint.contains("restore into an empty one"), "{hint}");
}

#[test]
fn a_backup_login_needs_bypassrls() {
    let site = populated();
    let mut admin = site.admin();
    admin.batch_execute("CREATE ROLE backup LOGIN; GRANT pg_read_all_data TO backup").unwrap();
    let error = dump(&site, "backup").unwrap_err();
    assert!(error.contains("row-level security"), "an error, not an empty dump: {error}");
    admin.batch_execute("ALTER ROLE backup BYPASSRLS").unwrap();
    let file = dump(&site, "backup").unwrap();
    assert_eq!(restore(&file, &site.cluster, "from_backup", ""), "");
    is_alive(&site.cluster, &site, "from_backup");
}

#[test]
fn pg_upgrade_loads_the_library_without_preloading() {
    // To the same major, as PostgreSQL's own tests do it.
    let old = server(&[]);
    let site = Site::on(Arc::clone(&old));
    for (user, password) in [("42", GOOD), ("zoë", OTHER)] {
        site.enroll(user, password);
    }
    site.admin()
        .query("SELECT auth.pv_set_password('7', $1, must_change => true)", &[&GOOD])
        .unwrap();
    let grants = "SELECT count(*) FROM auth.pv_grants WHERE complete";
    assert_eq!(site.admin().query_one(grants, &[]).unwrap().get::<_, i64>(0), 2);
    old.down();

    let new = Cluster::init();
    let bindir =
        PathBuf::from(new.command("pg_upgrade").get_program()).parent().unwrap().to_owned();
    let mut upgrade: Command = new.command("pg_upgrade");
    upgrade.arg("-b").arg(&bindir).arg("-B").arg(&bindir);
    upgrade.arg("-d").arg(old.data()).arg("-D").arg(new.data());
    upgrade.arg("-s").arg(new.folder()).args(["-p", "50432", "-P", "50433"]);
    run(upgrade.env_remove("PGPORT").env_remove("PGHOST"));

    new.configure(PRELOADED);
    new.up();
    let mut app = new.connect(&site.app, &site.database);
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "zoë", OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "7", GOOD), Answer::no("change_required"));
    assert_eq!(create(&mut app, "42", OTHER), Answer::no("already_set"));
    let admin = &mut new.admin(&site.database);
    assert_eq!(admin.query_one(grants, &[]).unwrap().get::<_, i64>(0), 2);
}
