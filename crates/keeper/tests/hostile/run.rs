//! Runs a table of cases: all at once, on one keeper, beside a server that is good.

use std::collections::BTreeSet;
use std::env;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use password_verify_tests::keeper::results;
use password_verify_tests::mail::hostile::{Hostile, Manner};
use password_verify_tests::mail_app::{Mailbox, read};
use postgres::Client;

use super::attachments::{ask, content};
use super::case::Case;
use super::room::{PASSWORD, Room, end};

/// The table as it is printed.
const DOCUMENT: &str = include_str!("../../../../docs/hostile-servers.md");

/// One case at work.
struct Run<'a> {
    case: &'a Case,
    server: Hostile,
    mailbox: Mailbox,
    request: i64,
    /// How often the secret was shown before.
    before: usize,
    logins: usize,
    end: Option<String>,
}

/// Runs all cases and prints the table.
pub fn run(cases: &[Case]) {
    let room = Room::new();
    let mut app = room.kept.depositor();
    let neighbour = Hostile::start(Manner::good(&room.certificates.good));
    let friend = room.mailbox(&neighbour, "neighbour");
    let first = friend.register(&mut app);
    room.await_end(&mut app, &friend, first);
    let mut runs: Vec<Run<'_>> =
        cases.iter().enumerate().map(|it| prepare(&room, &mut app, it)).collect();
    for run in &mut runs {
        run.begin(&room, &mut app);
    }
    // Whoever is there beside them does not notice.
    let request = friend.request(&mut app);
    assert_eq!(room.await_end(&mut app, &friend, request), "done ok");
    assert_eq!(read(&mut app, request).len(), 3);

    let start = Instant::now();
    while runs.iter().any(|run| run.end.is_none()) {
        for run in &mut runs {
            run.look(&mut app);
        }
        room.assert_runs();
        let open: Vec<&str> =
            runs.iter().filter(|run| run.end.is_none()).map(|run| run.case.what).collect();
        assert!(start.elapsed() < Duration::from_secs(100), "no end: {open:#?}");
        sleep(Duration::from_millis(20));
    }
    let request = friend.request(&mut app);
    assert_eq!(room.await_end(&mut app, &friend, request), "done ok");
    let wrong: Vec<String> = runs.iter().filter_map(|run| run.wrong(&mut app)).collect();
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), room.keeper.log());
    room.close();
}

fn prepare<'a>(room: &Room, app: &mut Client, (number, case): (usize, &'a Case)) -> Run<'a> {
    let server = Hostile::start(case.good(&room.certificates));
    let mut mailbox = room.mailbox(&server, &format!("user-{number:03}"));
    mailbox.mechanism = case.mechanism;
    if case.starts_tls {
        mailbox.protocol = "imap";
    }
    if !case.is_new {
        let request = mailbox.register(app);
        assert_eq!(room.await_end(app, &mailbox, request), "done ok", "{}", case.what);
        assert_eq!(mailbox.state(app), "verified");
    }
    let before = server.logins();
    Run { case, server, mailbox, request: 0, before, logins: 0, end: None }
}

impl Run<'_> {
    fn begin(&mut self, room: &Room, app: &mut Client) {
        self.server.behave(&self.case.bad(&room.certificates));
        self.request = if self.case.is_new {
            self.mailbox.register(app)
        } else if self.case.part.is_some() {
            ask(app, &self.mailbox)
        } else {
            self.mailbox.request_with(app, self.case.asks)
        };
    }

    /// Has it come to an end? What is counted then was done before it is tried again, half a minute later.
    fn look(&mut self, app: &mut Client) {
        if self.end.is_some() {
            return;
        }
        self.end = end(app, &self.mailbox, self.request);
        self.logins = self.server.logins() - self.before;
        if self.end.as_deref() == Some("rejected credential_refused") {
            // Others that come later do not try it again.
            for _ in 0..3 {
                self.mailbox.request(app);
            }
        }
    }

    /// What is not as it should be.
    fn wrong(&self, app: &mut Client) -> Option<String> {
        let case = self.case;
        let (end, state) = (self.end.clone().unwrap_or_default(), self.mailbox.state(app));
        let (outcome, detail) = end.split_once(' ').unwrap_or((&end, ""));
        let line = format!("{} | {outcome} | {detail} | {state}", case.what);
        println!("hostile: {line}");
        let seen = self.server.seen();
        let mut wrong = Vec::new();
        if env::var_os("PV_HOSTILE_WRITE").is_none() && !DOCUMENT.contains(&line) {
            wrong.push("not in docs/hostile-servers.md: make hostile-servers".into());
        }
        if end != case.end {
            wrong.push(format!("{end} instead of {}", case.end));
        }
        if state != case.state {
            wrong.push(format!("{state} instead of {}", case.state));
        }
        if !(case.logins.0..=case.logins.1).contains(&self.logins) {
            wrong.push(format!("{} logins instead of {:?}", self.logins, case.logins));
        }
        if outcome == "rejected" && seen.logins != self.before + self.logins {
            wrong.push("it was tried again".into());
        }
        let line =
            Base64::encode_string(format!("\0{}\0{PASSWORD}", self.mailbox.login).as_bytes());
        for secret in [PASSWORD, &line] {
            if contains(&seen.clear, secret) {
                wrong.push("the secret was sent in the clear".into());
            }
            let times = count(&seen.inside, secret);
            if case.logins.1 == 0 && times > self.before {
                wrong.push("the secret was shown".into());
            }
            if case.mechanism == "SCRAM-SHA-256" && times > 0 {
                wrong.push("the secret itself was sent".into());
            }
            if results(app, self.request, 0).iter().any(|(_, result)| result.contains(secret)) {
                wrong.push("the secret is in the results".into());
            }
        }
        if let Some(comes) = case.part {
            let (whole, expected) = (content(app, self.request), comes());
            if whole != expected {
                let of = expected.len();
                wrong.push(format!("{} bytes of a part, which are not these {of}", whole.len()));
            }
        }
        if let Some(mails) = case.mails {
            let all = read(app, self.request);
            let (uids, unreadable): (Vec<i64>, usize) = (
                all.iter().filter_map(|mail| mail.uid).collect(),
                all.iter().filter(|mail| mail.note.as_deref() == Some("unreadable")).count(),
            );
            if (uids.len(), unreadable) != mails {
                let each = uids.len();
                wrong.push(format!("{each} mails, {unreadable} unreadable instead of {mails:?}"));
            }
            if uids.iter().collect::<BTreeSet<_>>().len() < uids.len() {
                wrong.push(format!("some were read twice: {uids:?}"));
            }
        }
        (!wrong.is_empty()).then(|| format!("{}: {}", case.what, wrong.join("; ")))
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    count(bytes, text) > 0
}

fn count(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).filter(|it| *it == text.as_bytes()).count()
}
