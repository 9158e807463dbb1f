//! One part of one mail.

use std::thread::sleep;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use password_verify_tests::mail::hostile::Act::{Cut, Flood, Say, Then, Usual};
use password_verify_tests::mail::hostile::Step::{Examine, Header, Piece};
use password_verify_tests::mail::hostile::{Hostile, Manner, Shelf};
use password_verify_tests::mail_app::Mailbox;
use postgres::Client;

use super::case::Case;
use super::room::{Room, end};
use super::run::run;

/// What is read at once, in bytes as they are sent.
const PIECE: usize = 512 << 10;

/// Asks for the only part of mail 1: the number of the request.
pub fn ask(app: &mut Client, mailbox: &Mailbox) -> i64 {
    let sql = "SELECT auth.pv_request_attachment($1::text, $2, 'INBOX', 7, 1, '1')";
    app.query_one(sql, &[&mailbox.user, &mailbox.name]).unwrap().get(0)
}

/// What there is of a part: each piece where the one before has ended, and nothing after the last.
pub fn content(app: &mut Client, request: i64) -> Vec<u8> {
    let (mut all, mut after, mut ended, mut next) = (Vec::new(), 0_i64, false, 0);
    let sql = "SELECT seq, position, data, last FROM auth.pv_read_attachment($1, $2) ORDER BY seq";
    loop {
        let rows = app.query(sql, &[&request, &after]).unwrap();
        if rows.is_empty() {
            return all;
        }
        for row in rows {
            assert!(!ended, "a piece after the last");
            assert_eq!(row.get::<_, i64>(1), next, "where it begins");
            next += PIECE as i64;
            all.extend(row.get::<_, Vec<u8>>(2));
            (after, ended) = (row.get(0), row.get(3));
        }
    }
}

/// Two pieces and a half, as they are sent.
fn file() -> Vec<u8> {
    (0..(PIECE * 5 / 2) as u32)
        .map(|it| b'a' + (it.wrapping_mul(2_654_435_761) >> 28) as u8)
        .collect()
}

fn large(_: u32) -> Vec<u8> {
    [b"Subject: x\r\n\r\n", &file()[..]].concat()
}

fn small(_: u32) -> Vec<u8> {
    let text = Base64::encode_string(&hello());
    format!("Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n{text}").into_bytes()
}

fn empty(_: u32) -> Vec<u8> {
    b"Subject: x\r\n\r\n".to_vec()
}

/// Ends where a piece does.
fn even(_: u32) -> Vec<u8> {
    [b"Subject: x\r\n\r\n", &two()[..]].concat()
}

fn two() -> Vec<u8> {
    file()[..2 * PIECE].to_vec()
}

fn one() -> Vec<u8> {
    file()[..PIECE].to_vec()
}

fn hello() -> Vec<u8> {
    b"hello".to_vec()
}

const fn of(mail: fn(u32) -> Vec<u8>) -> Shelf {
    Shelf { count: 2, mail, said: None }
}

const ATTACHMENTS: &[Case] = &[
    Case::new("has an attachment", &[(Piece, &[Usual])], "done ok").shelf(of(large)).part(file),
    Case::new("has an attachment in base64", &[(Piece, &[Usual])], "done ok").shelf(of(small)).part(hello),
    Case::new("has an attachment without content", &[(Piece, &[Usual])], "done ok").shelf(of(empty)).part(Vec::new),
    Case::new("has an attachment that ends where a piece does", &[(Piece, &[Usual])], "done ok").shelf(of(even)).part(two),
    Case::new(
        "has nothing behind the end of an attachment",
        &[(Piece, &[Usual, Then(&[Usual, Then(&[Say(b"* 1 FETCH (UID 1 BODY[1]<1048576> NIL)\r\n%t OK x\r\n")])])])],
        "done ok",
    )
    .shelf(of(even))
    .part(two),
    Case::new(
        "has no header for the only part of a mail",
        &[(Header, &[Say(b"* 1 FETCH (UID 1 BODY[1.MIME] \"\" BODY[HEADER] {37}\r\nContent-Transfer-Encoding: base64\r\n\r\n)\r\n%t OK x\r\n")])],
        "done ok",
    )
    .shelf(of(small))
    .part(hello),
    Case::new(
        "has no such part",
        &[(Piece, &[Say(b"* 1 FETCH (UID 1 BODY[1]<0> NIL)\r\n%t OK x\r\n")])],
        "failed mailbox_missing",
    )
    .part(Vec::new),
    Case::new(
        "says what is known of a mail instead of an attachment",
        &[(Piece, &[Say(b"* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n%t OK x\r\n")])],
        "retry server_bug",
    )
    .part(Vec::new),
    Case::new(
        "says what is known of a mail in the middle of an attachment",
        &[(Piece, &[Usual, Then(&[Say(b"* 1 FETCH (UID 1 FLAGS ())\r\n%t OK x\r\n")])])],
        "retry server_bug",
    )
    .shelf(of(large))
    .part(one),
    Case::new(
        "does not care which piece is asked for",
        &[(Piece, &[Say(b"* 1 FETCH (UID 1 BODY[1] {530000}\r\n"), Flood(b"x", 530_000), Say(b")\r\n%t OK x\r\n")])],
        "failed protocol",
    )
    .part(Vec::new),
    Case::new(
        "sends an attachment that is too long",
        &[(Piece, &[Say(b"* 1 FETCH (UID 1 BODY[1] {2000000}\r\n"), Flood(b"x", 2_000_000), Say(b")\r\n%t OK x\r\n")])],
        "failed too_large",
    )
    .part(Vec::new),
    Case::new(
        "has another UIDVALIDITY when an attachment is asked for",
        &[(Examine, &[Say(b"* OK [UIDVALIDITY 8] x\r\n%t OK [READ-ONLY] done\r\n")])],
        "failed mailbox_reset",
    )
    .part(Vec::new),
    Case::new("has no such mail any more", &[(Header, &[Say(b"%t OK x\r\n")])], "failed mailbox_missing")
        .part(Vec::new),
    Case::new(
        "loses a mail in the middle of an attachment",
        &[(Piece, &[Usual, Then(&[Say(b"%t OK x\r\n")])])],
        "failed mailbox_missing",
    )
    .shelf(of(large))
    .part(one),
    Case::new(
        "ends in the middle of an attachment",
        &[(Piece, &[Usual, Then(&[Say(b"* 1 FETCH (UID 1 BODY[1]<524288> {9}\r\nhalf"), Cut])])],
        "retry disconnected",
    )
    .shelf(of(large))
    .part(one),
];

#[test]
fn who_has_attachments() {
    run(ATTACHMENTS);
}

#[test]
fn what_was_cut_off_is_gone_on_with() {
    let room = Room::new();
    let good = Manner { shelf: of(large), ..Manner::good(&room.certificates.good) };
    let server = Hostile::start(good.clone());
    let mut app = room.kept.depositor();
    let mailbox = room.mailbox(&server, "cut");
    let first = mailbox.register(&mut app);
    assert_eq!(room.await_end(&mut app, &mailbox, first), "done ok");
    server.behave(&[good.clone().but(Piece, &[Usual, Then(&[Cut])]), good]);
    let request = ask(&mut app, &mailbox);
    assert_eq!(room.await_end(&mut app, &mailbox, request), "retry disconnected");
    assert!(content(&mut app, request) == one());
    let start = Instant::now();
    while end(&mut app, &mailbox, request).as_deref() != Some("done ok") {
        assert!(start.elapsed() < Duration::from_secs(100), "it does not go on");
        sleep(Duration::from_millis(100));
    }
    assert!(content(&mut app, request) == file());
    room.close();
}
