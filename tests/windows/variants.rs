//! Servers and sessions that are special in some way: formats of `auto_explain`, strings with backslashes, other
//! encodings, dumps of every plan, statements that are cut off.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use password_verify_tests::windows::core::ways_of;
use password_verify_tests::windows::hits::{Hits, find, lines};
use password_verify_tests::windows::limits::beyond;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::run::{go, run};
use password_verify_tests::windows::seen::Window;
use password_verify_tests::windows::way::{Way, fails, says, way};

fn assert_clean(hits: &Hits) {
    let beyond = beyond(hits);
    assert!(beyond.is_empty(), "{} hits:\n{}", beyond.len(), lines(&beyond));
}

/// With redaction nothing is found; without it something is, in this window.
fn check(plan: &Plan, window: Window, ways: fn() -> Vec<Way>) {
    for redact in [true, false] {
        let room = Room::new(&Plan { redact, ..plan.clone() });
        let ran = run(&room, &ways());
        let hits = find(&room, &ran.canaries);
        if redact {
            assert_clean(&hits);
        } else {
            assert!(hits.keys().any(|it| it.1 == window), "nothing is found:\n{}", lines(&hits));
        }
    }
}

#[test]
fn plans_in_any_format() {
    for redact in [true, false] {
        let room = Room::new(&Plan { redact, ..Plan::default() });
        let formats = ["json", "xml", "yaml"];
        let mut canaries = Vec::new();
        for format in formats {
            room.admin(|admin| {
                let sql = "ALTER DATABASE {} SET auto_explain.log_format = ";
                let sql = sql.replace("{}", &room.site.database) + format;
                admin.batch_execute(&sql).unwrap();
            });
            canaries.extend(go(&room, &ways_of(&format!(" ({format})"))));
        }
        let hits = find(&room, &canaries);
        if redact {
            assert_clean(&hits);
            continue;
        }
        for format in formats {
            let found = |key: &(String, Window)| key.1 == Window::Plan && key.0.contains(format);
            assert!(hits.keys().any(found), "{format}:\n{}", lines(&hits));
        }
    }
}

#[test]
fn texts_that_are_cut_off() {
    let settings = vec!["track_activity_query_size = 256".to_owned()];
    let ways = || {
        let mut ways = ways_of("");
        // The password begins before the end of what is kept, at each of its letters.
        ways.push(way("cut in the password", |stage| {
            for length in 160..200 {
                let padding = "x".repeat(length);
                let sql = format!(
                    "SELECT 1 AS {padding:.60}, 2 AS y{padding:.60}, 3 AS z{}",
                    &padding[120..]
                );
                let sql = stage.fill(&format!("{sql}, auth.pv_check_password('42'::text, '@')"));
                stage.ok(&sql);
                password_verify_tests::windows::seen::look_at_activity(stage.room, Window::After);
            }
        }));
        ways
    };
    check(&Plan { settings, ..Plan::default() }, Window::After, ways);
}

#[test]
fn dumps_of_every_plan() {
    let session =
        vec!["debug_print_parse = on", "debug_print_rewritten = on", "debug_print_plan = on"];
    check(&Plan { session, ..Plan::default() }, Window::Debug, || ways_of(""));
}

#[test]
fn dumps_of_every_plan_in_one_line() {
    let session =
        vec!["debug_print_parse = on", "debug_print_plan = on", "debug_pretty_print = off"];
    check(&Plan { session, ..Plan::default() }, Window::Debug, || ways_of(""));
}

#[test]
fn strings_with_backslashes() {
    let session = vec!["standard_conforming_strings = off", "backslash_quote = on"];
    check(&Plan { session, ..Plan::default() }, Window::Statement, || {
        let mut ways = ways_of("");
        ways.extend([
            says(
                "a quote after a backslash",
                r"SELECT * FROM auth.pv_validate_password('42'::text, 'it\'s @')",
            ),
            says(
                "two backslashes",
                r"SELECT * FROM auth.pv_validate_password('42'::text, '@\\', '::1'::inet)",
            ),
            says(
                "backslashes and quotes",
                r"SELECT * FROM auth.pv_validate_password('42'::text, '@\\\'@''\'@')",
            ),
            says(
                "E'' as before",
                r"SELECT * FROM auth.pv_validate_password('42'::text, E'it\'s @')",
            ),
            says(
                "$$ as before",
                r"SELECT * FROM auth.pv_validate_password('42'::text, $$it\'s @$$)",
            ),
            fails(
                "U&'' is refused",
                "0A000",
                r"SELECT * FROM auth.pv_validate_password('42'::text, U&'@')",
            ),
        ]);
        ways
    });
}

fn foreign(letters: &'static str) -> Vec<Way> {
    let mut ways = ways_of("");
    // What is not in the encoding of the database.
    ways.retain(|it| it.name != "literal with letters of many bytes");
    ways.push(way("letters of that encoding", move |stage| {
        stage.ok("SET client_encoding = 'UTF8'");
        let secret = stage.secret();
        let sql = "SELECT * FROM auth.pv_validate_password(";
        stage.ok(&format!("{sql}'{letters}'::text, '{letters}{secret}{letters}')"));
        stage.ok(&format!("{sql}'42'::text, $${letters}{secret}$$) AS \"{letters}\""));
        let secrets = [stage.secret() + letters];
        stage.bound("00000", &format!("{sql}'{letters}'::text, $1)"), &secrets);
    }));
    ways
}

#[test]
fn latin1() {
    let options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
    check(&Plan { options, ..Plan::default() }, Window::Statement, || foreign("äöß"));
}

#[test]
fn euc_jp() {
    let options = "ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'";
    check(&Plan { options, ..Plan::default() }, Window::Statement, || foreign("日本語ソ"));
}
