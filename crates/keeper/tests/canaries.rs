//! Passwords and tokens that can be recognised go through the program, also where something fails. Afterwards they are
//! in no log, no result, no number, no file and nothing that the system shows of the process.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use password_verify_tests::hunt::Hunt;
use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::oidc::{CLIENT, Oidc};
use password_verify_tests::mail::{Certificates, Dovecot, Fault, Faults, dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, read};
use password_verify_tests::pv_keeper::{PvKeeper, Setup};
use password_verify_tests::trail::wait_until;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

/// Everything that a password may go through.
struct Story {
    kept: KeptSite,
    dovecot: Dovecot,
    oidc: Oidc,
    certificates: Certificates,
    hunt: Hunt,
}

fn story() -> (Story, Mailbox, Mailbox) {
    let certificates = Certificates::new();
    let mut hunt = Hunt::default();
    let password = hunt.canary("password");
    let oidc = Oidc::start(&certificates);
    let setup = dovecot::Setup::new(&certificates).user("ann", &password).user("tom", "unused");
    let dovecot = setup.oauth(&oidc).start();
    let settings = ["wal_keep_size = 1GB", "autovacuum = off", "log_min_messages = debug5"];
    let kept = KeptSite::with(&settings);
    let ann = Mailbox::new(&certificates, dovecot.imaps_port(), "ann", &password);
    let refresh_token = oidc.issue("tom").refresh_token;
    let secret = hunt.canary("something in what is kept");
    hunt.add("refresh token", refresh_token.as_bytes());
    let token = serde_json::json!({
        "refresh_token": refresh_token, "client_id": CLIENT, "client_secret": secret,
    });
    let of = Mailbox::new(&certificates, dovecot.imaps_port(), "tom", &token.to_string());
    let token_endpoint = Some(oidc.token_url());
    let tom = Mailbox { mechanism: "XOAUTH2", token_endpoint, ..of };
    (Story { kept, dovecot, oidc, certificates, hunt }, ann, tom)
}

#[test]
fn nothing_of_a_secret_is_left_anywhere() {
    let (mut story, ann, tom) = story();
    let mut app = story.kept.depositor();
    let network = Faults::before(story.dovecot.imaps_port());
    let setup = Setup::new(KEEPER, &story.kept, &story.certificates);
    let keeper = setup.connect("silence_timeout = 2").start();

    // Each mechanism; wrong passwords; servers that fail at every moment.
    let password = ann.password.clone();
    story.dovecot.deliver("ann", &messages::plain("hello", "hello"));
    let mut requests = Vec::new();
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        let name = mechanism.to_owned();
        let ann = Mailbox { mechanism, name, ..ann.clone() };
        let verify = ann.register(&mut app);
        ann.await_end(&mut app, verify, "ended done ok");
        for more in ["", "parts => 'raw'", "parts => 'headers'"] {
            let request = ann.request_with(&mut app, more);
            ann.await_end(&mut app, request, "ended done ok");
            requests.push(request);
        }
    }
    let wrong =
        Mailbox { password: story.hunt.canary("a wrong one"), name: "wrong".into(), ..ann.clone() };
    wrong.register(&mut app);
    wrong.await_state(&mut app, "rejected credential_refused");
    let far = Mailbox { port: network.port(), name: "far".into(), ..ann.clone() };
    for fault in [
        Fault::Reset,
        Fault::Silence,
        Fault::CutAfter { to_server: 450, to_client: usize::MAX },
        Fault::CutAfter { to_server: usize::MAX, to_client: 1500 },
    ] {
        network.set(fault);
        let request = far.register(&mut app);
        wait_until("it fails", || far.end(&mut app, request).starts_with("waiting retry"));
    }
    // This client is not known with that secret, so the provider refuses both.
    tom.register(&mut app);
    tom.await_state(&mut app, "rejected credential_refused");
    assert_eq!(story.oidc.requests().token, 1);

    let mut found = Vec::new();
    let mut look = |what: &str, bytes: &[u8]| {
        found.extend(story.hunt.look(bytes).iter().map(|it| format!("{what}: {it}")));
    };
    for request in requests {
        for mail in read(&mut app, request) {
            look("a result", format!("{mail:?}").as_bytes());
            look("a raw result", &mail.raw.unwrap_or_default());
        }
    }
    look("numbers", keeper.metrics().as_bytes());
    look("the log", keeper.log().as_bytes());
    for name in ["cmdline", "environ", "status", "limits"] {
        look(name, &fs::read(format!("/proc/{}/{name}", keeper.pid())).unwrap_or_default());
    }
    assert!(keeper.log().lines().count() > 10, "it logs at all");
    assert_closed(&keeper);
    // It ends as a crash would end it, where a core would lie.
    keeper.signal("ABRT");
    wait_until("it is gone", || {
        fs::read(format!("/proc/{}/cmdline", keeper.pid())).is_ok_and(|it| it.is_empty())
    });
    found.extend(story.hunt.look_through(keeper.folder()));
    story.kept.site.cluster.down();
    found.extend(story.hunt.look_through(story.kept.site.cluster.folder()));
    println!("canaries: {}", found.len());
    assert!(found.is_empty(), "{found:#?}");
    // What is looked for can be found where it is.
    let lies = [ann.password.as_bytes(), password.as_bytes(), wrong.password.as_bytes()];
    assert!(lies.iter().all(|it| !story.hunt.look(it).is_empty()));
}

/// No core is written, and nobody but root looks into the process.
fn assert_closed(keeper: &PvKeeper) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", keeper.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    // What belongs to a process that can be dumped is its user's.
    let owner = fs::metadata(format!("/proc/{}/environ", keeper.pid())).unwrap().uid();
    assert_eq!(owner, 0);
}
