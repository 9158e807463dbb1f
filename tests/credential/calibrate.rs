//! `pv_calibrate` proposes settings that this machine computes in time, and never too weak ones.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::{Cluster, Site, sqlstate};
use postgres::Client;

struct Proposal {
    memory: i32,
    iterations: i32,
    lanes: i32,
    expected: Duration,
}

fn calibrate(client: &mut Client, target: &str) -> Proposal {
    let sql = "SELECT argon2_memory, argon2_iterations, argon2_parallelism,
                      (extract(epoch FROM expected) * 1000000)::bigint
                 FROM auth.pv_calibrate($1::text::interval)";
    let row = client.query_one(sql, &[&target]).unwrap();
    let expected = Duration::from_micros(row.get::<_, i64>(3).unsigned_abs());
    Proposal { memory: row.get(0), iterations: row.get(1), lanes: row.get(2), expected }
}

#[test]
fn it_stays_within_the_target_and_above_owasp() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    let mut work = Vec::new();
    for (target, most) in [("20 ms", 20), ("300 ms", 300), ("3 s", 3000)] {
        let Proposal { memory, iterations, lanes, expected } = calibrate(&mut manager, target);
        println!("{target}: {memory} kB, {iterations}, {lanes}: {expected:?}");
        let owasp = [(46 * 1024, 1), (19 * 1024, 2), (12 * 1024, 3), (9 * 1024, 4), (7 * 1024, 5)];
        assert!(owasp.iter().any(|&(m, t)| memory >= m && iterations >= t));
        assert!(memory <= 128 * 1024 && lanes == 4);
        let least = owasp.contains(&(memory, iterations));
        assert!(expected <= Duration::from_millis(most) || least, "{expected:?}");
        work.push(i64::from(memory) * i64::from(iterations));
    }
    assert!(work[0] <= work[1] && work[1] <= work[2], "{work:?}");
    // What it proposes can be set, and hashes.
    let Proposal { memory, iterations, lanes, .. } = calibrate(&mut manager, "50 ms");
    site.configure(&[
        &format!("argon2_memory = {memory}"),
        &format!("argon2_iterations = {iterations}"),
        &format!("argon2_parallelism = {lanes}"),
    ]);
    site.enroll("42", password_verify_tests::GOOD);
}

#[test]
fn it_respects_the_limit_of_memory() {
    let limit = "password_verify.hash_memory_limit = '16MB'";
    let cluster = Cluster::start(&[PRELOADED[0], limit]);
    let site = Site::on(std::sync::Arc::new(cluster));
    let mut manager = site.login_with(&["manager"]);
    assert!(calibrate(&mut manager, "1 s").memory <= 16 * 1024);
}

#[test]
fn who_may_and_what_may_be_asked() {
    let site = Site::new();
    let mut manager = site.login_with(&["manager"]);
    for target in ["0", "-1 s", "0.5 ms", "11 s", "1 year"] {
        let sql = format!("SELECT auth.pv_calibrate('{target}')");
        assert_eq!(sqlstate(manager.query(&sql, &[])), "22023", "{target}");
    }
    assert_eq!(sqlstate(manager.query("SELECT auth.pv_calibrate(NULL)", &[])), "22004");
    assert_eq!(sqlstate(site.login().query("SELECT auth.pv_calibrate()", &[])), "42501");
}
