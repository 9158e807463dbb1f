//! Our scanner of SQL takes for literals what PostgreSQL's takes for constants: what the log shows in place of a
//! statement is what pg_stat_statements makes of it, which uses PostgreSQL's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::env;

use password_verify_tests::windows::log;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::seen::Window;
use password_verify_tests::windows::spellings::{Random, statement};
use password_verify_tests::windows::wire::Wire;

const REDACTED: &str = "'<redacted>'";

/// What PostgreSQL takes no notice of at the beginning of a text: its length.
fn space(text: &str) -> usize {
    let mut rest = text;
    loop {
        let before = rest.len();
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.trim_start_matches(|letter| letter != '\n' && letter != '\r');
        } else if rest.starts_with("/*") {
            let (mut depth, mut at) = (0, 0);
            while at == 0 || depth > 0 {
                let part = &rest[at..];
                at += if part.starts_with("/*") {
                    depth += 1;
                    2
                } else if part.starts_with("*/") {
                    depth -= 1;
                    2
                } else {
                    part.chars().next().unwrap().len_utf8()
                };
            }
            rest = &rest[at..];
        }
        if rest.len() == before {
            return text.len() - rest.len();
        }
    }
}

/// What is left behind `$1` and its like.
fn after_parameter(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('$')?;
    let rest = digits.trim_start_matches(|letter: char| letter.is_ascii_digit());
    (rest.len() < digits.len()).then_some(rest)
}

/// What pg_stat_statements has, without what UESCAPE says of a literal: for it that is no part of the literal.
fn without_escapes(counted: &str) -> String {
    let (mut without, mut rest) = (String::new(), counted);
    while let Some(at) = rest.find('$') {
        let Some(after) = after_parameter(&rest[at..]) else {
            without += &rest[..=at];
            rest = &rest[at + 1..];
            continue;
        };
        without += &rest[..rest.len() - after.len()];
        rest = match after[space(after)..].strip_prefix("UESCAPE") {
            Some(escape) => &escape[space(escape) + "'!'".len()..],
            None => after,
        };
    }
    without + rest
}

/// Are these the same, with `$1` in place of every literal? For pg_stat_statements a minus sign is a part of its number.
fn same(mut logged: &str, mut counted: &str) -> bool {
    while !counted.is_empty() {
        let Some(rest) = after_parameter(counted) else {
            let letter = counted.chars().next().unwrap();
            let Some(rest) = logged.strip_prefix(letter) else { return false };
            (logged, counted) = (rest, &counted[letter.len_utf8()..]);
            continue;
        };
        if let Some(after_sign) = logged.strip_prefix('-') {
            logged = &after_sign[space(after_sign)..];
        }
        let Some(after) = logged.strip_prefix(REDACTED) else { return false };
        (logged, counted) = (after, rest);
    }
    logged.is_empty()
}

/// What pg_stat_statements has of a statement when that was executed; `None` if it cannot be.
fn counted(room: &Room, session: &mut Wire, sql: &str, name: &str) -> Option<String> {
    room.admin(|admin| admin.execute("SELECT public.pg_stat_statements_reset()", &[]).unwrap());
    let told = session.told.len();
    let state = session.simple(sql).state().to_owned();
    assert_ne!(session.status, b'E');
    if state != "00000" {
        // It is the statement that is wrong, and not the room.
        let wrong = ["22", "42", "0A"].contains(&&state[..2]);
        assert!(wrong, "{sql}\n{:?}", &session.told[told..]);
        return None;
    }
    let query =
        "SELECT query FROM public.pg_stat_statements WHERE query LIKE '%SELECT%AS ' || $1 || '%'";
    let found = room.admin(|admin| admin.query(query, &[&name]).unwrap());
    assert_eq!(found.len(), 1, "{sql}");
    Some(without_escapes(found[0].get(0)))
}

/// The name of its first column.
fn name_of(sql: &str) -> Option<&str> {
    let rest = sql.split_once(" AS ")?.1;
    Some(&rest[..=rest.find('_')?])
}

/// As many random statements, on a server on which backslashes begin an escape, or do not.
fn check(count: usize, escapes: bool) {
    let seed = env::var("PV_SEED").map_or(1, |seed| seed.parse().unwrap());
    let room = Room::new(&Plan::default());
    room.admin(|admin| {
        let sql = format!("ALTER ROLE {} SET password_verify.redact = off", room.quiet);
        admin.batch_execute(&sql).unwrap();
    });
    let (mut redacted, mut plain) = (room.session(&room.caller), room.session(&room.quiet));
    for session in [&mut redacted, &mut plain] {
        let on = if escapes { "off" } else { "on" };
        let settings = format!(
            "SET standard_conforming_strings = {on}; SET escape_string_warning = off; SET backslash_quote = on"
        );
        assert_eq!(session.simple(&settings).state(), "00000");
    }
    let mut random = Random::new(seed);
    let mut statements = Vec::new();
    let mut wrong = Vec::new();
    for number in 0..count {
        let name = format!("s{number}_");
        let sql = statement(&mut random, &name, escapes);
        let theirs = counted(&room, &mut plain, &sql, &name);
        let ours = counted(&room, &mut redacted, &sql, &name);
        if theirs != ours {
            wrong.push(format!(
                "statistics of\n{sql}\nwithout redaction: {theirs:?}\nwith: {ours:?}"
            ));
        }
        if let Some(theirs) = theirs {
            statements.push((sql, name, theirs));
        }
    }
    drop((redacted, plain));
    room.site.cluster.down();
    let logged: HashMap<String, String> = log::read(&room.log_folder())
        .into_iter()
        .filter(|it| it.window == Window::Statement && it.file == "csvlog")
        .filter_map(|it| it.text.strip_prefix("statement: ").map(str::to_owned))
        .filter_map(|it| Some((name_of(&it)?.to_owned(), it)))
        .collect();
    println!("{} of {count} statements can be read", statements.len());
    assert!(statements.len() > count / 2);
    for (sql, name, theirs) in statements {
        let logged = &logged[&name];
        if !same(logged, &theirs) {
            wrong.push(format!("statement\n{sql}\nexpected: {theirs}\nlogged:   {logged}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them, with PV_SEED={seed}:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n\n")
    );
}

#[test]
fn it_cuts_where_postgresql_does() {
    check(3000, false);
}

#[test]
fn it_does_so_with_backslashes() {
    check(1000, true);
}

#[test]
fn the_comparison_can_fail() {
    assert!(same("SELECT - '<redacted>' + '<redacted>'", "SELECT $1 + $12"));
    assert_eq!(without_escapes("SELECT $1 /* ' */ UESCAPE '!', $tag"), "SELECT $1, $tag");
    for (logged, counted) in [
        ("SELECT '<redacted>'", "SELECT 'x'"),
        ("SELECT 'x'", "SELECT $1"),
        ("SELECT '<redacted>' 'x'", "SELECT $1"),
        ("SELECT '<redacted>'", "SELECT $1 'x'"),
        ("SELECT 1 - '<redacted>'", "SELECT $1"),
    ] {
        assert!(!same(logged, counted), "{logged} {counted}");
    }
}
