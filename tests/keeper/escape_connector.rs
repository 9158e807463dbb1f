//! Attacks, each told as a story and replayed with the keeper's own login, which holds the kind connector: it opens
//! what the application is asking for at that moment, at most three times a lease, and nothing else.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::manage;
use password_verify_tests::crowd::at_once;
use password_verify_tests::keeper::{
    KeptSite, TABLES, VAULT, cancel, contents, create_vault, deliver, finish, open, request,
    results, secrets, store, store_in_vault, take, take_for, try_open, try_request, unlock,
};
use password_verify_tests::kill::crash;
use password_verify_tests::query::number;
use password_verify_tests::trail::wait_until;
use password_verify_tests::victim::all_refused;
use password_verify_tests::{GOOD, attack, sqlstate};
use postgres::{Client, GenericClient, IsolationLevel};

const CANARY: &str = "canary of the victim 7d1f";

/// A site with a secret, a job that is waiting, and its number, which the attacker knows.
fn victim() -> (KeptSite, i64) {
    let kept = KeptSite::shared();
    let mut app = kept.depositor();
    store(&mut app, "victim", "imap", CANARY);
    let job = request(&mut app, "victim", "imap");
    let grant =
        format!("GRANT CREATE, TEMP ON DATABASE {} TO {}", kept.site.database, kept.connector);
    kept.admin().batch_execute(&grant).unwrap();
    (kept, job)
}

/// How often an attempt came by the secret.
fn got(opened: &Result<Result<String, String>, postgres::Error>) -> usize {
    usize::from(opened.as_ref().is_ok_and(Result::is_ok))
}

/// They read and write the tables, call what is the application's, and become somebody else.
#[test]
fn the_tables_and_the_applications_functions() {
    let (kept, job) = victim();
    let before = contents(&mut kept.admin());
    let mut keeper = kept.connector();
    let (me, it) = (&kept.connector, &kept.depositor);
    let mut statements = vec![
        format!("SET ROLE {it}"), format!("GRANT {it} TO {me}"), format!("SELECT auth.pv_grant('{me}', 'depositor')"), "SET ROLE pv_owner".into(),
        format!("SELECT auth.pv_results({job})"), format!("SELECT auth.pv_ack_results({job}, 1)"), format!("SELECT auth.pv_cancel_request({job})"),
        "SELECT auth.pv_secrets('victim'::text)".into(), "SELECT auth.pv_requests('victim'::text)".into(),
        "SELECT auth.pv_request('victim'::text, 'imap', '{}')".into(), "SELECT auth.pv_forget_secret('victim'::text, 'imap')".into(),
        "SELECT auth.pv_store_secret('victim'::text, 'imap', 'x', '{}')".into(),
        format!("SELECT auth.pv_unlock_vault('victim'::text, '{VAULT}')"), "SELECT auth.pv_lock_vault('x')".into(),
        "SELECT * FROM auth.pv_events".into(), "SELECT * FROM auth.pv_users".into(), "SELECT auth.pv_disable_user('victim'::text)".into(),
        "CREATE FUNCTION pg_temp.raw(bigint, bigint) RETURNS SETOF record LANGUAGE c AS '$libdir/password_verify', 'pv_results_wrapper'".into(),
    ];
    for table in TABLES {
        for sql in ["SELECT * FROM", "DELETE FROM", "TRUNCATE", "TABLE"] {
            statements.push(format!("{sql} password_verify.{table}"));
        }
        statements.push(format!("UPDATE password_verify.{table} SET mac = ''"));
        statements.push(format!("COPY password_verify.{table} TO STDOUT"));
    }
    all_refused(&mut keeper, &statements.iter().map(|sql| &**sql).collect::<Vec<_>>());
    // With the roles for all data they see no row.
    kept.admin()
        .batch_execute(&format!("GRANT pg_read_all_data, pg_write_all_data TO {me}"))
        .unwrap();
    let mut keeper = kept.connector();
    for table in TABLES {
        assert_eq!(
            number(&mut keeper, &format!("SELECT count(*) FROM password_verify.{table}")),
            0
        );
        assert_eq!(
            keeper.execute(&format!("UPDATE password_verify.{table} SET mac = ''"), &[]).unwrap(),
            0
        );
    }
    assert_eq!(contents(&mut kept.admin()), before);
    attack(
        "statements of a connector at tables and functions that are not its own",
        statements.len(),
        0,
    );
    kept.assert_sound();
}

/// They open what nobody has leased: jobs that wait, that are over, blocked, cancelled, of the future, and of others.
#[test]
fn jobs_that_are_not_leased() {
    let (kept, job) = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    store(&mut app, "other", "imap", "another secret");
    let (mut tried, mut through) = (0, 0);
    let mut attempt = |keeper: &mut Client, job: i64| {
        tried += 1;
        through += got(&try_open(keeper, job));
    };
    attempt(&mut keeper, job);
    assert_eq!(take(&mut keeper), Some(job));
    // A lease of one is none of the other.
    let other = request(&mut app, "other", "imap");
    attempt(&mut keeper, other);
    assert!(cancel(&mut app, other));
    attempt(&mut keeper, other);
    let mut current = job;
    for outcome in ["done", "failed", "retry", "rejected"] {
        finish(&mut keeper, current, outcome, "internal");
        attempt(&mut keeper, current);
        let next = request(&mut app, "victim", "imap");
        attempt(&mut keeper, next);
        if outcome != "rejected" {
            assert_eq!(take(&mut keeper), Some(next));
        }
        current = next;
    }
    assert_eq!(take(&mut keeper), None);
    attempt(&mut keeper, current);
    // Numbers beside those that there are.
    for number in [job ^ 1, job + 1, other - 1, other ^ (1 << 40), -job, 0, i64::MAX] {
        attempt(&mut keeper, number);
    }
    attack("secrets of jobs that are not leased", tried, through);
    kept.assert_sound();
}

/// They open it more often than three times, whatever is around it.
#[test]
fn a_fourth_time() {
    const OPEN: &str = "SELECT (auth.pv_open_secret(JOB)).secret";
    let (kept, first) = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    type Attack = fn(&KeptSite, i64) -> Vec<usize>;
    fn tries(client: &mut impl GenericClient, job: i64, times: usize) -> Vec<usize> {
        (0..times).map(|_| got(&try_open(client, job))).collect()
    }
    let attacks: [(&str, Attack); 8] = [
        ("one after the other", |kept, job| tries(&mut kept.connector(), job, 8)),
        ("rolled back", |kept, job| {
            let mut keeper = kept.connector();
            (0..8).flat_map(|_| tries(&mut keeper.transaction().unwrap(), job, 1)).collect()
        }),
        ("savepoints", |kept, job| {
            let mut keeper = kept.connector();
            let mut outer = keeper.transaction().unwrap();
            (0..8).flat_map(|_| tries(&mut outer.transaction().unwrap(), job, 1)).collect()
        }),
        ("many sessions", |kept, job| {
            at_once(16, |_| kept.connector(), |_, keeper| tries(keeper, job, 2)).concat()
        }),
        ("a row each", |kept, job| {
            let sql = format!(
                "SELECT o.secret FROM generate_series(1, 20) i, LATERAL auth.pv_open_secret({job} * sign(i)::bigint) o"
            );
            let rows = kept.connector().query(&sql, &[]).unwrap();
            rows.iter().map(|row| usize::from(row.get::<_, Option<String>>(0).is_some())).collect()
        }),
        ("exceptions", |kept, job| {
            let mut keeper = kept.connector();
            keeper.batch_execute("CREATE TEMP TABLE seen (secret text)").unwrap();
            let block = format!(
                "DO $$ DECLARE s text; BEGIN FOR i IN 1 .. 10 LOOP BEGIN
                     SELECT secret INTO s FROM auth.pv_open_secret({job});
                     INSERT INTO seen VALUES (s); RAISE 'undo';
                 EXCEPTION WHEN raise_exception THEN INSERT INTO seen VALUES (s); END; END LOOP; END $$"
            );
            keeper.batch_execute(&block).unwrap();
            let rows = keeper.query("SELECT secret FROM seen", &[]).unwrap();
            rows.iter().map(|row| usize::from(row.get::<_, Option<String>>(0).is_some())).collect()
        }),
        ("a finish that is rolled back", |kept, job| {
            let mut keeper = kept.connector();
            (0..8)
                .flat_map(|_| {
                    let mut open = keeper.transaction().unwrap();
                    let found = tries(&mut open, job, 1);
                    finish(&mut open, job, "failed", "internal");
                    found
                })
                .collect()
        }),
        ("errors afterwards", |kept, job| {
            let mut keeper = kept.connector();
            let before = number(&mut kept.admin(), OPENED);
            for _ in 0..8 {
                let sql = format!("{}; SELECT 1 / 0", OPEN.replace("JOB", &job.to_string()));
                assert!(keeper.batch_execute(&sql).is_err());
            }
            password_verify_tests::trail::settle(&mut kept.admin());
            vec![(number(&mut kept.admin(), OPENED) - before) as usize]
        }),
    ];
    const OPENED: &str = "SELECT COALESCE(sum(count), 0)::bigint FROM auth.pv_events WHERE action = 'open_secret' AND outcome = 'valid'";
    for (i, (name, act)) in attacks.into_iter().enumerate() {
        let job = if i == 0 { first } else { request(&mut app, "victim", "imap") };
        assert_eq!(take(&mut keeper), Some(job), "{name}");
        let found = act(&kept, job);
        let opened: usize = found.iter().sum();
        attack(
            &format!("more than three openings of a lease, {name}"),
            found.len(),
            opened.saturating_sub(3),
        );
        assert_eq!(opened, 3, "{name}: {found:?}");
        assert_eq!(got(&try_open(&mut keeper, job)), 0, "{name}");
        finish(&mut keeper, job, "failed", "internal");
        assert!(cancel(&mut app, job));
    }
    kept.assert_sound();
}

/// They take a lease, open the secret, and take the lease back: a lease that is not committed opens nothing, or the
/// whole table could be walked like this.
#[test]
fn a_lease_that_is_rolled_back() {
    let (kept, first) = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for i in 0..10 {
        store(&mut app, &format!("user{i}"), "imap", CANARY);
        request(&mut app, &format!("user{i}"), "imap");
    }
    let (mut tried, mut through) = (0, 0);
    for isolation in [
        IsolationLevel::ReadCommitted,
        IsolationLevel::RepeatableRead,
        IsolationLevel::Serializable,
    ] {
        let mut open = keeper.build_transaction().isolation_level(isolation).start().unwrap();
        while let Some(job) = take(&mut open) {
            through += got(&try_open(&mut open, job));
            let mut inner = open.transaction().unwrap();
            through += got(&try_open(&mut inner, job));
            inner.rollback().unwrap();
            // Nor by another session, which sees no lease.
            through += got(&try_open(&mut kept.connector(), job));
            tried += 3;
        }
        open.rollback().unwrap();
    }
    let mut outer = keeper.transaction().unwrap();
    let mut inner = outer.transaction().unwrap();
    assert_eq!(take(&mut inner), Some(first));
    inner.commit().unwrap();
    through += got(&try_open(&mut outer, first));
    outer.rollback().unwrap();
    assert_eq!(tried, 99, "all jobs were taken each time");
    attack("secrets of leases that are rolled back", tried + 1, through);
    keeper.batch_execute("BEGIN").unwrap();
    assert_eq!(take(&mut keeper), Some(first));
    assert!(keeper.batch_execute("PREPARE TRANSACTION 'lease'").is_err());
    // What they have tried so keeps nobody from the work.
    let _ = keeper.batch_execute("ROLLBACK");
    assert_eq!(take(&mut keeper), Some(first));
    assert_eq!(open(&mut keeper, first), Ok(CANARY.into()));
    kept.assert_sound();
}

/// They hold on to an old snapshot in which the job was leased.
#[test]
fn an_old_snapshot() {
    let (kept, job) = victim();
    let (mut keeper, mut other) = (kept.connector(), kept.connector());
    assert_eq!(take(&mut keeper), Some(job));
    let mut old =
        keeper.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    old.batch_execute("SELECT FROM pg_class").unwrap();
    finish(&mut other, job, "done", "ok");
    let through = got(&try_open(&mut old, job));
    attack("secrets of a lease that has ended, by an old snapshot", 1, through);
    assert!(old.query("SELECT auth.pv_deliver($1, '{}')", &[&job]).is_err());
    drop(old);
    assert_eq!(results(&mut kept.depositor(), job, 0), []);
    kept.assert_sound();
}

/// They finish and take, again and again: no more rounds than the application asks for.
#[test]
fn loops_of_take_and_finish() {
    let (kept, first) = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    for (outcome, job) in
        [("done", Some(first)), ("failed", None), ("retry", None), ("rejected", None)]
    {
        let job = job.unwrap_or_else(|| request(&mut app, "victim", "imap"));
        let (mut opened, mut rounds) = (0, 0);
        for _ in 0..20 {
            let Some(taken) = take(&mut keeper) else { continue };
            assert_eq!(taken, job);
            rounds += 1;
            opened += (0..4).map(|_| got(&try_open(&mut keeper, job))).sum::<usize>();
            finish(&mut keeper, job, outcome, "internal");
        }
        attack(&format!("rounds after one that was {outcome}"), 20, rounds - 1);
        assert_eq!((rounds, opened), (1, 3), "{outcome}");
        if outcome == "retry" {
            assert!(cancel(&mut app, job));
        }
    }
    // A lease that is left to end gives another one, of the same job: what it opens is what they have already.
    store(&mut app, "victim", "imap", CANARY);
    let job = request(&mut app, "victim", "imap");
    while let Some(taken) = take_for(&mut keeper, "1 second") {
        if taken != job {
            finish(&mut keeper, taken, "failed", "internal");
        }
    }
    wait_until("it is due again", || take(&mut keeper) == Some(job));
    kept.assert_sound();
}

/// They make the server forget how often it was opened.
#[test]
fn a_crash_between_openings() {
    let kept = KeptSite::new();
    store(&mut kept.depositor(), "victim", "imap", CANARY);
    let job = request(&mut kept.depositor(), "victim", "imap");
    assert_eq!(take(&mut kept.connector()), Some(job));
    let mut opened = 0;
    for round in 0..4 {
        let mut keeper = kept.connector();
        opened += (0..2).map(|_| got(&try_open(&mut keeper, job))).sum::<usize>();
        if round == 2 {
            kept.site.cluster.down();
            kept.site.cluster.up();
        } else {
            crash(&kept.site.cluster);
        }
    }
    attack(
        "openings beyond three of one lease, with crashes in between",
        8,
        opened.saturating_sub(3),
    );
    assert_eq!(opened, 3);
}

/// They open what is locked or of somebody who is disabled.
#[test]
fn locked_vaults_and_disabled_users() {
    let (kept, job) = victim();
    let (mut app, mut keeper) = (kept.depositor(), kept.connector());
    kept.site.enroll("victim", GOOD);
    assert!(create_vault(&mut app, "victim", VAULT).0);
    store_in_vault(&mut app, "victim", "vaulted", CANARY);
    let handle = unlock(&mut app, "victim");
    let vaulted = try_request(&mut app, "victim", "vaulted", Some(&handle)).unwrap();
    assert_eq!([take(&mut keeper), take(&mut keeper)], [Some(job), Some(vaulted)]);
    assert!(manage(&mut kept.admin(), "pv_disable_user", "victim"));
    let mut through = got(&try_open(&mut keeper, job)) + got(&try_open(&mut keeper, vaulted));
    assert!(manage(&mut kept.admin(), "pv_enable_user", "victim"));
    through += got(&try_open(&mut keeper, vaulted));
    attack("secrets of disabled users, and of vaults that are locked", 3, through);
    assert_eq!(
        sqlstate(keeper.query("SELECT auth.pv_store_rotated($1, 'x')", &[&vaulted])),
        "55000"
    );
    // What they deliver and put in place is for the job that they hold only.
    deliver(&mut keeper, job, r#"{"a":1}"#);
    assert_eq!(open(&mut keeper, job), Ok(CANARY.into()));
    assert_eq!(secrets(&mut app, "victim"), ["imap new", "vaulted vault new"]);
    kept.assert_sound();
}
