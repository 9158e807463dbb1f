//! The chain of events names what somebody has changed, removed or inserted, with a keyring and without.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use password_verify_tests::calls::{VALIDATE_FROM, ask, validate};
use password_verify_tests::cluster::{run, server};
use password_verify_tests::keyring::{fresh_key, line, restart, sealed_server, sealed_site};
use password_verify_tests::query::{number, text};
use password_verify_tests::trail::{
    assert_intact, await_no_worker, epochs, settle, verify, wait_until,
};
use password_verify_tests::{Cluster, GOOD, Site, WRONG};
use postgres::Client;

const MISSING: &str = "rows before this one are missing";

/// A database with three epochs of events, and nobody who writes.
fn with_history(cluster: Arc<Cluster>) -> Site {
    let site = Site::on(cluster);
    for epoch in 0..3 {
        let mut app = site.login();
        for i in 0..5 {
            let user = format!("user{epoch}-{i}");
            ask(&mut app, VALIDATE_FROM, &[&user, &WRONG, &"192.0.2.1"]).unwrap();
        }
        site.enroll(&format!("user{epoch}"), GOOD);
        settle(&mut site.admin());
        if epoch < 2 {
            site.cluster.down();
            site.cluster.up();
        }
    }
    let mut admin = site.admin();
    await_no_worker(&mut admin);
    assert_eq!(epochs(&mut admin), ["start"; 3]);
    assert_intact(&mut admin);
    site
}

/// Where verifying stops after this was done to the table. It is undone.
fn after(admin: &mut Client, tampering: &str) -> (Option<(i64, i64)>, Option<String>) {
    let mut open = admin.transaction().unwrap();
    open.batch_execute(tampering).unwrap();
    let verdict = verify(&mut open);
    assert_eq!(verdict.intact, verdict.problem.is_none());
    open.rollback().unwrap();
    (verdict.at, verdict.problem)
}

fn tampering_is_named(site: &Site) {
    let mut admin = site.admin();
    let changed = |epoch, seq| (Some((epoch, seq)), Some("changed".to_owned()));
    let missing = |epoch, seq| (Some((epoch, seq)), Some(MISSING.to_owned()));
    let column_changes = [
        "at = at + interval '1 microsecond'",
        "since = since - interval '1 microsecond'",
        "count = count + 1",
        "action = 'prove'",
        "action = 'nonsense'",
        "outcome = 'valid'",
        "outcome = ''",
        "user_id = 'somebody'",
        "user_id = NULL",
        "user_id = NULL, user_nonce = NULL",
        "user_nonce = NULL",
        "user_nonce = set_byte(user_nonce, 0, get_byte(user_nonce, 0) # 1)",
        "user_nonce = user_nonce || user_nonce",
        "client_addr = '192.0.2.2'",
        "client_addr = NULL",
        "login_role = 'somebody'",
        "login_role = NULL",
        "acting_role = 'somebody'",
        "acting_role = login_role || ' '",
        "peer_addr = '192.0.2.1'",
        "peer_addr = NULL",
        "certificate_subject = 'CN=somebody'",
        "certificate_subject = ''",
        "certificate_serial = '1'",
        "certificate_serial = ''",
        "application_name = 'psql'",
        "application_name = ''",
        "pid = pid + 1",
        "pid = NULL",
        "xid = 1",
        "alert = 1",
        "alert = 256",
        "detail = ''",
        "detail = '{}'",
        "mac = set_byte(mac, 31, get_byte(mac, 31) # 1)",
        "mac = ''",
        "mac = mac || '\\x00'",
        // Two columns that could be one, told apart by nothing but where one ends.
        "user_id = user_id || client_addr, client_addr = NULL",
        "user_id = client_addr, client_addr = user_id",
        "certificate_subject = peer_addr, peer_addr = NULL",
        "certificate_serial = peer_addr, peer_addr = NULL",
    ];
    for set in column_changes {
        let sql = format!("UPDATE password_verify.event SET {set} WHERE epoch = 2 AND seq = 2");
        assert_eq!(after(&mut admin, &sql), changed(2, 2), "{set}");
    }
    // A pending change, its end, and an epoch's first row.
    let place = |admin: &mut Client, what: &str| {
        let row = admin.query_one(&format!("SELECT epoch, seq FROM password_verify.event WHERE {what} ORDER BY epoch, seq LIMIT 1"), &[]).unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    for (what, set) in [
        ("outcome = 'pending'", "outcome = 'committed'"),
        ("outcome = 'pending'", "xid = xid + 1"),
        ("outcome = 'pending'", "xid = NULL"),
        ("action = 'end'", "outcome = 'rolled_back'"),
        ("action = 'end'", "xid = xid + 1"),
        ("action = 'epoch' AND epoch = 3", "detail = replace(detail, 'start', 'restore')"),
        ("action = 'epoch' AND epoch = 3", "at = at + interval '1 s'"),
    ] {
        let (epoch, seq) = place(&mut admin, what);
        let sql =
            format!("UPDATE password_verify.event SET {set} WHERE epoch = {epoch} AND seq = {seq}");
        assert_eq!(after(&mut admin, &sql), changed(epoch, seq), "{what}: {set}");
    }
    let last_of = |admin: &mut Client, epoch: i64| {
        number(admin, &format!("SELECT max(seq) FROM password_verify.event WHERE epoch = {epoch}"))
    };
    let last = last_of(&mut admin, 2);
    // With a keyring, the anchor says what has been removed.
    let keyed = number(
        &mut admin,
        "SELECT (current_setting('password_verify.keyring_file') <> '')::int::int8",
    ) == 1;
    let pruned = if keyed { missing(2, 0) } else { changed(2, last + 1) };
    for (tampering, expected) in [
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = 3".to_owned(), missing(2, 4)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq BETWEEN 2 AND 4".into(), missing(2, 5)),
        ("DELETE FROM password_verify.event WHERE epoch = 1 AND seq = 0".into(), missing(1, 1)),
        ("DELETE FROM password_verify.event WHERE epoch = 1 AND seq < 3".into(), missing(1, 3)),
        ("DELETE FROM password_verify.event WHERE epoch = 1".into(), missing(2, 0)),
        ("DELETE FROM password_verify.event WHERE epoch = 2".into(), missing(3, 0)),
        ("DELETE FROM password_verify.event WHERE epoch < 3".into(), missing(3, 0)),
        (format!("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = {last}"), missing(3, 0)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq > 0".into(), missing(3, 0)),
        // Inserted: at an end, between two, before the first, and as an epoch of its own.
        (insert("2", &(last + 1).to_string(), "epoch = 2 AND seq = 3"), changed(2, last + 1)),
        (insert("2", "-1", "epoch = 2 AND seq = 3"), missing(2, -1)),
        (insert("2", "3", "epoch = 1 AND seq = 3").replace("INSERT", "UPDATE password_verify.event SET seq = -seq WHERE epoch = 2 AND seq > 2; UPDATE password_verify.event SET seq = 1 - seq WHERE epoch = 2 AND seq < 0; INSERT"), changed(2, 3)),
        // Swapped, and moved to another epoch.
        ("UPDATE password_verify.event SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE epoch = 2 AND seq IN (2, 3);
          UPDATE password_verify.event SET seq = -seq WHERE epoch = 2 AND seq < 0".into(), changed(2, 2)),
        ("DELETE FROM password_verify.event WHERE epoch = 2 AND seq = 3;
          UPDATE password_verify.event SET epoch = 2 WHERE epoch = 1 AND seq = 3".into(), missing(1, 4)),
        // Two whole epochs swapped.
        ("UPDATE password_verify.event SET epoch = -epoch WHERE epoch IN (1, 2);
          UPDATE password_verify.event SET epoch = 3 + epoch WHERE epoch < 0".into(), changed(1, 0)),
        // It says that retention was here.
        (format!("DELETE FROM password_verify.event WHERE epoch = 1;
          INSERT INTO password_verify.event SELECT epoch, {}, at, since, 1, 'prune', 'recorded', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, '{{\"epochs_before\":2}}', NULL, mac
            FROM password_verify.event WHERE epoch = 2 AND seq = {last}", last + 1), pruned),
    ] {
        assert_eq!(after(&mut admin, &tampering), expected, "{tampering}");
    }
    // The tail: nothing is left that could name it. The head in the server log does.
    let whole = verify(&mut admin).head.unwrap();
    let line = format!(
        r#"password_verify: {{"audit":"head","database":"{}","epoch":{},"seq":{},"mac":"{}","server":"#,
        site.database, whole.0, whole.1, whole.2
    );
    wait_until("the head is in the log", || site.cluster.log().contains(&line));
    let mut open = admin.transaction().unwrap();
    open.execute(
        "DELETE FROM password_verify.event WHERE epoch = $1 AND seq >= $2",
        &[&whole.0, &(whole.1 - 1)],
    )
    .unwrap();
    let verdict = verify(&mut open);
    let left = verdict.head.unwrap();
    assert!((left.0, left.1) == (whole.0, whole.1 - 2) && left.2 != whole.2);
    open.rollback().unwrap();
    assert_eq!(verify(&mut admin).head.unwrap(), whole);
    assert_intact(&mut admin);
}

/// A copy of a row, at another place.
fn insert(epoch: &str, seq: &str, of: &str) -> String {
    format!(
        "INSERT INTO password_verify.event SELECT {epoch}, {seq}, at, since, count, action, outcome, user_id, client_addr, login_role, acting_role,
         peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, user_nonce, mac FROM password_verify.event WHERE {of}"
    )
}

#[test]
fn what_was_changed_removed_or_inserted_is_named() {
    tampering_is_named(&with_history(server(&[])));
}

#[test]
fn a_row_before_the_first_epoch_is_named() {
    let site = with_history(server(&[]));
    let mut admin = site.admin();
    for (epoch, of) in [("0", "seq = 0"), ("0", "seq = 2"), ("-5", "seq = 0")] {
        let (at, problem) = after(&mut admin, &insert(epoch, "0", &format!("epoch = 1 AND {of}")));
        assert_eq!(at, Some((epoch.parse().unwrap(), 0)), "{epoch} {of}");
        assert_eq!(problem.as_deref(), Some(MISSING));
    }
}

#[test]
fn a_tail_cut_off_while_the_worker_is_there_is_named_by_its_next_row() {
    let site = Site::new();
    let (mut admin, mut app) = (site.admin(), site.login());
    (0..5).for_each(|i| drop(validate(&mut app, &format!("user{i}"), WRONG)));
    admin.execute("DELETE FROM password_verify.event WHERE seq > 3", &[]).unwrap();
    validate(&mut app, "next", WRONG);
    let verdict = verify(&mut admin);
    assert_eq!((verdict.at, verdict.problem.as_deref()), (Some((1, 6)), Some(MISSING)));
}

#[test]
fn with_a_keyring_tampering_is_named_too() {
    let site = with_history(sealed_server(&format!("# ours\na:{}\n", fresh_key())));
    let opening = text(
        &mut site.admin(),
        "SELECT detail FROM password_verify.event WHERE epoch = 1 AND seq = 0",
    );
    assert!(opening.contains(r#""key":"a""#), "{opening}");
    tampering_is_named(&site);
}

#[test]
fn a_chain_without_a_key_does_not_pass_for_one_with_a_key() {
    let site = with_history(sealed_server(&format!("a:{}\n", fresh_key())));
    // Somebody who can write the table but not read the keys has a server of their own, without a
    // keyring, go on from the first epoch as they would like it to have been.
    let forge = Site::new();
    let mut forger = forge.admin();
    let mut admin = site.admin();
    let copy = |from: &Site, to: &mut Client, rows: &str| {
        let mut psql = from.cluster.command("psql");
        let sql = format!(
            "COPY (SELECT * FROM password_verify.event WHERE {rows} ORDER BY epoch, seq) TO STDOUT"
        );
        let output = run(psql.args(["-X", "-d", &from.database, "-c", &sql]));
        let mut writer = to.copy_in("COPY password_verify.event FROM STDIN").unwrap();
        std::io::Write::write_all(&mut writer, &output.stdout).unwrap();
        writer.finish().unwrap();
    };
    await_no_worker(&mut forger);
    for (what, kept) in [("all but the first epoch", "epoch = 1"), ("everything", "false")] {
        forger.batch_execute("TRUNCATE password_verify.event").unwrap();
        copy(&site, &mut forger, kept);
        validate(&mut forge.login(), "forged", WRONG);
        settle(&mut forger);
        await_no_worker(&mut forger);
        assert_intact(&mut site.admin());
        // (A transaction of the victim's server, which is taken back.)
        let mut open = admin.transaction().unwrap();
        open.execute("DELETE FROM password_verify.event", &[]).unwrap();
        open.batch_execute("CREATE TEMP TABLE forged (LIKE password_verify.event) ON COMMIT DROP")
            .unwrap();
        let mut psql = forge.cluster.command("psql");
        let output = run(psql.args([
            "-X",
            "-d",
            &forge.database,
            "-c",
            "COPY password_verify.event TO STDOUT",
        ]));
        let mut writer = open.copy_in("COPY password_verify.event FROM STDIN").unwrap();
        // The first epoch of the victim has a key that the forger's server does not have, so its rows
        // are what was copied to it.
        std::io::Write::write_all(&mut writer, &output.stdout).unwrap();
        writer.finish().unwrap();
        let forged: i64 = open
            .query_one("SELECT count(*) FROM auth.pv_events WHERE user_id = 'forged'", &[])
            .unwrap()
            .get(0);
        assert_eq!(forged, 1, "{what}");
        let verdict = verify(&mut open);
        open.rollback().unwrap();
        assert!(!verdict.intact, "{what} was replaced by plain hashes: {verdict:?}");
    }
}

#[test]
fn another_active_key_begins_another_epoch_and_the_old_one_is_needed_to_verify() {
    let (a, b, c) = (fresh_key(), fresh_key(), fresh_key());
    let site = sealed_site(&line("a", &a));
    let attempt = |user: &str| drop(validate(&mut site.login(), user, WRONG));
    attempt("one");
    restart(&site.cluster, &format!("a:{a}\n\nb:{b}\n"));
    attempt("two");
    restart(&site.cluster, &format!("a:{a}\nb:{b}\n"));
    attempt("three");
    let mut admin = site.admin();
    assert_eq!(epochs(&mut admin), ["start", "key", "start"]);
    let keys = "SELECT string_agg(detail::json->>'key', ' ' ORDER BY epoch) FROM auth.pv_events WHERE action = 'epoch'";
    assert_eq!(text(&mut admin, keys), "a b b");
    assert_intact(&mut admin);
    drop(admin);

    // Without the old key nobody can tell, and it says so.
    restart(&site.cluster, &format!("b:{b}\n"));
    let verdict = verify(&mut site.admin());
    assert_eq!((verdict.intact, verdict.at), (false, Some((1, 0))));
    assert_eq!(verdict.problem.unwrap(), "the keyring does not have the key of this epoch");
    // Another key by the name of the old one is not it.
    restart(&site.cluster, &format!("a:{c}\nb:{b}\n"));
    let verdict = verify(&mut site.admin());
    assert_eq!((verdict.at, verdict.problem.as_deref()), (Some((1, 0)), Some("changed")));
    // And with it, everything is as before. No key is anywhere in the database or the log.
    restart(&site.cluster, &format!("a:{a}\nb:{b}\n"));
    attempt("four");
    let mut admin = site.admin();
    assert_intact(&mut admin);
    let all = text(&mut admin, "SELECT string_agg(e::text, '') FROM password_verify.event e");
    for key in [a, b, c] {
        assert!(!all.contains(&key) && !site.cluster.log().contains(&key));
    }
}
