//! What an attack on the redaction has found, so that it does not come back.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use password_verify_tests::cluster::server;
use password_verify_tests::{Cluster, Site};
use postgres::Client;
use postgres::error::DbError;

/// The application's session, which may create objects, without redaction if a superuser says so.
fn session(site: &Site, redact: bool) -> Client {
    let (app, database) = (&site.app, &site.database);
    let state = if redact { "on" } else { "off" };
    site.admin()
        .batch_execute(&format!(
            "ALTER ROLE {app} SET password_verify.redact = {state}; GRANT CREATE ON DATABASE {database} TO {app}"
        ))
        .unwrap();
    let mut client = site.login();
    client.batch_execute("CREATE SCHEMA IF NOT EXISTS own; SET search_path = own").unwrap();
    client
}

fn pid(client: &mut Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0)
}

/// The memory that a backend has had at most, in kB.
fn peak(client: &mut Client) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pid(client))).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A text is read as it was parsed, whatever `standard_conforming_strings` has become meanwhile.
#[test]
fn a_backslash_hides_nothing() {
    let site = Site::on(server(&["log_min_duration_statement = 0"]));
    let mut app = session(&site, true);
    app.batch_execute("CREATE TABLE victim (v text)").unwrap();
    let sql = r"SET standard_conforming_strings = off; DELETE FROM victim; SELECT * FROM auth.pv_check_password('1', 'x'); SELECT '\'";
    app.simple_query(sql).unwrap();
    let shown = r"DELETE FROM victim; SELECT * FROM auth.pv_check_password('<redacted>', '<redacted>'); SELECT '\'";
    let log = site.cluster.log();
    assert!(log.contains(shown), "{log}");
}

/// A script of many statements is not read again for each of them, and none of odd signs either.
#[test]
fn a_script_takes_no_longer() {
    let site = Site::new();
    let tables =
        (0..400).map(|i| format!("CREATE TABLE t{i} (a text DEFAULT ''); DROP TABLE t{i};"));
    let script = format!("{} SELECT 'execute pv_'", tables.collect::<String>());
    let prepared = format!("PREPARE a AS SELECT 1 /* pv_ {} */", "1 ".repeat(10_000));
    let odd = [
        script,
        format!("{prepared};{}DEALLOCATE a", "EXECUTE a;".repeat(1000)),
        format!("SELECT 1 FROM auth.pv_check_password('1', 'x') {}", "+/**/".repeat(8_000)),
    ];
    for sql in odd {
        let took = |redact| {
            let mut client = session(&site, redact);
            let once = |client: &mut Client| {
                let start = Instant::now();
                let _ = client.batch_execute(&sql);
                start.elapsed()
            };
            (0..2).map(|_| once(&mut client)).min().unwrap()
        };
        let (without, with) = (took(false), took(true));
        let most = without * 4 + Duration::from_millis(300);
        assert!(with < most, "{without:?}, {with:?}: {}", &sql[..60]);
    }
}

/// A session without memory gets an error, and the server goes on.
#[test]
fn no_memory_is_no_crash() {
    let site = Site::on(Arc::new(Cluster::start(&[
        "shared_preload_libraries = 'password_verify'",
        "shared_buffers = 16MB",
        "work_mem = 2GB",
    ])));
    let mut other = site.login();
    let mut app = session(&site, true);
    // As the server's user, who may take from its own processes.
    let limit = format!(
        "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; prlimit --pid {} --as=700000000'",
        pid(&mut app)
    );
    site.admin().batch_execute(&limit).unwrap();
    let sql = format!(
        "SELECT auth.pv_check_password('1', '{}'), count(*) FROM (SELECT DISTINCT x FROM generate_series(1, 100000000) x) s",
        "A".repeat(20_000_000)
    );
    app.batch_execute("SET enable_sort = off").unwrap();
    let error = app.batch_execute(&sql).unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("53200"), "{error:?}");
    app.batch_execute("SELECT 1").unwrap();
    other.batch_execute("SELECT 1").unwrap();
}

/// A function in SQL that is called for each row leaves no copy of its text for each.
#[test]
fn rows_take_no_memory() {
    let site = Site::new();
    let took = |redact| {
        let mut client = session(&site, redact);
        client
            .batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION own.each(a text) RETURNS text LANGUAGE sql VOLATILE AS $$/*{}*/
                     SELECT max(c::text) FROM auth.pv_check_password(1::bigint, a) c$$",
                "x".repeat(2000)
            ))
            .unwrap();
        let before = peak(&mut client);
        client
            .batch_execute("SELECT count(own.each('a' || x)) FROM generate_series(1, 20000) x")
            .unwrap();
        peak(&mut client) - before
    };
    let (without, with) = (took(false), took(true));
    assert!(with < without + 20_000, "{without} kB, {with} kB");
}

/// A query id that is made of the text would be a fast hash of the secret in it.
#[test]
fn no_query_id_is_made_of_a_secret() {
    let site = Site::on(server(&[
        "compute_query_id = on",
        "log_min_duration_statement = 0",
        "log_line_prefix = 'id=%Q '",
    ]));
    let mut app = session(&site, true);
    for secret in ["first", "second one"] {
        for sql in [
            "DO $$BEGIN PERFORM auth.pv_check_password('1', '@'); END$$",
            "EXPLAIN SELECT auth.pv_check_password('1', '@')",
            "CREATE TEMP TABLE IF NOT EXISTS made AS SELECT acceptable FROM auth.pv_check_password('1', '@')",
        ] {
            app.simple_query(&sql.replace('@', secret)).unwrap();
        }
    }
    let log = site.cluster.log();
    for what in ["DO ", "EXPLAIN ", "CREATE TEMP "] {
        let begins = format!("  statement: {what}");
        let lines = log.lines().filter(|line| line.contains(&begins));
        let ids: Vec<&str> = lines.map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(ids.len(), 2, "{log}");
        assert!(ids[0] == ids[1] && ids[0] != "id=0", "{what}: {ids:?}");
    }
}

/// What programs go by in an error is as without redaction.
#[test]
fn errors_keep_their_fields() {
    let site = Site::new();
    let fields = |redact| -> Vec<String> {
        let mut client = session(&site, redact);
        client
            .batch_execute(
                "DROP TABLE IF EXISTS own.orders; CREATE TABLE own.orders (id bigint PRIMARY KEY CHECK (id < 100), n text NOT NULL);
                 INSERT INTO own.orders VALUES (1, 'x');
                 CREATE OR REPLACE FUNCTION own.says() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                     RAISE EXCEPTION 'order % is \"late\"', 42 USING ERRCODE = 'ZZ001', DETAIL = 'since (yesterday)', HINT = 'call'; END $$",
            )
            .unwrap();
        let call = "FROM auth.pv_check_password('1', 'x')";
        [
            format!("INSERT INTO own.orders SELECT 1, 'y' {call}"),
            format!("INSERT INTO own.orders SELECT 100, 'y' {call}"),
            format!("INSERT INTO own.orders SELECT 2, NULL {call}"),
            format!("SELECT orders.nothing, 'a' {call}, own.orders"),
            format!("SELECT nobody.f('a') {call}"),
            format!("SELECT own.says() {call}"),
            format!("SELEC 'a' {call}"),
            format!("SELECT 1/0 {call}"),
            "DO $$ BEGIN PERFORM auth.pv_check_password('1', 'x'); EXECUTE 'SELECT nocol, 1234567'; END $$".to_owned(),
        ]
        .iter()
        .map(|sql| {
            let error = client.batch_execute(sql).unwrap_err();
            let it: &DbError = error.as_db_error().unwrap();
            let own_words = it.code().code() == "ZZ001";
            let words = own_words.then(|| (it.message().to_owned(), it.detail(), it.hint()));
            format!(
                "{sql}: {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {words:?}",
                it.code(), it.position().map(|at| format!("{at:?}").replace("1234567", "0000000")),
                it.schema(), it.table(), it.column(), it.constraint(), it.routine(), it.where_().is_some(),
            )
        })
        .collect()
    };
    assert_eq!(fields(true), fields(false));
}

/// Definitions keep their text, in the catalog and for whoever records them, and do what they say.
#[test]
fn definitions_are_kept() {
    let site = Site::on(server(&["log_statement = ddl"]));
    let mut app = session(&site, true);
    let function = "CREATE FUNCTION own.make(u text) RETURNS boolean BEGIN ATOMIC SELECT success FROM auth.pv_create_password(u, 'correct horse battery staple'); END";
    let view = "CREATE VIEW own.checked AS SELECT acceptable FROM auth.pv_check_password('1', 'correct horse battery staple')";
    let quoted = "CREATE FUNCTION own.also(u text) RETURNS boolean LANGUAGE sql AS $$ SELECT valid FROM auth.pv_validate_password(u, 'correct horse battery staple') $$";
    for sql in [function, view, quoted] {
        app.batch_execute(sql).unwrap();
    }
    let told = site.cluster.log();
    for sql in [function, view, quoted] {
        assert!(told.contains(sql), "{told}");
    }
    let made: bool = app.query_one("SELECT own.make('somebody')", &[]).unwrap().get(0);
    let valid: bool = app.query_one("SELECT own.also('somebody')", &[]).unwrap().get(0);
    assert!(made && valid);
}

/// Messages of processes that no client has sent anything to stay as they are.
#[test]
fn what_no_client_has_sent_is_left_alone() {
    let site = Site::on(server(&["log_min_messages = debug5", "log_min_error_statement = debug5"]));
    site.cluster.admin("postgres").batch_execute("CHECKPOINT").unwrap();
    let log = site.cluster.log();
    assert!(log.contains("DEBUG:  "), "{log}");
    assert!(!log.contains("STATEMENT:  \n"), "{log}");
}
