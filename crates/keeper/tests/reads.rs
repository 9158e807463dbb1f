//! Mail is read, once each, and nothing is changed where it lies.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Certificates, Dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, fetch, read};
use password_verify_tests::pv_keeper::PvKeeper;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

#[test]
fn an_account_is_verified_and_its_mail_read_once() {
    let (kept, certificates) = (KeptSite::shared(), Certificates::new());
    let dovecot = Dovecot::start(&certificates, &[("ann", "velvet-anvil-under")]);
    let keeper = PvKeeper::start(KEEPER, &kept, &certificates);
    let mut app = kept.depositor();
    let ann = Mailbox::new(&certificates, dovecot.imaps_port(), "ann", "velvet-anvil-under");
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "ended done ok");
    assert_eq!(ann.state(&mut app), "verified");

    dovecot.deliver("ann", &messages::plain("first", "hello"));
    dovecot.deliver("ann", &messages::plain("second", "hello again"));
    let before = dovecot.files("ann", "INBOX");
    let request = ann.request(&mut app);
    ann.await_end(&mut app, request, "ended done ok");
    let mails = read(&mut app, request);
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].subject.as_deref(), Some("first"));
    assert_eq!(mails[0].text.as_deref().map(str::trim), Some("hello"));
    assert_eq!(fetch(&mut app, request), ["first", "second"]);
    assert_eq!(fetch(&mut app, request), Vec::<String>::new());
    assert_eq!(dovecot.files("ann", "INBOX").len(), before.len());
    assert_eq!(dovecot.flags("ann"), ["", ""]);
    assert_eq!(dovecot.status("ann", "INBOX").unseen, 2);
    assert!(keeper.stop().success());
    kept.assert_sound();
}
