//! What somebody without the key leaves behind goes away however much it is, and nothing that they number so keeps the
//! worker from coming.
#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::Duration;

use password_verify_tests::calls::validate;
use password_verify_tests::keyring::{fresh_key, line, restart, sealed_server_with, sealed_site};
use password_verify_tests::query::number;
use password_verify_tests::trail::{assert_intact, epochs, settle, verify, wait_until};
use password_verify_tests::whole::{assert_whole, await_tampered, problem};
use password_verify_tests::{Answer, GOOD, Site, WRONG};

/// The extension goes with its tables, and comes with others.
const ANEW: &str = "DROP EXTENSION password_verify; CREATE EXTENSION password_verify SCHEMA auth";
const ZERO: &str = "'00000000-0000-0000-0000-000000000000'";

fn site(keys: &str) -> Site {
    let site = sealed_site(keys);
    site.enroll("42", GOOD);
    assert_eq!(validate(&mut site.login(), "42", WRONG), Answer::wrong());
    settle(&mut site.admin());
    site
}

/// More rows than one slice of the worker looks at, with every kind of MAC that does not fit, and at the first place.
#[test]
fn an_accepted_restore_discards_thousands() {
    let site = site(&line("a", &fresh_key()));
    let mut admin = site.admin();
    let plant = format!(
        "INSERT INTO password_verify.throttle
         SELECT gen_random_uuid(), 0, 1, now(), '2000-01-01', now() + '30 d',
                CASE i % 3 WHEN 0 THEN '' WHEN 1 THEN decode(repeat('ab', 24), 'hex')
                           ELSE (SELECT mac FROM password_verify.throttle WHERE kind >= 0 LIMIT 1) END
           FROM generate_series(1, 6000) i;
         INSERT INTO password_verify.event_fold
         SELECT CASE i WHEN 1 THEN {ZERO} ELSE gen_random_uuid() END, at, since, count, action, outcome, 'planted', client_addr,
                login_role, acting_role, peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, mac
           FROM generate_series(1, 3000) i, (SELECT * FROM password_verify.event LIMIT 1) e;
         INSERT INTO password_verify.open_change VALUES ({ZERO}, 3, 3, 1, 1, now(), NULL, false, NULL, '');
         INSERT INTO password_verify.cost_class
         SELECT {ZERO}, template, users, part, current, cells, mac FROM password_verify.cost_class LIMIT 1"
    );
    let budgets = "SELECT count(*) FROM password_verify.throttle";
    let before = number(&mut admin, budgets);
    admin.batch_execute(&plant).unwrap();
    admin.batch_execute("SELECT auth.pv_accept_restore('planted')").unwrap();
    wait_until("the worker has discarded it", || problem(&mut admin).is_none());
    assert_eq!(number(&mut admin, budgets), before);
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM password_verify.event WHERE user_id = 'planted'"),
        0
    );
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    assert_intact(&mut admin);
}

/// Epochs are numbered by the worker: whoever plants the last number but one leaves it none to go on with.
#[test]
fn an_epoch_with_the_highest_number_keeps_no_worker_from_coming() {
    let keys = line("a", &fresh_key());
    let site = site(&keys);
    let plant = |epoch: &str, seq: &str| {
        let sql = format!(
            "INSERT INTO password_verify.event SELECT {epoch}, {seq}, at, since, count, action, outcome, 'planted', client_addr,
                    login_role, acting_role, peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, user_nonce, mac
               FROM password_verify.event WHERE user_id IS DISTINCT FROM 'planted' LIMIT 1"
        );
        site.admin().batch_execute(&sql).unwrap();
    };
    plant("9223372036854775806", "0");
    site.admin().batch_execute("SELECT auth.pv_accept_restore('planted')").unwrap();
    for _ in 0..2 {
        restart(&site.cluster, &keys);
        assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
        settle(&mut site.admin());
    }
    // And in the very place of the next row, when it is known already that something was wrong.
    let verdict = verify(&mut site.admin());
    assert!(!verdict.intact);
    restart(&site.cluster, &keys);
    let newest = "(SELECT max(epoch) FROM password_verify.event WHERE epoch < 1000)";
    let next = format!("(SELECT max(seq) + 1 FROM password_verify.event WHERE epoch = {newest})");
    plant(newest, &next);
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    settle(&mut site.admin());
    let remove = "DELETE FROM password_verify.event WHERE user_id = 'planted'";
    site.admin().batch_execute(remove).unwrap();
    site.admin().batch_execute("SELECT auth.pv_accept_restore('removed')").unwrap();
    assert_intact(&mut site.admin());
}

/// The first worker after a start knows that everything has a MAC before it reads what others may have written.
#[test]
fn a_move_that_is_over_is_over_for_the_first_worker_as_well() {
    let keys = line("a", &fresh_key());
    let cluster = sealed_server_with(&keys, &["password_verify.accept_unsealed = 'until_rotated'"]);
    let site = Site::on(cluster);
    site.enroll("42", GOOD);
    settle(&mut site.admin());
    restart(&site.cluster, &keys);
    let planted = "INSERT INTO password_verify.event_fold
                   SELECT gen_random_uuid(), now() - interval '1 h', now() - interval '1 h', 7, action, outcome, 'planted', client_addr,
                          login_role, acting_role, peer_addr, certificate_subject, certificate_serial, application_name, pid, xid, alert, detail, ''
                     FROM password_verify.event LIMIT 1";
    site.admin().batch_execute(planted).unwrap();
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    await_tampered(&site, "event_fold");
    // It would be due at once.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(validate(&mut site.login(), "42", GOOD), Answer::yes());
    settle(&mut site.admin());
    let sql = "SELECT count(*) FROM password_verify.event WHERE user_id = 'planted'";
    assert_eq!(number(&mut site.admin(), sql), 0);
}

/// What was said of an extension that has been dropped since is not what has been said of this one.
#[test]
fn a_new_extension_tells_what_the_one_before_had_told() {
    let site = site(&line("a", &fresh_key()));
    let raised = "UPDATE password_verify.throttle SET count = count + 1 WHERE kind >= 0";
    for made_anew in [false, true] {
        if made_anew {
            site.admin().batch_execute(ANEW).unwrap();
            site.admin().query("SELECT auth.pv_set_password('42'::text, $1)", &[&GOOD]).unwrap();
            site.admin()
                .query("SELECT auth.pv_validate_password('42'::text, $1)", &[&WRONG])
                .unwrap();
            settle(&mut site.admin());
            assert_eq!(epochs(&mut site.admin()), ["start"]);
            assert_whole(&mut site.admin());
        }
        assert!(site.admin().execute(raised, &[]).unwrap() > 0);
        assert_eq!(problem(&mut site.admin()).unwrap().0, "throttle");
        await_tampered(&site, "throttle");
    }
}

/// A worker stays for a while after it has written something, and cleans up: not in the tables of an extension that has
/// been created meanwhile, with what it knows of the one before.
#[test]
fn a_worker_of_the_extension_before_writes_nothing_into_the_next_one() {
    let site = site(&line("a", &fresh_key()));
    for pause in [0, 300, 600, 900] {
        site.admin().query("SELECT auth.pv_set_password('42'::text, $1)", &[&GOOD]).unwrap();
        settle(&mut site.admin());
        thread::sleep(Duration::from_millis(pause));
        site.admin().batch_execute(ANEW).unwrap();
        // Every half a second a worker cleans up, in its last two.
        thread::sleep(Duration::from_millis(1200));
        assert_eq!(number(&mut site.admin(), "SELECT count(*) FROM password_verify.anchor"), 0);
        assert_eq!(number(&mut site.admin(), "SELECT count(*) FROM password_verify.event"), 0);
    }
    site.admin().query("SELECT auth.pv_set_password('42'::text, $1)", &[&GOOD]).unwrap();
    settle(&mut site.admin());
    assert_eq!(epochs(&mut site.admin()), ["start"]);
    assert_whole(&mut site.admin());
}
