//! The audit as a test reads it, and waiting for it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use postgres::GenericClient;

use crate::query::number;

/// The machine may be slow, but it is not for ever.
pub const SOON: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Waits until there is something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < SOON, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What `pv_verify_events` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub intact: bool,
    pub events: i64,
    /// Epoch and number of the first row that is not as it was written, and what is wrong with it.
    pub at: Option<(i64, i64)>,
    pub problem: Option<String>,
    /// The last row that is as it was written: epoch, number, MAC.
    pub head: Option<(i64, i64, String)>,
}

/// Asks `pv_verify_events`, without leaving an event that says so.
pub fn verify(client: &mut impl GenericClient) -> Verdict {
    let mut reader = client.transaction().unwrap();
    reader.batch_execute("SET LOCAL transaction_read_only = on").unwrap();
    let row = reader.query_one("SELECT * FROM auth.pv_verify_events()", &[]).unwrap();
    reader.rollback().unwrap();
    let at = |epoch, seq| {
        row.get::<usize, Option<i64>>(epoch).map(|epoch| (epoch, row.get::<usize, i64>(seq)))
    };
    Verdict {
        intact: row.get(0),
        events: row.get(1),
        at: at(2, 3),
        problem: row.get(4),
        head: at(5, 6).map(|(epoch, seq)| (epoch, seq, row.get(7))),
    }
}

/// Asks `pv_verify_events` from a head on that was kept: is it intact, what is the problem, and how many rows?
pub fn verify_from(
    client: &mut impl GenericClient,
    head: &(i64, i64, String),
) -> (bool, Option<String>, i64) {
    let sql = "SELECT intact, problem, events FROM auth.pv_verify_events($1, $2, $3)";
    let row = client.query_one(sql, &[&head.0, &head.1, &head.2]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// Nothing is changed, missing or inserted; how many rows there are.
pub fn assert_intact(client: &mut impl GenericClient) -> i64 {
    let verdict = verify(client);
    assert!(verdict.intact, "{verdict:?}");
    assert_eq!((verdict.at, &verdict.problem), (None, &None));
    verdict.events
}

/// Every epoch names the head of the one before it; why each has begun.
pub fn epochs(client: &mut impl GenericClient) -> Vec<String> {
    let sql = "
        SELECT e.detail::json->>'why',
               e.seq = 0 AND e.outcome = 'recorded' AND
               COALESCE(e.detail::json->>'previous' = format('{\"epoch\":%s,\"seq\":%s,\"mac\":\"%s\"}', p.epoch, p.seq, encode(p.mac, 'hex')),
                        e.detail::json->>'previous' IS NULL AND p.epoch IS NULL),
               e.detail
          FROM password_verify.event e
          LEFT JOIN LATERAL (SELECT * FROM password_verify.event p WHERE p.epoch < e.epoch
                              ORDER BY p.epoch DESC, p.seq DESC LIMIT 1) p ON true
         WHERE e.action = 'epoch' ORDER BY e.epoch";
    let rows = client.query(sql, &[]).unwrap();
    rows.iter()
        .map(|row| {
            assert!(
                row.get::<_, bool>(1),
                "it does not name its predecessor: {}",
                row.get::<_, &str>(2)
            );
            row.get(0)
        })
        .collect()
}

/// What is on record about a user, oldest first: "action outcome".
pub fn of_user(client: &mut impl GenericClient, user: &str) -> Vec<String> {
    let sql = "SELECT action || ' ' || outcome FROM auth.pv_events WHERE user_id = $1
                ORDER BY epoch NULLS LAST, seq, at";
    client.query(sql, &[&user]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// How often each "action outcome" is on record, apart from what the audit says about itself.
pub fn counts(client: &mut impl GenericClient) -> BTreeMap<String, i64> {
    let sql = "SELECT action || ' ' || outcome, sum(count)::bigint FROM auth.pv_events
                WHERE action NOT IN ('epoch', 'end', 'prune', 'verify') GROUP BY 1";
    client.query(sql, &[]).unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// A statistic of this database, 0 if it is not there.
pub fn stat(client: &mut impl GenericClient, name: &str) -> i64 {
    let sql = "SELECT COALESCE(sum(value), 0)::bigint FROM auth.pv_stats WHERE statistic = $1";
    client.query_one(sql, &[&name]).unwrap().get(0)
}

/// Waits until everything that has happened is written, and every change has its end.
pub fn settle(client: &mut impl GenericClient) {
    // One after the other: a statement that asks for both does not see what leaves the queue while it runs.
    let pending = "SELECT count(*) FROM auth.pv_events WHERE outcome = 'pending'";
    wait_until("nothing is on its way", || {
        stat(client, "queue_used") == 0 && number(client, pending) == 0
    });
}

/// The process that writes the audit of this database, if there is one.
pub fn worker(client: &mut impl GenericClient) -> Option<i32> {
    let sql = "SELECT max(pid) FROM pg_stat_activity
                WHERE backend_type = 'password_verify' AND datname = current_database()";
    client.query_one(sql, &[]).unwrap().get(0)
}

/// Waits until the worker has left, and its statistics have come to whoever asks: it reports what it has done when it
/// leaves, to a process of its own before PostgreSQL 15.
pub fn await_statistics(client: &mut impl GenericClient) {
    await_no_worker(client);
    thread::sleep(Duration::from_secs(1));
    client.batch_execute("SELECT pg_stat_clear_snapshot()").unwrap();
}

/// Waits until the worker has left.
pub fn await_no_worker(client: &mut impl GenericClient) {
    wait_until("the worker leaves", || worker(client).is_none());
}
