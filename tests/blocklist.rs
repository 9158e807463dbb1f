//! The list of breached passwords, which a site supplies.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;

use password_verify_blocklist::Key;
use password_verify_blocklist::build::Keys;
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::site::{ask, change, create, validate};
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site};

const CHECK: &str = "SELECT * FROM auth.pv_check_password($1::text, $2)";
const SET: &str = "SELECT * FROM auth.pv_set_password($1::text, $2)";
/// Everything but the list accepts it.
const LISTED: &str = "plinth oscillate marzipan";

/// A filter of one password, in a server that has not started.
fn listing(password: &str) -> (Cluster, std::path::PathBuf) {
    let cluster = Cluster::init();
    let path = cluster.folder().join("breached.filter");
    let mut filter = Vec::new();
    let keys = Keys::new(vec![Key::of(password)]).map_err(|why| why.to_string()).unwrap();
    keys.write(&mut filter, |_| ()).map_err(|why| why.to_string()).unwrap();
    fs::write(&path, filter).unwrap();
    let line = format!("password_verify.blocklist_file = '{}'", path.display());
    cluster.configure(&[PRELOADED[0], &line]);
    (cluster, path)
}

#[test]
fn a_breached_password_is_refused_as_a_new_one_and_says_so() {
    let (cluster, _) = listing(LISTED);
    cluster.up();
    assert!(cluster.log().contains("1 breached passwords"), "{}", cluster.log());
    let site = Site::on(Arc::new(cluster));
    let (mut app, mut admin) = (site.login(), site.admin());
    let listed = Answer::no("blocklisted");
    assert_eq!(ask(&mut app, CHECK, &[&"42", &LISTED]).unwrap(), listed);
    assert_eq!(create(&mut app, "42", LISTED), listed);
    assert_eq!(ask(&mut admin, SET, &[&"42", &LISTED]).unwrap(), listed);
    assert_eq!(create(&mut app, "42", GOOD), Answer::yes());
    assert_eq!(change(&mut app, "42", GOOD, LISTED), listed);
    assert_eq!(change(&mut app, "42", GOOD, OTHER), Answer::yes());
    assert_eq!(validate(&mut app, "42", OTHER), Answer::yes());
}

#[test]
fn a_damaged_list_is_refused_not_consulted() {
    let (cluster, path) = listing(LISTED);
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1], b"", b"a list"] {
        fs::write(&path, damaged).unwrap();
        let (started, log) = cluster.try_up();
        assert!(!started && log.contains("password_verify.blocklist_file: "), "{log}");
    }
    fs::remove_file(&path).unwrap();
    let (started, log) = cluster.try_up();
    assert!(!started && log.contains("password_verify.blocklist_file: "), "{log}");
    fs::write(&path, whole).unwrap();
    cluster.up();
}
