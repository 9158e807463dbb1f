//! What the tests of the keeper read from does what those tests take for granted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;

use password_verify_tests::mail::dovecot::Setup;
use password_verify_tests::mail::messages::{self, of_size, plain};
use password_verify_tests::mail::oidc::{PUBLIC_CLIENT, Trouble, oauthbearer, xoauth2};
use password_verify_tests::mail::{Certificates, Cyrus, Dovecot, Imap, Oidc};
use password_verify_tests::trail::wait_until;

/// Somebody and her password.
const ANNA: (&str, &str) = ("anna", "a \"quoted\" pässword: with everything");

fn quoted(password: &str) -> String {
    password.replace('\\', "\\\\").replace('"', "\\\"")
}

#[test]
fn dovecot_knows_who_logs_in() {
    let certificates = Certificates::new();
    let dovecot = Dovecot::start(&certificates, &[ANNA]);
    let mut client = dovecot.connect(&certificates).unwrap();
    let refused = client.login("anna", "wrong").unwrap();
    assert!(refused.result.starts_with("NO [AUTHENTICATIONFAILED]"), "{refused:?}");
    let reply = client.login("anna", &quoted(ANNA.1)).unwrap();
    assert!(reply.is_ok(), "{reply:?}");
    // The log is written by another process.
    wait_until("it is logged", || dovecot.logins("anna") == 1);

    let mut client = Imap::starttls(dovecot.starttls_port(), certificates.client()).unwrap();
    assert!(client.login("anna", &quoted(ANNA.1)).unwrap().is_ok());
    for password in ["newer", "secret", "silver"] {
        dovecot.set_password("anna", password);
        let mut client = dovecot.connect(&certificates).unwrap();
        assert!(!client.login("anna", &quoted(ANNA.1)).unwrap().is_ok());
        assert!(client.login("anna", password).unwrap().is_ok());
    }
}

#[test]
fn only_the_good_certificate_is_accepted() {
    let certificates = Certificates::new();
    let dovecot = Dovecot::start(&certificates, &[ANNA]);
    let bad = [
        (&certificates.expired, "Expired"),
        (&certificates.foreign, "UnknownIssuer"),
        (&certificates.other_name, "not valid for name"),
    ];
    for (identity, why) in bad {
        dovecot.kill();
        dovecot.present(identity);
        dovecot.restart();
        let error = dovecot.connect(&certificates).err().unwrap().to_string();
        assert!(error.to_lowercase().contains(&why.to_lowercase()), "{why}: {error}");
    }
}

#[test]
fn dovecot_shows_what_is_delivered_and_keeps_it() {
    let certificates = Certificates::new();
    let dovecot = Dovecot::start(&certificates, &[ANNA, ("berta", "b")]);
    for number in 0..20 {
        dovecot.deliver("anna", &plain(&format!("number {number}"), "text"));
    }
    dovecot.deliver_to("anna", "work/2026", &plain("elsewhere", "text"));
    let before = dovecot.files("anna", "INBOX");
    let mut client = dovecot.connect(&certificates).unwrap();
    client.login("anna", &quoted(ANNA.1)).unwrap();
    assert!(client.command("EXAMINE INBOX").unwrap().is_ok());
    let fetched = client.command("UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap();
    assert_eq!(fetched.lines.len(), 20);
    for (number, line) in fetched.lines.iter().enumerate() {
        assert!(line.contains(&format!("UID {} ", number + 1)), "{line}");
        assert!(line.contains(&format!("Subject: number {number}\r\n")), "{line}");
    }
    assert_eq!(dovecot.files("anna", "INBOX"), before, "looking changes nothing");
    assert!(
        client.command("EXAMINE work/2026").unwrap().lines.iter().any(|line| line == "* 1 EXISTS")
    );

    let status = dovecot.status("anna", "INBOX");
    dovecot.kill();
    client.command("NOOP").unwrap_err();
    dovecot.connect(&certificates).err().expect("nobody there");
    dovecot.restart();
    assert_eq!(dovecot.status("anna", "INBOX"), status);
    assert_eq!((status.messages, status.unseen, status.uidnext), (20, 20, 21));

    let mut client = dovecot.connect(&certificates).unwrap();
    client.login("anna", &quoted(ANNA.1)).unwrap();
    client.command("SELECT INBOX").unwrap();
    client.command("STORE 1 +FLAGS (\\Seen)").unwrap();
    wait_until("it is marked", || dovecot.status("anna", "INBOX").unseen == 19);
    let flags = dovecot.flags("anna");
    assert_eq!((flags[0].as_str(), flags[1].as_str()), ("S", ""));
    dovecot.reset_uidvalidity("anna");
    assert_eq!(dovecot.status("anna", "INBOX").messages, 20);
    assert_eq!(dovecot.flags("berta"), [""; 0]);
    dovecot.kick("anna");
    wait_until("she is sent away", || client.command("NOOP").is_err());
}

#[test]
fn dovecot_takes_many_mails_and_many_clients() {
    let certificates = Certificates::new();
    let others = (0..300).map(|number| format!("user{number}"));
    let setup = others.fold(Setup::new(&certificates), |setup, user| setup.user(&user, "x"));
    let dovecot = setup.user("anna", "a").start();
    let message = of_size("many", 2000);
    assert_eq!(message.len(), 2000);
    for _ in 0..10_000 {
        dovecot.deliver("anna", &message);
    }
    assert_eq!(dovecot.status("anna", "INBOX").messages, 10_000);
    let clients = thread::scope(|scope| {
        let connect = || {
            let mut client = dovecot.connect(&certificates).unwrap();
            assert!(client.login("anna", "a").unwrap().is_ok());
            client
        };
        let threads: Vec<_> = (0..100).map(|_| scope.spawn(connect)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for mut client in clients {
        assert!(client.command("EXAMINE INBOX").unwrap().is_ok());
    }
}

#[test]
fn both_show_whatever_is_sent() {
    let certificates = Certificates::new();
    let dovecot = Dovecot::start(&certificates, &[("anna", "a")]);
    let cyrus = Cyrus::start(&certificates, &[("anna", "a")]);
    let mut messages = vec![
        ("text/html", messages::alternative("x", "text", "<b>text</b>")),
        ("notes.txt", messages::attachment("x", "text", "notes.txt", &[0xff; 1000])),
        ("notes.txt", messages::attachment_quoted("x", "text", "notes.txt", &[0xff; 1000])),
        ("iso-8859-1", messages::latin1()),
        ("iso-8859-1", messages::latin1_raw()),
        ("utf-8", messages::eight_bit("Grüße", "schöne Grüße")),
        ("a long line", messages::long_line("x", 1_000_000)),
        ("nested", messages::nested("x", 10_000)),
        ("parts", messages::parts("x", 100_000)),
        ("headers", messages::headers("x", 10_000)),
    ];
    messages.extend(messages::malformed());
    let mut deliverer = cyrus.session("anna");
    let mut refused = Vec::new();
    for (what, message) in &messages {
        dovecot.deliver("anna", message);
        if !deliverer.append("INBOX", message).unwrap().is_ok() {
            refused.push(*what);
        }
    }
    assert_eq!(refused, ["no text and no empty line", "a header without a colon"]);
    let mut client = dovecot.connect(&certificates).unwrap();
    client.login("anna", "a").unwrap();
    client.command("EXAMINE INBOX").unwrap();
    for (number, (what, message)) in (1..).zip(&messages) {
        let fetched = client.command(&format!("FETCH {number} BODY.PEEK[]")).unwrap();
        assert!(fetched.lines[0].contains(&format!("{{{}}}", message.len())), "{what}");
    }
    let structure = client.command("FETCH 1:6 BODYSTRUCTURE").unwrap();
    let expected = ["html", "notes.txt", "notes.txt", "iso-8859-1", "iso-8859-1", "utf-8"];
    for (line, word) in structure.lines.iter().zip(expected) {
        assert!(line.contains(word), "{word}: {line}");
    }

    for (message, shown) in [
        (messages::bare_lf("x"), "{6}\r\ntext\r\n"),
        (messages::nul_bytes("x"), "{10}\r\nbe\u{fffd}fore"),
    ] {
        dovecot.deliver("anna", &message);
        assert!(!deliverer.append("INBOX", &message).unwrap().is_ok());
        client.command("NOOP").unwrap();
        let fetched = client.command("FETCH * BODY.PEEK[TEXT]").unwrap();
        assert!(fetched.lines[0].contains(shown), "{fetched:?}");
    }
}

#[test]
fn cyrus_shows_what_is_delivered_and_keeps_it() {
    let certificates = Certificates::new();
    let cyrus = Cyrus::start(&certificates, &[("anna", "a"), ("berta", "b")]);
    let mut client = cyrus.connect().unwrap();
    let refused = client.login("anna", "b").unwrap();
    assert!(refused.result.starts_with("NO "), "{refused:?}");
    let mut client = Imap::starttls(cyrus.starttls_port(), certificates.client()).unwrap();
    assert!(client.login("anna", "a").unwrap().is_ok());
    let messages: Vec<_> = (0..20).map(|number| plain(&format!("number {number}"), "x")).collect();
    cyrus.deliver_all("anna", messages.iter().map(Vec::as_slice));
    assert_eq!(cyrus.flags("anna"), [""; 20]);
    cyrus.kill();
    client.command("NOOP").unwrap_err();
    cyrus.restart();
    cyrus.deliver("anna", &plain("one more", "x"));
    assert_eq!(cyrus.flags("anna"), [""; 21]);
    let mut client = cyrus.session("anna");
    client.command("SELECT INBOX").unwrap();
    client.command("STORE 21 +FLAGS (\\Seen)").unwrap();
    assert_eq!(cyrus.flags("anna")[19..], ["", "\\Seen"]);
    assert_eq!(cyrus.flags("berta"), [""; 0]);
}

#[test]
fn a_refresh_token_is_good_once() {
    let certificates = Certificates::new();
    let oidc = Oidc::start(&certificates);
    let first = oidc.issue("anna");
    let second = oidc.refresh(&first.refresh_token).unwrap();
    let third = oidc.refresh(&second.refresh_token).unwrap();
    assert_ne!(second.access_token, third.access_token);
    // Whoever has the old one may have stolen it, so that the new one is no good either.
    for token in [&first.refresh_token, &third.refresh_token] {
        assert_eq!(oidc.refresh(token).unwrap_err(), "invalid_grant");
    }
    let before = oidc.requests();
    assert_eq!((before.token, before.refused), (4, 2));

    oidc.set_rotating(false);
    oidc.set_access_ttl(7);
    let consent = oidc.issue("anna");
    for _ in 0..2 {
        let tokens = oidc.refresh(&consent.refresh_token).unwrap();
        assert_eq!((tokens.refresh_token, tokens.expires_in), (consent.refresh_token.clone(), 7));
    }
    oidc.revoke(&consent);
    assert_eq!(oidc.refresh(&consent.refresh_token).unwrap_err(), "invalid_grant");
    let public = oidc.issue_to("anna", PUBLIC_CLIENT);
    assert_eq!(oidc.refresh(&public.refresh_token).unwrap_err(), "invalid_grant", "not its own");
}

#[test]
fn a_provider_has_troubles() {
    let certificates = Certificates::new();
    let oidc = Oidc::start(&certificates);
    let consent = oidc.issue("anna");
    oidc.set_trouble(Trouble::Status(503));
    assert_eq!(oidc.refresh(&consent.refresh_token).unwrap_err(), "temporarily_unavailable");
    oidc.set_trouble(Trouble::CutBefore);
    oidc.try_refresh(&consent.refresh_token).unwrap_err();
    oidc.set_trouble(Trouble::None);
    let tokens = oidc.refresh(&consent.refresh_token).expect("nothing was done");
    oidc.set_trouble(Trouble::CutAfter);
    oidc.try_refresh(&tokens.refresh_token).unwrap_err();
    oidc.set_trouble(Trouble::None);
    assert_eq!(oidc.refresh(&tokens.refresh_token).unwrap_err(), "invalid_grant");
    oidc.kill();
    oidc.try_refresh(&consent.refresh_token).unwrap_err();
    oidc.restart();
    oidc.refresh(&oidc.issue("anna").refresh_token).unwrap();
}

#[test]
fn dovecot_asks_the_provider() {
    let certificates = Certificates::new();
    let oidc = Oidc::start(&certificates);
    let dovecot =
        Setup::new(&certificates).oauth(&oidc).user("anna", "a").user("berta", "b").start();
    let consent = oidc.issue("anna");
    let tokens = oidc.refresh(&consent.refresh_token).unwrap();
    let ask = |mechanism: &str, response: &str| {
        let mut client = dovecot.connect(&certificates).unwrap();
        client.authenticate(mechanism, response).unwrap().is_ok()
    };
    assert!(ask("XOAUTH2", &xoauth2("anna", &tokens.access_token)));
    assert!(ask("OAUTHBEARER", &oauthbearer("anna", &tokens.access_token)));
    assert!(!ask("XOAUTH2", &xoauth2("anna", "nonsense")));
    assert!(!ask("XOAUTH2", &xoauth2("berta", &tokens.access_token)));
    assert_eq!(oidc.requests().introspection, 4);
    oidc.revoke(&consent);
    assert!(!ask("XOAUTH2", &xoauth2("anna", &tokens.access_token)));
    let mut client = dovecot.connect(&certificates).unwrap();
    assert!(client.login("anna", "a").unwrap().is_ok(), "passwords are good too");
}
