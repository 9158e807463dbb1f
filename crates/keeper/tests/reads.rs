//! Mail is read, once each, and nothing is changed where it lies.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::messages;
use password_verify_tests::mail_app::{fetch, read};
use password_verify_tests::office::Office;
use password_verify_tests::trail::wait_until;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

#[test]
fn an_account_is_verified_and_its_mail_read_once() {
    let office = Office::on(KeptSite::shared());
    let keeper = office.setup(KEEPER).start();
    let Office { kept, dovecot, ann, .. } = &office;
    let mut app = kept.depositor();
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
    // Not even that somebody has looked.
    assert_eq!(dovecot.files("ann", "INBOX"), before);
    assert_eq!(dovecot.flags("ann"), ["", ""]);
    assert_eq!(dovecot.status("ann", "INBOX").unseen, 2);
    assert!(keeper.stop().success());
    kept.assert_sound();
}

/// A mail that the server itself cannot read is said to be unreadable, if it can read others; if it cannot read any, it
/// is the server that is ill, and nothing is given up.
#[test]
fn a_mail_that_the_server_cannot_read_keeps_no_other_back() {
    let office = Office::on(KeptSite::shared());
    let _keeper = office.setup(KEEPER).start();
    let Office { kept, dovecot, ann, .. } = &office;
    let mut app = kept.depositor();
    ann.register(&mut app);
    let mode = |number: usize, mode: u32| {
        let names = dovecot.files("ann", "INBOX");
        let mut names: Vec<_> = names.iter().collect();
        names.sort_unstable_by_key(|name| name.split_once('/').unwrap().1.to_owned());
        let path = dovecot.folder().join("mail/ann").join(names[number]);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for number in 0..5 {
        dovecot.deliver("ann", &messages::plain(&format!("mail {number}"), "hello"));
    }
    // It knows their sizes, and then loses the third.
    let all = ann.request(&mut app);
    ann.await_end(&mut app, all, "ended done ok");
    mode(2, 0);
    let some = ann.request(&mut app);
    ann.await_end(&mut app, some, "ended done ok");
    let notes: Vec<_> =
        read(&mut app, some).into_iter().map(|mail| (mail.subject, mail.note)).collect();
    let expected = (0..5).map(|number| match number {
        2 => (None, Some("unreadable".to_owned())),
        _ => (Some(format!("mail {number}")), None),
    });
    assert_eq!(notes, expected.collect::<Vec<_>>());

    (0..5).for_each(|number| mode(number, 0));
    let none = ann.request(&mut app);
    wait_until("it fails", || ann.end(&mut app, none).starts_with("waiting retry"));
    assert_eq!(read(&mut app, none), []);
    (0..5).for_each(|number| mode(number, 0o600));
    let later = ann.request(&mut app);
    ann.await_end(&mut app, later, "ended done ok");
    assert_eq!(fetch(&mut app, later).len(), 5);
}

/// The only new mail cannot be read. That the server hands out others is seen with one that was read long ago.
#[test]
fn a_mail_that_the_server_cannot_read_is_not_taken_for_an_ill_server_because_it_is_the_only_new_one()
 {
    let office = Office::on(KeptSite::shared());
    let _keeper = office.setup(KEEPER).start();
    let Office { kept, dovecot, ann, .. } = &office;
    let mut app = kept.depositor();
    ann.register(&mut app);
    let path = || {
        let files = dovecot.files("ann", "INBOX");
        files.into_iter().map(|name| dovecot.folder().join("mail/ann").join(name))
    };
    dovecot.deliver("ann", &messages::plain("old", "hello"));
    for path in path() {
        let day = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        fs::File::options().write(true).open(path).unwrap().set_modified(day).unwrap();
    }
    let all = ann.request(&mut app);
    ann.await_end(&mut app, all, "ended done ok");
    let old: Vec<_> = path().collect();
    dovecot.deliver("ann", &messages::plain("new", "hello"));
    let since = "since => current_date - 30";
    let new = ann.request_with(&mut app, since);
    ann.await_end(&mut app, new, "ended done ok");
    assert_eq!(fetch(&mut app, new), ["new"]);
    let name = |path: &Path| {
        path.file_name().unwrap().to_string_lossy().split(':').next().unwrap().to_owned()
    };
    for path in path().filter(|it| old.iter().all(|other| name(other) != name(it))) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    }
    let again = ann.request_with(&mut app, since);
    ann.await_end(&mut app, again, "ended done ok");
    let notes: Vec<_> = read(&mut app, again).into_iter().map(|mail| mail.note).collect();
    assert_eq!(notes, [Some("unreadable".to_owned())]);
}
