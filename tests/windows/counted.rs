//! `pv_stats` counts the redacted statements of each login: one for each command of the client's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use password_verify_tests::Site;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::wire::{Batch, Value, Wire};

const BOUND: &str = "SELECT * FROM auth.pv_check_password($1::text, $2)";
const VALUES: [Value<'_>; 2] = [Value::Text("42"), Value::Text("secret")];

/// What is counted in a database, by login.
fn counts(site: &Site) -> BTreeMap<String, i64> {
    let sql = "SELECT statistic, value FROM auth.pv_stats WHERE statistic LIKE 'redacted_statements_of_%'";
    let rows = site.admin().query(sql, &[]).unwrap();
    rows.iter()
        .map(|row| (row.get::<_, String>(0).replace("redacted_statements_of_", ""), row.get(1)))
        .collect()
}

/// How much more was counted, by login.
fn more(before: &BTreeMap<String, i64>, after: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let more = after.into_iter().map(|(login, count)| {
        let before = before.get(&login).copied().unwrap_or_default();
        (login, count - before)
    });
    more.filter(|it| it.1 != 0).collect()
}

/// How much more was counted for a login when it has done that.
fn counted(room: &Room, session: &mut Wire, act: impl FnOnce(&mut Wire)) -> i64 {
    let before = counts(&room.site);
    act(session);
    let mut more = more(&before, counts(&room.site));
    let mine = more.remove(&session.user).unwrap_or_default();
    assert!(more.is_empty(), "of other logins: {more:?}");
    mine
}

fn said(room: &Room, session: &mut Wire, sql: &str) -> i64 {
    counted(room, session, |session| {
        session.simple(sql);
    })
}

#[test]
fn each_command_counts_once() {
    let room = Room::new(&Plan::default());
    let mut session = room.session(&room.caller);
    for sql in [
        "SELECT * FROM auth.pv_check_password('42'::text, 'secret')",
        "SELECT auth.pv_check_password('42'::text, 'secret'), auth.pv_check_password('42'::text, 'other')",
        "SELECT * FROM auth.pv_check_password('42'::text, 'secret'); SELECT * FROM auth.pv_check_password('42'::text, 'other')",
        "SELECT auth.pv_check_password('42'::text, g::text) FROM generate_series(1, 5) g",
        "DO $do$ BEGIN PERFORM auth.pv_check_password('42'::text, 'secret'); PERFORM auth.pv_check_password('42'::text, 'other'); END $do$",
        "DO $do$ BEGIN EXECUTE 'SELECT auth.pv_check' || '_password(''42''::text, ''secret'')'; END $do$",
        "SELECT public.listed_plpgsql('42', 'secret')",
        "SELECT public.listed_execute('42', 'secret')",
        "SELECT public.unlisted_plpgsql('42', 'secret')",
        "SELECT public.unlisted_sql('42', 'secret')",
        "CALL public.listed_procedure('42', 'secret')",
        "CALL public.unlisted_procedure('42', 'secret')",
        "INSERT INTO public.listed_signup VALUES ('one', 'secret')",
        "INSERT INTO public.unlisted_signup VALUES ('one', 'secret')",
        "SELECT '42'::text OPERATOR(public.=?=) 'secret'",
        "COPY (SELECT * FROM auth.pv_check_password('42'::text, 'secret')) TO STDOUT",
        "EXPLAIN (ANALYZE) SELECT * FROM auth.pv_check_password('42'::text, 'secret')",
        "CREATE TEMP TABLE t AS SELECT * FROM auth.pv_check_password('42'::text, 'secret')",
        "PREPARE p AS SELECT * FROM auth.pv_check_password('42'::text, $1)",
        "EXECUTE p('secret')",
        "SELECT 1 / (random() * 0)::integer FROM auth.pv_check_password('42'::text, 'secret')",
    ] {
        assert_eq!(said(&room, &mut session, sql), 1, "{sql}");
    }
    let failed = session.told.iter().filter(|it| it.starts_with("C: ") && *it != "C: 00000");
    assert_eq!(failed.collect::<Vec<_>>(), ["C: 22012"], "{:?}", session.told);
    let extended = |session: &mut Wire| {
        session.extended(BOUND, &VALUES);
    };
    assert_eq!(counted(&room, &mut session, extended), 1);
    session.ask(&Batch::default().parse("s", BOUND).sync());
    for _ in 0..7 {
        let prepared = |session: &mut Wire| {
            session.ask(&Batch::default().bind("", "s", &VALUES).execute("", 0).sync());
        };
        assert_eq!(counted(&room, &mut session, prepared), 1);
    }
    let pipelined = |session: &mut Wire| {
        let mut batch = Batch::default();
        for _ in 0..3 {
            batch = batch.bind("", "s", &VALUES).execute("", 0);
        }
        session.ask(&batch.sync());
    };
    assert_eq!(counted(&room, &mut session, pipelined), 3);
}

#[test]
fn other_statements_do_not_count() {
    let room = Room::new(&Plan::default());
    let mut session = room.session(&room.caller);
    for sql in [
        "SELECT 'secret', 42",
        "SELECT 'auth.pv_check_password(''x'')'",
        "SELECT 1 -- auth.pv_check_password('x')",
        "DO $do$ BEGIN PERFORM length('secret'); END $do$",
        "SELECT nonsense FROM nonsense",
        "SELECT * FROM auth.pv_events LIMIT 1",
        "BEGIN; COMMIT",
    ] {
        assert_eq!(said(&room, &mut session, sql), 0, "{sql}");
    }
    let never_executed = |session: &mut Wire| {
        session.ask(&Batch::default().parse("s", BOUND).sync());
    };
    assert_eq!(counted(&room, &mut session, never_executed), 0);
}

#[test]
fn logins_and_databases_are_counted_apart() {
    let room = Room::new(&Plan::default());
    let elsewhere = Site::on(room.site.cluster.clone());
    // What a superuser has done to make it.
    let (before, before_elsewhere) = (counts(&room.site), counts(&elsewhere));
    let sql = "SELECT * FROM auth.pv_check_password('42'::text, 'secret')";
    for (user, times) in [(&room.caller, 2), (&room.quiet, 3)] {
        let mut session = room.session(user);
        for _ in 0..times {
            assert_eq!(session.simple(sql).state(), "00000");
        }
    }
    let mut other = Wire::connect(&elsewhere.cluster, &elsewhere.app, &elsewhere.database);
    assert_eq!(other.simple(sql).state(), "00000");
    let named = |pairs: &[(&String, i64)]| -> BTreeMap<String, i64> {
        pairs.iter().map(|(login, count)| ((*login).clone(), *count)).collect()
    };
    assert_eq!(more(&before, counts(&room.site)), named(&[(&room.caller, 2), (&room.quiet, 3)]));
    assert_eq!(more(&before_elsewhere, counts(&elsewhere)), named(&[(&elsewhere.app, 1)]));
}

#[test]
fn nothing_counts_without_redaction() {
    let room = Room::new(&Plan { redact: false, ..Plan::default() });
    let mut session = room.session(&room.caller);
    let sql = "SELECT * FROM auth.pv_check_password('42'::text, 'secret')";
    assert_eq!(said(&room, &mut session, sql), 0);
}
