//! Misuse: every error has its SQLSTATE, a fixed message, and nothing that the caller passed.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use password_verify_tests::calls::{VALIDATE, create, manage, validate};
use password_verify_tests::{ALL_BUT_AUDITOR, Answer, GOOD, Site, refused, sqlstate};

#[test]
fn null_is_an_error_never_silent() {
    let site = Site::new();
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    for (call, missing) in [
        ("pv_validate_password(NULL::T, 'x')", "user id"),
        ("pv_validate_password(ID, NULL)", "password"),
        ("pv_change_password(NULL::T, 'x', 'y')", "user id"),
        ("pv_change_password(ID, NULL, 'y')", "old password"),
        ("pv_change_password(ID, 'x', NULL)", "new password"),
        ("pv_check_password(NULL::T, 'x')", "user id"),
        ("pv_check_password(ID, NULL)", "password"),
        ("pv_create_password(NULL::T, 'x')", "user id"),
        ("pv_create_password(ID, NULL)", "password"),
        ("pv_set_password(NULL::T, 'x')", "user id"),
        ("pv_set_password(ID, NULL)", "password"),
        ("pv_set_password(ID, 'x', NULL)", "must_change"),
        ("pv_has_password(NULL::T)", "user id"),
        ("pv_disable_user(NULL::T)", "user id"),
        ("pv_enable_user(NULL::T)", "user id"),
        ("pv_require_change(NULL::T)", "user id"),
        ("pv_delete_user(NULL::T)", "user id"),
    ] {
        for (kind, id) in [
            ("bigint", "7::bigint"),
            ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
            ("text", "'seven'::text"),
        ] {
            let sql = format!("SELECT auth.{}", call.replace("::T", &format!("::{kind}")));
            let sql = sql.replace("ID", id);
            let (state, message, _) = refused(all.query(&sql, &[]));
            assert_eq!(state, "22004", "{sql}");
            assert_eq!(message, format!("{missing} must not be null"), "{sql}");
        }
    }
}

#[test]
fn a_null_address_and_a_null_expiry_mean_none() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    let sql = "SELECT * FROM auth.pv_validate_password('42', $1, NULL)";
    assert!(all.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
    let sql = "SELECT * FROM auth.pv_set_password('42', $1, false, NULL)";
    assert!(all.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
}

#[test]
fn user_ids_have_1_to_255_bytes() {
    let site = Site::new();
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    for function in ["pv_has_password", "pv_disable_user", "pv_delete_user"] {
        let sql = format!("SELECT auth.{function}($1::text)");
        let (state, message, _) = refused(all.query(&sql, &[&""]));
        assert_eq!((state.as_str(), message.as_str()), ("22023", "user id must not be empty"));
        for canary in ["canary".repeat(43).split_off(2), "é".repeat(128), "canary".repeat(100_000)]
        {
            let (state, message, hint) = refused(all.query(&sql, &[&canary]));
            assert_eq!((state.as_str(), message.as_str()), ("22023", "user id is too long"));
            assert_eq!(hint, "A user id has at most 255 bytes in UTF-8.");
        }
    }
    let longest = "x".repeat(255);
    assert_eq!(create(all, &longest, GOOD), Answer::yes());
    assert_eq!(validate(all, &longest, GOOD), Answer::yes());
    assert_eq!(validate(all, &longest[..254], GOOD), Answer::no("invalid_credentials"));
}

#[test]
fn unusual_user_ids_are_ids() {
    let site = Site::new();
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    let unusual =
        [" ", "'; DROP SCHEMA auth CASCADE; --", "\u{7f}\u{1}", "🐎", "null", "ＡＢＣ", "a\u{301}"];
    for id in unusual {
        assert_eq!(create(all, id, GOOD), Answer::yes(), "{id:?}");
        assert_eq!(validate(all, id, GOOD), Answer::yes(), "{id:?}");
    }
    for id in ["  ", "🐎 ", "NULL", "ABC", "á"] {
        assert_eq!(validate(all, id, GOOD), Answer::no("invalid_credentials"), "{id:?}");
    }
    for id in unusual {
        assert!(manage(all, "pv_delete_user", id), "{id:?}");
    }
}

/// Why README says to name the columns.
#[test]
fn an_answer_as_one_column_is_a_text_that_is_truthy() {
    let site = Site::new();
    let app = &mut site.login();
    let sql = "SELECT auth.pv_validate_password('42', 'wrong')";
    let messages = app.simple_query(sql).unwrap();
    let answer = messages.iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    assert_eq!(answer.unwrap(), "(f,invalid_credentials,)");
}

#[test]
fn postgresql_refuses_nul_in_text() {
    let site = Site::new();
    let app = &mut site.login();
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"a\0b", &GOOD])), "22021");
    assert_eq!(sqlstate(app.query(VALIDATE, &[&"42", &"a\0b"])), "22021");
}

#[test]
fn a_failed_call_does_not_break_the_session() {
    let site = Site::new();
    site.enroll("42", GOOD);
    let app = &mut site.login();
    for _ in 0..200 {
        let sql = "SELECT * FROM auth.pv_validate_password(''::text, 'x')";
        assert_eq!(sqlstate(app.query(sql, &[])), "22023");
    }
    assert_eq!(validate(app, "42", GOOD), Answer::yes());
    // Nor a savepoint around it.
    let mut outer = app.transaction().unwrap();
    let mut inner = outer.transaction().unwrap();
    let sql = "SELECT * FROM auth.pv_create_password(NULL::text, 'x')";
    assert_eq!(sqlstate(inner.query(sql, &[])), "22004");
    inner.rollback().unwrap();
    let sql = "SELECT * FROM auth.pv_validate_password('42', $1)";
    assert!(outer.query_one(sql, &[&GOOD]).unwrap().get::<_, bool>(0));
    outer.commit().unwrap();
}

#[test]
fn no_error_repeats_what_the_caller_passed() {
    let site = Site::new();
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    let canary = "canary-7d1f".repeat(30);
    let mut errors = Vec::new();
    for sql in [
        format!("SELECT auth.pv_validate_password('{canary}', '{canary}')"),
        format!("SELECT auth.pv_validate_password('', '{canary}')"),
        format!("SELECT auth.pv_change_password(NULL::text, '{canary}', '{canary}')"),
        format!("SELECT auth.pv_create_password('', '{canary}')"),
        format!("SELECT auth.pv_set_password('{canary}', '{canary}')"),
        format!("SELECT auth.pv_set_password('42', '{canary}', NULL)"),
    ] {
        let error = all.query(&sql, &[]).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert!(error.detail().is_none(), "{error:?}");
        errors.push(error.message().to_owned());
    }
    for message in errors {
        assert!(message.starts_with(|c: char| c.is_lowercase()), "{message}");
        assert!(!message.ends_with('.'), "{message}");
    }
    // Read-only transactions, too.
    let mut read_only = all.build_transaction().read_only(true).start().unwrap();
    let sql = format!("SELECT auth.pv_set_password('42', '{canary}')");
    let error = read_only.query(&sql, &[]).unwrap_err();
    assert!(!format!("{:?}", error.as_db_error().unwrap()).contains("canary"));
}

#[test]
fn the_server_log_has_the_error_without_the_statement() {
    let site = Site::new();
    // Whatever the server is set to: other libraries may log every statement.
    site.configure(&["redact = on"]);
    let all = &mut site.login_with(&ALL_BUT_AUDITOR);
    let canary = format!("canary of {}", site.app);
    for call in [
        format!("pv_set_password('42', '{canary}', NULL)"),
        format!("pv_validate_password(''::text, '{canary}')"),
        format!("pv_change_password(NULL::text, '{canary}', '{canary}')"),
        format!("pv_create_password(''::text, '{canary}') FROM generate_series(1, 1)"),
    ] {
        let inside = format!("DO $$ BEGIN PERFORM auth.{call}; END $$");
        assert_ne!(sqlstate(all.batch_execute(&inside)), "no error");
        assert_ne!(sqlstate(all.batch_execute(&format!("SELECT auth.{call}"))), "no error");
    }
    all.batch_execute("SET log_parameter_max_length_on_error = -1").unwrap();
    let sql = "SELECT auth.pv_validate_password(''::text, $1)";
    assert_ne!(sqlstate(all.query(sql, &[&canary])), "no error");
    let log = site.cluster.log();
    assert!(log.contains("must_change must not be null"), "errors are logged");
    assert!(!log.contains(&canary), "{log}");
    // Other people's errors are logged as ever.
    let marker = format!("marker of {}", site.app);
    assert_eq!(sqlstate(all.batch_execute(&format!("SELECT 1 / 0, '{marker}'"))), "22012");
    assert!(site.cluster.log().contains(&marker));
}

#[test]
fn the_fast_path_protocol_is_refused() {
    // A FunctionCall message names a function by oid and says nothing of argument types.
    let site = Site::new();
    let sql = "SELECT 'auth.pv_has_password(bigint)'::regprocedure::oid";
    let oid: u32 = site.admin().query_one(sql, &[]).unwrap().get(0);
    site.admin()
        .batch_execute(&format!("SELECT auth.pv_grant('{}', 'registrar')", site.app))
        .unwrap();

    let mut socket = UnixStream::connect(site.cluster.folder().join(".s.PGSQL.5432")).unwrap();
    let mut start = vec![0, 3, 0, 0];
    for word in ["user", &site.app, "database", &site.database, ""] {
        start.extend(word.as_bytes());
        start.push(0);
    }
    socket.write_all(&(start.len() as u32 + 4).to_be_bytes()).unwrap();
    socket.write_all(&start).unwrap();
    until_ready(&mut socket);

    let mut call = oid.to_be_bytes().to_vec();
    call.extend([0, 1, 0, 1]); // one format for all arguments: binary
    call.extend([0, 1]); // one argument
    call.extend(8u32.to_be_bytes());
    call.extend(7i64.to_be_bytes());
    call.extend([0, 1]); // binary result
    socket.write_all(b"F").unwrap();
    socket.write_all(&(call.len() as u32 + 4).to_be_bytes()).unwrap();
    socket.write_all(&call).unwrap();
    let answer = until_ready(&mut socket);
    assert!(answer.contains("0A000"), "{answer}");
    assert!(answer.contains("function cannot be called without argument types"), "{answer}");
}

/// Everything the server says until it is ready for the next query.
fn until_ready(socket: &mut UnixStream) -> String {
    let mut said = String::new();
    loop {
        let mut header = [0; 5];
        socket.read_exact(&mut header).unwrap();
        let length = u32::from_be_bytes(header[1..].try_into().unwrap()) as usize;
        let mut body = vec![0; length - 4];
        socket.read_exact(&mut body).unwrap();
        said.push_str(&String::from_utf8_lossy(&body));
        if header[0] == b'Z' {
            return said;
        }
    }
}
