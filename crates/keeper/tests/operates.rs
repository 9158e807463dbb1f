//! What whoever runs it relies on: a check, signals, the service manager, numbers for Prometheus.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::{Fault, Faults, messages};
use password_verify_tests::mail_app::{Mailbox, fetch};
use password_verify_tests::office::{Office, PASSWORD};
use password_verify_tests::pv_keeper::PvKeeper;
use password_verify_tests::trail::{of_user, settle, wait_until};

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");

fn office() -> Office {
    Office::on(KeptSite::shared())
}

fn said(keeper: &PvKeeper) -> (bool, String) {
    let output = keeper.check();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_check_says_what_is_wrong() {
    let office = office();
    let good = || office.setup(KEEPER);
    let (fine, text) = said(&good().files());
    assert!(fine, "{text}");
    let database = &office.kept.site.database;
    let host = office.kept.site.cluster.folder().display().to_string();
    let as_depositor = format!("host={host} user={} dbname={database}", office.kept.depositor);
    for (setup, words) in [
        (good().connect("domains = []"), "connect.domains is empty"),
        (good().connect("verify = false"), "unknown field `verify`"),
        (good().connect("ports = [70000]"), "keeper.toml"),
        // A password in the wrong place is not repeated.
        (good().database("password = 'hush-now'"), "unknown field `password`"),
        (good().dsn("host=/nowhere user=x password=hush-now dbname=y"), "no connection"),
        (good().dsn("password=hush-now"), "no connection string with a host"),
        (good().dsn("host=localhost user=x password=hush-now"), "needs sslmode=verify-full"),
        (
            good().dsn(&format!("host={host} user=x dbname=postgres password=hush-now")),
            "no connection",
        ),
        (good().dsn(&as_depositor), "this login may not take jobs"),
        (
            good().dsn(&format!("host={host} user=postgres dbname=postgres")),
            "the extension password_verify is not in",
        ),
        (good().variable("SSL_CERT_FILE", "/nowhere"), "no certificates to trust"),
    ] {
        let (fine, text) = said(&setup.files());
        assert!(!fine && text.contains(words), "{words}: {text}");
        assert!(!text.contains("hush-now"), "{text}");
    }
}

#[test]
fn a_reload_takes_what_is_new_and_keeps_what_was_if_that_is_wrong() {
    let office = office();
    let mut app = office.kept.depositor();
    let setup = office.setup(KEEPER);
    let keeper = setup.connect("domains = ['mail.example.org']").start();
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended failed address_refused");
    assert_eq!(office.ann.state(&mut app), "new");
    // It was not worth an opening.
    settle(&mut office.kept.admin());
    let events = of_user(&mut office.kept.admin(), "ann");
    assert!(events.iter().any(|it| it.starts_with("take_job")), "{events:?}");
    assert!(!events.iter().any(|it| it.starts_with("open_secret")), "{events:?}");

    let (cluster, database) = (&office.kept.site.cluster, &office.kept.site.database);
    let (host, user) = (cluster.folder().display(), &office.kept.connector);
    let dsn = format!("host={host} user={user} dbname={database}");
    keeper.write_files(&dsn, "domains = ['localhost']");
    assert!(keeper.reload());
    let again = office.ann.request(&mut app);
    office.ann.await_end(&mut app, again, "ended done ok");

    // Nothing holds on to the connections of before.
    let pids = |only: &str| -> Vec<i32> {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{user}'{only}");
        office.kept.admin().query(&sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let before = pids("");
    assert!(!before.is_empty());
    assert!(keeper.reload());
    wait_until("they have ended", || pids("").iter().all(|pid| !before.contains(pid)));
    let listens = " AND query = 'LISTEN password_verify_jobs'";
    wait_until("it listens again", || !pids(listens).is_empty());

    keeper.write_files("nothing that can be read", "");
    assert!(!keeper.reload());
    keeper.write_files(&dsn, "domains = ['mail.example.org'] nonsense");
    assert!(!keeper.reload());
    let still = office.ann.request(&mut app);
    office.ann.await_end(&mut app, still, "ended done ok");
}

#[test]
fn a_stop_waits_for_jobs_and_gives_back_those_that_are_too_slow() {
    let office = office();
    let mut app = office.kept.depositor();
    let network = Faults::before(office.dovecot.imaps_port());
    let slow = Mailbox { port: network.port(), ..office.ann.clone() };
    let keeper = office.setup(KEEPER).connect("connect_timeout = 60").start();
    let verify = slow.register(&mut app);
    slow.await_end(&mut app, verify, "ended done ok");
    for number in 0..50 {
        office.dovecot.deliver("ann", &messages::of_size(&format!("mail {number}"), 20_000));
    }
    // About four seconds: the stop waits for it.
    network.set(Fault::Slow(250_000));
    let request = slow.request(&mut app);
    wait_until("it has begun", || slow.end(&mut app, request) == "leased");
    assert!(keeper.stop().success());
    assert_eq!(slow.end(&mut app, request), "ended done ok");
    assert_eq!(fetch(&mut app, request).len(), 50);

    // For ever: it is given back.
    keeper.restart();
    network.set(Fault::Silence);
    let request = slow.request(&mut app);
    wait_until("it has begun", || slow.end(&mut app, request) == "leased");
    let begun = Instant::now();
    assert!(keeper.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(slow.end(&mut app, request), "waiting retry disconnected");
    assert!(keeper.log().lines().last().unwrap().contains("\"stopped\""));
}

#[test]
fn the_service_manager_hears_of_its_life() {
    let office = Office::on(KeptSite::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    for path in [folder.path(), &path] {
        assert!(Command::new("chmod").arg("777").arg(path).status().unwrap().success());
    }
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hears = |what: &str| {
        let mut buffer = [0; 1000];
        let count = socket.recv(&mut buffer).unwrap_or_else(|why| panic!("{what}: {why}"));
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    let await_word = |word: &str| wait_until(word, || hears(word).contains(word));
    let setup = office.setup(KEEPER);
    let keeper = setup
        .variable("NOTIFY_SOCKET", path.to_str().unwrap())
        .variable("WATCHDOG_USEC", "3000000")
        .start();
    await_word("READY=1");
    await_word("WATCHDOG=1");
    await_word("WATCHDOG=1");
    assert!(keeper.reload());
    await_word("RELOADING=1");
    await_word("READY=1");
    // A database that hangs is no reason to be killed, and one that comes back is used.
    office.kept.site.cluster.down();
    wait_until("it notices", || keeper.metric("pv_keeper_database_up") == 0.0);
    await_word("WATCHDOG=1");
    office.kept.site.cluster.up();
    let mut app = office.kept.depositor();
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended done ok");
    assert_eq!(keeper.metric("pv_keeper_database_up"), 1.0);
    keeper.signal("TERM");
    await_word("STOPPING=1");
}

#[test]
fn numbers_for_prometheus() {
    let office = office();
    let mut app = office.kept.depositor();
    let keeper = office.setup(KEEPER).start();
    office.dovecot.deliver("ann", &messages::plain("one", "1"));
    let verify = office.ann.register(&mut app);
    office.ann.await_end(&mut app, verify, "ended done ok");
    let request = office.ann.request(&mut app);
    office.ann.await_end(&mut app, request, "ended done ok");
    wait_until("both are counted", || {
        keeper.metric(r#"pv_keeper_jobs_total{outcome="done",detail="ok"}"#) == 2.0
    });
    assert_eq!(keeper.metric("pv_keeper_results_total"), 1.0);
    assert_eq!(keeper.metric("pv_keeper_job_seconds_count"), 2.0);
    wait_until("none runs", || keeper.metric("pv_keeper_jobs_running") == 0.0);
    let text = keeper.metrics();
    for secret in ["ann", PASSWORD, "localhost", &office.kept.connector] {
        assert!(!text.split("\r\n\r\n").nth(1).unwrap().contains(secret), "{secret} in {text}");
    }
}

/// The unit can be read by the service manager, and leaves the program little.
#[test]
fn the_unit_is_closed() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/pv-keeper.service");
    let mut analyze = Command::new("systemd-analyze");
    let analyze =
        analyze.args(["security", "--offline=true", "--no-pager", "--threshold=20", unit]);
    let output = analyze.output().expect("systemd-analyze is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
