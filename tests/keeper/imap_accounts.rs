//! Mailboxes as an application registers them, and what it asks of them: the words in which the keeper is asked.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{
    KeptSite, Taken, VAULT, create_vault, finish, open, requests, secrets, take, try_take, unlock,
};
use password_verify_tests::{Answer, refused, sqlstate};
use postgres::types::ToSql;
use postgres::{Client, GenericClient};
use uuid::Uuid;

const REGISTER: &str = "SELECT success, reason, request FROM auth.pv_register_imap_account";

/// An account of user 42, with these arguments after the login, and the number of what is asked for.
fn register(app: &mut impl GenericClient, name: &str, more: &str) -> (Answer, Option<i64>) {
    let sql = format!("{REGISTER}('42'::text, $1, 'Mail.Example.org', 993, 'alice', {more})");
    let row = app.query_one(&sql, &[&name]).unwrap();
    (Answer(row.get(0), row.get(1)), row.get(2))
}

/// The job that is taken next, which is over at once: its number, destination and what it asks for.
fn asked(keeper: &mut Client) -> (i64, String, String) {
    let Taken { job, destination, what, .. } = try_take(keeper, "1 hour").unwrap().unwrap();
    finish(keeper, job, "failed", "internal");
    (job, destination, what)
}

#[test]
fn an_account_is_kept_and_tried_once() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for (outcome, detail, state, left) in [
        ("done", "ok", "inbox verified", "inbox ended done ok"),
        (
            "rejected",
            "credential_refused",
            "inbox rejected credential_refused",
            "inbox blocked rejected credential_refused",
        ),
    ] {
        let (answer, request) = register(&mut app, "inbox", "'hunter2'");
        assert_eq!((answer, secrets(&mut app, "42")), (Answer::yes(), vec!["inbox new".into()]));
        let job = try_take(&mut keeper, "1 hour").unwrap().unwrap();
        assert_eq!((Some(job.job), &*job.what), (request, r#"{"imap": "verify"}"#));
        assert_eq!(open(&mut keeper, job.job), Ok("hunter2".into()));
        finish(&mut keeper, job.job, outcome, detail);
        assert_eq!(secrets(&mut app, "42"), [state]);
        let states = requests(&mut app, "42");
        assert!(states.contains(&(job.job, left.into(), 0)), "{states:?}");
    }
    // Registered anew, with another password: what was blocked is due again, too.
    let (_, request) = register(&mut app, "inbox", "'hunter3'");
    let due = [take(&mut keeper), requests(&mut app, "42").iter().map(|it| it.0).max()];
    assert!(due[0].is_some() && request.is_some());
    assert_eq!(open(&mut keeper, due[0].unwrap()), Ok("hunter3".into()));
    // Together or not at all.
    let mut open = app.transaction().unwrap();
    register(&mut open, "other", "'x'");
    open.rollback().unwrap();
    assert_eq!(secrets(&mut app, "42"), ["inbox new"]);
    kept.assert_sound();
}

#[test]
fn every_type_of_id_and_every_argument() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    // What a session writes by itself is no matter.
    app.batch_execute("SET DateStyle = German; SET TimeZone = 'Asia/Kathmandu'").unwrap();
    let id = Uuid::from_u128(7);
    for (kind, user) in
        [("bigint", &42i64 as &(dyn ToSql + Sync)), ("uuid", &id), ("text", &"alice@example.org")]
    {
        let mut call = |call: &str| -> i64 {
            let sql =
                format!("SELECT request FROM auth.{}", call.replace('@', &format!("$1::{kind}")));
            app.query_one(&sql, &[user]).unwrap().get(0)
        };
        let verify = r#"{"imap": "verify"}"#.to_owned();
        let job = call("pv_register_imap_account(@, 'plain', 'a.example', 993, 'al', 'x')");
        let to = r#"{"host": "a.example", "port": 993, "login": "al", "protocol": "imaps", "mechanism": "PLAIN"}"#;
        assert_eq!(asked(&mut keeper), (job, to.into(), verify.clone()), "{kind}");
        let job = call(
            "pv_register_imap_account(@, 'oauth', 'a.example', 143, 'al', 'x', 'XOAUTH2', 'imap', NULL,
                'https://id.example/token', '{mail,offline}', NULL, '10.0.0.1', NULL)",
        );
        let to = r#"{"host": "a.example", "port": 143, "login": "al", "scopes": ["mail", "offline"], "protocol": "imap", "mechanism": "XOAUTH2", "token_endpoint": "https://id.example/token"}"#;
        assert_eq!(asked(&mut keeper), (job, to.into(), verify), "{kind}");
        let job = call(
            "pv_register_imap_account(@, 'oauth', 'a.example', 993, 'al', 'x', 'OAUTHBEARER',
                token_endpoint => 'https://id.example/token')",
        );
        let (asked_for, to, _) = asked(&mut keeper);
        assert!(asked_for == job && to.contains(r#""scopes": []"#), "{to}");
        let job = call("pv_request_mail(@, 'plain') request");
        let what = r#"{"imap": "fetch", "parts": "text", "mailbox": "INBOX"}"#;
        assert_eq!(asked(&mut keeper).2, what, "{kind} {job}");
        let job = call(
            "pv_request_mail(@, 'plain', 'Entw\u{fc}rfe', '27.11.2026', 'headers', 1000, 20,
                '1 hour', now() + interval '1 day', NULL) request",
        );
        let what = "{\"imap\": \"fetch\", \"parts\": \"headers\", \"since\": \"2026-11-27\", \"mailbox\": \"Entw\u{fc}rfe\", \"max_bytes\": 1000, \"max_mails\": 20}";
        assert_eq!(
            (asked(&mut keeper).0, asked_of(&mut kept.depositor(), job)),
            (job, what.into()),
            "{kind}"
        );
        let job = call("pv_request_attachment(@, 'plain', 'INBOX', 4294967295, 7, '2.1') request");
        let what = r#"{"uid": 7, "imap": "attachment", "part": "2.1", "mailbox": "INBOX", "uidvalidity": 4294967295}"#;
        assert_eq!((asked(&mut keeper).2, job > 0), (what.into(), true), "{kind}");
    }
    // One user, whatever the type.
    let all = "SELECT count(*) FROM auth.pv_secrets('42'::text) a, auth.pv_secrets($1::text) b";
    let found: i64 = app.query_one(all, &[&id.to_string()]).unwrap().get(0);
    assert_eq!(found, 4);
    kept.assert_sound();
}

/// What a request asks for, and that it is repeated.
fn asked_of(app: &mut Client, job: i64) -> String {
    let sql = "SELECT what::text FROM unnest(ARRAY['42', 'alice@example.org', '00000000-0000-0000-0000-000000000007']) u,
                      auth.pv_requests(u) WHERE request = $1 AND every = '1 hour' AND until > now()";
    app.query_one(sql, &[&job]).unwrap().get(0)
}

#[test]
fn what_is_wrong_with_it_is_said_and_nothing_is_kept() {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    for arguments in [
        "NULL, 993, 'alice', 'canary'",
        "'mail.example.org', NULL, 'alice', 'canary'",
        "'mail.example.org', 993, NULL, 'canary'",
        "'mail.example.org', 993, 'alice', 'canary', NULL",
        "'mail.example.org', 993, 'alice', 'canary', protocol => NULL",
        "'10.0.0.1', 993, 'alice', 'canary'",
        "'mail.example.org', 0, 'alice', 'canary'",
        "'mail.example.org', 993, 'alice', 'canary', 'BASIC'",
        "'mail.example.org', 993, 'alice', 'canary', ca => 'canary'",
        "'mail.example.org', 993, 'alice', 'canary', token_endpoint => 'https://canary.example/'",
        "'mail.example.org', 993, 'alice', 'canary', 'XOAUTH2', scopes => '{NULL}', token_endpoint => 'https://id.example/t'",
    ] {
        let sql = format!("{REGISTER}('42'::text, 'inbox', {arguments})");
        let (state, message, hint) = refused(app.query(&sql, &[]));
        assert_eq!(state, "22023", "{arguments}");
        assert!(message.starts_with("the destination is refused: "), "{message}");
        assert!(!message.contains("canary") && !hint.contains("canary"), "{message}: {hint}");
    }
    assert!(secrets(&mut app, "42").is_empty() && requests(&mut app, "42").is_empty());
    for call in [
        "pv_request_mail('42'::text, 'inbox')",
        "pv_request_attachment('42'::text, 'inbox', 'INBOX', 1, 1, '1')",
    ] {
        assert_eq!(sqlstate(app.query(&format!("SELECT auth.{call}"), &[])), "42704");
    }
}

#[test]
fn one_in_a_vault_is_tried_if_the_vault_is_unlocked() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    let wrong = register(&mut app, "inbox", "'x', vault_password => 'not that one at all'");
    assert_eq!(wrong, (Answer::wrong(), None));
    let locked = register(&mut app, "inbox", &format!("'x', vault_password => '{VAULT}'"));
    assert_eq!(locked, (Answer::yes(), None));
    assert_eq!(
        (take(&mut keeper), secrets(&mut app, "42")),
        (None, vec!["inbox vault new".into()])
    );
    let handle = unlock(&mut app, "42");
    let both = format!("'y', vault_password => '{VAULT}', vault_handle => '{handle}'");
    let (answer, request) = register(&mut app, "inbox", &both);
    assert_eq!((answer, take(&mut keeper)), (Answer::yes(), request));
    assert_eq!(open(&mut keeper, request.unwrap()), Ok("y".into()));
    finish(&mut keeper, request.unwrap(), "done", "ok");
    for call in ["pv_request_mail", "pv_request_attachment"] {
        let more = if call == "pv_request_mail" { "" } else { ", 'INBOX', 1, 1, '2'" };
        let sql = format!("SELECT auth.{call}('42'::text, 'inbox'{more}, vault_handle => $1)");
        let job: i64 = app.query_one(&sql, &[&handle]).unwrap().get(0);
        assert_eq!((take(&mut keeper), open(&mut keeper, job)), (Some(job), Ok("y".into())));
        finish(&mut keeper, job, "done", "ok");
        let sql = format!("SELECT auth.{call}('42'::text, 'inbox'{more})");
        assert_eq!(sqlstate(app.query(&sql, &[])), "55000", "{call}");
    }
    // One that is in none needs no handle, and has no use for a wrong one.
    let sql = format!(
        "{REGISTER}('42'::text, 'other', 'a.example', 993, 'l', 'x', vault_handle => 'pvh_x')"
    );
    assert_eq!(sqlstate(app.query(&sql, &[])), "55000");
    kept.assert_sound();
}

/// Not by an error inside of it either, which says in which function it came up.
#[test]
fn the_log_has_no_password() {
    let kept = KeptSite::with(&[
        "log_error_verbosity = verbose",
        "log_min_messages = debug2",
        "log_min_error_statement = panic",
        "log_parameter_max_length_on_error = 0",
    ]);
    let mut app = kept.depositor();
    let canary = "canary 5f3a of a mailbox";
    let long = canary.repeat(400);
    for (name, host, password) in [
        ("inbox", "no host", canary),
        ("", "mail.example.org", canary),
        ("inbox", "mail.example.org", &long),
        ("inbox", canary, "x"),
    ] {
        let bound = format!("{REGISTER}('42'::text, $1, $2, 993, 'alice', $3)");
        let literal =
            format!("{REGISTER}(42::bigint, '{name}', '{host}', 993, 'alice', '{password}')");
        let bound = app.query(&bound, &[&name, &host, &password]).map(drop);
        for result in [bound, app.batch_execute(&literal)] {
            let error = result.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "22023");
            assert!(!format!("{error:?}").contains("5f3a"), "{error:?}");
            let context = error.where_().unwrap_or_default();
            assert!(
                context.contains("SQL function \"pv_register_imap_account\" statement 1"),
                "{context}"
            );
        }
    }
    // One that is PostgreSQL's, in the middle of the call, logs where it came up.
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    let (mut admin, sql) = (kept.admin(), format!("{REGISTER}('42'::text, $1, $2, 993, 'a', $3)"));
    let mut held = admin.transaction().unwrap();
    held.batch_execute("SELECT FROM password_verify.vault FOR UPDATE").unwrap();
    app.batch_execute("SET statement_timeout = 200").unwrap();
    let cut_off = app.query(&sql, &[&"inbox", &"mail.example.org", &canary]);
    assert_eq!(sqlstate(cut_off), "57014");
    held.rollback().unwrap();
    let log = kept.site.cluster.log();
    assert_eq!(log.matches("the destination is refused: ").count(), 4, "the log is read");
    let context = "CONTEXT:  SQL function \"pv_register_imap_account\" statement 1\n";
    // Of eight errors of our own, of which four refuse the destination, and of that one.
    assert_eq!(log.matches(context).count(), 9, "the log is read");
    let told: Vec<&str> = log.lines().filter(|line| line.contains("5f3a")).collect();
    assert_eq!(told, [""; 0]);
}
