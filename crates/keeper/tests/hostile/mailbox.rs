//! What a server says of a mailbox, once somebody is logged in.

use password_verify_tests::mail::hostile::Act::{Flood, Say, Then, Usual};
use password_verify_tests::mail::hostile::Step::{Bodies, Examine, Logout, Search, Sizes};

use super::case::Case;
use super::run::run;

const NO: &[u8] = b"%t NO no\r\n";
const BAD: &[u8] = b"%t BAD what?\r\n";
const ILL: &[u8] = b"%t NO [SERVERBUG] Internal error occurred\r\n";
const TWO: &[u8] =
    b"* 1 FETCH (UID 1 BODY[] {4}\r\n\r\n\r\n)\r\n* 2 FETCH (UID 2 BODY[] {4}\r\n\r\n\r\n)\r\n";

const REFUSALS: &[Case] = &[
    Case::new("says NO to EXAMINE", &[(Examine, &[Say(NO)])], "failed mailbox_missing"),
    Case::new("says BAD to EXAMINE", &[(Examine, &[Say(BAD)])], "failed protocol"),
    Case::new("says NO to SEARCH", &[(Search, &[Say(NO)])], "retry server_bug"),
    Case::new("says BAD to SEARCH", &[(Search, &[Say(BAD)])], "failed protocol"),
    Case::new(
        "says [UNAVAILABLE] to SEARCH",
        &[(Search, &[Say(b"%t NO [UNAVAILABLE] x\r\n")])],
        "retry unavailable",
    ),
    Case::new("says NO when asked for sizes", &[(Sizes, &[Say(NO)])], "retry server_bug"),
    // It is asked for less each time, and then for nothing.
    Case::new("says BAD when asked for sizes", &[(Sizes, &[Say(BAD)])], "done ok")
        .mails(3, 0)
        .logins(3, 3),
    // It may be ill: nothing is given up.
    Case::new(
        "says NO when asked for mails that it has",
        &[(Bodies, &[Say(NO)])],
        "retry server_bug",
    ),
    Case::new("says BAD when asked for mails", &[(Bodies, &[Say(BAD)])], "failed protocol")
        .mails(0, 0)
        .logins(3, 3),
    Case::new(
        "becomes ill while it hands out mails",
        &[(Bodies, &[Say(TWO), Say(ILL), Then(&[Say(ILL)])])],
        "retry server_bug",
    )
    .mails(0, 0),
    Case::new(
        "says [UNAVAILABLE] when asked for mails",
        &[(Bodies, &[Say(b"%t NO [UNAVAILABLE] x\r\n")])],
        "retry unavailable",
    ),
    Case::new("keeps mails back", &[(Bodies, &[Say(b"%t OK done\r\n")])], "retry server_bug"),
    Case::new("says NO to LOGOUT", &[(Logout, &[Say(NO)])], "done ok").mails(3, 0),
    Case::new(
        "refers to another server",
        &[(Examine, &[Say(b"%t NO [REFERRAL imap://evil.example/INBOX] go there\r\n")])],
        "failed mailbox_missing",
    ),
    Case::new(
        "has an alert",
        &[(Examine, &[Say(b"* OK [ALERT] call 555-0100 now\r\n"), Usual])],
        "done ok",
    )
    .mails(3, 0),
];

const OK: &[u8] = b"%t OK [READ-ONLY] done\r\n";
const VALID: &[u8] = b"* OK [UIDVALIDITY 7] x\r\n";

const NUMBERS: &[Case] = &[
    Case::new(
        "has no UIDVALIDITY",
        &[(Examine, &[Say(b"* OK [UIDNEXT 4] x\r\n"), Say(OK)])],
        "failed protocol",
    ),
    Case::new(
        "has UIDVALIDITY 0",
        &[(Examine, &[Say(b"* OK [UIDVALIDITY 0] x\r\n"), Say(OK)])],
        "failed protocol",
    ),
    Case::new(
        "has another UIDVALIDITY in the middle",
        &[
            (Bodies, &[Say(b"* 1 FETCH (UID 1 BODY[]<0> {2}\r\n\r\n)\r\nbroken\r\n")]),
            (Examine, &[Say(b"* OK [UIDVALIDITY 8] x\r\n"), Say(OK)]),
        ],
        "done ok",
    )
    .mails(3, 0),
    Case::new("has no UIDNEXT", &[(Examine, &[Say(VALID), Say(OK)])], "done ok").mails(3, 0),
    Case::new(
        "has a UIDNEXT that is too small",
        &[(Examine, &[Say(VALID), Say(b"* OK [UIDNEXT 2] x\r\n"), Say(OK)])],
        "done ok",
    )
    .mails(1, 0),
    Case::new(
        "has UIDNEXT 0",
        &[(Examine, &[Say(VALID), Say(b"* OK [UIDNEXT 0] x\r\n"), Say(OK)])],
        "done ok",
    )
    .mails(0, 0),
    Case::new(
        "has the largest UIDNEXT",
        &[(Examine, &[Say(VALID), Say(b"* OK [UIDNEXT 4294967295] x\r\n"), Say(OK)])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "has a UIDNEXT that is no number",
        &[(Examine, &[Say(VALID), Say(b"* OK [UIDNEXT 99999999999] x\r\n"), Say(OK)])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "has 4 billion mails",
        &[(Examine, &[Say(b"* 4294967295 EXISTS\r\n"), Say(VALID), Say(OK)])],
        "done ok",
    )
    .mails(3, 0),
    Case::new(
        "has more mails than there are numbers",
        &[(Examine, &[Say(b"* 99999999999 EXISTS\r\n"), Say(VALID), Say(OK)])],
        "failed protocol",
    ),
    Case::new(
        "finds mails that nobody looked for",
        &[(Search, &[Say(b"* SEARCH 4294967295 0 3 2 2 1 99 3\r\n%t OK x\r\n")])],
        "done ok",
    )
    .mails(3, 0),
    Case::new("finds nothing", &[(Search, &[Say(b"* SEARCH\r\n%t OK x\r\n")])], "done ok")
        .mails(0, 0),
    Case::new(
        "finds the same mail 500,000 times",
        &[(Search, &[Say(b"* SEARCH"), Flood(b" 2", 500_000), Say(b"\r\n%t OK x\r\n")])],
        "done ok",
    )
    .mails(1, 0),
    Case::new(
        "finds a million mails that nobody looked for",
        &[(Search, &[Say(b"* SEARCH"), Flood(b" 4000000000", 1_000_000), Say(b"\r\n%t OK x\r\n")])],
        "failed too_large",
    ),
    Case::new(
        "finds mails and never ends",
        &[(Search, &[Flood(b"* SEARCH 1\r\n", 10_000_000)])],
        "failed too_large",
    ),
];

#[test]
fn who_has_a_mailbox() {
    run(&[REFUSALS, NUMBERS].concat());
}
