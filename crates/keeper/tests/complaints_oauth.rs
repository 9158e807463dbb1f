//! What users complain about elsewhere, where a token is what is kept.
#![allow(clippy::unwrap_used)]

use std::thread::sleep;
use std::time::Duration;

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::oidc::Oidc;
use password_verify_tests::mail::oidc::{CLIENT, CLIENT_SECRET, Trouble};
use password_verify_tests::mail::{Certificates, Dovecot, Fault, Faults, dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, fetch, read};
use password_verify_tests::pv_keeper::PvKeeper;
use password_verify_tests::trail::wait_until;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

/// Everything for one test.
struct Office {
    kept: KeptSite,
    certificates: Certificates,
    oidc: Oidc,
    dovecot: Dovecot,
}

impl Office {
    fn new() -> Self {
        let certificates = Certificates::new();
        let oidc = Oidc::start(&certificates);
        let setup = dovecot::Setup::new(&certificates).user("ann", "unused-by-tokens").oauth(&oidc);
        let dovecot = setup.start();
        Self { kept: KeptSite::shared(), certificates, oidc, dovecot }
    }

    fn keeper(&self) -> PvKeeper {
        PvKeeper::start(KEEPER, &self.kept, &self.certificates)
    }

    /// Of a user who has just consented.
    fn mailbox(&self, mechanism: &'static str) -> Mailbox {
        let consent = self.oidc.issue("ann");
        let kept = serde_json::json!({
            "refresh_token": consent.refresh_token, "client_id": CLIENT, "client_secret": CLIENT_SECRET,
        });
        let port = self.dovecot.imaps_port();
        let token_endpoint = Some(self.oidc.token_url());
        let of = Mailbox::new(&self.certificates, port, "ann", &kept.to_string());
        Mailbox { mechanism, token_endpoint, ..of }
    }
}

/// 5. emersion/hydroxide #280: two sessions used one rotating refresh token, and both were revoked.
/// 6. postalsys/emailengine #96: an account vanished after its token was renewed.
#[test]
fn one_at_a_time_holds_a_token_and_the_new_one_is_kept() {
    let office = Office::new();
    let (_one, _other) = (office.keeper(), office.keeper());
    let mut app = office.kept.depositor();
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let ann = office.mailbox(mechanism);
        let before = office.oidc.requests();
        let mut requests = vec![ann.register(&mut app)];
        requests.extend((0..12).map(|_| ann.request(&mut app)));
        for request in &requests {
            ann.await_end(&mut app, *request, "ended done ok");
        }
        let after = office.oidc.requests();
        assert_eq!(after.refused, before.refused);
        assert_eq!(after.token - before.token, requests.len() as u64);
        assert_eq!(ann.state(&mut app), "verified");
    }
}

/// The answer and the end of the connection come together, and the new token is in it.
#[test]
fn a_provider_that_closes_each_connection_loses_no_token() {
    let office = Office::new();
    office.oidc.set_closing(true);
    let _keeper = office.keeper();
    let mut app = office.kept.depositor();
    let ann = office.mailbox("XOAUTH2");
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "ended done ok");
    for _ in 0..10 {
        let request = ann.request(&mut app);
        ann.await_end(&mut app, request, "ended done ok");
    }
    assert_eq!(office.oidc.requests().refused, 0);
}

/// 8. simonrob/email-oauth2-proxy #387, OfflineIMAP #667, imapsync #250: a token expires in the middle of a long fetch.
#[test]
fn a_token_that_expires_in_the_middle_of_a_fetch_is_renewed() {
    let office = Office::new();
    let network = Faults::before(office.dovecot.imaps_port());
    let _keeper = office.keeper();
    let mut app = office.kept.depositor();
    for number in 0..300 {
        office.dovecot.deliver("ann", &messages::of_size(&format!("mail {number}"), 20_000));
    }
    office.oidc.set_access_ttl(33);
    let ann = Mailbox { port: network.port(), ..office.mailbox("XOAUTH2") };
    ann.register(&mut app);
    ann.await_state(&mut app, "verified");
    network.set(Fault::Slow(400_000));
    let before = office.oidc.requests().token;
    let request = ann.request(&mut app);
    // Providers end sessions whose token is over, and servers say so in ways of their own: a cut is the hardest.
    wait_until("something was read", || !read(&mut app, request).is_empty());
    sleep(Duration::from_secs(4));
    network.cut();
    network.set(Fault::None);
    ann.await_end(&mut app, request, "ended done ok");
    assert!(office.oidc.requests().token - before >= 2, "renewed in the middle");
    assert_eq!(office.oidc.requests().refused, 0);
    let expected: Vec<String> = (0..300).map(|number| format!("mail {number}")).collect();
    assert_eq!(fetch(&mut app, request), expected);
}

/// 8. MarimerLLC/calendar-mcp #50: refresh tokens die, and whoever uses them goes on trying.
#[test]
fn a_consent_that_was_taken_back_is_asked_for_once_and_seen() {
    let office = Office::new();
    let _keeper = office.keeper();
    let mut app = office.kept.depositor();
    let consent = office.oidc.issue("ann");
    let kept = serde_json::json!({
        "refresh_token": consent.refresh_token, "client_id": CLIENT, "client_secret": CLIENT_SECRET,
    });
    let ann = Mailbox { password: kept.to_string(), ..office.mailbox("XOAUTH2") };
    office.oidc.revoke(&consent);
    let before = office.oidc.requests();
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "blocked rejected reconsent");
    assert_eq!(ann.state(&mut app), "rejected reconsent");
    let more = ann.request(&mut app);
    ann.await_end(&mut app, more, "blocked");
    sleep(Duration::from_secs(6));
    assert_eq!(office.oidc.requests().token - before.token, 1);
    // She consents again.
    office.mailbox("XOAUTH2").register(&mut app);
    ann.await_end(&mut app, more, "ended done ok");
}

/// What a crash between the provider's answer and our commit loses is that token, and no more: it is said, and not
/// tried blindly.
#[test]
fn an_answer_that_never_came_ends_as_reconsent() {
    let office = Office::new();
    let _keeper = office.keeper();
    let mut app = office.kept.depositor();
    let ann = office.mailbox("XOAUTH2");
    office.oidc.set_trouble(Trouble::CutAfter);
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "waiting retry disconnected");
    assert_eq!(office.oidc.requests().token, 1);
    office.oidc.set_trouble(Trouble::None);
    // Another request tries at once what the first will try in 30 s.
    let request = ann.request(&mut app);
    ann.await_end(&mut app, request, "blocked rejected reconsent");
    assert_eq!(ann.state(&mut app), "rejected reconsent");
}

/// 9. nylas/sync-engine #51: errors of OAuth were uncaught exceptions of the loop.
#[test]
fn errors_of_the_provider_are_ends_of_jobs() {
    let office = Office::new();
    let keeper = office.keeper();
    let mut app = office.kept.depositor();
    let ann = office.mailbox("XOAUTH2");
    let verify = ann.register(&mut app);
    ann.await_end(&mut app, verify, "ended done ok");
    for (trouble, end) in [
        (Trouble::Status(500), "waiting retry unavailable"),
        (Trouble::Status(503), "waiting retry unavailable"),
        (Trouble::Status(429), "waiting retry limited"),
        (Trouble::Status(302), "ended failed protocol"),
        (Trouble::Status(200), "ended failed protocol"),
        (Trouble::CutBefore, "waiting retry disconnected"),
    ] {
        office.oidc.set_trouble(trouble);
        let request = ann.request(&mut app);
        ann.await_end(&mut app, request, end);
        assert_eq!(ann.state(&mut app), "verified", "{trouble:?}");
    }
    office.oidc.set_trouble(Trouble::None);
    let request = ann.request(&mut app);
    ann.await_end(&mut app, request, "ended done ok");
    assert!(!keeper.log().contains("panic"), "{}", keeper.log());
}
