//! A secret that was refused once.

use std::thread::sleep;
use std::time::Duration;

use password_verify_tests::mail::hostile::Act::Say;
use password_verify_tests::mail::hostile::Step::Login;
use password_verify_tests::mail::hostile::{Hostile, Manner};

use super::room::Room;

const REFUSED: &str = "rejected credential_refused";

/// Too many wrong logins lock a mailbox, or the address of whoever tries.
#[test]
fn a_secret_that_was_refused_is_not_shown_again_whoever_asks() {
    let room = Room::new();
    let good = Manner::good(&room.certificates.good);
    let server = Hostile::start(good.clone());
    let mut app = room.kept.depositor();
    let mailbox = room.mailbox(&server, "refused");
    let first = mailbox.register(&mut app);
    assert_eq!(room.await_end(&mut app, &mailbox, first), "done ok");
    let again = "every => '1 minute', until => now() + '1 hour'";
    let each_minute = mailbox.request_with(&mut app, again);
    assert_eq!(room.await_end(&mut app, &mailbox, each_minute), "done ok");
    assert_eq!(server.logins(), 2);

    server.behave(&[good.clone().but(Login, &[Say(b"%t NO [AUTHENTICATIONFAILED] no\r\n")])]);
    let once = mailbox.request(&mut app);
    assert_eq!(room.await_end(&mut app, &mailbox, once), REFUSED);
    // Longer than it takes until a round is due, and until what has failed is tried again.
    for _ in 0..7 {
        mailbox.request(&mut app);
        sleep(Duration::from_secs(10));
    }
    assert_eq!(server.logins(), 3);
    assert_eq!(mailbox.state(&mut app), REFUSED);

    // Stored anew, it is tried again; with it all that has waited.
    server.behave(&[good]);
    let anew = mailbox.register(&mut app);
    assert_eq!(room.await_end(&mut app, &mailbox, anew), "done ok");
    assert_eq!(room.await_end(&mut app, &mailbox, once), "done ok");
    room.close();
}
