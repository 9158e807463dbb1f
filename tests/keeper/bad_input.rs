//! Misuse of the keeper's functions: each has its SQLSTATE, a fixed message, and nothing that the caller passed.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::{
    DESTINATION, KeptSite, VAULT, VAULT2, create_vault, delete_vault, finish, forget, lock_vault,
    open, request, secrets, store, store_in_vault, take, try_request, try_store, try_take,
    try_unlock, unlock,
};
use password_verify_tests::{Answer, GOOD, Site, refused, sqlstate};
use postgres::Client;

const IDS: [(&str, &str); 3] = [
    ("bigint", "7::bigint"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
    ("text", "'seven'::text"),
];

/// A refusal that says nothing of what was passed: its SQLSTATE and message.
fn says(client: &mut Client, call: &str) -> (String, String) {
    let (state, message, hint) = refused(client.query(&format!("SELECT * FROM auth.{call}"), &[]));
    assert!(!message.contains("canary") && !hint.contains("canary"), "{message}: {hint}");
    (state, message)
}

#[test]
fn null_is_an_error_never_silent() {
    let kept = KeptSite::shared();
    let of_user = [
        (format!("pv_store_secret(NULL::T, 'n', 's', '{DESTINATION}')"), "user id"),
        (format!("pv_store_secret(ID, NULL, 's', '{DESTINATION}')"), "name"),
        (format!("pv_store_secret(ID, 'n', NULL, '{DESTINATION}')"), "secret"),
        ("pv_store_secret(ID, 'n', 's', NULL)".into(), "destination"),
        ("pv_forget_secret(NULL::T, 'n')".into(), "user id"),
        ("pv_forget_secret(ID, NULL)".into(), "name"),
        ("pv_secrets(NULL::T)".into(), "user id"),
        ("pv_request(NULL::T, 'n', '{}')".into(), "user id"),
        ("pv_request(ID, NULL, '{}')".into(), "name"),
        ("pv_request(ID, 'n', NULL)".into(), "what"),
        ("pv_requests(NULL::T)".into(), "user id"),
        ("pv_create_vault(NULL::T, 'x')".into(), "user id"),
        ("pv_create_vault(ID, NULL)".into(), "vault password"),
        ("pv_change_vault_password(NULL::T, 'x', 'y')".into(), "user id"),
        ("pv_change_vault_password(ID, NULL, 'y')".into(), "old password"),
        ("pv_change_vault_password(ID, 'x', NULL)".into(), "new password"),
        ("pv_delete_vault(NULL::T)".into(), "user id"),
        ("pv_unlock_vault(NULL::T, 'x')".into(), "user id"),
        ("pv_unlock_vault(ID, NULL)".into(), "vault password"),
        ("pv_unlock_vault(ID, 'x', NULL)".into(), "duration"),
        ("pv_register_imap_account(NULL::T, 'n', 'h.example', 993, 'l', 'p')".into(), "user id"),
        ("pv_register_imap_account(ID, NULL, 'h.example', 993, 'l', 'p')".into(), "name"),
        ("pv_register_imap_account(ID, 'n', 'h.example', 993, 'l', NULL)".into(), "secret"),
        ("pv_request_mail(NULL::T, 'n')".into(), "user id"),
        ("pv_request_mail(ID, NULL)".into(), "name"),
        ("pv_request_mail(ID, 'n', NULL)".into(), "what"),
        ("pv_request_mail(ID, 'n', parts => NULL)".into(), "what"),
        ("pv_request_attachment(NULL::T, 'n', 'INBOX', 1, 1, '2')".into(), "user id"),
        ("pv_request_attachment(ID, NULL, 'INBOX', 1, 1, '2')".into(), "name"),
        ("pv_request_attachment(ID, 'n', NULL, 1, 1, '2')".into(), "what"),
        ("pv_request_attachment(ID, 'n', 'INBOX', NULL, 1, '2')".into(), "what"),
        ("pv_request_attachment(ID, 'n', 'INBOX', 1, NULL, '2')".into(), "what"),
        ("pv_request_attachment(ID, 'n', 'INBOX', 1, 1, NULL)".into(), "what"),
    ];
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for (call, missing) in &of_user {
        for (kind, id) in IDS {
            let call = call.replace("::T", &format!("::{kind}")).replace("ID", id);
            let expected = ("22004".to_owned(), format!("{missing} must not be null"));
            assert_eq!(says(&mut app, &call), expected, "{call}");
        }
    }
    for (client, call, missing) in [
        (&mut app, "pv_cancel_request(NULL)", "request"),
        (&mut kept.depositor(), "pv_results(NULL)", "request"),
        (&mut kept.depositor(), "pv_results(1, NULL)", "after"),
        (&mut kept.depositor(), "pv_ack_results(NULL, 1)", "request"),
        (&mut kept.depositor(), "pv_ack_results(1, NULL)", "up_to"),
        (&mut kept.depositor(), "pv_read_mail(NULL)", "request"),
        (&mut kept.depositor(), "pv_read_mail(1, NULL)", "after"),
        (&mut kept.depositor(), "pv_read_attachment(NULL)", "request"),
        (&mut kept.depositor(), "pv_read_attachment(1, NULL)", "after"),
        (&mut kept.depositor(), "pv_ack_mail(NULL, 1)", "request"),
        (&mut kept.depositor(), "pv_ack_mail(1, NULL)", "up_to"),
        (&mut kept.depositor(), "pv_lock_vault(NULL)", "handle"),
        (&mut keeper, "pv_take_job(NULL)", "lease"),
        (&mut kept.connector(), "pv_open_secret(NULL)", "job"),
        (&mut kept.connector(), "pv_store_rotated(NULL, 'x')", "job"),
        (&mut kept.connector(), "pv_store_rotated(1, NULL)", "secret"),
        (&mut kept.connector(), "pv_deliver(NULL, '{}')", "job"),
        (&mut kept.connector(), "pv_deliver(1, NULL)", "result"),
        (&mut kept.connector(), "pv_finish_job(NULL, 'done')", "job"),
        (&mut kept.connector(), "pv_finish_job(1, NULL)", "outcome"),
        (&mut kept.connector(), "pv_finish_job(1, 'done', NULL)", "detail"),
    ] {
        let expected = ("22004".to_owned(), format!("{missing} must not be null"));
        assert_eq!(says(client, call), expected, "{call}");
    }
    // Where NULL says "none".
    let all = "SELECT success FROM auth.pv_store_secret('42'::text, 'n', 's', $1::text::jsonb, NULL, NULL)";
    assert!(kept.depositor().query_one(all, &[&DESTINATION]).unwrap().get::<_, bool>(0));
    let all = "SELECT auth.pv_request('42'::text, 'n', '{}', NULL, NULL, NULL) > 0";
    assert!(kept.depositor().query_one(all, &[]).unwrap().get::<_, bool>(0));
}

#[test]
fn every_text_has_its_bounds() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    let canary = "canary".repeat(2000);
    // In bytes of UTF-8, whatever they are.
    for name in ["n", &canary[..128], &"é".repeat(64), " ", "'; --", "\u{7f}\n"] {
        store(&mut app, "42", name, "x");
        assert!(forget(&mut app, "42", name), "{name:?}");
    }
    for name in ["", &canary[..129], &"é".repeat(65), &canary] {
        let stored = try_store(&mut app, "42", name, "x", None);
        let (state, message, _) = refused(stored);
        assert_eq!(
            (&*state, &*message),
            ("22023", "name is out of bounds"),
            "{} bytes",
            name.len()
        );
        assert_eq!(sqlstate(try_request(&mut app, "42", name, None)), "22023");
        assert_eq!(
            sqlstate(app.query("SELECT auth.pv_forget_secret('42'::text, $1)", &[&name])),
            "22023"
        );
    }
    for secret in ["x", &canary[..8192], &"é".repeat(4096), " ", "\n"] {
        store(&mut app, "42", "imap", secret);
        let job = request(&mut app, "42", "imap");
        assert_eq!(take(&mut keeper), Some(job));
        assert!(open(&mut keeper, job) == Ok(secret.to_owned()), "{} bytes", secret.len());
        // What comes back in its place has the same bounds.
        for rotated in ["", &canary[..8193]] {
            let sql = "SELECT auth.pv_store_rotated($1, $2)";
            let (state, message, _) = refused(keeper.query(sql, &[&job, &rotated]));
            assert_eq!((&*state, &*message), ("22023", "secret is out of bounds"));
        }
        finish(&mut keeper, job, "done", "ok");
    }
    for secret in ["", &canary[..8193], &"é".repeat(4097), &canary.repeat(1000)] {
        let (state, message, hint) = refused(try_store(&mut app, "42", "imap", secret, None));
        assert_eq!((&*state, &*message), ("22023", "secret is out of bounds"));
        assert!(!hint.contains("canary"));
    }
    for user in ["", &"é".repeat(128)] {
        assert_eq!(sqlstate(try_store(&mut app, user, "imap", "x", None)), "22023");
        assert_eq!(sqlstate(app.query("SELECT auth.pv_secrets($1::text)", &[&user])), "22023");
    }
    assert_eq!(sqlstate(try_store(&mut app, "42", "im\0ap", "x", None)), "22021");
    // As JSON text: two bytes are its quotes.
    let ask = "SELECT auth.pv_request('42'::text, 'imap', to_jsonb($1::text))";
    let job: i64 = app.query_one(ask, &[&&canary[..2046]]).unwrap().get(0);
    let (state, message, _) = refused(app.query(ask, &[&&canary[..2047]]));
    assert_eq!((&*state, &*message), ("22023", "what is out of bounds"));
    assert_eq!(sqlstate(app.query(ask, &[&canary.repeat(1000)])), "22023");
    assert_eq!(take(&mut keeper), Some(job));
    let deliver = "SELECT auth.pv_deliver($1, to_jsonb($2::text))";
    let mebibyte = "x".repeat((1 << 20) - 2);
    keeper.query(deliver, &[&job, &mebibyte]).unwrap();
    for longer in [1, 1 << 20] {
        let (state, message, _) =
            refused(keeper.query(deliver, &[&job, &(mebibyte.clone() + &"x".repeat(longer))]));
        assert_eq!((&*state, &*message), ("22023", "result is out of bounds"));
    }
    let note = "SELECT auth.pv_deliver($1, '{}', NULL, to_jsonb($2::text))";
    keeper.query(note, &[&job, &&canary[..2046]]).unwrap();
    for longer in [&canary[..2047], &canary.repeat(1000)] {
        let (state, message, hint) = refused(keeper.query(note, &[&job, &longer]));
        assert_eq!((&*state, &*message), ("22023", "progress is out of bounds"));
        assert_eq!(hint, "It has 2048 bytes at most.");
    }
    let sql = "SELECT length(result #>> '{}') FROM auth.pv_results($1) WHERE seq = 1";
    assert_eq!(app.query_one(sql, &[&job]).unwrap().get::<_, i32>(0), (1 << 20) - 2);
    kept.assert_sound();
}

#[test]
fn every_time_has_its_bounds() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "42", "imap", "x");
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    for lease in
        ["0", "-1 second", "999999 us", "1 hour 1 us", "1 day", "1 month", "178000000 years"]
    {
        let (state, message, _) = refused(try_take(&mut keeper, lease));
        assert_eq!((&*state, &*message), ("22023", "lease is out of bounds"), "{lease}");
    }
    for lease in ["1 second", "1 hour"] {
        assert_eq!(try_take(&mut keeper, lease).unwrap(), None);
    }
    // One hour is the default of vault_unlock_max.
    for duration in ["0", "-1 second", "999999 us", "1 hour 1 us", "1 month"] {
        let (state, message, _) = refused(try_unlock(&mut app, "42", VAULT, duration));
        assert_eq!((&*state, &*message), ("22023", "duration is out of bounds"), "{duration}");
    }
    for duration in ["1 second", "1 hour"] {
        assert!(try_unlock(&mut app, "42", VAULT, duration).unwrap().is_ok());
    }
    for (every, until) in [
        ("'1 minute'", "NULL"),
        ("NULL", "now() + interval '1 day'"),
        ("'59 seconds'", "now() + interval '1 day'"),
        ("'-1 minute'", "now() + interval '1 day'"),
        ("'31 days 1 us'", "now() + interval '100 days'"),
        ("'1 hour'", "now() - interval '1 us'"),
        ("'1 hour'", "now() + interval '401 days'"),
        ("'1 hour'", "'infinity'"),
        ("'1 hour'", "'-infinity'"),
        ("'178000000 years'", "now() + interval '1 day'"),
    ] {
        let call = format!("pv_request('42'::text, 'imap', '{{}}', {every}, {until})");
        let (state, message) = says(&mut app, &call);
        assert_eq!(state, "22023", "{call}");
        assert!(message.starts_with("the request cannot be repeated like that: "), "{message}");
    }
    for (every, until) in [
        ("'1 minute'", "now() + interval '1 minute'"),
        ("'31 days'", "now() + interval '400 days'"),
    ] {
        let sql =
            format!("SELECT auth.pv_request('42'::text, 'imap', '{{}}', {every}, {until}) > 0");
        assert!(app.query_one(&sql, &[]).unwrap().get::<_, bool>(0));
    }
    let job = take(&mut keeper).unwrap();
    for (outcome, detail) in [
        ("Done", "ok"),
        ("", "ok"),
        ("canary", "ok"),
        ("done", ""),
        ("done", "canary: mailbox of 42"),
        ("failed", "OK"),
    ] {
        let (state, message) =
            says(&mut keeper, &format!("pv_finish_job({job}, '{outcome}', '{detail}')"));
        assert_eq!(state, "22023", "{outcome} {detail}");
        assert!(message.ends_with(" is out of bounds"), "{message}");
    }
    finish(&mut keeper, job, "done", "ok");
}

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    let kept = KeptSite::shared();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    assert_eq!(sqlstate(try_request(&mut app, "nobody", "imap", None)), "42704");
    assert!(!forget(&mut app, "nobody", "imap") && !delete_vault(&mut app, "nobody"));
    for job in [0, -1, 1, i64::MAX, i64::MIN] {
        for call in ["pv_cancel_request(JOB)", "pv_ack_results(JOB, 1)"] {
            let sql = format!("SELECT auth.{}", call.replace("JOB", "$1"));
            assert!(!app.query_one(&sql, &[&job]).unwrap().get::<_, bool>(0), "{call} {job}");
        }
        assert!(app.query("SELECT auth.pv_results($1)", &[&job]).unwrap().is_empty());
        assert_eq!(open(&mut keeper, job), Err("not_leased".into()));
        for call in
            ["pv_deliver($1, '{}')", "pv_store_rotated($1, 'x')", "pv_finish_job($1, 'done')"]
        {
            assert_eq!(
                sqlstate(keeper.query(&format!("SELECT auth.{call}"), &[&job])),
                "42704",
                "{call}"
            );
        }
    }
    assert_eq!(create_vault(&mut app, "42", VAULT), Answer::yes());
    store_in_vault(&mut app, "42", "imap", "x");
    for handle in
        ["", "x", "pvh_", "pvh_canary", &format!("pvh_{}", "A".repeat(43)), &"A".repeat(100_000)]
    {
        assert!(!lock_vault(&mut app, handle));
        assert_eq!(sqlstate(try_request(&mut app, "42", "imap", Some(handle))), "55000");
    }
    // A vault password of somebody else.
    for (user, password) in [("a", VAULT), ("b", VAULT2)] {
        assert_eq!(create_vault(&mut app, user, password), Answer::yes());
    }
    assert_eq!(
        try_unlock(&mut app, "a", VAULT2, "1 minute").unwrap(),
        Err("invalid_credentials".into())
    );
    assert_eq!(
        try_store(&mut app, "b", "imap", "x", Some(VAULT)).unwrap(),
        Answer::no("invalid_credentials")
    );
    assert_eq!(
        try_store(&mut app, "nobody", "imap", "x", Some(VAULT)).unwrap(),
        Answer::no("invalid_credentials")
    );
    assert!(secrets(&mut app, "b").is_empty() && secrets(&mut app, "nobody").is_empty());
    unlock(&mut app, "a");
    kept.assert_sound();
}

#[test]
fn without_a_keyring_nothing_is_kept() {
    let site = Site::new();
    let (mut app, mut keeper) = (site.login_with(&["depositor"]), site.login_with(&["connector"]));
    for call in [
        format!("pv_store_secret('42'::text, 'n', 's', '{DESTINATION}')"),
        format!("pv_store_secret('42'::text, 'n', 's', '{DESTINATION}', '{VAULT}')"),
        "pv_forget_secret('42'::text, 'n')".into(),
        "pv_secrets('42'::text)".into(),
        "pv_request('42'::text, 'n', '{}')".into(),
        "pv_requests('42'::text)".into(),
        "pv_cancel_request(1)".into(),
        "pv_results(1)".into(),
        "pv_ack_results(1, 1)".into(),
        "pv_register_imap_account('42'::text, 'n', 'h.example', 993, 'l', 'p')".into(),
        "pv_request_mail('42'::text, 'n')".into(),
        "pv_request_attachment('42'::text, 'n', 'INBOX', 1, 1, '2')".into(),
        "pv_read_mail(1)".into(),
        "pv_read_attachment(1)".into(),
        "pv_ack_mail(1, 1)".into(),
        format!("pv_create_vault('42'::text, '{VAULT}')"),
        format!("pv_change_vault_password('42'::text, '{VAULT}', '{VAULT2}')"),
        "pv_delete_vault('42'::text)".into(),
        format!("pv_unlock_vault('42'::text, '{VAULT}')"),
    ] {
        assert_eq!(says(&mut app, &call), ("55000".into(), "there is no keyring".into()), "{call}");
    }
    for call in [
        "pv_take_job()",
        "pv_open_secret(1)",
        "pv_store_rotated(1, 'x')",
        "pv_deliver(1, '{}')",
        "pv_finish_job(1, 'done')",
    ] {
        assert_eq!(
            says(&mut keeper, call),
            ("55000".into(), "there is no keyring".into()),
            "{call}"
        );
    }
    // And passwords are what they were.
    site.enroll("42", GOOD);
}
