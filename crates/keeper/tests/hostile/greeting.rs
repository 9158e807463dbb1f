//! What comes before anybody is logged in: the certificate, STARTTLS, the greeting, what the server can do.

use password_verify_tests::mail::hostile::Act::{
    Cut, Drip, Encrypt, Flood, Hear, Reset, Say, Silence, Usual,
};
use password_verify_tests::mail::hostile::Step::{
    Accept, Capability, Greeting, Handshake, StartTls,
};

use super::case::{Case, Shown};
use super::run::run;

/// The first answer of TLS 1.1, with AES and without extensions.
const TLS_1_1: &[u8] = b"\x16\x03\x02\x00\x2a\x02\x00\x00\x26\x03\x02\
    0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

const TLS: &[Case] = &[
    Case::new("shows a certificate for another name", &[(Accept, &[Usual])], "failed tls")
        .shows(Shown::OtherName),
    Case::new("shows a certificate that is over", &[(Accept, &[Usual])], "failed tls")
        .shows(Shown::Expired),
    Case::new("shows a certificate of a stranger", &[(Accept, &[Usual])], "failed tls")
        .shows(Shown::Foreign),
    Case::new("shows a certificate that it has signed itself", &[(Accept, &[Usual])], "failed tls")
        .shows(Shown::SelfSigned),
    Case::new("shows a certificate of version 1", &[(Accept, &[Usual])], "failed tls")
        .shows(Shown::Version1),
    Case::new("speaks TLS 1.1", &[(Handshake, &[Say(TLS_1_1), Silence])], "failed tls"),
    Case::new(
        "says that it knows no such version of TLS",
        &[(Handshake, &[Say(b"\x15\x03\x01\x00\x02\x02\x46"), Silence])],
        "failed tls",
    ),
    Case::new("speaks no TLS", &[(Accept, &[Say(b"* OK ready\r\n"), Silence])], "failed tls"),
    Case::new("never begins with TLS", &[(Handshake, &[Silence])], "retry timeout"),
    Case::new(
        "begins with TLS a byte a second",
        &[(Handshake, &[Drip(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfa\x03\x03")])],
        "retry timeout",
    ),
    Case::new("ends in the middle of TLS", &[(Handshake, &[Cut])], "retry disconnected"),
    Case::new("breaks off in the middle of TLS", &[(Handshake, &[Reset])], "retry disconnected"),
];

const STARTTLS: &[Case] = &[
    Case::new("says NO to STARTTLS", &[(StartTls, &[Say(b"%t NO no\r\n")])], "failed tls")
        .starts_tls(),
    Case::new("says BAD to STARTTLS", &[(StartTls, &[Say(b"%t BAD what?\r\n")])], "failed tls")
        .starts_tls(),
    Case::new(
        "says OK to STARTTLS and goes on without TLS",
        &[(StartTls, &[Say(b"%t OK begin\r\n"), Hear, Say(b"* OK go on\r\n"), Silence])],
        "failed tls",
    )
    .starts_tls(),
    Case::new(
        "says OK to STARTTLS and nothing more",
        &[(StartTls, &[Say(b"%t OK begin\r\n"), Silence])],
        "retry timeout",
    )
    .starts_tls(),
    Case::new(
        "sends answers before TLS that are meant for later",
        &[(
            StartTls,
            &[
                Say(b"%t OK begin\r\n* CAPABILITY IMAP4rev1\r\nA0001 NO no\r\nA0002 NO no\r\n"),
                Encrypt,
            ],
        )],
        "done ok",
    )
    .starts_tls()
    .logins(1, 1)
    .mails(3, 0),
    Case::new(
        "says BYE to STARTTLS",
        &[(StartTls, &[Say(b"* BYE\r\n"), Cut])],
        "retry disconnected",
    )
    .starts_tls(),
    Case::new("ends at STARTTLS", &[(StartTls, &[Cut])], "retry disconnected").starts_tls(),
    Case::new("says nothing to STARTTLS", &[(StartTls, &[Silence])], "retry timeout").starts_tls(),
    Case::new(
        "says in the clear that everybody is logged in",
        &[(Greeting, &[Say(b"* PREAUTH welcome\r\n")])],
        "failed protocol",
    )
    .starts_tls(),
    Case::new(
        "has an endless line in the clear",
        &[(Greeting, &[Say(b"* OK "), Flood(b"x", 1 << 30)])],
        "failed too_large",
    )
    .starts_tls(),
];

const GREETING: &[Case] = &[
    Case::new("greets with BYE", &[(Greeting, &[Say(b"* BYE\r\n"), Cut])], "retry unavailable"),
    Case::new(
        "greets with BYE and a limit",
        &[(Greeting, &[Say(b"* BYE [LIMIT] too many\r\n"), Cut])],
        "retry limited",
    ),
    Case::new(
        "says that everybody is logged in",
        &[(Greeting, &[Say(b"* PREAUTH welcome\r\n")])],
        "failed protocol",
    ),
    Case::new("greets with NO", &[(Greeting, &[Say(b"* NO\r\n")])], "failed protocol"),
    Case::new(
        "speaks another protocol",
        &[(Greeting, &[Say(b"220 mail.example ESMTP\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "has an endless line in its greeting",
        &[(Greeting, &[Say(b"* OK "), Flood(b"x", 1 << 30)])],
        "failed too_large",
    ),
    Case::new(
        "announces 4 GB in its greeting",
        &[(Greeting, &[Say(b"* OK {4294967295}\r\n"), Flood(b"x", 1 << 30)])],
        "failed too_large",
    ),
    Case::new(
        "greets 100,000 times",
        &[(Greeting, &[Flood(b"* OK welcome\r\n", 100_000)])],
        "failed too_large",
    ),
    Case::new(
        "has bytes in its greeting that are no text",
        &[(Greeting, &[Say(b"* OK \xff\xfe\xc3(\r\n")])],
        "done ok",
    )
    .logins(1, 1)
    .mails(3, 0),
    Case::new(
        "has a byte zero in its greeting",
        &[(Greeting, &[Say(b"* OK a\0b\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "nests 60,000 brackets in its greeting",
        &[(Greeting, &[Say(b"* 1 FETCH (BODYSTRUCTURE "), Flood(b"(", 60_000), Silence])],
        "failed protocol",
    ),
    Case::new(
        "nests 60,000 brackets in what looks like a literal",
        &[(
            Greeting,
            &[Say(b"* OK {50000}\r\n* 1 FETCH (BODYSTRUCTURE "), Flood(b"(", 50_000), Silence],
        )],
        "failed protocol",
    ),
];

const CAPABILITY: &[Case] = &[
    Case::new("does not offer the mechanism", &[(Capability, &[Usual])], "failed protocol")
        .offers("AUTH=CRAM-MD5"),
    Case::new("forbids LOGIN", &[(Capability, &[Usual])], "failed protocol")
        .mechanism("LOGIN")
        .offers("LOGINDISABLED"),
    Case::new(
        "says NO to CAPABILITY",
        &[(Capability, &[Say(b"%t NO no\r\n")])],
        "retry server_bug",
    ),
    Case::new(
        "says BAD to CAPABILITY",
        &[(Capability, &[Say(b"%t BAD no\r\n")])],
        "failed protocol",
    ),
    Case::new(
        "says 100,000 times what it can do",
        &[(Capability, &[Flood(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", 100_000), Usual])],
        "failed too_large",
    ),
    Case::new(
        "can do too much",
        &[(Capability, &[Say(b"* CAPABILITY IMAP4rev1"), Flood(b" AUTH=PLAIN", 1 << 24)])],
        "failed too_large",
    ),
    Case::new(
        "answers a command that was not given",
        &[(Capability, &[Say(b"Z9 OK done\r\n"), Silence])],
        "retry timeout",
    ),
    Case::new(
        "asks to go on where there is nothing to go on with",
        &[(Capability, &[Say(b"+ go on\r\n+ \r\n"), Usual])],
        "done ok",
    )
    .logins(1, 1)
    .mails(3, 0),
];

#[test]
fn before_anybody_is_logged_in() {
    run(&[TLS, STARTTLS, GREETING, CAPABILITY].concat());
}
