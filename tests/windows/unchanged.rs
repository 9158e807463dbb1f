//! Statements that call nothing of ours are shown as they are, to the byte, wherever PostgreSQL shows them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use password_verify_tests::windows::log;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::seen::{Window, look_at_activity, look_at_statements};
use password_verify_tests::windows::wire::{Batch, Value};

/// They look as if they were about us, or about passwords.
const STATEMENTS: &[&str] = &[
    "SELECT 'pv_validate_password(' AS x, 42",
    "SELECT 1 /* pv_validate_password('x') */, 'secret'",
    "SELECT 1 -- auth.pv_validate_password('42', 'x')\n, 'secret'",
    "SELECT $$SELECT auth.pv_validate_password('42', 'x')$$, 'secret'",
    "INSERT INTO public.answers (login) VALUES ('secret-looking'), ('$2b$10$abcdefghijklmnopqrstuv')",
    "INSERT INTO public.answers (number, login) VALUES (2000, 'secret')",
    "SELECT 'secret'::bigint",
    "SELECT 1 / (length('secret') - 6)",
    "SELECT nonsense FROM public.answers WHERE login = 'secret'",
    "SELECT 'secret' nonsense here",
    "SELECT 'secret",
    "SELECT \"pv_validate_password\" FROM (SELECT 'secret' AS pv_validate_password) x WHERE 42 = 42",
    "SELECT x.pv_check_password FROM (VALUES ('secret')) x (pv_check_password)",
    "SELECT valid AS pv_validate_password, 'secret' FROM public.answers",
    "SELECT proname FROM pg_proc WHERE proname = 'pv_validate_password' AND 42 = 42",
    "SELECT 'auth.pv_validate_password(text, text, inet)'::regprocedure, 42",
    "SELECT has_function_privilege('auth.pv_validate_password(text, text, inet)', 'EXECUTE'), 42",
    "SELECT pv_validate, 'secret' FROM (SELECT 1) x (pv_validate)",
    "DO $do$ BEGIN PERFORM length('secret'); END $do$",
    "DO $do$ BEGIN EXECUTE format('SELECT length(%L)', 'secret'); END $do$",
    "PREPARE p AS SELECT $1::text, 'secret'; EXECUTE p('other secret')",
    "BEGIN; DECLARE c CURSOR FOR SELECT 'secret'; FETCH c; COMMIT",
    "COPY (SELECT 'secret') TO STDOUT",
    "EXPLAIN (ANALYZE, VERBOSE, TIMING off, COSTS off, BUFFERS off, SUMMARY off) SELECT 'secret'",
    "CREATE TEMP TABLE pv_validate_password AS SELECT 'secret' AS password",
    "SELECT * FROM pv_validate_password WHERE password = 'secret'",
    "CREATE ROLE somebody PASSWORD 'secret'",
    "SET application_name = 'secret'",
    "SELECT set_config('application_name', 'other secret', false)",
];

const BOUND: &[&str] = &[
    "SELECT $1 || 'pv_validate_password(''x'')', 42",
    "SELECT $1::text::bigint, 42",
    "SELECT 1 / (length($1) - 6), 42",
    "INSERT INTO public.answers (login, number) VALUES ($1, 2000)",
];

const BEGINNING: &str = "SELECT 'here it begins'";

/// Everything that is shown of them, without what differs from one run to the next.
fn shown(redact: bool) -> BTreeSet<(Window, String)> {
    let settings = [
        "auto_explain.log_analyze = off",
        "auto_explain.log_buffers = off",
        "log_parser_stats = off",
        "log_planner_stats = off",
        "log_executor_stats = off",
        "log_min_messages = warning",
    ];
    let settings = settings.iter().map(|it| (*it).to_owned()).collect();
    let room = Room::new(&Plan { redact, settings, ..Plan::default() });
    room.admin(|admin| admin.execute("SELECT public.pg_stat_statements_reset()", &[]).unwrap());
    room.session(&room.caller).simple(BEGINNING);
    for sql in STATEMENTS {
        let mut session = room.session(&room.caller);
        session.simple(sql);
        look_at_activity(&room, Window::After);
        let status = session.status;
        if status == b'I' {
            for sql in
                ["SELECT statement FROM pg_prepared_statements", "SELECT statement FROM pg_cursors"]
            {
                for row in session.simple(sql).rows {
                    room.seen.put(Window::Session, row);
                }
            }
        }
        for told in session.told {
            room.seen.put(Window::Client, told);
        }
    }
    for sql in BOUND {
        let mut session = room.session(&room.caller);
        session.extended(sql, &[Value::Text("secret")]);
        session
            .ask(&Batch::default().parse("s", sql).bind("", "s", &[Value::Text("secret")]).sync());
        look_at_activity(&room, Window::After);
    }
    look_at_statements(&room);
    room.site.cluster.down();
    let mut all: BTreeSet<(Window, String)> = room.seen.all().into_iter().collect();
    // What is before that was said when the database was made.
    let mut begun = BTreeSet::new();
    for field in log::read(&room.log_folder()) {
        if field.text.contains(BEGINNING) {
            begun.insert(field.file);
        }
        if begun.contains(field.file) {
            all.insert((field.window, format!("{}: {}", field.file, without_times(&field.text))));
        }
    }
    // Not what the workers of the extension and the superuser do meanwhile.
    all.retain(|(_, text)| text.contains("secret") || text.contains("42"));
    all
}

/// `duration: 0.123 ms`.
fn without_times(text: &str) -> String {
    match text.split_once(" ms") {
        Some((before, rest)) if before.starts_with("duration: ") => format!("duration:{rest}"),
        _ => text.to_owned(),
    }
}

#[test]
fn what_calls_nothing_of_ours_is_shown_as_it_is() {
    let (with, without) = (shown(true), shown(false));
    for window in [
        Window::Statement,
        Window::Duration,
        Window::Message,
        Window::Detail,
        Window::Context,
        Window::About,
        Window::Plan,
        Window::After,
        Window::Statements,
        Window::Client,
    ] {
        assert!(without.iter().any(|it| it.0 == window), "nothing is shown in {window:?}");
    }
    let text = "stderr: statement: SELECT 'pv_validate_password(' AS x, 42";
    assert!(with.contains(&(Window::Statement, text.into())));
    let lost: Vec<_> = without.difference(&with).collect();
    let new: Vec<_> = with.difference(&without).collect();
    assert!(lost.is_empty() && new.is_empty(), "instead of\n{lost:#?}\nthere is\n{new:#?}");
}
