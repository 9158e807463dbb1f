//! Two real servers, both ways to TLS, and each mechanism; new mail, folders, attachments.
#![allow(clippy::unwrap_used)]

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::cyrus::Cyrus;
use password_verify_tests::mail::{Certificates, Dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, fetch, read};
use password_verify_tests::pv_keeper::PvKeeper;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");
const PASSWORD: &str = "velvet-anvil-under";
/// With all that has to be quoted.
const ODD: &str = "a \"quoted\" \\ pass{5}word ü";

/// Every mechanism by both protocols.
fn each(base: &Mailbox, ports: [u16; 2]) -> Vec<Mailbox> {
    let mut all = Vec::new();
    for (protocol, port) in ["imaps", "imap"].into_iter().zip(ports) {
        for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
            let name = format!("{protocol} {mechanism}");
            all.push(Mailbox { name, protocol, port, mechanism, ..base.clone() });
        }
    }
    all
}

#[test]
fn dovecot() {
    let (kept, certificates) = (KeptSite::shared(), Certificates::new());
    let dovecot = Dovecot::start(&certificates, &[("ann", PASSWORD), ("odd", ODD)]);
    let _keeper = PvKeeper::start(KEEPER, &kept, &certificates);
    let mut app = kept.depositor();
    let ports = [dovecot.imaps_port(), dovecot.starttls_port()];
    for (user, password) in [("ann", PASSWORD), ("odd", ODD)] {
        let base = Mailbox::new(&certificates, 0, user, password);
        dovecot.deliver(user, &messages::plain("one", "1"));
        for mailbox in each(&base, ports) {
            // LOGIN sends a string in which there is ASCII only (RFC 9051 section 9).
            if user == "odd" && mailbox.mechanism == "LOGIN" {
                continue;
            }
            let verify = mailbox.register(&mut app);
            mailbox.await_end(&mut app, verify, "ended done ok");
            let request = mailbox.request(&mut app);
            mailbox.await_end(&mut app, request, "ended done ok");
            assert_eq!(fetch(&mut app, request), ["one"], "{}", mailbox.name);
        }
        assert_eq!(dovecot.flags(user), [""]);
    }
}

#[test]
fn cyrus() {
    let (kept, certificates) = (KeptSite::shared(), Certificates::new());
    let cyrus = Cyrus::start(&certificates, &[("ann", PASSWORD)]);
    let keeper = PvKeeper::start(KEEPER, &kept, &certificates);
    let mut app = kept.depositor();
    for number in 0..3 {
        cyrus.deliver("ann", &messages::plain(&format!("mail {number}"), "hello"));
    }
    let base = Mailbox::new(&certificates, 0, "ann", PASSWORD);
    for mailbox in each(&base, [cyrus.imaps_port(), cyrus.starttls_port()]) {
        let verify = mailbox.register(&mut app);
        mailbox.await_end(&mut app, verify, "ended done ok");
        let request = mailbox.request(&mut app);
        mailbox.await_end(&mut app, request, "ended done ok");
        assert_eq!(fetch(&mut app, request), ["mail 0", "mail 1", "mail 2"], "{}", mailbox.name);
    }
    assert!(
        cyrus.flags("ann").iter().all(|flags| !flags.contains("Seen")),
        "{:?}",
        cyrus.flags("ann")
    );
    let base = Mailbox { port: cyrus.imaps_port(), ..base };
    let wrong = Mailbox { name: "wrong".into(), password: "not-hers-at-all".into(), ..base };
    let verify = wrong.register(&mut app);
    wrong.await_end(&mut app, verify, "blocked rejected credential_refused");
    assert!(!keeper.log().contains("panic"));
}

/// `ca` is instead of the system's certificates, and not beside them.
#[test]
fn an_authority_of_a_destinations_own_is_the_only_one_there() {
    let (kept, known, other) = (KeptSite::shared(), Certificates::new(), Certificates::new());
    let mut app = kept.depositor();
    let _keeper = PvKeeper::start(KEEPER, &kept, &known);
    for (of, by_system) in [(&known, "ended done ok"), (&other, "ended failed tls")] {
        let dovecot = Dovecot::start(of, &[("ann", PASSWORD)]);
        let named = Mailbox::new(of, dovecot.imaps_port(), "ann", PASSWORD);
        let not_named = Mailbox { ca: None, ..named.clone() };
        let stranger = Mailbox::new(&Certificates::new(), named.port, "ann", PASSWORD);
        for (mailbox, end) in
            [(named, "ended done ok"), (not_named, by_system), (stranger, "ended failed tls")]
        {
            let verify = mailbox.register(&mut app);
            mailbox.await_end(&mut app, verify, end);
        }
    }
}

#[test]
fn folders_days_sizes_and_attachments() {
    let (kept, certificates) = (KeptSite::shared(), Certificates::new());
    let dovecot = Dovecot::start(&certificates, &[("ann", PASSWORD)]);
    let _keeper = PvKeeper::start(KEEPER, &kept, &certificates);
    let mut app = kept.depositor();
    let ann = Mailbox::new(&certificates, dovecot.imaps_port(), "ann", PASSWORD);
    ann.register(&mut app);
    dovecot.deliver_to("ann", "Archive/2026", &messages::plain("old", "x"));
    let request = ann.request_with(&mut app, "mailbox => 'Archive/2026'");
    ann.await_end(&mut app, request, "ended done ok");
    assert_eq!(fetch(&mut app, request), ["old"]);
    // A name ends where it ends, and not at a quotation mark.
    dovecot.deliver_to("ann", "a\" b", &messages::plain("odd", "x"));
    let request = ann.request_with(&mut app, "mailbox => 'a\" b'");
    ann.await_end(&mut app, request, "ended done ok");
    assert_eq!(fetch(&mut app, request), ["odd"]);
    for (more, end) in [
        ("mailbox => 'No such'", "ended failed mailbox_missing"),
        ("mailbox => E'INBOX\\r\\nA9 DELETE INBOX'", "ended failed mailbox_missing"),
        ("since => '2100-01-01'", "ended done ok"),
        ("parts => 'everything'", "ended failed protocol"),
        ("max_bytes => 0", "ended failed protocol"),
    ] {
        let request = ann.request_with(&mut app, more);
        ann.await_end(&mut app, request, end);
        assert_eq!(read(&mut app, request), [], "{more}");
    }
    // What is longer than asked for is cut off, and said to be.
    dovecot.deliver("ann", &messages::of_size("long", 300_000));
    let request = ann.request_with(&mut app, "max_bytes => 1000, parts => 'raw'");
    ann.await_end(&mut app, request, "ended done ok");
    let mails = read(&mut app, request);
    assert_eq!(mails[0].raw.as_ref().unwrap().len(), 1000);

    // In pieces of half a megabyte as it is sent, and whole in the end.
    let content: Vec<u8> =
        (0..3_000_000_u32).map(|it| (it.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (mail, subject) in [
        (messages::attachment("base64", "see", "a.bin", &content), "base64"),
        (messages::attachment_quoted("quoted", "see", "a.bin", &content[..50_000]), "quoted"),
    ] {
        dovecot.deliver("ann", &mail);
        let request = ann.request_with(&mut app, "parts => 'headers', since => current_date - 1");
        ann.await_end(&mut app, request, "ended done ok");
        let sql = "SELECT uidvalidity, uid FROM auth.pv_read_mail($1) WHERE subject = $2";
        let row = app.query_one(sql, &[&request, &subject]).unwrap();
        let (uidvalidity, uid): (i64, i64) = (row.get(0), row.get(1));
        let sql = "SELECT auth.pv_request_attachment('ann'::text, 'inbox', 'INBOX', $1, $2, '2')";
        let request: i64 = app.query_one(sql, &[&uidvalidity, &uid]).unwrap().get(0);
        ann.await_end(&mut app, request, "ended done ok");
        let (mut whole, mut after, mut last) = (Vec::new(), 0_i64, false);
        let sql = "SELECT seq, data, last FROM auth.pv_read_attachment($1, $2) ORDER BY seq";
        while !last {
            let rows = app.query(sql, &[&request, &after]).unwrap();
            assert!(!rows.is_empty());
            for row in rows {
                (after, last) = (row.get(0), row.get(2));
                whole.extend(row.get::<_, Vec<u8>>(1));
            }
        }
        let expected = if subject == "quoted" { &content[..50_000] } else { &content[..] };
        assert!(whole == expected, "{subject}: {} bytes of {}", whole.len(), expected.len());
    }
}
