//! What users of such programs complain about elsewhere, each as a test that this one does not do it. The links are to
//! where they do.
#![allow(clippy::unwrap_used)]

use std::thread::sleep;
use std::time::Duration;

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Fault, Faults, messages};
use password_verify_tests::mail_app::{Mailbox, fetch, read};
use password_verify_tests::office::{Office, PASSWORD};
use password_verify_tests::trail::wait_until;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

fn office() -> Office {
    Office::on(KeptSite::shared())
}

/// 1. HybridAIOne/hybridclaw #1406: a poller that tries a refused password for ever gets the whole address banned.
/// 4. Foundry376/Mailspring #1178: after a change of the password it "syncs endlessly", and the refusal is in the log.
#[test]
fn a_refused_password_is_tried_once_and_seen_to_be_refused() {
    let office = office();
    let keeper = office.setup(KEEPER).start();
    let mut app = office.kept.depositor();
    let ann = Mailbox { password: "not-her-password".into(), ..office.ann.clone() };
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "blocked rejected credential_refused");
    assert_eq!(ann.state(&mut app), "rejected credential_refused");
    let more: Vec<i64> = (0..5).map(|_| ann.request(&mut app)).collect();
    for request in &more {
        ann.await_end(&mut app, *request, "blocked");
    }
    // A poller would have come again by now.
    sleep(Duration::from_secs(8));
    let refused = || office.dovecot.log().matches("auth failed").count();
    assert_eq!(refused(), 1, "{}", office.dovecot.log());

    // The right one is tried at once, for all that has waited.
    let ann = Mailbox { password: PASSWORD.into(), ..ann };
    ann.register(&mut app);
    for request in more {
        ann.await_end(&mut app, request, "ended done ok");
    }
    assert_eq!(ann.state(&mut app), "verified");
    assert_eq!(refused(), 1);

    // And another change is noticed once.
    office.dovecot.set_password("ann", "changed-by-herself");
    ann.request(&mut app);
    ann.request(&mut app);
    ann.await_state(&mut app, "rejected credential_refused");
    sleep(Duration::from_secs(8));
    assert_eq!(refused(), 2);
    assert!(keeper.log().contains(r#""detail":"credential_refused""#));
}

/// 2. nextcloud/mail #9156: lost connections were counted as wrong passwords.
/// 3. nextcloud/server #12703: passwords are thrown away when the server does not answer.
#[test]
fn a_server_that_does_not_answer_has_not_refused() {
    let office = office();
    let network = Faults::before(office.dovecot.imaps_port());
    let _keeper = office.setup(KEEPER).connect("silence_timeout = 2").start();
    let mut app = office.kept.depositor();
    let ann = Mailbox { port: network.port(), ..office.ann.clone() };
    let first = ann.register(&mut app);
    ann.await_end(&mut app, first, "ended done ok");
    // Enough for the handshake, and not for the login; then at other moments.
    for (fault, detail) in [
        (Fault::Refused, "unavailable"),
        (Fault::Reset, "disconnected"),
        (Fault::Silence, "timeout"),
        (Fault::CutAfter { to_server: 420, to_client: usize::MAX }, "disconnected"),
    ] {
        network.set(fault);
        let request = ann.request(&mut app);
        ann.await_end(&mut app, request, &format!("waiting retry {detail}"));
        assert_eq!(ann.state(&mut app), "verified", "{fault:?}");
    }
    network.set(Fault::None);
    let request = ann.request(&mut app);
    ann.await_end(&mut app, request, "ended done ok");
}

/// 7. chatmail/core #1725, nextcloud/mail #2979, thunderbird-android #1074: UIDVALIDITY changes, and mail is lost.
#[test]
fn other_numbers_of_mails_lose_none_and_are_said() {
    let office = office();
    let _keeper = office.setup(KEEPER).start();
    let mut app = office.kept.depositor();
    let ann = office.ann.clone();
    ann.register(&mut app);
    office.dovecot.deliver("ann", &messages::plain("one", "1"));
    office.dovecot.deliver("ann", &messages::plain("two", "2"));
    let rounds = "every => '1 minute', until => now() + '1 hour'";
    let request = ann.request_with(&mut app, rounds);
    wait_until("the first round", || read(&mut app, request).len() == 2);
    assert_eq!(fetch(&mut app, request), ["one", "two"]);
    office.dovecot.reset_uidvalidity("ann");
    office.dovecot.deliver("ann", &messages::plain("three", "3"));
    for _ in 0..3 {
        if read(&mut app, request).is_empty() {
            sleep(Duration::from_secs(25));
        }
    }
    let again = read(&mut app, request);
    assert_eq!(again[0].note.as_deref(), Some("mailbox_reset"), "{again:?}");
    assert_eq!(again[0].uid, None);
    let subjects: Vec<_> = again[1..].iter().filter_map(|it| it.subject.as_deref()).collect();
    assert_eq!(subjects, ["one", "two", "three"]);
    // The numbers of the results go on, so that an application which remembers the last one takes none for old.
    assert!(again.iter().all(|mail| mail.seq > 1));
}
