//! What a server sends when mails are asked for, and servers that never stop.

use password_verify_tests::mail::hostile::Act::{Cut, Flood, Say, Silence, Usual};
use password_verify_tests::mail::hostile::Shelf;
use password_verify_tests::mail::hostile::Step::{Bodies, Examine, Logout, Mails, Search, Sizes};

use super::case::Case;
use super::run::run;

const ONE: &[u8] = b"* 1 FETCH (UID 1 BODY[]<0> {18}\r\nSubject: again\r\n\r\n)\r\n";

const BROKEN: &[u8] = b"* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\nand more)\r\n%t OK x\r\n";

const MAILS: &[Case] = &[
    Case::new("sends mails that nobody asked for", &[(Bodies, &[Flood(b"* 9 FETCH (UID 99 BODY[] {4}\r\n\r\n\r\n)\r\n", 1000), Usual])], "done ok").mails(3, 0),
    Case::new("sends a mail with number 0", &[(Bodies, &[Say(b"* 1 FETCH (UID 0 BODY[] {4}\r\n\r\n\r\n)\r\n"), Usual])], "done ok").mails(3, 0),
    Case::new("sends mails without numbers", &[(Bodies, &[Say(b"* 1 FETCH (BODY[] {4}\r\n\r\n\r\n)\r\n"), Usual])], "done ok").mails(3, 0),
    Case::new("sends a mail 100 times", &[(Bodies, &[Flood(ONE, 100), Usual])], "done ok").mails(3, 0),
    Case::new("sends mails in another order", &[(Bodies, &[Say(b"* 3 FETCH (UID 3 BODY[] {4}\r\n\r\n\r\n)\r\n* 2 FETCH (BODY[] {4}\r\n\r\n\r\n UID 2)\r\n* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\n)\r\n%t OK x\r\n")])], "done ok").mails(3, 0),
    Case::new("sends a mail that is NIL", &[(Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[] NIL)\r\n%t OK x\r\n")])], "retry server_bug"),
    Case::new("sends a longer mail than it has announced", &[(Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\nand more)\r\n%t OK x\r\n")])], "failed protocol").mails(0, 0),
    Case::new("announces a mail of 4 GB", &[(Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[] {4294967295}\r\n"), Flood(b"x", 1 << 30)])], "failed too_large").mails(0, 0),
    Case::new("announces a mail of 1 GB", &[(Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[] {1073741824}\r\n"), Flood(b"x", 1 << 30)])], "failed too_large").mails(0, 0),
    Case::new("sends more of a mail than was asked for", &[(Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[] {1000000}\r\n"), Flood(b"x", 1_000_000), Say(b")\r\n%t OK x\r\n")])], "failed too_large").mails(0, 0),
    Case::new("says that its mails have 200 MB", &[(Sizes, &[Usual])], "done ok").mails(3, 0).shelf(LARGE),
    Case::new("says that its mails have more bytes than there are numbers", &[(Sizes, &[Usual])], "done ok").mails(3, 0).shelf(LARGER),
    Case::new("announces 4 GB within EXAMINE", &[(Examine, &[Say(b"* LIST () \"/\" {4294967295}\r\n"), Silence])], "failed too_large"),
    Case::new("announces 1 GB within SEARCH", &[(Search, &[Say(b"* LIST () \"/\" {1073741824}\r\n"), Silence])], "failed too_large"),
    Case::new("announces 1 GB instead of a size", &[(Sizes, &[Say(b"* 1 FETCH (UID 1 RFC822.TEXT {1073741824}\r\n"), Silence])], "done ok").mails(3, 0),
    Case::new("does not know when mails arrived", &[(Sizes, &[Say(b"* 1 FETCH (UID 1 RFC822.SIZE 5 INTERNALDATE NIL)\r\n"), Usual])], "done ok").mails(3, 0),
    Case::new("nests 4,000 brackets", &[(Bodies, &[Say(b"* 1 FETCH (BODYSTRUCTURE "), Flood(b"(", 4000), Silence])], "failed protocol").mails(0, 0),
    Case::new("nests 100,000 brackets", &[(Search, &[Say(b"* 1 FETCH (BODYSTRUCTURE "), Flood(b"(", 100_000), Silence])], "failed protocol"),
    Case::new("nests mails in mails", &[(Search, &[Say(b"* 1 FETCH (BODYSTRUCTURE "), Flood(b"(\"MESSAGE\" \"RFC822\" (\"a\" \"))))))\") NIL NIL \"7BIT\" 1 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ", 4000), Silence])], "failed protocol"),
    Case::new("hides brackets in what looks like a literal", &[(Search, &[Say(b"* OK {100000}\r\n* 1 FETCH (BODYSTRUCTURE "), Flood(b"(", 90_000), Silence])], "failed protocol"),
];

/// Mails that cannot be read, among others that can.
const SOME: &[Case] = &[
    Case::new("cannot say the first mail", &[(Mails(&[1]), &[Say(BROKEN)])], "done ok")
        .mails(3, 1)
        .logins(4, 4),
    Case::new("cannot say the second mail", &[(Mails(&[2]), &[Say(BROKEN)])], "done ok")
        .mails(3, 1)
        .logins(4, 4),
    Case::new("cannot say the last mail", &[(Mails(&[3]), &[Say(BROKEN)])], "done ok")
        .mails(3, 1)
        .logins(4, 4),
    Case::new("cannot say two mails", &[(Mails(&[1, 2]), &[Say(BROKEN)])], "done ok")
        .mails(3, 2)
        .logins(6, 6),
    Case::new("says BAD to one mail", &[(Mails(&[2]), &[Say(b"%t BAD no\r\n")])], "done ok")
        .mails(3, 1)
        .logins(4, 4),
    Case::new("says NO to one mail", &[(Mails(&[2]), &[Say(b"%t NO no\r\n")])], "done ok")
        .mails(3, 1)
        .logins(1, 1),
    Case::new("ends at one mail", &[(Mails(&[2]), &[Cut])], "done ok").mails(3, 1).logins(4, 4),
    Case::new(
        "announces 4 GB for one mail",
        &[(Mails(&[2]), &[Say(b"* 1 FETCH (UID 2 BODY[] {4294967295}\r\n"), Silence])],
        "done ok",
    )
    .mails(3, 1)
    .logins(4, 4),
    Case::new("cannot say its only mail", &[(Bodies, &[Say(BROKEN)])], "failed protocol")
        .mails(0, 0)
        .logins(3, 3)
        .shelf(ONLY),
    Case::new("ends at its only mail", &[(Bodies, &[Cut])], "retry disconnected")
        .mails(0, 0)
        .logins(3, 3)
        .shelf(ONLY),
    Case::new(
        "says BAD to mails for a while",
        &[
            (Bodies, &[Say(b"%t BAD no\r\n")]),
            (Bodies, &[Say(b"%t BAD no\r\n")]),
            (Bodies, &[Usual]),
        ],
        "done ok",
    )
    .mails(3, 0)
    .logins(3, 3),
];

const FLOODS: &[Case] = &[
    Case::new(
        "says 100,000 times within EXAMINE how many mails it has",
        &[(Examine, &[Flood(b"* 3 EXISTS\r\n", 100_000), Usual])],
        "failed too_large",
    ),
    Case::new(
        "says 50,000 times within SEARCH that a mail is gone",
        &[(Search, &[Flood(b"* 1 EXPUNGE\r\n", 50_000), Usual])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "says again and again that mails are gone",
        &[(Search, &[Flood(b"* 1 EXPUNGE\r\n", 100_000_000)])],
        "failed too_large",
    ),
    Case::new(
        "marks a mail 100,000 times",
        &[(Bodies, &[Flood(b"* 1 FETCH (FLAGS (\\Seen))\r\n", 100_000), Usual])],
        "failed too_large",
    )
    .mails(0, 0),
    Case::new(
        "has an endless line in an answer",
        &[(Examine, &[Say(b"* OK "), Flood(b"x", 1 << 30)])],
        "failed too_large",
    ),
    Case::new(
        "has an endless line in SEARCH",
        &[(Search, &[Say(b"* OK "), Flood(b"x", 1 << 30)])],
        "failed too_large",
    ),
    Case::new(
        "has endless flags",
        &[(Search, &[Say(b"* FLAGS ("), Flood(b"a ", 1 << 29)])],
        "failed too_large",
    ),
    Case::new(
        "says good-bye for ever",
        &[(Logout, &[Flood(b"* OK bye\r\n", 100_000_000)])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "asks to go on where there is nothing to go on with",
        &[(Examine, &[Say(b"+ \r\n+ x\r\n"), Usual])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "answers commands that were not given",
        &[(Search, &[Say(b"Z9 NO x\r\nZ8 OK x\r\nZ7 BAD x\r\n"), Usual])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "has bytes everywhere that are no text",
        &[(Examine, &[Say(b"* OK [ALERT] \xff\xfe\r\n* FLAGS (\xff)\r\n"), Usual])],
        "failed protocol",
    ),
    Case::new(
        "has a byte zero in an answer",
        &[(Search, &[Say(b"* OK \0\r\n"), Usual])],
        "failed protocol",
    ),
    Case::new(
        "has a byte zero in a name",
        &[(Sizes, &[Say(b"* 1 FETCH (\0 1)\r\n"), Usual])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "has a code with letters right after it",
        &[(Examine, &[Say(b"* OK [ALERT]\xc3\xa4\r\n"), Usual])],
        "failed protocol",
    ),
];

fn mail(uid: u32) -> Vec<u8> {
    format!("Subject: {uid}\r\n\r\nx\r\n").into_bytes()
}

const ONLY: Shelf = Shelf { count: 1, mail, said: None };
const LARGE: Shelf = Shelf { count: 3, mail, said: Some(200 << 20) };
const LARGER: Shelf = Shelf { count: 3, mail, said: Some(u64::MAX) };

#[test]
fn who_sends_mails() {
    run(MAILS);
}

#[test]
fn who_has_mails_that_cannot_be_read() {
    run(SOME);
}

#[test]
fn who_never_stops() {
    run(FLOODS);
}
