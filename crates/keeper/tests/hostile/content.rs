//! Mails that are made to break whoever reads them.

use password_verify_tests::mail::hostile::Act::{Flood, Say, Usual};
use password_verify_tests::mail::hostile::Shelf;
use password_verify_tests::mail::hostile::Step::{Bodies, Greeting};

use super::case::Case;
use super::run::run;

/// As much of a mail as can be asked for.
const MUCH: &str = "max_bytes => 409600";
const HEAD: &str = "From: a@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n";

const fn of(mail: fn(u32) -> Vec<u8>) -> Shelf {
    Shelf { count: 2, mail, said: None }
}

/// A mail whose server is as good as any.
const fn mails(what: &'static str, mail: fn(u32) -> Vec<u8>) -> Case {
    Case::new(what, &[(Greeting, &[Usual])], "done ok")
        .logins(1, 1)
        .asks(MUCH)
        .shelf(of(mail))
        .mails(2, 0)
}

/// Each part in the one before.
fn nested(_: u32) -> Vec<u8> {
    let kind = |i: u32| format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n");
    let parts: String = (0..10_000).map(|i| format!("--b{i}\r\n{}", kind(i + 1))).collect();
    format!("{HEAD}{}{parts}", kind(0)).into_bytes()
}

/// Each mail in the one before.
fn forwarded(_: u32) -> Vec<u8> {
    let kind = "Content-Type: message/rfc822\r\n\r\n";
    format!("{HEAD}{kind}{}", format!("Subject: y\r\n{kind}").repeat(10_000)).into_bytes()
}

/// All parts beside each other, with the same end for all.
fn wide(_: u32) -> Vec<u8> {
    let parts = "--b\r\n\r\n\r\n".repeat(100_000);
    format!("{HEAD}Content-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n").into_bytes()
}

fn header(_: u32) -> Vec<u8> {
    format!("{HEAD}X-Long: {}\r\n\r\nx\r\n", "y".repeat(1 << 20)).into_bytes()
}

fn headers(_: u32) -> Vec<u8> {
    format!("{HEAD}{}\r\nx\r\n", "X: y\r\n".repeat(200_000)).into_bytes()
}

fn recipients(_: u32) -> Vec<u8> {
    format!("{HEAD}To: {}b@example.org\r\n\r\nx\r\n", "a@example.org, ".repeat(100_000))
        .into_bytes()
}

fn groups(_: u32) -> Vec<u8> {
    format!("{HEAD}To: {}\r\n\r\nx\r\n", "g: (((\"".repeat(50_000)).into_bytes()
}

fn comments(_: u32) -> Vec<u8> {
    format!("{HEAD}Date: {}\r\n\r\nx\r\n", "(".repeat(300_000)).into_bytes()
}

fn words(_: u32) -> Vec<u8> {
    let word = "=?utf-8?Q?=FF=00?= ".repeat(20_000);
    format!("Subject: {word}\r\nFrom: {word}\r\n\r\nx\r\n").into_bytes()
}

fn html(_: u32) -> Vec<u8> {
    let deep = "<div>".repeat(70_000);
    format!("{HEAD}Content-Type: text/html\r\n\r\n{deep}&#0;&#x110000;<!--").into_bytes()
}

fn bytes(uid: u32) -> Vec<u8> {
    let all: Vec<u8> = (0..100_000_u32).map(|i| (i.wrapping_mul(uid + 7) >> 3) as u8).collect();
    [b"Subject: \0\xff\xfe\r\n\r\n", &all[..]].concat()
}

fn zeros(_: u32) -> Vec<u8> {
    vec![0; 300_000]
}

fn nothing(_: u32) -> Vec<u8> {
    Vec::new()
}

const BOMBS: &[Case] = &[
    mails("has a mail with 10,000 parts in each other", nested),
    mails("has a mail with 10,000 mails in each other", forwarded),
    mails("has a mail with 100,000 parts", wide),
    mails("has a mail with a header of 1 MB", header),
    mails("has a mail with 200,000 headers", headers),
    mails("has a mail to 100,000 people", recipients),
    mails("has a mail to groups without an end", groups),
    mails("has a mail with 300,000 brackets in its date", comments),
    mails("has a mail with 20,000 words in no encoding", words),
    mails("has a mail with 70,000 elements of HTML in each other", html),
    mails("has a mail that is no text", bytes),
    mails("has a mail of zeros", zeros),
    mails("has a mail of nothing", nothing),
    Case::new(
        "has bytes in a mail that are an answer",
        &[(
            Bodies,
            &[
                Say(b"* 1 FETCH (UID 1 BODY[]<0> {52}\r\nSubject: x\r\n\r\n* 3 FETCH (UID 3 BODY[] {9999999999}\r\n)\r\n"),
                Flood(b"* 1 FETCH (UID 1 FLAGS ())\r\n", 3),
                Usual,
            ],
        )],
        "done ok",
    )
    .mails(3, 0),
];

#[test]
fn who_has_mails_that_are_bombs() {
    run(BOMBS);
}
