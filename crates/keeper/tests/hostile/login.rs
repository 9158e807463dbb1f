//! What a server says when it has seen the secret.

use password_verify_tests::mail::hostile::Act::{Cut, Flood, Say, Silence};
use password_verify_tests::mail::hostile::Step::{Login, Mechanism};

use super::case::Case;
use super::run::run;

const ANSWERS: &[Case] = &[
    Case::new(
        "answers the login with [UNAVAILABLE]",
        &[(Login, &[Say(b"%t NO [UNAVAILABLE] x\r\n")])],
        "retry unavailable",
    ),
    Case::new(
        "answers the login with [LIMIT]",
        &[(Login, &[Say(b"%t NO [LIMIT] x\r\n")])],
        "retry limited",
    ),
    Case::new(
        "answers the login with [INUSE]",
        &[(Login, &[Say(b"%t NO [INUSE] x\r\n")])],
        "retry in_use",
    ),
    Case::new(
        "answers the login with [SERVERBUG]",
        &[(Login, &[Say(b"%t NO [SERVERBUG] x\r\n")])],
        "retry server_bug",
    ),
    Case::new(
        "answers the login with [AUTHENTICATIONFAILED]",
        &[(Login, &[Say(b"%t NO [AUTHENTICATIONFAILED] x\r\n")])],
        "rejected credential_refused",
    )
    .refused(),
    Case::new(
        "answers the login with [EXPIRED]",
        &[(Login, &[Say(b"%t NO [EXPIRED] x\r\n")])],
        "rejected credential_refused",
    )
    .refused(),
    Case::new(
        "answers the login with NO",
        &[(Login, &[Say(b"%t NO\r\n")])],
        "rejected credential_refused",
    )
    .refused(),
    Case::new(
        "answers the login with NO and a referral",
        &[(Login, &[Say(b"%t NO [REFERRAL imap://evil.example/] go there\r\n")])],
        "rejected credential_refused",
    )
    .refused(),
    Case::new(
        "answers LOGIN with [UNAVAILABLE]",
        &[(Login, &[Say(b"%t NO [UNAVAILABLE] x\r\n")])],
        "retry unavailable",
    )
    .mechanism("LOGIN"),
    Case::new(
        "answers LOGIN with NO",
        &[(Login, &[Say(b"%t NO x\r\n")])],
        "rejected credential_refused",
    )
    .mechanism("LOGIN")
    .refused(),
    Case::new("answers the login with BAD", &[(Login, &[Say(b"%t BAD x\r\n")])], "failed protocol"),
    Case::new("answers LOGIN with BAD", &[(Login, &[Say(b"%t BAD x\r\n")])], "failed protocol")
        .mechanism("LOGIN"),
    Case::new(
        "answers the login with BYE",
        &[(Login, &[Say(b"* BYE x\r\n"), Cut])],
        "retry disconnected",
    ),
    Case::new(
        "answers LOGIN with BYE",
        &[(Login, &[Say(b"* BYE x\r\n"), Cut])],
        "retry disconnected",
    )
    .mechanism("LOGIN"),
    Case::new(
        "answers the login with a BYE that ends it",
        &[(Login, &[Say(b"%t BYE x\r\n")])],
        "failed protocol",
    ),
    Case::new(
        "answers another login with NO",
        &[(Login, &[Say(b"Z9 NO x\r\n"), Silence])],
        "retry timeout",
    ),
    Case::new(
        "answers another LOGIN with NO",
        &[(Login, &[Say(b"Z9 NO x\r\n"), Silence])],
        "retry timeout",
    )
    .mechanism("LOGIN"),
    Case::new(
        "answers another login with OK",
        &[(Login, &[Say(b"Z9 OK x\r\n"), Silence])],
        "retry timeout",
    ),
    Case::new(
        "says NO before it was shown anything",
        &[(Mechanism, &[Say(b"%t NO x\r\n")])],
        "retry server_bug",
    ),
    Case::new(
        "says [UNAVAILABLE] before it was shown anything",
        &[(Mechanism, &[Say(b"%t NO [UNAVAILABLE] x\r\n")])],
        "retry unavailable",
    ),
    Case::new(
        "asks for the secret in what is no base64",
        &[(Mechanism, &[Say(b"+ {%t}\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "asks again and again for the secret",
        &[(Login, &[Flood(b"+ \r\n", 100_000)])],
        "failed too_large",
    ),
    Case::new(
        "says OK 100,000 times, and never to the login",
        &[(Login, &[Flood(b"* OK x\r\n", 100_000)])],
        "failed too_large",
    ),
    Case::new(
        "announces 4 GB instead of an answer to the login",
        &[(Login, &[Say(b"* OK {4294967295}\r\n"), Silence])],
        "failed too_large",
    ),
];

#[test]
fn who_has_seen_the_secret() {
    run(ANSWERS);
}
