//! `pv_doctor` where somebody does not want it to find anything, or wants it to do something else.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use password_verify_tests::doctor::{Finding, examine, run, told};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::number;
use password_verify_tests::{KEEPER_KINDS, Site, sqlstate};
use postgres::Client;

/// The longest that it may take in these tests. It takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

fn site() -> Site {
    let site = sealed_site(&line("a", &fresh_key()));
    assert_eq!(examine(&mut site.admin()), []);
    site
}

fn in_time(client: &mut Client) -> Vec<Finding> {
    let start = Instant::now();
    let found = examine(client);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    found
}

/// What a terminal, a log or a mail can do nothing with.
fn assert_printable(found: &[Finding]) {
    for finding in found {
        for text in [&finding.what, &finding.remedy] {
            assert!(text.bytes().all(|byte| (32..127).contains(&byte)), "{text:?}");
        }
    }
}

#[test]
fn only_superusers_see_findings_and_auditors_their_number() {
    let site = site();
    let functions = "SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'password_verify'::regnamespace
                        AND p.proname ~ '^(doctor|findings|facts|examined|spelled|quoted|literal|role_name|api|oldest)'";
    let functions = site.admin().query(functions, &[]).unwrap();
    assert!(functions.len() >= 20);
    let kinds = [
        &["verifier", "enroller", "registrar", "manager", "auditor"][..],
        &KEEPER_KINDS[..1],
        &KEEPER_KINDS[1..],
    ];
    for kinds in kinds {
        let mut login = site.login_with(kinds);
        assert_eq!(sqlstate(login.query("SELECT * FROM auth.pv_doctor()", &[])), "42501");
        for function in &functions {
            let name: &str = function.get(0);
            let arguments = name.matches(',').count() + usize::from(!name.ends_with("()"));
            let nulls = vec!["NULL"; arguments].join(", ");
            let call = format!("SELECT {}({nulls})", name.split('(').next().unwrap());
            assert_eq!(sqlstate(login.query(&call, &[])), "42501", "{call}");
        }
        for view in
            ["rule", "holding", "acting", "membership", "path", "setting_in_force", "bad_setting"]
        {
            assert_eq!(
                sqlstate(login.query(&format!("SELECT FROM password_verify.{view}"), &[])),
                "42501"
            );
        }
        let counts = login.query("SELECT severity, findings FROM auth.pv_doctor_summary", &[]);
        if !kinds.contains(&"auditor") {
            assert_eq!(sqlstate(counts), "42501");
        }
    }
    let mut auditor = site.login_with(&["auditor"]);
    let mut counts = || -> Vec<(String, i64)> {
        let rows =
            auditor.query("SELECT severity, findings FROM auth.pv_doctor_summary", &[]).unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let count = |critical, warning, unknown| {
        [("critical", critical), ("warning", warning), ("unknown", unknown), ("note", 0)]
            .map(|(name, count)| (name.to_owned(), count))
    };
    // Three logins hold more than they should; what the owner cannot see is said, and not taken for healthy.
    assert_eq!(counts(), count(0, 2, 1));
    run(&site, &format!("ALTER ROLE {} SUPERUSER", site.app));
    assert_eq!(counts(), count(1, 2, 1));
    run(&site, "GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO pv_owner");
    assert_eq!(counts(), count(1, 2, 0));
}

/// Names that would do something if they were shown, or pasted, as they are.
const HOSTILE: [&str; 5] = [
    "x\"; ALTER ROLE evil SUPERUSER; --",
    "x\n\\! touch owned\n\u{1b}[201~\u{7}",
    "x'; ALTER ROLE evil SUPERUSER; --",
    "$$ \u{202e}\u{200b} %s %I \\",
    "",
];

#[test]
fn names_do_nothing_when_they_are_shown_or_pasted() {
    let site = site();
    let mut admin = site.admin();
    admin.batch_execute("CREATE ROLE evil LOGIN").unwrap();
    // As whoever owns a schema of their own, a database, or may create roles.
    for (number, name) in HOSTILE.iter().filter(|name| !name.is_empty()).enumerate() {
        let made = [
            "CREATE SCHEMA %I",
            "GRANT USAGE ON SCHEMA %I TO {app}",
            "CREATE DOMAIN %I.%I AS text",
            "CREATE FUNCTION %I.pv_validate_password(x %I.%I, y %I.%I[]) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "CREATE FUNCTION %I.%I(a text) RETURNS boolean LANGUAGE sql AS 'SELECT valid FROM auth.pv_validate_password(a, a)'",
            "CREATE ROLE %I REPLICATION",
            "GRANT %I TO {app}",
            "SELECT auth.pv_grant(quote_ident(%L)::regrole, 'registrar')",
            "GRANT SELECT ON password_verify.event TO %I",
            "CREATE PUBLICATION %I FOR TABLE password_verify.event",
            "CREATE INDEX %I ON password_verify.throttle (count)",
            "CREATE TRIGGER %I AFTER INSERT ON password_verify.throttle EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "ALTER ROLE %I SET password_verify.redact = off",
            "GRANT CREATE ON SCHEMA auth TO %I",
            "GRANT pg_read_server_files TO %I",
        ];
        for sql in made {
            let places = sql.matches("%I").count() + sql.matches("%L").count();
            let arguments = vec!["$1::text"; places].join(", ");
            let made: String = admin
                .query_one(
                    &format!("SELECT format($2::text, {arguments})"),
                    &[name, &sql.replace("{app}", &site.app)],
                )
                .unwrap()
                .get(0);
            admin.batch_execute(&made).unwrap_or_else(|error| panic!("{made}: {error}"));
        }
        let path: String = admin.query_one("SELECT string_agg(quote_ident(nspname), ', ') FROM pg_namespace WHERE nspname ~ '^[x$]'", &[]).unwrap().get(0);
        admin
            .batch_execute(&format!("ALTER ROLE {} SET search_path = {path}, auth", site.app))
            .unwrap();
        let _ = number;
    }
    let found = in_time(&mut admin);
    assert_printable(&found);
    for rule in [
        "a function that is called instead of ours",
        "an application may replicate",
        "a publication has tables of ours",
        "an index that is not ours",
        "a trigger",
        "redaction is off",
        "a private object is granted",
        "others may create objects in the schema of the functions",
    ] {
        assert_eq!(
            found.iter().filter(|finding| finding.is_of(rule)).count(),
            4,
            "{rule}: {found:?}"
        );
    }
    assert!(!found.iter().any(|finding| finding.severity == "unknown"), "{found:?}");
    // All of them, pasted one after the other, mend everything that has a statement for it, and do nothing else.
    let all: Vec<&str> = found.iter().map(|finding| finding.remedy.as_str()).collect();
    run(&site, &all.join("\n"));
    let mut left = examine(&mut site.admin());
    password_verify_tests::trail::wait_until("nothing is left", || {
        left = examine(&mut site.admin());
        left.iter().all(|finding| finding.is_of("wrappers that redaction does not know"))
    });
    assert_eq!(
        number(
            &mut site.admin(),
            "SELECT count(*) FROM pg_roles WHERE rolname = 'evil' AND rolsuper"
        ),
        0
    );
    assert!(!site.cluster.folder().join("owned").exists());
}

#[test]
fn a_name_that_is_no_text_hides_nothing() {
    let site = site();
    let mut admin = site.admin();
    admin.batch_execute("CREATE DATABASE bytes TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'").unwrap();
    let mut bytes = site.cluster.admin("bytes");
    // PostgreSQL takes any byte for a character there.
    bytes
        .batch_execute(&format!(
            "SET client_encoding = 'SQL_ASCII';
             DO $$ BEGIN EXECUTE format('CREATE ROLE %I LOGIN REPLICATION', E'j\\xfcrgen'); EXECUTE format('GRANT %I TO {}', E'j\\xfcrgen'); END $$",
            site.app
        ))
        .unwrap();
    let found = in_time(&mut admin);
    assert_printable(&found);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].is_of("an application may replicate"), "{found:?}");
}

#[test]
fn a_thousand_objects_take_no_time_and_hide_nothing() {
    let site = site();
    let app = &site.app;
    run(&site, &format!("CREATE SCHEMA {app} AUTHORIZATION {app}"));
    let many = "DO $$ BEGIN
        FOR i IN 1..100 LOOP FOR t IN 1..10 LOOP
            EXECUTE format('CREATE FUNCTION pv_validate_password(%s) RETURNS boolean LANGUAGE sql AS ''SELECT true''',
                           (SELECT string_agg(CASE WHEN g = t THEN 'text' ELSE 'integer' END, ', ') FROM generate_series(1, greatest(i, t)) g));
        END LOOP; END LOOP; EXCEPTION WHEN duplicate_function THEN NULL; END $$";
    let many = many
        .replace("EXECUTE format", "BEGIN EXECUTE format")
        .replace("g));", "g)); EXCEPTION WHEN duplicate_function THEN NULL; END;");
    let many = many.replace("EXCEPTION WHEN duplicate_function THEN NULL; END $$", "END $$");
    site.login().batch_execute(&many).unwrap();
    let count = number(
        &mut site.admin(),
        "SELECT count(*) FROM pg_proc WHERE proname = 'pv_validate_password'",
    );
    assert!(count > 900, "{count}");
    run(&site, &format!("GRANT CREATE ON SCHEMA auth TO {app}"));
    let found = in_time(&mut site.admin());
    assert_eq!(
        found
            .iter()
            .filter(|finding| finding.is_of("a function that is called instead of ours"))
            .count(),
        21
    );
    let more = "a function that is called instead of ours: and at least 480 more";
    assert!(found.iter().any(|finding| finding.what == more), "{found:?}");
    assert_eq!(found.len(), 22, "{found:?}");
}

#[test]
fn what_is_too_long_to_be_searched_is_said_not_to_be_seen() {
    let site = site();
    run(&site, "DO $$ BEGIN EXECUTE format('CREATE FUNCTION long() RETURNS text LANGUAGE sql AS %L',
        (SELECT 'SELECT ''' || string_agg(md5(i::text), '') || '''' FROM generate_series(1, 700000) i)); END $$");
    let found = in_time(&mut site.admin());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].severity.as_str(), found[0].is_of("not seen")),
        ("unknown", true),
        "{found:?}"
    );
}

#[test]
fn a_lock_is_not_waited_for() {
    let site = site();
    let mut admin = site.admin();
    for table in ["event", "credential", "cost_class", "throttle"] {
        let mut holder = site.admin();
        holder
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE password_verify.{table} IN ACCESS EXCLUSIVE MODE"
            ))
            .unwrap();
        let found = in_time(&mut admin);
        assert!(found.iter().all(|finding| finding.is_of("not seen")), "{found:?}");
        assert!(found.iter().any(|finding| finding.what.contains(table)), "{table}: {found:?}");
        holder.batch_execute("COMMIT").unwrap();
        assert_eq!(examine(&mut admin), []);
    }
    // A catalog that somebody rewrites.
    let mut holder = site.admin();
    holder
        .batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_publication IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let found = in_time(&mut admin);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].what, "not seen: outside, for an error 55P03");
    let quiet = "the same when the lock is let go";
    told(
        "not seen",
        &found[0],
        "a table of ours, or a catalog, that somebody has locked",
        quiet,
        false,
    );
}

#[test]
fn it_runs_where_nothing_may_be_written_and_whatever_the_session_has_set() {
    let site = site();
    let mut admin = site.admin();
    admin.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE").unwrap();
    assert_eq!(examine(&mut admin), []);
    admin.batch_execute("COMMIT").unwrap();
    admin
        .batch_execute(
            "CREATE SCHEMA evil;
             CREATE FUNCTION evil.lies(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''called''; END';
             CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.lies);
             CREATE FUNCTION evil.concat(VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''called''; END';
             CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''called''; END';
             CREATE TEMPORARY TABLE pg_proc (proname text); CREATE TEMPORARY VIEW pg_roles AS SELECT 1 AS oid;
             SET search_path = evil, pg_temp, pg_catalog; SET standard_conforming_strings = on; SET quote_all_identifiers = on;
             SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET enable_seqscan = off; SET jit_above_cost = 0",
        )
        .unwrap();
    assert_eq!(examine(&mut admin), []);
}
