//! Dump and restore, and pg_upgrade: credentials and grants come along, and validate.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::site::{create, validate};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, refused, sqlstate};

/// Roles of one server as SQL, as `pg_dumpall --globals-only` writes them.
fn globals(cluster: &Cluster) -> String {
    let mut dumpall = cluster.command("pg_dumpall");
    let output = run(dumpall.args(["--globals-only", "--no-role-passwords"]));
    let sql = String::from_utf8(output.stdout).unwrap();
    // Every server has its superuser already. Newer minors add lines that only psql understands.
    let ours = |line: &&str| !line.contains(" postgres") && !line.starts_with('\\');
    sql.lines().filter(ours).collect::<Vec<_>>().join("\n")
}

fn dump(site: &Site, user: &str) -> Result<PathBuf, String> {
    let file = site.cluster.folder().join(format!("{}-{user}.dump", site.database));
    let mut pg_dump = site.cluster.command("pg_dump");
    pg_dump.args(["-Fc", "-U", user, "-f"]).arg(&file).arg(&site.database);
    let output = pg_dump.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(file) } else { Err(error) }
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
    let old = Arc::new(Cluster::start(PRELOADED));
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
