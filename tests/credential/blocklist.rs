//! The list of breached passwords, which a site supplies.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use password_verify_blocklist::Key;
use password_verify_blocklist::build::Keys;
use password_verify_tests::calls::{SET, ask, change, check, create, validate};
use password_verify_tests::cluster::PRELOADED;
use password_verify_tests::hold::pid;
use password_verify_tests::kill::crash_by;
use password_verify_tests::trail::wait_until;
use password_verify_tests::{Answer, Cluster, GOOD, OTHER, Site};
use postgres::Client;

/// Everything but the list accepts it.
const LISTED: &str = "plinth oscillate marzipan";

/// A filter of one password.
fn filter_of(password: &str) -> Vec<u8> {
    let mut filter = Vec::new();
    let keys = Keys::new(vec![Key::of(password)]).map_err(|why| why.to_string()).unwrap();
    keys.write(&mut filter, |_| ()).map_err(|why| why.to_string()).unwrap();
    filter
}

/// The same in a server that has not started.
fn listing(password: &str) -> (Cluster, std::path::PathBuf) {
    let cluster = Cluster::init();
    let path = cluster.folder().join("breached.filter");
    fs::write(&path, filter_of(password)).unwrap();
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
    assert_eq!(check(&mut app, "42", LISTED), listed);
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

/// As `password_verify_blocklist` does it: a new file takes the place of the old one.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}

fn reload(site: &Site) {
    site.admin().batch_execute("SELECT pg_reload_conf()").unwrap();
}

/// How many pieces of dynamic shared memory the server has, where they are files.
fn pieces(site: &Site) -> usize {
    fs::read_dir(site.cluster.data().join("pg_dynshmem")).unwrap().count()
}

#[test]
fn a_reload_takes_over_a_new_list_for_sessions_old_and_new() {
    let (cluster, path) = listing(LISTED);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    let (mut old, mut admin) = (site.login(), site.admin());
    let listed = Answer::no("blocklisted");
    assert_eq!(check(&mut old, "42", LISTED), listed);
    assert_eq!(check(&mut old, "42", OTHER), Answer::yes());

    replace(&path, &filter_of(OTHER));
    assert_eq!(check(&mut old, "42", LISTED), listed, "nobody has asked for a reload");
    reload(&site);
    wait_until("it is taken over", || check(&mut old, "42", OTHER) == listed);
    assert_eq!(check(&mut old, "42", LISTED), Answer::yes());
    let mut new = site.login();
    assert_eq!(check(&mut new, "42", OTHER), listed);
    assert_eq!(check(&mut new, "42", LISTED), Answer::yes());

    // Another file, by the setting.
    let other = path.with_file_name("other.filter");
    fs::write(&other, filter_of(GOOD)).unwrap();
    let sql = format!("ALTER SYSTEM SET password_verify.blocklist_file = '{}'", other.display());
    admin.batch_execute(&sql).unwrap();
    reload(&site);
    wait_until("it is taken over", || check(&mut old, "42", GOOD) == listed);
    assert_eq!(check(&mut new, "42", OTHER), Answer::yes());

    // No file.
    admin.batch_execute("ALTER SYSTEM SET password_verify.blocklist_file = ''").unwrap();
    reload(&site);
    wait_until("it is gone", || check(&mut old, "42", GOOD) == Answer::yes());
    assert_eq!(check(&mut new, "42", OTHER), Answer::yes());
    assert_eq!(check(&mut site.login(), "42", LISTED), Answer::yes());
}

#[test]
fn a_broken_list_is_complained_of_once_and_the_one_before_it_stays() {
    let (cluster, path) = listing(LISTED);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    let mut app = site.login();
    let whole = filter_of(OTHER);
    let complaints =
        || site.cluster.log().matches("blocklist_file is not used as it is now").count();
    let broken: [&[u8]; 2] = [&whole[..whole.len() - 1], b"a list"];
    for (n, content) in broken.into_iter().enumerate() {
        replace(&path, content);
        reload(&site);
        wait_until("it is complained of", || complaints() > n);
        assert_eq!(check(&mut app, "42", LISTED), Answer::no("blocklisted"));
        assert_eq!(check(&mut site.login(), "42", LISTED), Answer::no("blocklisted"));
    }
    fs::remove_file(&path).unwrap();
    reload(&site);
    wait_until("it is complained of", || complaints() > broken.len());
    // All workers have looked by now.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(complaints(), broken.len() + 1, "{}", site.cluster.log());
    replace(&path, &whole);
    reload(&site);
    wait_until("it is taken over", || check(&mut app, "42", OTHER) == Answer::no("blocklisted"));
    // Somebody cuts the file short where it lies: it has been copied.
    fs::write(&path, b"").unwrap();
    assert_eq!(check(&mut app, "42", OTHER), Answer::no("blocklisted"));
    assert_eq!(check(&mut app, "42", LISTED), Answer::yes());
}

#[test]
fn a_list_that_was_reloaded_outlives_a_crash_of_the_server() {
    let (cluster, path) = listing(LISTED);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    replace(&path, &filter_of(OTHER));
    reload(&site);
    let mut app = site.login();
    wait_until("it is taken over", || check(&mut app, "42", OTHER) == Answer::no("blocklisted"));
    crash_by(&site.cluster, pid(&mut app));
    let mut app = site.login();
    assert_eq!(check(&mut app, "42", OTHER), Answer::no("blocklisted"));
    assert_eq!(check(&mut app, "42", LISTED), Answer::yes());
}

#[test]
fn reload_after_reload_leaves_one_list_in_memory() {
    let (cluster, path) = listing(LISTED);
    cluster.configure(&["dynamic_shared_memory_type = mmap"]);
    cluster.up();
    let site = Site::on(Arc::new(cluster));
    let mut sessions: Vec<Client> = (0..4).map(|_| site.login()).collect();
    let listed = Answer::no("blocklisted");
    let mut before = None;
    for n in 0..20 {
        let password = format!("{LISTED} {n}");
        replace(&path, &filter_of(&password));
        reload(&site);
        let session = &mut sessions[n % 4];
        wait_until("it is taken over", || check(session, "42", &password) == listed);
        before.get_or_insert_with(|| pieces(&site));
    }
    assert_eq!(pieces(&site), before.unwrap());
}
