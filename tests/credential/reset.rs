//! Reset tokens: one use, the newest only, for a bounded time.
#![allow(clippy::unwrap_used)]

use std::thread;

use password_verify_tests::calls::{ask, change, create, issue, reset, set, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::imports::becomes;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site, attack, sqlstate};
use postgres::Client;

const RESET_FROM: &str =
    "SELECT success, reason FROM auth.pv_reset_password($1, $2, $3::text::inet)";
const THIRD: &str = "plinth oscillate marzipan";

fn no_token() -> Answer {
    Answer::no("invalid_token")
}

/// A site with user 42, its application and its registrar.
fn site() -> (Site, Client, Client) {
    let site = Site::new();
    let (mut app, registrar) = (site.login(), site.login_with(&["registrar"]));
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    (site, app, registrar)
}

#[test]
fn a_token_resets_the_password_once() {
    let (_site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes(), "nothing has happened yet");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("invalid_credentials"));
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
    assert_eq!(reset(&mut app, &token, THIRD), no_token());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
}

#[test]
fn the_newest_token_is_the_only_one() {
    let (_site, mut app, mut registrar) = site();
    let (older, newer) = (issue(&mut registrar, "42"), issue(&mut registrar, "42"));
    assert_ne!(older, newer);
    assert_eq!(reset(&mut app, &older, OTHER), no_token());
    assert_eq!(reset(&mut app, &newer, OTHER), Answer::yes());
}

#[test]
fn the_policy_comes_before_the_token_is_used_up() {
    let (_site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, "short"), Answer::no("too_short"));
    assert_eq!(reset(&mut app, &token, "vzvzvzvzvzvzvzvz"), Answer::no("too_weak"));
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
}

#[test]
fn another_password_ends_the_token() {
    let (_site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(reset(&mut app, &token, THIRD), no_token());
    let token = issue(&mut registrar, "42");
    assert_eq!(set(&mut registrar, "42", GOOD), Answer::yes());
    assert_eq!(reset(&mut app, &token, THIRD), no_token());
}

#[test]
fn a_login_or_a_renewal_leaves_the_token_alone() {
    let (site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    let stronger =
        format!("ALTER DATABASE {} SET password_verify.argon2_iterations = 6", site.database);
    site.admin().batch_execute(&stronger).unwrap();
    let mut app_now = site.login();
    assert_eq!(validate(&mut app_now, "42", GOOD), Answer::yes());
    becomes(&mut site.admin(), "42", "argon2id m=7168,t=6,p=1");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
}

#[test]
fn a_token_ends() {
    let (site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    let mut admin = site.admin();
    // A minute is the shortest life: the row is made older instead, which only an unsealed one allows.
    let expired =
        "UPDATE password_verify.credential SET reset_expires_at = now() WHERE user_id = '42'";
    admin.batch_execute(expired).unwrap();
    assert_eq!(reset(&mut app, &token, OTHER), no_token());
    for life in ["59 seconds", "0", "-1 hour", "8 days", "1 year", "100000000 years"] {
        let sql = format!("SELECT auth.pv_issue_reset_token('42'::text, '{life}')");
        assert_eq!(sqlstate(registrar.query(&sql, &[])), "22023", "{life}");
    }
    for life in ["1 minute", "7 days"] {
        let sql = format!("SELECT auth.pv_issue_reset_token('42'::text, '{life}')");
        let token: String = registrar.query_one(&sql, &[]).unwrap().get(0);
        assert_eq!(token.len(), 64);
    }
}

#[test]
fn there_is_no_token_for_nobody_and_no_reset_without_one() {
    let (_site, mut app, mut registrar) = site();
    let none: Option<String> =
        registrar.query_one("SELECT auth.pv_issue_reset_token($1::text)", &[&"43"]).unwrap().get(0);
    assert_eq!(none, None);
    let token = issue(&mut registrar, "42");
    let mut other_secret = token.clone();
    let last = if token.ends_with('A') { "E" } else { "A" };
    other_secret.replace_range(63.., last);
    let mut other_place = token.clone();
    other_place.replace_range(..1, if token.starts_with('B') { "C" } else { "B" });
    let nobody = "A".repeat(64);
    let long = "A".repeat(100_000);
    let wrong = ["", "x", &token[..63], &other_secret, &other_place, &nobody, &long];
    let through = wrong.iter().filter(|it| reset(&mut app, it, OTHER) != no_token()).count();
    attack("passwords reset with something like a token", wrong.len(), through);
    assert_eq!(sqlstate(app.query("SELECT auth.pv_reset_password(NULL, 'x')", &[])), "22004");
    assert_eq!(sqlstate(app.query("SELECT auth.pv_issue_reset_token('42'::text)", &[])), "42501");
    assert_eq!(sqlstate(registrar.query("SELECT auth.pv_reset_password('x', 'x')", &[])), "42501");
}

#[test]
fn of_twenty_who_redeem_one_token_one_succeeds() {
    let (site, _app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    let mut apps: Vec<_> = (0..20).map(|_| site.login()).collect();
    let answers: Vec<_> = thread::scope(|scope| {
        let token = &token;
        let all: Vec<_> =
            apps.iter_mut().map(|app| scope.spawn(move || reset(app, token, OTHER))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|answer| **answer == Answer::yes()).count(), 1);
    let others = [no_token(), Answer::no("busy"), Answer::yes()];
    assert!(answers.iter().all(|answer| others.contains(answer)), "{answers:?}");
}

#[test]
fn a_reset_ends_waits_and_locks_but_not_a_disabling() {
    let (site, mut app, mut registrar) = site();
    for _ in 0..6 {
        validate(&mut app, "42", "guess");
    }
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("throttled"));
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());

    let mut manager = site.login_with(&["manager"]);
    manager.query("SELECT auth.pv_disable_user('42'::text)", &[]).unwrap();
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, GOOD), Answer::yes());
    assert_eq!(validate(&mut app, "42", GOOD), Answer::no("disabled"));
}

#[test]
fn a_rolled_back_reset_has_not_happened() {
    let (_site, mut app, mut registrar) = site();
    let token = issue(&mut registrar, "42");
    app.batch_execute("BEGIN").unwrap();
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
    app.batch_execute("ROLLBACK").unwrap();
    assert_eq!(validate(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
}

#[test]
fn guessing_tokens_is_charged_to_the_client_and_on_record() {
    let (site, mut app, mut registrar) = site();
    let settings = format!(
        "ALTER DATABASE {} SET password_verify.throttle_client_failures = 5",
        site.database
    );
    site.admin().batch_execute(&settings).unwrap();
    let mut guesser = site.login();
    let nobody = "A".repeat(64);
    for _ in 0..5 {
        let answer = ask(&mut guesser, RESET_FROM, &[&nobody, &OTHER, &"192.0.2.1"]).unwrap();
        assert_eq!(answer, no_token());
    }
    let answer = ask(&mut guesser, RESET_FROM, &[&nobody, &OTHER, &"192.0.2.1"]).unwrap();
    assert_eq!(answer, Answer::no("throttled"));
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes(), "others are not");

    let mut auditor = site.login_with(&["auditor"]);
    let told = "SELECT COALESCE(user_id, '-') || ' ' || action || ' ' || outcome, sum(count)::bigint
                  FROM auth.pv_events WHERE action IN ('prove', 'issue_token', 'reset') GROUP BY 1 ORDER BY 1";
    let mut seen = Vec::new();
    for _ in 0..50 {
        let rows = auditor.query(told, &[]).unwrap();
        seen = rows.iter().map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1))).collect();
        if seen.iter().all(|(what, _)| !what.contains("pending")) {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(100));
    }
    let expected = [
        ("- prove invalid_token", 5),
        ("- prove throttled", 1),
        ("42 issue_token committed", 1),
        ("42 prove valid", 1),
        ("42 reset committed", 1),
    ];
    assert_eq!(seen, expected.map(|(what, count)| (what.to_owned(), count)));
}

/// A wrong token costs no hash: if it cost what a wrong password does, anybody could keep an address out for
/// nothing.
#[test]
fn tokens_do_not_use_up_what_logins_have() {
    let (site, mut app, mut registrar) = site();
    site.configure(&["throttle_caller_hashes = 20", "throttle_client_failures = 5"]);
    let mut app_now = site.login();
    let log_in =
        "SELECT valid, reason FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
    let from = "192.0.2.1";
    let wrong = |app: &mut Client| ask(app, RESET_FROM, &[&"x", &OTHER, &from]).unwrap();
    let answers: Vec<_> = (0..30).map(|_| wrong(&mut app_now)).collect();
    assert_eq!(answers.iter().filter(|it| **it == no_token()).count(), 5);
    assert_eq!(answers[29], Answer::no("throttled"));
    let through = (0..5)
        .filter(|_| ask(&mut app_now, log_in, &[&"42", &GOOD, &from]).unwrap() != Answer::yes())
        .count();
    attack("logins kept out by wrong tokens from their address", 5, through);
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
}

#[test]
fn none_of_the_last_passwords_is_used_again() {
    const FOURTH: &str = "mallet quarrel thimble gown";
    let site = Site::new();
    site.configure(&["history = 3", "audit_durability = async"]);
    let (mut app, mut registrar) = (site.login(), site.login_with(&["registrar"]));
    let former = |site: &Site| -> i64 {
        let sql =
            "SELECT COALESCE(length(former) - length(replace(former, chr(10), '')), 0)::bigint
                     FROM password_verify.credential WHERE user_id = '42'";
        site.admin().query_one(sql, &[]).unwrap().get(0)
    };
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(change(&mut app, "42", OTHER, THIRD), Answer::yes());
    // The current one and two before it.
    for used in [GOOD, OTHER, THIRD] {
        assert_eq!(change(&mut app, "42", THIRD, used), Answer::no("reused"), "{used}");
        let token = issue(&mut registrar, "42");
        assert_eq!(reset(&mut app, &token, used), Answer::no("reused"), "{used}");
    }
    assert_eq!(former(&site), 2);
    // More than five comparisons until the next change are another matter: reuse.rs.
    let mut manager = site.login_with(&["manager"]);
    manager.query("SELECT auth.pv_unlock_user('42'::text)", &[]).unwrap();
    let token = issue(&mut registrar, "42");
    assert_eq!(reset(&mut app, &token, FOURTH), Answer::yes());
    assert_eq!(former(&site), 3);
    assert_eq!(change(&mut app, "42", FOURTH, GOOD), Answer::yes(), "it has fallen out");
    assert_eq!(former(&site), 3);
    // What a registrar sets is for the registrar to choose; it is remembered all the same.
    assert_eq!(set(&mut registrar, "42", GOOD), Answer::yes());
    site.configure(&["history = 0"]);
    let mut app = site.login();
    assert_eq!(change(&mut app, "42", GOOD, FOURTH), Answer::yes());
    assert_eq!(former(&site), 0, "nothing is kept that the policy does not ask for");
}

#[test]
fn with_a_keyring_a_token_cannot_be_forged_by_whoever_writes_the_table() {
    let cluster = Cluster::init();
    let keys = cluster.folder().join("keys");
    let command =
        format!("sh -c 'umask 077; echo a:$(openssl rand -base64 32) > {}'", keys.display());
    password_verify_tests::cluster::run(std::process::Command::new("sh").arg("-c").arg(command));
    if let Ok(meta) = std::fs::metadata(cluster.data()) {
        use std::os::unix::fs::MetadataExt;
        std::os::unix::fs::chown(&keys, Some(meta.uid()), Some(meta.gid())).unwrap();
    }
    let line = format!("password_verify.keyring_file = '{}'", keys.display());
    cluster.configure(&[PRELOADED[0], &line]);
    cluster.up();
    let site = Site::on(std::sync::Arc::new(cluster));
    let (mut app, mut registrar) = (site.login(), site.login_with(&["registrar"]));
    let mut admin = site.admin();
    for user in ["42", "43"] {
        assert_eq!(create(&mut app, user, GOOD), Answer::yes());
    }
    let token = issue(&mut registrar, "43");
    // The digest of a token of one's own, put beside the victim's record; and its life made longer.
    for forged in [
        "UPDATE password_verify.credential v SET (reset_digest, reset_issued_at, reset_expires_at) =
            (SELECT m.reset_digest, m.reset_issued_at, m.reset_expires_at FROM password_verify.credential m WHERE m.user_id = '43')
          WHERE v.user_id = '42'",
        "UPDATE password_verify.credential SET reset_expires_at = reset_expires_at + interval '1 d' WHERE user_id = '43'",
    ] {
        admin.batch_execute(forged).unwrap();
    }
    assert_eq!(
        sqlstate(app.query_one("SELECT auth.pv_reset_password($1, $2)", &[&token, &OTHER])),
        "XX001"
    );
    // In a row that is not as it was written nothing counts, until there is another password.
    let issued = registrar.query("SELECT auth.pv_issue_reset_token('43'::text)", &[]);
    assert_eq!(sqlstate(issued), "XX001");
    assert_eq!(set(&mut admin, "43", GOOD), Answer::yes());
    let token = issue(&mut registrar, "43");
    let sealed: bool = admin
        .query_one("SELECT starts_with(reset_digest, '$sealed$') FROM password_verify.credential WHERE user_id = '43'", &[])
        .unwrap()
        .get(0);
    assert!(sealed);
    assert_eq!(reset(&mut app, &token, OTHER), Answer::yes());
}
