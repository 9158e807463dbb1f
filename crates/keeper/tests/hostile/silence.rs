//! Servers that fall silent, end, or break off.

use std::time::{Duration, Instant};

use password_verify_tests::mail::hostile::Act::{Cut, Drip, Reset, Say, Silence, Usual};
use password_verify_tests::mail::hostile::Step::{
    Accept, Bodies, Capability, Examine, Greeting, Login, Logout, Mechanism, Search, Sizes,
};
use password_verify_tests::mail::hostile::{Hostile, Manner};

use super::case::Case;
use super::room::Room;
use super::run::run;

const HALF: &[u8] = b"* 1 FETCH (UID 1 BODY[]<0> {100}\r\nSubject: half of";

const SILENT: &[Case] = &[
    Case::new("is silent from the start", &[(Accept, &[Silence])], "retry timeout"),
    Case::new("does not greet", &[(Greeting, &[Silence])], "retry timeout"),
    Case::new("does not say what it can do", &[(Capability, &[Silence])], "retry timeout"),
    Case::new(
        "is silent when it should ask for the secret",
        &[(Mechanism, &[Silence])],
        "retry timeout",
    ),
    Case::new("is silent after the login", &[(Login, &[Silence])], "retry timeout"),
    Case::new(
        "is silent within EXAMINE",
        &[(Examine, &[Say(b"* 3 EX"), Silence])],
        "retry timeout",
    ),
    Case::new("is silent at SEARCH", &[(Search, &[Silence])], "retry timeout"),
    Case::new("is silent when asked for sizes", &[(Sizes, &[Silence])], "retry timeout"),
    Case::new(
        "is silent in the middle of a mail",
        &[(Bodies, &[Say(HALF), Silence])],
        "retry timeout",
    ),
    Case::new("is silent at LOGOUT", &[(Logout, &[Silence])], "done ok").mails(3, 0),
    Case::new(
        "greets a byte a second",
        &[(Greeting, &[Say(b"* OK "), Drip(b"welcome ")])],
        "retry timeout",
    ),
    Case::new(
        "answers EXAMINE a byte a second",
        &[(Examine, &[Drip(b"* OK x\r\n")])],
        "retry timeout",
    ),
    Case::new(
        "sends a mail a byte a second",
        &[(Bodies, &[Say(HALF), Drip(b"x")])],
        "retry timeout",
    ),
    Case::new("says good-bye a byte a second", &[(Logout, &[Drip(b"* OK x\r\n")])], "done ok")
        .mails(3, 0),
];

const ENDED: &[Case] = &[
    Case::new("ends at once", &[(Accept, &[Cut])], "retry disconnected"),
    Case::new("ends before it greets", &[(Greeting, &[Cut])], "retry disconnected"),
    Case::new("ends at CAPABILITY", &[(Capability, &[Cut])], "retry disconnected"),
    Case::new(
        "ends when it should ask for the secret",
        &[(Mechanism, &[Cut])],
        "retry disconnected",
    ),
    Case::new("ends after the secret was shown", &[(Login, &[Cut])], "retry disconnected"),
    Case::new("ends within EXAMINE", &[(Examine, &[Say(b"* 3 EX"), Cut])], "retry disconnected"),
    Case::new("ends at SEARCH", &[(Search, &[Cut])], "retry disconnected"),
    Case::new("ends when asked for sizes", &[(Sizes, &[Cut])], "retry disconnected"),
    Case::new("ends in the middle of a mail", &[(Bodies, &[Say(HALF), Cut])], "retry disconnected"),
    Case::new("ends at LOGOUT", &[(Logout, &[Cut])], "done ok").mails(3, 0),
    Case::new("breaks off at once", &[(Accept, &[Reset])], "retry disconnected"),
    Case::new("breaks off at CAPABILITY", &[(Capability, &[Reset])], "retry disconnected"),
    Case::new("breaks off after the secret was shown", &[(Login, &[Reset])], "retry disconnected"),
    Case::new("breaks off within EXAMINE", &[(Examine, &[Reset])], "retry disconnected"),
    Case::new(
        "breaks off in the middle of a mail",
        &[(Bodies, &[Say(HALF), Reset])],
        "retry disconnected",
    ),
    Case::new(
        "says BYE instead of what it can do",
        &[(Capability, &[Say(b"* BYE\r\n"), Cut])],
        "retry disconnected",
    ),
    Case::new(
        "says BYE after the login",
        &[(Login, &[Usual, Say(b"* BYE\r\n"), Cut])],
        "retry disconnected",
    ),
    Case::new(
        "says BYE to SEARCH and stays",
        &[(Search, &[Say(b"* BYE\r\n"), Silence])],
        "retry disconnected",
    ),
    Case::new(
        "says BYE between mails",
        &[(Bodies, &[Say(b"* BYE\r\n"), Cut])],
        "retry disconnected",
    ),
    Case::new("ends once and is good again", &[(Bodies, &[Cut]), (Bodies, &[Usual])], "done ok")
        .logins(2, 2)
        .mails(3, 0),
];

#[test]
fn who_says_nothing_more() {
    run(&[SILENT, ENDED].concat());
}

/// Others wait for their turn at the same server meanwhile.
#[test]
fn nobody_waits_long_for_a_good_bye() {
    let room = Room::still(40);
    let good = Manner::good(&room.certificates.good);
    let server = Hostile::start(good.clone());
    let mut app = room.kept.depositor();
    let mailbox = room.mailbox(&server, "good-bye");
    let first = mailbox.register(&mut app);
    assert_eq!(room.await_end(&mut app, &mailbox, first), "done ok");
    server.behave(&[good.but(Logout, &[Silence])]);
    let (request, start) = (mailbox.request(&mut app), Instant::now());
    assert_eq!(room.await_end(&mut app, &mailbox, request), "done ok");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    room.close();
}
