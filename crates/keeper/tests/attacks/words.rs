//! Names, commands and mails in odd forms.

use super::*;

/// Whatever names are: what arrives is one command, and nothing that nobody meant.
#[test]
fn nothing_gets_between_commands() {
    let mut office = Office::new();
    let server = Hostile::start(office.good());
    let _keeper = office.keeper(&[]);
    for (mechanism, login, password) in [
        ("PLAIN", "a\"b{5+}", "x{3}\r\nA1 LOGOUT"),
        ("LOGIN", "a\\\"b", "p\"\\x w"),
        ("LOGIN", "a{5+}", "x{3}\r\nA1 LOGOUT"),
    ] {
        let of = office.mailbox(server.port(), login);
        let of = Mailbox { password: password.into(), mechanism, ..of };
        let verify = of.register(&mut office.app);
        let breaks = mechanism == "LOGIN" && password.contains('\n');
        let end = if breaks { "ended failed protocol" } else { "ended done ok" };
        assert_eq!(office.ended(&of, verify), end);
    }
    let of = office.mailbox(server.port(), "ann");
    let verify = of.register(&mut office.app);
    office.assert_done(&of, verify, 10);
    for mailbox in
        ["INBOX\r\nA9 DELETE x", "a\"b", "a\\", "{5+}\r\nabcde", "ü\n", "*", "&", "\u{1}"]
    {
        let sql = "SELECT auth.pv_request_mail($1::text, 'inbox', mailbox => $2)";
        let request = office.app.query_one(sql, &[&of.user, &mailbox]).unwrap().get(0);
        assert_eq!(office.ended(&of, request), "ended done ok", "{mailbox:?}");
    }
    let inside = String::from_utf8_lossy(&server.seen().inside).into_owned();
    for asked in inside.split("\r\n").filter(|it| !it.is_empty()) {
        let word = asked.split(' ').nth(1).unwrap_or("one of base64");
        let known =
            ["CAPABILITY", "AUTHENTICATE", "LOGIN", "EXAMINE", "UID", "LOGOUT", "one of base64"];
        assert!(known.contains(&word) && !asked.contains('\n'), "{asked:?}");
    }
    for part in ["+1", "01", "1.", "1 ", "1.MIME", "0"] {
        let sql = "SELECT auth.pv_request_attachment($1::text, 'inbox', 'INBOX', 7, 1, $2)";
        let request = office.app.query_one(sql, &[&of.user, &part]).unwrap().get(0);
        assert_eq!(office.ended(&of, request), "ended failed protocol", "{part:?}");
    }
}

/// Mails that nobody should write, and hundreds that are made of pieces of them: each is read.
#[test]
fn no_mail_keeps_the_others_from_being_read() {
    let mut office = Office::new();
    let dovecot = Dovecot::start(&office.certificates, &[("ann", PASSWORD)]);
    let _keeper = office.keeper(&[]);
    let ann = office.mailbox(dovecot.imaps_port(), "ann");
    let verify = ann.register(&mut office.app);
    office.assert_done(&ann, verify, 10);
    let mut mails: Vec<Vec<u8>> = messages::malformed().into_iter().map(|it| it.1).collect();
    for date in [
        "31 Feb 2026 25:61:61 +9999",
        "1 Jan 0000 00:00 +0000",
        "1 Jan 294277 00:00 -2359",
        "1 1 1 1 1",
    ] {
        mails.push(format!("Subject: x\r\nDate: {date}\r\n\r\nx\r\n").into_bytes());
    }
    for set in ["utf-16", "utf-7", "iso-2022-jp", "gb18030", "x-user-defined", "ü", ""] {
        let head = format!(
            "Subject: =?{set}?B?2ADcAAAAAAD/2AA=?=\r\nContent-Type: text/plain; charset={set}\r\n\r\n"
        );
        mails.push([head.as_bytes(), b"\xd8\0\xdc\0\0\0\xff\xfe\x1b$B\xff+2AA-~{\x80"].concat());
    }
    // As many and as long names as are delivered, each character of them as long as JSON makes it.
    let name = "%22".repeat(990);
    let people = format!("=?utf-8?Q?{}?= <a@b>,\r\n ", "=22".repeat(990)).repeat(50);
    let part = format!(
        "--b\r\nContent-Type: a/b\r\nContent-Disposition: attachment; filename*=utf-8''{name}\r\n\r\nx\r\n"
    );
    mails.push(
        format!(
            "Subject: x\r\nTo: {people}x@y\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}",
            part.repeat(50)
        )
        .into_bytes(),
    );
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..400 {
        let mut mail = mails[random(30)].clone();
        for _ in 0..8 {
            let (at, other) = (random(mail.len() + 1), &mails[random(30)]);
            let from = random(other.len());
            let some = other[from..other.len().min(from + 60)].to_vec();
            mail.splice(at..at, some);
        }
        mails.push(mail);
    }
    mails.iter().for_each(|mail| dovecot.deliver("ann", mail));
    for parts in ["text", "headers", "raw"] {
        let more = format!("max_bytes => 409600, parts => '{parts}'");
        let request = ann.request_with(&mut office.app, &more);
        office.assert_done(&ann, request, 30);
        let all = read(&mut office.app, request);
        assert_eq!(all.len(), mails.len());
        assert!(all.iter().all(|it| it.note.as_deref() != Some("unreadable")));
    }
}
