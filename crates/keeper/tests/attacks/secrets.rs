//! Where secrets go, and who learns of them.

use super::*;

/// A dictionary is mailed to the victim; the word that comes back as asterisks is the password.
#[test]
fn a_mail_tells_nobody_which_guess_is_the_password() {
    let mut office = Office::new();
    let secret = "guess-077777";
    let dovecot = Dovecot::start(&office.certificates, &[("ann", secret)]);
    let _keeper = office.keeper(&[]);
    let of = office.mailbox(dovecot.imaps_port(), "ann");
    let ann = Mailbox { password: secret.into(), ..of };
    let verify = ann.register(&mut office.app);
    office.assert_done(&ann, verify, 30);
    let guesses: String = (0..100_000).map(|it| format!("guess-{it:06}\r\n")).collect();
    dovecot.deliver("ann", &messages::plain("words", &guesses[77_000 * 14..78_000 * 14]));
    dovecot.deliver("ann", &messages::attachment("words", "text", "w", guesses.as_bytes()));
    let request = ann.request(&mut office.app);
    office.assert_done(&ann, request, 30);
    let text = read(&mut office.app, request)[0].text.clone().unwrap();
    let which =
        "SELECT auth.pv_request_attachment('ann'::text, 'inbox', 'INBOX', uidvalidity, uid, '2')
                   FROM auth.pv_read_mail($1) WHERE uid = 2";
    let part = office.app.query_one(which, &[&request]).unwrap().get(0);
    office.assert_done(&ann, part, 30);
    let pieces = "SELECT data FROM auth.pv_read_attachment($1) ORDER BY seq";
    let rows = office.app.query(pieces, &[&part]).unwrap();
    let part = rows.iter().flat_map(|row| row.get::<_, Vec<u8>>(0)).collect::<Vec<u8>>();
    let told = [text.as_bytes(), &part].map(|it| it.contains(&b'*'));
    assert_eq!(told, [false, false], "by the mail, by the attachment");
}

/// An address that is as good as any other, but the machine's own. Nobody listens there: to be refused is not that.
#[test]
fn an_own_address_is_refused_whatever_it_is() {
    let mut office = Office::new();
    let of = [("own4.example", "11.1.1.1"), ("own6.example", "2600::1")];
    let hosts: String = of.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    let setup = Setup::new(KEEPER, &office.kept, &office.certificates);
    let _keeper = setup.connect("domains = ['*']").own(&hosts).start();
    for (name, _) in of {
        let mailbox = office.mailbox(10_993, name);
        let request = register(&mut office.app, &mailbox, name).unwrap();
        assert_eq!(office.ended(&mailbox, request), "ended failed address_refused", "{name}");
    }
}

/// Hosts and token endpoints in odd forms: refused when they are stored, or not connected to.
#[test]
fn odd_destinations_lead_nowhere() {
    let mut office = Office::new();
    let silent = Hostile::start(office.good().but(Step::Accept, &[Act::Silence]));
    let port = silent.port();
    let _keeper = office.keeper(&["permit_loopback_for_tests = false", "domains = ['*']"]);
    let any = office.mailbox(port, "any");
    let of = |user: &str| Mailbox { user: format!("at {user}"), ..any.clone() };
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_ascii_lowercase();
    let hosts = "localhost. 127.0.0.1 127.1 2130706433 0x7f000001 0x7f.0x1 a.0x1 0x [::1] ::1 münchen.de a_b -a.b a..b . * a/x \
                 u@localhost localhost%00.b ⓛocalhost";
    let mut asked = Vec::new();
    for host in hosts.split_whitespace().chain(["", "a b", "localhost", "LOCALHOST", &own]) {
        asked.push((host.to_owned(), register(&mut office.app, &of(host), host), of(host)));
    }
    for url in [
        "http://localhost/t",
        "https://u@localhost/t",
        "https://127.0.0.1/t",
        "https://[::1]/t",
        "https://localhost./t",
        "https://localhost:0/t",
        "https://2130706433/t",
        "https://localhost/\r\nX: y",
        "https://localhost/t#x",
        "https://localhost\\@a.b/t",
        &format!("https://LOCALHOST:{port}/t"),
        "https://localhost:5432/t",
    ] {
        let token_endpoint = Some(url.to_owned());
        let of =
            Mailbox { mechanism: "XOAUTH2", password: TOKEN.into(), token_endpoint, ..of(url) };
        asked.push((url.to_owned(), register(&mut office.app, &of, "mail.invalid"), of));
    }
    for (what, stored, of) in asked {
        match stored {
            Ok(request) => {
                assert_eq!(office.ended(&of, request), "ended failed address_refused", "{what}")
            }
            Err(why) => assert!(why.starts_with("the destination is refused"), "{what}: {why}"),
        }
    }
    assert_eq!(silent.seen().connections, 0);
}

/// Whatever a token endpoint answers, it is asked once, and nobody is shown anything twice.
#[test]
fn odd_tokens_make_no_loop() {
    const NO: [Act; 1] = [Act::Say(b"%t NO no\r\n")];
    let mut office = Office::new();
    let _keeper = office.keeper(&["silence_timeout = 3"]);
    let xoauth2 = Manner { offers: "AUTH=XOAUTH2", ..office.good() };
    let json =
        |body: String| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answers = [
        json(r#"{"access_token":"x","expires_in":0}"#.into()),
        json(r#"{"access_token":"x","refresh_token":"other","expires_in":31}"#.into()),
        json(r#"{"access_token":"x\u0001\r\nA1 LOGOUT\u0000"}"#.into()),
        json(format!(r#"{{"access_token":"x","refresh_token":"{}"}}"#, "r".repeat(20_000))),
        json(format!(r#"{{"access_token":"x","z":{}"#, "[".repeat(20_000))),
        "HTTP/1.1 307 x\r\nLocation: https://localhost:5432/\r\nContent-Length: 0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n".into(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(500),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let server = Hostile::start(xoauth2.clone().but(Step::Login, &NO));
        let seen = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&seen);
        let (port, asked) = start(office.certificates.good.server(), move |_, stream| {
            while !line(stream)?.is_empty() {}
            let mut body = [0; 78];
            stream.read_exact(&mut body)?;
            *kept.lock().unwrap() = String::from_utf8_lossy(&body).into_owned();
            say(stream, &answer)?;
            sleep(Duration::from_millis(200));
            Ok(())
        });
        let token_endpoint = Some(format!("https://localhost:{port}/token"));
        let of = office.mailbox(server.port(), &format!("odd-{number}"));
        let of = Mailbox { mechanism: "XOAUTH2", password: TOKEN.into(), token_endpoint, ..of };
        let request = of.register(&mut office.app);
        println!("{number}: {}", office.ended(&of, request));
        let form = "grant_type=refresh_token&refresh_token=first&client_id=a%26b%3Dc%0D%0AX%3A%20y";
        assert_eq!(*seen.lock().unwrap(), form);
        assert!(server.logins() <= 1 && asked.load(Ordering::Relaxed) == 1);
    }
}

/// A secret is stored anew for another server, over and over, while its jobs run.
#[test]
fn no_secret_goes_to_the_server_of_another() {
    let mut office = Office::new();
    let seen: [Arc<Mutex<Vec<String>>>; 2] = Default::default();
    let ports = seen.each_ref().map(|seen| {
        let seen = Arc::clone(seen);
        let serve = move |number: usize, stream: &mut Stream| {
            imap(stream, |shown| {
                seen.lock().unwrap().push(shown.to_owned());
                sleep(Duration::from_millis(number as u64 % 40));
                (if number.is_multiple_of(3) { "NO no" } else { "OK in" }, Duration::ZERO)
            })
        };
        start(office.certificates.good.server(), serve).0
    });
    let _keepers = [office.keeper(&[]), office.keeper(&[])];
    for round in 0..90 {
        for (number, port) in ports.iter().enumerate() {
            let password = format!("for-{number}-round-{round}");
            let of = Mailbox { password, ..office.mailbox(*port, "ann") };
            // It may be busy.
            let _ = register(&mut office.app, &of, "localhost");
            sleep(Duration::from_millis(round % 17 * 3));
        }
        let sql = "SELECT auth.pv_cancel_request(request) FROM auth.pv_requests('ann'::text)";
        if round % 30 == 29 {
            office.app.query(sql, &[]).unwrap();
        }
    }
    for (number, seen) in seen.iter().enumerate() {
        let mut seen = seen.lock().unwrap().clone();
        assert!(!seen.is_empty() && seen.iter().all(|it| it.contains(&format!("for-{number}-"))));
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all, "none is shown twice, refused or not");
    }
}
