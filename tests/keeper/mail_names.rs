//! Who may call what is written in SQL about mail, and what the caller's own objects change of it, which is nothing.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use password_verify_tests::keeper::{KeptSite, deliver, finish, take};
use password_verify_tests::query::{number, text};
use password_verify_tests::sqlstate;
use postgres::Client;

/// Functions that the bodies name, with arguments that fit at least as well as those of the real ones.
const FUNCTIONS: [&str; 21] = [
    "pv_store_secret(text, text, text, jsonb, text, inet)",
    "pv_request(text, text, jsonb, interval, timestamptz, text)",
    "pv_request_mail(text, text, text, date, text, integer, integer, interval, timestamptz, text)",
    "pv_request_attachment(text, text, text, bigint, bigint, text, text)",
    "pv_results(bigint, bigint)",
    "pv_ack_results(bigint, bigint)",
    "mail_number(jsonb)",
    "mail_texts(jsonb)",
    "mail_bytes(text)",
    "mail_time(text)",
    "jsonb_build_object(VARIADIC text[])",
    "jsonb_strip_nulls(jsonb)",
    "jsonb_typeof(jsonb)",
    "jsonb_array_elements(jsonb)",
    "jsonb_array_elements_text(jsonb)",
    "num_nulls(VARIADIC text[])",
    "regexp_match(text, text)",
    "decode(text, text)",
    "to_timestamp(double precision)",
    "date_part(text, timestamp)",
    "make_interval(integer, integer, integer, integer, integer, integer, double precision)",
];
const OPERATORS: [(&str, &str, &str); 13] = [
    ("->", "jsonb", "text"),
    ("->>", "jsonb", "text"),
    ("@>", "jsonb", "jsonb"),
    ("=", "integer", "integer"),
    ("=", "text", "text"),
    ("=", "float8", "float8"),
    ("<>", "text", "text"),
    ("~", "text", "text"),
    ("+", "timestamp", "interval"),
    ("-", "timestamp", "interval"),
    ("-", "integer", "integer"),
    ("||", "text", "text"),
    ("||", "jsonb", "jsonb"),
];

/// All of them in a schema, each an error.
fn traps(schema: &str) -> String {
    let mut sql = String::new();
    let body = "RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'theirs'; END $$;";
    for function in FUNCTIONS {
        writeln!(sql, "CREATE FUNCTION {schema}.{function} {body}").unwrap();
    }
    for (i, (name, left, right)) in OPERATORS.iter().enumerate() {
        writeln!(sql, "CREATE FUNCTION {schema}.o{i}({left}, {right}) {body}").unwrap();
        writeln!(
            sql,
            "CREATE OPERATOR {schema}.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {schema}.o{i});"
        )
        .unwrap();
    }
    // Their names of types, last: whatever is above means the real ones.
    for name in ["jsonb", "text", "int4", "int8", "float8", "timestamp", "timestamptz"] {
        writeln!(sql, "CREATE DOMAIN {schema}.{name} AS pg_catalog.bool;").unwrap();
    }
    sql
}

/// What comes of every function: asked for, delivered, and read.
fn round(app: &mut Client, keeper: &mut Client) -> Vec<String> {
    let mut seen = Vec::new();
    let mut say = |app: &mut Client, sql: &str| {
        let rows = app.query(&format!("SELECT pg_catalog.concat_ws(' ', {sql}"), &[]).unwrap();
        seen.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    };
    for id in [
        "42::pg_catalog.int8",
        "'4cbb5a06-9a0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid",
        "'42'::pg_catalog.text",
    ] {
        say(
            app,
            &format!(
                "success, reason) FROM auth.pv_register_imap_account({id}, 'inbox', 'a.example', 993, 'l', 'x')"
            ),
        );
        let verify = take(keeper).unwrap();
        finish(keeper, verify, "done", "ok");
        let calls = [
            "pv_request_mail(ID, 'inbox', since => '2026-11-27')",
            "pv_request_attachment(ID, 'inbox', 'INBOX', 1, 2, '3')",
        ];
        for call in calls {
            say(app, &format!("auth.{} OPERATOR(pg_catalog.>) 0)", call.replace("ID", id)));
            let job = take(keeper).unwrap();
            deliver(
                keeper,
                job,
                r#"{"uidvalidity": 1, "uid": 2, "data": "QUJD", "last": true, "mails": [{"uid": 7, "raw": "QUJD", "to": ["b"],
                    "date": "2026-11-27T10:00:00-01:00", "truncated": true}]}"#,
            );
            say(
                app,
                &format!(
                    "seq, uid, raw, recipients, truncated, note, pg_catalog.date_part('epoch', date)) FROM auth.pv_read_mail({job})"
                ),
            );
            say(
                app,
                &format!("seq, uidvalidity, uid, data, last) FROM auth.pv_read_attachment({job})"),
            );
            say(app, &format!("auth.pv_ack_mail({job}, 1))"));
            finish(keeper, job, "done", "ok");
        }
        say(app, &format!("what) FROM auth.pv_requests({id})"));
    }
    // Requests come in the order of their numbers, which are random.
    seen.sort();
    seen
}

#[test]
fn objects_of_the_callers_change_nothing() {
    let kept = KeptSite::shared();
    let grant =
        format!("GRANT CREATE, TEMP ON DATABASE {} TO {}", kept.site.database, kept.depositor);
    kept.admin().batch_execute(&grant).unwrap();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let before = round(&mut app, &mut keeper);
    assert!(before.iter().any(|row| row.contains("2026-11-27")), "{before:?}");
    let forget = "SELECT auth.pv_forget_secret('42'::text, 'inbox'), auth.pv_forget_secret('4cbb5a06-9a0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'inbox')";
    app.batch_execute(forget).unwrap();
    app.batch_execute("CREATE SCHEMA theirs").unwrap();
    for schema in ["theirs", "pg_temp"] {
        app.batch_execute(&traps(schema)).unwrap();
    }
    app.batch_execute("SET search_path = theirs, pg_temp, auth, pg_catalog").unwrap();
    // The traps are set.
    for sql in [
        "SELECT 'a' ~ 'b'::pg_catalog.text",
        "SELECT '{}'::pg_catalog.jsonb -> 'a'::pg_catalog.text",
        "SELECT mail_time('x'::pg_catalog.text)",
    ] {
        assert_eq!(sqlstate(app.query(sql, &[])), "P0001", "{sql}");
    }
    assert_eq!(round(&mut app, &mut keeper), before);
    kept.assert_sound();
}

#[test]
fn nobody_else_may() {
    let kept = KeptSite::shared();
    let calls = [
        "pv_register_imap_account('42'::text, 'inbox', 'a.example', 993, 'l', 'x')",
        "pv_register_imap_account(42::bigint, 'inbox', 'a.example', 993, 'l', 'x')",
        "pv_request_mail('42'::text, 'inbox')",
        "pv_request_attachment(42::bigint, 'inbox', 'INBOX', 1, 1, '2')",
        "pv_read_mail(1)",
        "pv_read_attachment(1)",
        "pv_ack_mail(1, 1)",
    ];
    let verifier = kept.site.login();
    let all = kept.site.login_with(&["registrar", "manager", "auditor"]);
    for mut client in [verifier, all, kept.connector()] {
        for call in calls {
            assert_eq!(
                sqlstate(client.query(&format!("SELECT auth.{call}"), &[])),
                "42501",
                "{call}"
            );
        }
    }
    // Nor whoever has these functions without those that they call.
    let mut other = kept.site.login_with(&[]);
    let role = text(&mut other, "SELECT current_user::text");
    let grant =
        "SELECT format('GRANT EXECUTE ON FUNCTION %s TO ', p.oid::regprocedure) FROM pg_proc p
                  WHERE proname ~ '^(pv_register_imap|pv_request_|pv_read_|pv_ack_mail|mail_)'";
    let mut admin = kept.admin();
    for row in admin.query(grant, &[]).unwrap() {
        admin.batch_execute(&format!("{}{role}", row.get::<_, String>(0))).unwrap();
    }
    for call in calls {
        assert_eq!(sqlstate(other.query(&format!("SELECT auth.{call}"), &[])), "42501", "{call}");
    }
    let run_as_owner = "SELECT count(*) FROM pg_proc WHERE prosecdef AND proname ~ '^(pv_register_imap|pv_request_|pv_read_|pv_ack_mail|mail_)'";
    assert_eq!(number(&mut admin, run_as_owner), 0);
}
