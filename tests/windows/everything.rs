//! Passwords go every way into statements on a server that tells everything it can. Afterwards they are in none of its
//! windows, or there is a limit with a name; on a server without redaction they are in all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::env;
use std::sync::OnceLock;

use password_verify_tests::cluster::major;
use password_verify_tests::windows::hits::{Hits, find, lines};
use password_verify_tests::windows::limits::{beyond, unused};
use password_verify_tests::windows::room::{Plan, Room, has_pgaudit};
use password_verify_tests::windows::run::run;
use password_verify_tests::windows::seen::Window;
use password_verify_tests::windows::way::Way;
use password_verify_tests::windows::{
    bound, cut_off, document, failing, from_code, functions, literals,
};

/// The document as it is.
const DOCUMENT: &str = include_str!("../../docs/windows.md");
/// The server that it was made on.
const MAJOR: u32 = 15;

fn ways() -> Vec<Way> {
    let mut ways = literals::ways();
    ways.extend(bound::ways());
    ways.extend(from_code::ways());
    ways.extend(functions::ways());
    ways.extend(failing::ways());
    ways.extend(cut_off::ways());
    ways.extend(cut_off::crashes_of_it());
    let mut names: Vec<&str> = ways.iter().map(|way| way.name.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "two ways of one name: {names:?}");
    if let Ok(only) = env::var("PV_WINDOWS_ONLY") {
        ways.retain(|way| way.name.contains(&only));
    }
    ways
}

/// What is found with redaction, and what without.
fn hits(redact: bool) -> &'static Hits {
    static HITS: [OnceLock<Hits>; 2] = [OnceLock::new(), OnceLock::new()];
    HITS[usize::from(redact)].get_or_init(|| {
        let room = Room::new(&Plan { redact, ..Plan::default() });
        let ran = run(&room, &ways());
        let (passwords, ways) = (ran.canaries.len(), ways().len());
        println!("passwords: {passwords} passwords went {ways} ways.");
        println!("{} samples of pg_stat_activity", ran.samples);
        assert!(ran.samples > 100);
        find(&room, &ran.canaries)
    })
}

#[test]
fn no_window_shows_a_password() {
    let hits = hits(true);
    let beyond = beyond(hits);
    assert!(beyond.is_empty(), "{} hits:\n{}", beyond.len(), lines(&beyond));
    assert_eq!(unused(hits), [""; 0], "limits that are none");
}

/// What proves that the hunt can find.
#[test]
fn every_window_shows_them_without_redaction() {
    let hits = hits(false);
    let mut expected = vec![
        Window::Statement,
        Window::Duration,
        Window::Message,
        Window::Detail,
        Window::Context,
        Window::Internal,
        Window::About,
        Window::Plan,
        Window::Debug,
        Window::Contexts,
        Window::Passing,
        Window::Running,
        Window::After,
        Window::Statements,
        Window::Session,
        Window::OwnContexts,
        Window::Client,
        Window::Files,
    ];
    if has_pgaudit() {
        expected.push(Window::Audit);
    }
    expected.retain(|window| !hits.keys().any(|(_, it)| it == window));
    assert_eq!(expected, [], "nothing is found there:\n{}", lines(hits));
}

/// Ways of which a server may show nothing: they bind, and fail before any parameter is logged.
const INVISIBLE: [&str; 5] = [
    "bound, in COPY TO",
    "bind of too few",
    "bind of a wrong encoding",
    "bind of a wrong binary length",
    "fast path",
];

#[test]
fn every_way_shows_its_passwords_without_redaction() {
    let hits = hits(false);
    let mut invisible: Vec<String> = ways().into_iter().map(|way| way.name).collect();
    invisible.retain(|way| !hits.keys().any(|(it, _)| it == way));
    invisible.retain(|way| !INVISIBLE.contains(&way.as_str()));
    assert_eq!(invisible, [""; 0]);
}

#[test]
fn the_document_says_so() {
    let names: Vec<String> = ways().into_iter().map(|way| way.name).collect();
    let rows = document::rows(&names, hits(true), hits(false));
    if env::var_os("PV_WINDOWS_WRITE").is_some() {
        for line in document::head().iter().chain(&rows) {
            println!("windows: {line}");
        }
        for line in document::limits() {
            println!("limits: {line}");
        }
    } else if major() == MAJOR && has_pgaudit() {
        let table = DOCUMENT.split_once("## Ways").unwrap().1;
        let written: Vec<&str> = table.lines().filter(|it| it.starts_with('|')).skip(2).collect();
        let missing: Vec<&String> =
            rows.iter().filter(|row| !written.contains(&row.as_str())).collect();
        let more: Vec<&&str> =
            written.iter().filter(|row| !rows.iter().any(|it| it == *row)).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "scripts/windows.sh: not in docs/windows.md\n{missing:#?}\nbut\n{more:#?}"
        );
        let limits = document::limits();
        let missing: Vec<&String> = limits.iter().filter(|it| !DOCUMENT.contains(*it)).collect();
        assert!(missing.is_empty(), "scripts/windows.sh: not in docs/windows.md\n{missing:#?}");
    } else {
        println!("docs/windows.md is about PostgreSQL {MAJOR} with pgaudit");
    }
}
