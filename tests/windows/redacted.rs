//! What a redacted statement looks like: everything but its values is there, and it is a statement still.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::run::go;
use password_verify_tests::windows::seen::Window;
use password_verify_tests::windows::wire::Batch;
use password_verify_tests::windows::{failing, from_code, literals, log};

/// A statement, and how the log shows it.
const SHOWN: &[(&str, &str)] = &[
    (
        "SELECT valid FROM auth.pv_validate_password('42'::text, 'x') UNION SELECT usename = 'y' FROM pg_user WHERE 1=1 --",
        "SELECT valid FROM auth.pv_validate_password('<redacted>'::text, '<redacted>') UNION SELECT usename = '<redacted>' FROM pg_user WHERE '<redacted>'='<redacted>' --",
    ),
    (
        "SELECT auth.pv_validate_password('42'::text, $$x$$, NULL), true, $tag$y$tag$, E'z\\'', U&'a!0021' UESCAPE '!'",
        "SELECT auth.pv_validate_password('<redacted>'::text, '<redacted>', NULL), true, '<redacted>', '<redacted>', '<redacted>'",
    ),
    (
        "DELETE FROM public.answers WHERE (SELECT valid FROM auth.pv_validate_password(42, 'x' OR '1'='1'))",
        "DELETE FROM public.answers WHERE (SELECT valid FROM auth.pv_validate_password('<redacted>', '<redacted>' OR '<redacted>'='<redacted>'))",
    ),
];

fn statements(room: &Room) -> BTreeSet<String> {
    log::read(&room.log_folder())
        .into_iter()
        .filter(|it| it.window == Window::Statement)
        .filter_map(|it| it.text.strip_prefix("statement: ").map(str::to_owned))
        .collect()
}

#[test]
fn all_but_the_values_is_there() {
    let room = Room::new(&Plan::default());
    let mut session = room.session(&room.caller);
    for (sql, _) in SHOWN {
        session.simple(sql);
    }
    drop(session);
    room.site.cluster.down();
    let logged = statements(&room);
    for (sql, shown) in SHOWN {
        assert!(!logged.contains(*sql), "{sql}");
        let like: Vec<&String> =
            logged.iter().filter(|it| it.contains("redacted") && it[..9] == shown[..9]).collect();
        assert!(logged.contains(*shown), "no\n{shown}\nin {like:#?}");
    }
}

/// Each redacted statement of the log can be read by the server's own parser, unless it could not before.
#[test]
fn it_is_a_statement_still() {
    let room = Room::new(&Plan::default());
    let mut ways = literals::ways();
    ways.extend(from_code::ways());
    ways.extend(failing::ways());
    ways.retain(|way| {
        let broken = [
            "syntax",
            "close",
            "lost",
            "too many",
            "bad ",
            "not listed",
            "put together",
            "type by name",
        ];
        !broken.iter().any(|it| way.name.contains(it))
    });
    go(&room, &ways);
    let logged = statements(&room);
    let redacted: Vec<&String> = logged.iter().filter(|it| it.contains("<redacted>")).collect();
    assert!(redacted.len() > 100, "{}", redacted.len());
    let mut session = room.session(&room.caller);
    let mut wrong = Vec::new();
    for sql in redacted {
        let before = session.told.len();
        let reply = session.ask(&Batch::default().parse("", sql).sync());
        let told = session.told[before..].iter().find(|it| it.starts_with("M: "));
        // Other errors of that SQLSTATE come after it was read.
        let unread = told.is_some_and(|it| it.contains(" at or near "));
        if reply.state() == "42601" && unread {
            wrong.push(format!("{sql}\n    {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} are none:\n{}", wrong.len(), wrong.join("\n"));
}
