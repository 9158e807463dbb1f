//! Servers whose messages are in another language: its words and its quotation marks are not those of the source.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use password_verify_tests::windows::core::ways_of;
use password_verify_tests::windows::failing;
use password_verify_tests::windows::hits::{find, lines};
use password_verify_tests::windows::limits::beyond;
use password_verify_tests::windows::room::{Plan, Room};
use password_verify_tests::windows::run::go;
use password_verify_tests::windows::seen::Window;
use password_verify_tests::windows::way::Way;

fn ways() -> Vec<Way> {
    let mut ways = failing::ways();
    let names: Vec<String> = ways.iter().map(|way| way.name.clone()).collect();
    ways.extend(ways_of("").into_iter().filter(|way| !names.contains(&way.name)));
    ways
}

/// With redaction nothing is found, on a server that says `syntax` where others say `syntax error`; without it something
/// is. Where the system has no such messages, that is said.
fn check(language: &str, syntax: &str) {
    for redact in [true, false] {
        let room = Room::new(&Plan { redact, ..Plan::default() });
        let cluster = &room.site.cluster;
        cluster.down();
        room.has_crashed();
        // A locale that every system has; which language it stands for is in the environment.
        cluster.configure(&["lc_messages = 'C.UTF-8'"]);
        cluster.up_with(&[("LANGUAGE", language)]);
        let mut session = room.session(&room.caller);
        session.simple("nonsense");
        if !session.told.iter().any(|it| it.contains(syntax)) {
            println!("no messages in {language} here: {:?}", session.told);
            return;
        }
        drop(session);
        let hits = find(&room, &go(&room, &ways()));
        if redact {
            let beyond = beyond(&hits);
            assert!(beyond.is_empty(), "{} hits:\n{}", beyond.len(), lines(&beyond));
        } else {
            for window in [Window::Message, Window::Context, Window::Detail, Window::Client] {
                assert!(hits.keys().any(|it| it.1 == window), "{window:?}:\n{}", lines(&hits));
            }
        }
    }
}

#[test]
fn german() {
    check("de", "Syntaxfehler");
}

#[test]
fn french() {
    check("fr", "erreur de syntaxe");
}

#[test]
fn japanese() {
    check("ja", "構文エラー");
}
