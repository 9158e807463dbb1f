//! Servers that repeat the secret, and servers that have not proved that they know it.

use password_verify_tests::mail::hostile::Act::{Challenge, Listen, Say, Silence};
use password_verify_tests::mail::hostile::Step::{Examine, Login};

use super::case::Case;
use super::run::run;

const ECHOES: &[Case] = &[
    Case::new(
        "repeats the secret when it refuses it",
        &[(Login, &[Say(b"%t NO %p is wrong, and so is %b\r\n")])],
        "rejected credential_refused",
    )
    .refused(),
    Case::new(
        "repeats the secret when it accepts it",
        &[(Login, &[Say(b"%t OK %p is right, and so is %b\r\n")])],
        "done ok",
    )
    .logins(1, 1)
    .mails(3, 0),
    Case::new(
        "repeats the secret in what cannot be read",
        &[(Login, &[Say(b"* %p\0%b\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "repeats the secret in a code that cannot be read",
        &[(Login, &[Say(b"* OK [ALERT]\xc3\xa4%p %b\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "repeats the secret in a refusal that cannot be read",
        &[(Login, &[Say(b"%t NO [ALERT]\xc3\xa4%p %b\r\n"), Silence])],
        "failed protocol",
    ),
    Case::new(
        "repeats the secret as the name of a mailbox",
        &[(Examine, &[Say(b"%t NO [ALERT] %p\r\n")])],
        "failed mailbox_missing",
    ),
];

const SCRAM: &[Case] = &[
    Case::new(
        "accepts SCRAM without a proof",
        &[(Login, &[Challenge(4096), Listen, Say(b"%t OK x\r\n")])],
        "failed protocol",
    )
    .scram(),
    Case::new("accepts SCRAM at once", &[(Login, &[Say(b"%t OK x\r\n")])], "failed protocol")
        .scram(),
    Case::new(
        "has a wrong proof",
        &[(
            Login,
            &[
                Challenge(4096),
                Listen,
                Say(b"+ dj1BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9\r\n"),
                Listen,
                Say(b"%t OK x\r\n"),
            ],
        )],
        "failed protocol",
    )
    .scram(),
    Case::new(
        "refuses SCRAM",
        &[(Login, &[Challenge(4096), Listen, Say(b"%t NO x\r\n")])],
        "rejected credential_refused",
    )
    .scram()
    .refused(),
    Case::new(
        "wants 4 billion rounds of SCRAM",
        &[(Login, &[Challenge(u32::MAX), Listen, Say(b"%t NO x\r\n")])],
        "failed protocol",
    )
    .scram(),
    Case::new(
        "wants 4 billion rounds of SCRAM, too",
        &[(Login, &[Challenge(u32::MAX), Listen, Say(b"%t NO x\r\n")])],
        "failed protocol",
    )
    .scram(),
    Case::new(
        "wants no round of SCRAM",
        &[(Login, &[Challenge(0), Listen, Say(b"%t NO x\r\n")])],
        "failed protocol",
    )
    .scram(),
    Case::new(
        "does not know what SCRAM is",
        &[(Login, &[Say(b"+ eA==\r\n"), Listen, Say(b"%t NO x\r\n")])],
        "failed protocol",
    )
    .scram(),
    Case::new(
        "asks for nothing in SCRAM",
        &[(Login, &[Say(b"+ \r\n"), Listen, Say(b"+ \r\n"), Listen, Say(b"%t OK x\r\n")])],
        "failed protocol",
    )
    .scram(),
];

#[test]
fn who_repeats_the_secret() {
    run(ECHOES);
}

#[test]
fn who_does_not_know_the_secret() {
    run(SCRAM);
}
