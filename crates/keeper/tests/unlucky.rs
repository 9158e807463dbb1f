//! PostgreSQL that is full, refuses, or is another server now; a log that cannot be written. Nothing is lost, and
//! nothing comes twice.
#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::ops::Range;

use password_verify_tests::Cluster;
use password_verify_tests::cluster::{PRELOADED, run};
use password_verify_tests::keeper::{KeptSite, results};
use password_verify_tests::mail::messages;
use password_verify_tests::mail_app::fetch;
use password_verify_tests::office::Office;
use password_verify_tests::pv_keeper::Setup;
use password_verify_tests::trail::wait_until;

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

fn office() -> Office {
    Office::on(KeptSite::new())
}

fn setup(office: &Office) -> Setup {
    office.setup(KEEPER).database("timeout = 5")
}

/// Mails arrive: their subjects.
fn deliver(office: &Office, mails: Range<u32>) -> Vec<String> {
    let subjects: Vec<String> = mails.map(|number| format!("mail {number}")).collect();
    for subject in &subjects {
        office.dovecot.deliver("ann", &messages::of_size(subject, 20_000));
    }
    subjects
}

/// Starts the server again, where no process can write a longer file than 16 MiB: as a full disk, but for the error's code.
fn restart_with_little_room(kept: &KeptSite) {
    let cluster = &kept.site.cluster;
    cluster.down();
    let pg_ctl = cluster.command("pg_ctl").get_program().to_owned();
    let mut shell = cluster.command("/bin/sh");
    // In units of 512 bytes.
    shell.args(["-c", "ulimit -S -f 32768; exec \"$@\"", "sh"]).arg(pg_ctl);
    let log = cluster.folder().join("log");
    let output =
        shell.arg("-D").arg(cluster.data()).arg("-l").arg(log).args(["-w", "start"]).output();
    assert!(output.unwrap().status.success(), "{}", cluster.log());
}

#[test]
fn a_disk_that_is_full_loses_nothing() {
    let office = office();
    let _keeper = setup(&office).start();
    let mut app = office.kept.depositor();
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended done ok");
    // Results that do not compress, for more than the 16 MiB that the log of transactions needs.
    let mails = 60;
    for number in 0..mails {
        let content = noise(300_000);
        office
            .dovecot
            .deliver("ann", &messages::attachment(&format!("mail {number}"), "", "a", &content));
    }
    restart_with_little_room(&office.kept);
    let mut app = office.kept.depositor();
    let request = office.ann.request_with(&mut app, "parts => 'raw', max_bytes => 400000");
    wait_until("there is no room for more", || {
        office.ann.end(&mut app, request).starts_with("waiting retry")
    });
    assert!(!results(&mut app, request, 0).is_empty(), "what there was room for stays");
    office.kept.site.cluster.down();
    office.kept.site.cluster.up();
    let mut app = office.kept.depositor();
    let mut all = Vec::new();
    let start = std::time::Instant::now();
    while all.len() < mails && start.elapsed().as_secs() < 90 {
        all.extend(fetch(&mut app, request));
    }
    let expected: Vec<String> = (0..mails).map(|number| format!("mail {number}")).collect();
    assert_eq!(all, expected);
}

fn noise(bytes: u32) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn a_server_that_refuses_is_asked_again() {
    let office = office();
    let keeper = setup(&office).start();
    let mut app = office.kept.depositor();
    let mut admin = office.kept.admin();
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended done ok");
    let (role, database) = (&office.kept.connector, &office.kept.site.database);
    let mut number = 0;
    for (off, on) in [
        (format!("ALTER ROLE {role} NOLOGIN"), format!("ALTER ROLE {role} LOGIN")),
        (
            format!("ALTER ROLE {role} CONNECTION LIMIT 0"),
            format!("ALTER ROLE {role} CONNECTION LIMIT -1"),
        ),
        (
            format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
            format!("ALTER DATABASE {database} RESET default_transaction_read_only"),
        ),
        (
            format!("SELECT auth.pv_revoke('{role}', 'connector')"),
            format!("SELECT auth.pv_grant('{role}', 'connector')"),
        ),
    ] {
        let hang_up = format!(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '{role}'"
        );
        admin.batch_execute(&off).unwrap();
        admin.batch_execute(&hang_up).unwrap();
        wait_until(&off, || keeper.metric("pv_keeper_database_up") == 0.0);
        let expected = deliver(&office, number..number + 3);
        number += 3;
        let since = "parts => 'headers'";
        let request = office.ann.request_with(&mut app, since);
        admin.batch_execute(&on).unwrap();
        admin.batch_execute(&hang_up).unwrap();
        office.ann.await_end(&mut app, request, "ended done ok");
        assert_eq!(fetch(&mut app, request)[number as usize - 3..], expected, "{off}");
    }
}

#[test]
fn after_a_failover_it_goes_on_with_the_other_server() {
    let office = office();
    let site = &office.kept.site;
    let mut app = office.kept.depositor();
    office.ann.register(&mut app);
    let request = office.ann.request_with(
        &mut app,
        "parts => 'headers', every => '1 minute', until => now() + '1 hour'",
    );
    let standby = Cluster::empty();
    let mut copy = standby.command("pg_basebackup");
    copy.args(["-h", site.cluster.folder().to_str().unwrap(), "-R", "--checkpoint=fast", "-D"]);
    run(copy.arg(standby.data()));
    standby.configure(PRELOADED);
    standby.up();
    let [one, other] =
        [&*site.cluster, &standby].map(|cluster| cluster.folder().display().to_string());
    let (user, database) = (&office.kept.connector, &site.database);
    let dsn =
        format!("host={one},{other} user={user} dbname={database} target_session_attrs=read-write");
    let keeper = setup(&office).dsn(&dsn).start();
    let mut expected = deliver(&office, 0..20);
    wait_until("the first round", || results(&mut app, request, 0).len() == 1);
    office.ann.await_state(&mut app, "verified");

    let caught_up =
        "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()";
    wait_until("it has all", || office.kept.admin().query_one(caught_up, &[]).unwrap().get(0));
    site.cluster.kill_postmaster();
    expected.extend(deliver(&office, 20..30));
    standby.admin("postgres").batch_execute("SELECT pg_promote()").unwrap();
    let mut app = standby.connect(&office.kept.depositor, database);
    let start = std::time::Instant::now();
    let mut all = Vec::new();
    while all.len() < expected.len() && start.elapsed().as_secs() < 120 {
        all.extend(fetch(&mut app, request));
    }
    assert_eq!(all, expected);
    assert!(!keeper.log().contains("panic"));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let office = office();
    let keeper = setup(&office).files();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = keeper.spawn(full.into());
    let mut app = office.kept.depositor();
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended done ok");
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}
