//! `pv_doctor` on settings, logs, publications and our tables.
#![allow(clippy::unwrap_used)]

use password_verify_tests::Site;
use password_verify_tests::cluster::major;
use password_verify_tests::doctor::{Case, Mend, case, examine, examined, run};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};

const CASES: &[Case] = &[
    case(
        "redaction is off",
        "ALTER DATABASE {db} SET password_verify.redact = on",
        "ALTER ROLE {app} IN DATABASE {db} SET password_verify.redact = off",
    ),
    case("redaction is off", "", "ALTER ROLE ALL SET password_verify.redact = 'no'"),
    case("redaction is off", "", "ALTER ROLE {app} SET password_verify.redact = false"),
    case(
        "errors are not logged",
        "ALTER SYSTEM SET log_min_messages = error; SELECT pg_reload_conf()",
        "ALTER SYSTEM SET log_min_messages = fatal; SELECT pg_reload_conf()",
    ),
    case(
        "passwords shorter than NIST SP 800-63B-4 asks for",
        "ALTER DATABASE {db} SET password_verify.min_length = 16",
        "ALTER DATABASE {db} SET password_verify.min_length = 14",
    ),
    case(
        "common passwords are accepted",
        "ALTER DATABASE {db} SET password_verify.min_strength = 4",
        "ALTER SYSTEM SET password_verify.common_passwords = off; SELECT pg_reload_conf()",
    ),
    case(
        "accounts hardly wait",
        "ALTER DATABASE {db} SET password_verify.throttle_free_failures = 10",
        "ALTER DATABASE {db} SET password_verify.throttle_free_failures = 50",
    ),
    case(
        "client addresses are not limited",
        "ALTER DATABASE {db} SET password_verify.throttle_client_failures = 1000",
        "ALTER DATABASE {db} SET password_verify.throttle_client_failures = 0",
    ),
    case(
        "repeated failures are forgiven",
        "ALTER DATABASE {db} SET password_verify.throttle_forgive_repeats = off",
        "ALTER DATABASE {db} SET password_verify.throttle_forgive_repeats = on",
    ),
    case(
        "secrets may cross the network in the clear",
        "ALTER ROLE {app} SET password_verify.require_client_certificate = on",
        "ALTER ROLE {app} SET password_verify.require_tls = off",
    ),
    case(
        "answers do not wait for their event",
        "ALTER DATABASE {db} SET password_verify.audit_durability = 'commit'",
        "ALTER DATABASE {db} SET password_verify.audit_durability = 'async'",
    ),
    case(
        "a standby has budgets of its own",
        "ALTER SYSTEM SET hot_standby = on",
        "ALTER SYSTEM SET password_verify.standby_validation = on; SELECT pg_reload_conf()",
    ),
    case(
        "hashes below what OWASP asks for",
        "ALTER DATABASE {db} SET password_verify.argon2_memory = '9MB'; ALTER DATABASE {db} SET password_verify.argon2_iterations = 4",
        "ALTER DATABASE {db} SET password_verify.argon2_iterations = 3",
    ),
    Case {
        rule: "wrappers that redaction does not know",
        quiet: "CREATE FUNCTION has_one(id text) RETURNS boolean LANGUAGE sql AS 'SELECT auth.pv_has_password(id)'",
        broken: "CREATE FUNCTION my_login(id text, secret text) RETURNS boolean LANGUAGE sql
             AS 'SELECT valid FROM auth.PV_validate_password(id, secret)'",
        mend: "ALTER SYSTEM SET password_verify.redact_functions = 'my_login'; SELECT pg_reload_conf()",
    },
    Case {
        rule: "wrappers that redaction does not know",
        quiet: "CREATE FUNCTION \"Log, in\"(id text, secret text) RETURNS boolean LANGUAGE sql AS 'SELECT auth.pv_has_password(id)';
         CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM auth.pv_set_password(NEW.a, NEW.b); RETURN NULL; END'",
        broken: "CREATE TABLE \"Sign-ups\" (a text, b text); CREATE TRIGGER t BEFORE INSERT ON \"Sign-ups\" FOR EACH ROW EXECUTE FUNCTION notice()",
        mend: "ALTER SYSTEM SET password_verify.redact_functions = 'my_login, \"Sign-ups\"'; SELECT pg_reload_conf()",
    },
    Case {
        rule: "wrappers that redaction does not know",
        quiet: "CREATE FUNCTION asks(id text) RETURNS boolean LANGUAGE sql BEGIN ATOMIC SELECT auth.pv_has_password(id); END",
        broken: "CREATE FUNCTION checks(id text, secret text) RETURNS text LANGUAGE sql
             BEGIN ATOMIC SELECT c.reason FROM auth.pv_check_password(id, secret) c; END",
        mend: "ALTER SYSTEM SET password_verify.redact_functions = 'my_login, \"Sign-ups\", checks'; SELECT pg_reload_conf()",
    },
    case(
        "a publication has tables of ours",
        "CREATE TABLE theirs (x integer PRIMARY KEY); CREATE PUBLICATION theirs FOR TABLE theirs",
        "CREATE PUBLICATION everything FOR ALL TABLES",
    ),
    case(
        "a publication has tables of ours",
        "",
        "CREATE PUBLICATION \"One; table\" FOR TABLE theirs, password_verify.event",
    ),
    case(
        "an index that is not ours",
        "ALTER TABLE password_verify.throttle ADD CONSTRAINT counted CHECK (count >= 0)",
        "CREATE INDEX by_count ON password_verify.throttle (count)",
    ),
    case(
        "an index that is not ours",
        "",
        "ALTER TABLE password_verify.credential ADD CONSTRAINT once UNIQUE (user_id)",
    ),
    case(
        "a trigger",
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER \"at; that\" AFTER INSERT ON password_verify.throttle FOR EACH ROW EXECUTE FUNCTION nothing()",
    ),
    Case {
        rule: "a table that is not as it was created",
        quiet: "ALTER TABLE password_verify.throttle SET (autovacuum_enabled = on)",
        broken: "CREATE RULE nothing AS ON INSERT TO password_verify.throttle DO INSTEAD NOTHING",
        mend: "DROP RULE nothing ON password_verify.throttle",
    },
    Case {
        rule: "library and SQL are of different versions",
        quiet: "ALTER EXTENSION password_verify UPDATE",
        broken: "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'password_verify'",
        // There is no earlier version from which a script would lead here.
        mend: "UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'password_verify'",
    },
];

#[test]
fn each_rule_about_settings_and_tables_finds_what_breaks_it_and_nothing_else() {
    let site = sealed_site(&line("a", &fresh_key()));
    assert_eq!(examine(&mut site.admin()), []);
    for case in CASES {
        case.run(&site);
    }
    if major() >= 15 {
        case(
            "a publication has tables of ours",
            "",
            "CREATE PUBLICATION schema FOR TABLES IN SCHEMA public, password_verify",
        )
        .run(&site);
    }
    dead_rows(&site);
    Case {
        rule: "a column that is not ours",
        quiet: "COMMENT ON COLUMN password_verify.event.at IS 'when'",
        broken: "ALTER TABLE password_verify.event ADD COLUMN note text",
        // As after a restore.
        mend:
            "DROP EXTENSION password_verify CASCADE; CREATE EXTENSION password_verify SCHEMA auth;
               SELECT auth.pv_grant('{app}', 'verifier'), auth.pv_grant('{app}', 'enroller')",
    }
    .run(&site);
}

/// Rows that a snapshot keeps.
fn dead_rows(site: &Site) {
    run(site, "ALTER TABLE password_verify.result SET (autovacuum_enabled = off)");
    let made = "INSERT INTO password_verify.result SELECT gen_random_uuid(), '', now(), '' FROM generate_series(1, 12000)";
    let mut old = site.admin();
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").unwrap();
    for _ in 0..150 {
        site.admin().batch_execute("SELECT pg_current_xact_id()").unwrap();
    }
    examined(
        site,
        "dead rows",
        ("a snapshot that is as old, with nothing dead", || ()),
        (
            "12,000 dead rows in a table, and a session that has had a snapshot for 150 transactions",
            || {
                run(site, &format!("{made}; DELETE FROM password_verify.result"));
            },
        ),
        &Mend::Remedy,
    );
    // The remedy has ended that session, too.
    assert!(old.batch_execute("SELECT 1").is_err());
}
