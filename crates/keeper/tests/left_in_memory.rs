//! A password is nowhere in the memory of the program when its job has ended, although it went through libraries that
//! do not wipe their copies.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread::sleep;
use std::time::{Duration, Instant};

use password_verify_tests::hunt::{Hunt, canary};
use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::oidc::{CLIENT, CLIENT_SECRET, Oidc};
use password_verify_tests::mail::{Certificates, dovecot, messages};
use password_verify_tests::mail_app::Mailbox;
use password_verify_tests::pv_keeper::PvKeeper;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

/// What is found in all that the process may write to; `None` where the system lets nobody look, which it lets root.
fn look(hunt: &Hunt, pid: u32) -> Option<Vec<&str>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        // Not all of the kernel's own can be read.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            found.extend(hunt.look(&bytes));
        }
    }
    Some(found)
}

/// What is still found when the connections of an ended job have had their time to close.
fn left(hunt: &Hunt, pid: u32) -> Vec<&str> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = look(hunt, pid);
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        assert!(found.is_some() || !root, "root cannot look into the memory of {pid}");
        let found = found.unwrap_or_default();
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn nothing_of_a_secret_is_left_after_its_job() {
    let certificates = Certificates::new();
    let (mut hunt, other) = (Hunt::default(), canary());
    let password = hunt.canary("password");
    let oidc = Oidc::start(&certificates);
    let setup = dovecot::Setup::new(&certificates).user("ann", &password).user("bob", &other);
    let dovecot = setup.oauth(&oidc).start();
    let kept = KeptSite::new();
    let keeper = PvKeeper::start(KEEPER, &kept, &certificates);
    let mut app = kept.depositor();
    let port = dovecot.imaps_port();
    let job = |app: &mut postgres::Client, of: &Mailbox| {
        let verify = of.register(app);
        of.await_end(app, verify, "ended done ok");
        let request = of.request(app);
        of.await_end(app, request, "ended done ok");
    };
    dovecot.deliver("ann", &messages::plain("a", "b"));
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        let ann = Mailbox::new(&certificates, port, "ann", &password);
        job(&mut app, &Mailbox { mechanism, name: mechanism.into(), ..ann });
    }
    let refresh_token = oidc.issue("ann").refresh_token;
    hunt.add("refresh token", refresh_token.as_bytes());
    let kept_token = serde_json::json!({
        "refresh_token": refresh_token, "client_id": CLIENT, "client_secret": CLIENT_SECRET,
    });
    let token_endpoint = Some(oidc.token_url());
    let ann = Mailbox::new(&certificates, port, "ann", &kept_token.to_string());
    job(&mut app, &Mailbox { mechanism: "XOAUTH2", name: "token".into(), token_endpoint, ..ann });
    // Before the next job: what is freed is wiped, and nobody waits for others to need the place.
    assert_eq!(left(&hunt, keeper.pid()), Vec::<&str>::new(), "after its job");
    // What lies on a stack is overwritten by the next job.
    for mechanism in ["PLAIN", "LOGIN", "SCRAM-SHA-256"] {
        let bob = Mailbox::new(&certificates, port, "bob", &other);
        job(&mut app, &Mailbox { mechanism, name: mechanism.into(), ..bob });
    }
    assert_eq!(left(&hunt, keeper.pid()), Vec::<&str>::new(), "after the jobs of others");
}
