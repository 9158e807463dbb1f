//! Attempts against the throttle, and what got through: hashes in `pv_stats`, whatever the answers say.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::trail::stat;
use crate::{Site, attack};

/// Answers, as [`Tried`] has them.
pub const VALID: &str = "valid";
pub const INVALID: &str = "invalid_credentials";
pub const THROTTLED: &str = "throttled";
pub const LOCKED: &str = "locked";
pub const BUSY: &str = "busy";

/// The address of the owner.
pub const HOME: Option<&str> = Some("10.1.2.3");

/// And of somebody else.
pub const AWAY: Option<&str> = Some("10.5.5.5");

/// An answer, with `retry_after` in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    pub answer: String,
    pub retry_after: Option<f64>,
}

/// One attempt to log in.
pub fn attempt(client: &mut Client, user: &str, password: &str, address: Option<&str>) -> Tried {
    let sql = "SELECT valid, reason, extract(epoch FROM retry_after)::float8
                 FROM auth.pv_validate_password($1::text, $2, $3::text::inet)";
    let row = client.query_one(sql, &[&user, &password, &address]).unwrap();
    let (valid, reason): (bool, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(valid, reason.is_none(), "{reason:?}");
    Tried { answer: reason.unwrap_or_else(|| VALID.into()), retry_after: row.get(2) }
}

/// The same, without the wait.
pub fn login(client: &mut Client, user: &str, password: &str, address: Option<&str>) -> String {
    attempt(client, user, password, address).answer
}

/// A wrong password.
pub fn guess(client: &mut Client, user: &str, address: Option<&str>) -> String {
    login(client, user, "guess", address)
}

/// A database with these settings.
pub fn site_with(settings: &[&str]) -> Site {
    let site = Site::new();
    site.configure(settings);
    site
}

/// A number of `pv_stats`, 0 where it is not shown.
pub fn statistic(site: &Site, name: &str) -> i64 {
    stat(&mut site.admin(), name)
}

/// How many passwords were hashed while something happened.
pub fn hashes<T>(site: &Site, attack: impl FnOnce() -> T) -> (i64, T) {
    let before = statistic(site, "hashes");
    let result = attack();
    (statistic(site, "hashes") - before, result)
}

/// How many there are of each.
pub fn tally<T: Into<String>>(answers: impl IntoIterator<Item = T>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    answers.into_iter().for_each(|answer| *tally.entry(answer.into()).or_default() += 1);
    tally
}

/// As [`tally`] has it.
pub fn counts<const N: usize>(of: [(&str, usize); N]) -> BTreeMap<String, usize> {
    of.into_iter().map(|(answer, count)| (answer.to_owned(), count)).collect()
}

/// Sleeps until a wait is over.
pub fn wait_out(refusal: &Tried) {
    assert_eq!(refusal.answer, THROTTLED);
    thread::sleep(Duration::from_secs_f64(refusal.retry_after.unwrap() + 0.02));
}

/// More hashes than the budget allows have got through.
pub fn report(what: &str, tried: usize, hashed: i64, allowed: i64) {
    attack(&format!("{what}: {allowed} hashes allowed"), tried, (hashed - allowed).max(0) as usize);
}

/// Locked after two.
pub const LOCK_SOON: [&str; 2] = ["throttle_free_failures = 2", "throttle_lock_after = 2"];

/// Locks an account by [`LOCK_SOON`].
pub fn lock(client: &mut Client, user: &str) {
    (0..2).for_each(|_| assert_eq!(guess(client, user, None), INVALID, "{user}"));
    assert_eq!(guess(client, user, None), LOCKED, "{user}");
}

/// Hashes of one login: four, and one more in a minute.
pub const FOUR_HASHES: [&str; 2] = ["throttle_caller_hashes = 4", "throttle_caller_refill = 1"];
