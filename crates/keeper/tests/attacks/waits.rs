//! Whom somebody can make wait.

use super::*;

/// Whoever names the victim's server and a token endpoint of their own holds places at the victim's server.
#[test]
fn slow_token_endpoints_hold_no_places_at_mail_servers() {
    let mut office = Office::new();
    let _keeper = office.keeper(&["job_timeout = 12", "silence_timeout = 12"]);
    let (server, victim) = office.victim();
    let slow = Hostile::start(office.good().but(Step::Accept, &[Act::Silence]));
    for number in 0..8 {
        let of = office.mailbox(server.port(), &format!("mallory-{number}"));
        let token_endpoint = Some(format!("https://localhost:{}/token", slow.port()));
        let of = Mailbox { mechanism: "XOAUTH2", password: TOKEN.into(), token_endpoint, ..of };
        of.register(&mut office.app);
    }
    sleep(Duration::from_secs(1));
    office.assert_served(&victim, 5);
}

/// A million rounds for each proof.
#[test]
fn costly_proofs_keep_nobody_else_waiting() {
    const COSTLY: [Act; 5] = [
        Act::Usual,
        Act::Listen,
        Act::Challenge(1_000_000),
        Act::Listen,
        Act::Say(b"%t NO no\r\n"),
    ];
    let mut office = Office::new();
    let _keeper = office.keeper(&["per_host = 32"]);
    let (_server, victim) = office.victim();
    let costly = Hostile::start(office.good().but(Step::Mechanism, &COSTLY));
    for number in 0..80 {
        let of = office.mailbox(costly.port(), &format!("mallory-{number}"));
        Mailbox { mechanism: "SCRAM-SHA-256", ..of }.register(&mut office.app);
    }
    sleep(Duration::from_millis(500));
    office.assert_served(&victim, 4);
}

/// Accounts of one's own at the victim's server, with mailboxes that take a while.
#[test]
fn long_sessions_keep_nobody_else_from_the_same_server() {
    let mut office = Office::new();
    let _keeper = office.keeper(&[]);
    let (port, _) = start(office.certificates.good.server(), |_, stream| {
        let takes = |shown: &str| if shown.contains("mallory") { 11 } else { 0 };
        imap(stream, |shown| ("OK in", Duration::from_secs(takes(shown))))
    });
    let (victim, mine) = (
        office.mailbox(port, "victim"),
        [0, 1, 2].map(|it| office.mailbox(port, &format!("mallory-{it}"))),
    );
    let verify = victim.register(&mut office.app);
    office.assert_done(&victim, verify, 10);
    for of in mine {
        of.register(&mut office.app);
        for _ in 0..4 {
            of.request(&mut office.app);
        }
    }
    for _ in 0..9 {
        office.assert_served(&victim, 6);
        sleep(Duration::from_secs(2));
    }
}

/// Any login of the database may send them.
#[test]
fn a_flood_of_notifications_is_no_flood_of_calls() {
    let mut office = Office::new();
    let _keeper = office.keeper(&[]);
    let mut admin = office.kept.admin();
    let sql = "SELECT query_start::text FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%pv_take_job%'";
    sleep(Duration::from_secs(2));
    let (begun, mut calls) = (Instant::now(), BTreeSet::new());
    while begun.elapsed() < Duration::from_secs(4) {
        for _ in 0..20 {
            office.app.batch_execute("NOTIFY password_verify_jobs").unwrap();
        }
        let rows = admin.query(sql, &[&office.kept.connector]).unwrap();
        calls.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    assert!(calls.len() < 50, "{} calls and more", calls.len());
}
