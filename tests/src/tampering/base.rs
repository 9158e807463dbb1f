//! The database that is tampered with: users in every state, and a server to copy.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use super::certified::Certified;
use super::kept::Kept;
use super::{OF_SESSIONS, OF_THE_KEEPER, OF_WORKERS, kept};
use crate::calls::{Answer, VALIDATE_FROM, ask, change, manage, reset, set};
use crate::cluster::{PRELOADED, run};
use crate::keyring::{fresh_key, keyring, line, put, setting};
use crate::query::number;
use crate::rotation::ROTATE;
use crate::throttle::{HOME, login};
use crate::trail::{settle, wait_until};
use crate::{ALL_KINDS, Cluster, GOOD, OTHER, Site, WRONG};

/// Users, each in the state that the name says.
pub const USERS: [&str; 10] = [
    "plain",
    "disabled",
    "expired",
    "must_change",
    "required",
    "token",
    "former",
    "revoked",
    "waiting",
    "locked",
];
/// Users whose budgets matter, beside those who wait or are locked.
const COUNTED: [&str; 5] = ["known", "compared", "cleared", "uncleared", "bystander"];
/// Users with records of other costs than the settings ask for by now.
pub const COSTLY: [(&str, u32); 3] = [("costly 7", 7), ("costly 8", 8), ("costly 9", 9)];
/// An address that has used up its failures.
pub const EXHAUSTED: &str = "192.0.2.66";

/// What is in force: whoever waits, waits for a day.
const POLICY: [&str; 7] = [
    "throttle_free_failures = 3",
    "throttle_first_wait = '1d'",
    "throttle_max_wait = '7d'",
    "throttle_lock_after = 6",
    "throttle_client_failures = 2",
    "throttle_client_refill = 1",
    "history = 3",
];
/// With which the states of the throttle are made. What is charged by it lasts longer than any test.
const LENIENT: &str = "SET password_verify.throttle_free_failures = 6;
                       SET password_verify.throttle_client_failures = 1000;
                       SET password_verify.throttle_client_refill = 1;";

/// A server with all that, which has been stopped in an instant, to be copied.
pub struct Base {
    cluster: Cluster,
    pub database: String,
    /// Holds every kind; and a login that has used up its hashes.
    pub app: String,
    pub exhausted: String,
    pub token: String,
    pub revoked: String,
    pub kept: Kept,
    folded: Instant,
    /// Whose files the copies need, too.
    _certified: Certified,
}

/// How long events are folded.
const WINDOW: Duration = Duration::from_secs(61);

/// A transaction that is left open, and one that commits while nobody can record it.
struct Open {
    ended: Client,
    left: Client,
    /// Holds a lock that the worker needs.
    in_the_way: Option<Client>,
}

impl Base {
    pub fn make() -> Self {
        let (older, newer) = (fresh_key(), fresh_key());
        let cluster = Cluster::init();
        let path = keyring(&cluster, "keys", &line("older", &older), 0o600);
        cluster.configure(&[PRELOADED, &[&setting(&path)]].concat());
        let certified = Certified::on(&cluster);
        cluster.up();
        let cluster = Arc::new(cluster);
        let here = Site::on(Arc::clone(&cluster));
        let there = Site::on(Arc::clone(&cluster));
        let mut all_kept = Vec::new();
        for site in [&here, &there] {
            site.configure(&["history = 3", "queue_timeout = '30s'", "audit_timeout = '30s'"]);
            populate(site);
            all_kept.push(kept::populate(&mut site.admin()));
            save(&mut site.admin(), "week", &["credential", "account", "blind_index_key"]);
            save(&mut site.admin(), "week", &OF_THE_KEEPER);
            save(&mut site.admin(), "week", &["throttle", "cost_class", "anchor"]);
        }
        cluster.down();
        put(&cluster, &(line("older", &older) + &line("newer", &newer)));
        cluster.up();
        let mut tokens = Vec::new();
        for (site, kept) in [&here, &there].into_iter().zip(&mut all_kept) {
            site.admin().batch_execute(ROTATE).unwrap();
            kept::change(&mut site.admin(), kept);
            tokens.push(change_everybody(site));
            site.configure(&["throttle_free_failures = 50", "throttle_lock_after = 100"]);
            let (mut admin, mut folders) = (site.admin(), folders(site));
            fold(&mut folders, 3);
            certified.fold(site, 3);
            save(&mut admin, "week", &["event_fold"]);
            fold(&mut folders, 1);
            certified.fold(site, 1);
            site.configure(&POLICY);
            site.configure(&["queue_timeout = '5s'", "audit_timeout = '5s'"]);
            loosen(&mut admin);
        }
        let folded = Instant::now();
        let (mut a, mut b) = (open(&here), open(&there));
        let mut admin = here.admin();
        fetch(&mut admin, &mut there.admin());
        end(&here, &mut a);
        end(&there, &mut b);
        let (token, revoked) = tokens.swap_remove(0);
        let kept = all_kept.swap_remove(0);
        let exhausted = format!("{}_exhausted", here.app);
        let (database, app) = (here.database.clone(), here.app.clone());
        let other = there.database.clone();
        stop_at_once(&cluster);
        drop((a, b, admin, here, there));
        let cluster = Arc::into_inner(cluster).unwrap();
        recover(&cluster, &other);
        Self {
            cluster,
            database,
            app,
            exhausted,
            token,
            revoked,
            kept,
            folded,
            _certified: certified,
        }
    }

    /// Waits until a worker that comes writes the folded events.
    pub fn await_folds(&self) {
        thread::sleep(WINDOW.saturating_sub(self.folded.elapsed()));
    }

    /// A server that runs, and where nobody has called anything yet.
    pub fn copy(&self) -> Cluster {
        let copy = Cluster::copy_of(&self.cluster);
        copy.up();
        copy
    }
}

/// Users as they were a week ago.
fn populate(site: &Site) {
    let mut admin = site.admin();
    for kind in ALL_KINDS {
        admin.execute("SELECT auth.pv_grant($1::text::regrole, $2)", &[&site.app, &kind]).unwrap();
    }
    let exhausted = format!("{}_exhausted", site.app);
    admin
        .batch_execute(&format!(
            "CREATE ROLE {exhausted} LOGIN; GRANT USAGE ON SCHEMA auth TO {exhausted};
             ALTER ROLE {exhausted} SET password_verify.throttle_caller_hashes = 100;
             ALTER ROLE {exhausted} SET password_verify.throttle_caller_refill = 1;
             SELECT auth.pv_grant('{exhausted}', 'verifier'); {LENIENT}"
        ))
        .unwrap();
    for user in USERS.iter().chain(&COUNTED) {
        assert_eq!(set(&mut admin, user, OTHER), Answer::yes(), "{user}");
    }
    for (user, passes) in COSTLY {
        admin.batch_execute(&format!("SET password_verify.argon2_iterations = {passes}")).unwrap();
        assert_eq!(set(&mut admin, user, GOOD), Answer::yes());
    }
    admin.batch_execute("RESET password_verify.argon2_iterations").unwrap();
    let mut app = site.login();
    assert_eq!(login(&mut app, "known", OTHER, HOME), "valid");
    let mut caller = site.cluster.connect(&exhausted, &site.database);
    // Every kind of budget, lower than later on.
    for user in ["waiting", "locked", "known", "cleared", "uncleared"] {
        wrong(&mut admin, user, 1);
    }
    assert_eq!(change(&mut app, "compared", OTHER, GOOD), Answer::yes());
    assert_eq!(change(&mut app, "compared", GOOD, OTHER), Answer::no("reused"));
    ask(&mut admin, VALIDATE_FROM, &[&"nobody", &WRONG, &EXHAUSTED]).unwrap();
    ask(&mut caller, VALIDATE_FROM, &[&"plain", &OTHER, &"192.0.2.1"]).unwrap();
    settle(&mut admin);
    classes_counted(&mut admin);
}

/// What has happened since. The token that can be used, and the one that was revoked.
fn change_everybody(site: &Site) -> (String, String) {
    let (mut admin, mut app) = (site.admin(), site.login());
    admin.batch_execute(LENIENT).unwrap();
    for user in USERS.iter().chain(&["known", "cleared", "uncleared", "bystander"]) {
        if *user != "former" && *user != "waiting" && *user != "locked" {
            assert_eq!(set(&mut admin, user, GOOD), Answer::yes(), "{user}");
        }
    }
    for user in ["former", "waiting", "locked"] {
        assert_eq!(change(&mut app, user, OTHER, GOOD), Answer::yes(), "{user}");
    }
    let terms = "SELECT success FROM auth.pv_set_password($1::text, $2, $3, $4::text::timestamptz)";
    for (user, must, until) in [("expired", false, Some("2020-01-01")), ("must_change", true, None)]
    {
        assert!(admin.query_one(terms, &[&user, &GOOD, &must, &until]).unwrap().get::<_, bool>(0));
    }
    assert!(manage(&mut admin, "pv_disable_user", "disabled"));
    assert!(manage(&mut admin, "pv_require_change", "required"));
    let long = "SELECT auth.pv_issue_reset_token($1::text, '7 days')";
    let mut token = |user: &str| -> String { admin.query_one(long, &[&user]).unwrap().get(0) };
    let (usable, revoked) = (token("token"), token("revoked"));
    assert!(manage(&mut admin, "pv_revoke_reset_tokens", "revoked"));
    assert_eq!(reset(&mut app, &revoked, GOOD), Answer::no("invalid_token"));
    for (user, passes) in COSTLY {
        admin.batch_execute(&format!("SET password_verify.argon2_iterations = {passes}")).unwrap();
        assert_eq!(set(&mut admin, &format!("{user} too"), GOOD), Answer::yes());
    }
    admin.batch_execute("RESET password_verify.argon2_iterations").unwrap();

    assert_eq!(login(&mut app, "known", GOOD, HOME), "valid");
    wrong(&mut admin, "waiting", 3);
    wrong(&mut admin, "known", 4);
    wrong(&mut admin, "locked", 6);
    wrong(&mut admin, "cleared", 6);
    wrong(&mut admin, "uncleared", 6);
    // One wrong password of the known client, while the account waits.
    site.configure(&POLICY[..4]);
    let mut strict = site.login();
    assert_eq!(login(&mut strict, "known", WRONG, HOME), "throttled");
    for _ in 0..4 {
        let answer = change(&mut app, "compared", GOOD, OTHER);
        assert!(!answer.0, "{answer:?}");
    }
    for i in 0..20 {
        let nobody = format!("nobody {i}");
        ask(&mut admin, VALIDATE_FROM, &[&nobody, &WRONG, &EXHAUSTED]).unwrap();
    }
    let exhausted = format!("{}_exhausted", site.app);
    let mut caller = site.cluster.connect(&exhausted, &site.database);
    (0..20).for_each(|_| drop(login(&mut caller, "plain", GOOD, None)));
    admin
        .batch_execute(&format!(
            "ALTER ROLE {exhausted} SET password_verify.throttle_caller_hashes = 1"
        ))
        .unwrap();
    settle(&mut admin);
    classes_counted(&mut admin);
    (usable, revoked)
}

fn wrong(client: &mut Client, user: &str, times: usize) {
    for _ in 0..times {
        assert_ne!(login(client, user, WRONG, None), "valid", "{user}");
    }
}

/// Waits until the worker has counted the records by their cost.
fn classes_counted(admin: &mut Client) {
    let sql = "SELECT (SELECT sum(users) FROM password_verify.cost_class)::bigint
                    - (SELECT count(*) FROM password_verify.credential WHERE user_id <> '')";
    wait_until("records are counted", || {
        admin.query_one(sql, &[]).unwrap().get::<_, Option<i64>>(0) == Some(0)
    });
}

/// A session, what it asks, and for whom.
type Folder = (Client, &'static str, [&'static str; 2]);

/// Whose events are to be folded: each of another user, client, login and kind.
fn folders(site: &Site) -> Vec<Folder> {
    let exhausted = format!("{}_exhausted", site.app);
    let prove = "SELECT * FROM auth.pv_change_password($1::text, $2, 'x', $3::text::inet)";
    let all = [
        (&site.app, VALIDATE_FROM, ["canary", "198.51.100.9"]),
        (&site.app, VALIDATE_FROM, ["folded", "198.51.100.1"]),
        (&exhausted, VALIDATE_FROM, ["folded too", "198.51.100.2"]),
        (&site.app, prove, ["folded as well", "198.51.100.3"]),
    ];
    all.map(|(role, sql, of)| {
        let mut client = site.cluster.connect(role, &site.database);
        client.batch_execute(&format!("SET application_name = 'app of {}'", of[0])).unwrap();
        (client, sql, of)
    })
    .into()
}

/// Repeats their events. The first one is an event of its own.
fn fold(folders: &mut [Folder], times: usize) {
    for (client, sql, [user, address]) in folders {
        (0..times).for_each(|_| drop(ask(client, sql, &[user, &WRONG, address]).unwrap()));
    }
}

/// Keeps tables as they are now.
fn save(admin: &mut Client, schema: &str, tables: &[&str]) {
    admin.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).unwrap();
    for table in tables {
        let sql = format!("CREATE TABLE {schema}.{table} AS TABLE password_verify.{table}");
        admin.batch_execute(&sql).unwrap();
    }
}

/// Takes the constraints away that PostgreSQL would refuse rows for: whoever tampers does that first. Primary keys stay,
/// without which the library refuses a table, but for that of `blind_index_key`, by which it finds nothing.
fn loosen(admin: &mut Client) {
    for table in OF_SESSIONS.iter().chain(&OF_THE_KEEPER).chain(&OF_WORKERS) {
        let kinds = if *table == "blind_index_key" { "IN ('c', 'p')" } else { "= 'c'" };
        let sql = format!(
            "DO $$ DECLARE t regclass := 'password_verify.{table}'; c record; BEGIN
               FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = t AND contype {kinds} LOOP
                 EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t, c.conname);
               END LOOP;
               FOR c IN SELECT attname FROM pg_attribute a WHERE attrelid = t AND attnum > 0 AND attnotnull
                    AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = t AND indisprimary AND attnum = ANY (indkey::int2[])) LOOP
                 EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', t, c.attname);
               END LOOP;
             END $$"
        );
        admin.batch_execute(&sql).unwrap();
    }
}

/// Two transactions with changes, one of them in a savepoint.
fn open(site: &Site) -> Open {
    let kinds = ["registrar", "manager"];
    let (mut ended, mut left) = (site.login_with(&kinds), site.login_with(&kinds));
    let mut admin = site.admin();
    let unlock = "SELECT auth.pv_unlock_user($1::text)";
    let set = "SELECT auth.pv_set_password($1::text, $2)";
    ended.batch_execute("BEGIN").unwrap();
    ended.execute(unlock, &[&"cleared"]).unwrap();
    left.batch_execute("BEGIN; CREATE TEMP TABLE an_id_of_its_own (); SAVEPOINT s").unwrap();
    left.execute(unlock, &[&"uncleared"]).unwrap();
    let rows = "SELECT count(*) FROM password_verify.open_change WHERE share IS NOT NULL OR $1";
    let mut count = |all: bool| admin.query_one(rows, &[&all]).unwrap().get::<_, i64>(0);
    wait_until("it is on record", || count(true) == 4);
    save(&mut site.admin(), "week", &["open_change"]);
    ended.execute(set, &[&"made and recorded late", &GOOD]).unwrap();
    left.execute(set, &[&"made and never committed", &GOOD]).unwrap();
    wait_until("it is on record", || count(false) == 2);
    Open { ended, left, in_the_way: None }
}

/// Commits one of them, and nobody can record it until the server stops.
fn end(site: &Site, open: &mut Open) {
    let mut admin = site.admin();
    admin
        .batch_execute("BEGIN; LOCK TABLE password_verify.event IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    open.ended.batch_execute("COMMIT").unwrap();
    assert_eq!(number(&mut admin, "SELECT count(*) FROM password_verify.open_change"), 4);
    assert!(!open.left.is_closed());
    open.in_the_way = Some(admin);
}

/// Brings the rows of another database.
fn fetch(to: &mut Client, from: &mut Client) {
    to.batch_execute("CREATE SCHEMA elsewhere").unwrap();
    for table in OF_SESSIONS.iter().chain(&OF_THE_KEEPER).chain(&OF_WORKERS) {
        let make = format!("CREATE TABLE elsewhere.{table} (LIKE password_verify.{table})");
        to.batch_execute(&make).unwrap();
        let copy = format!("COPY password_verify.{table} TO STDOUT");
        let mut rows = from.copy_out(&copy).unwrap();
        let mut writer = to.copy_in(&format!("COPY elsewhere.{table} FROM STDIN")).unwrap();
        std::io::copy(&mut rows, &mut writer).unwrap();
        writer.finish().unwrap();
    }
}

fn stop_at_once(cluster: &Cluster) {
    let mut pg_ctl = cluster.command("pg_ctl");
    run(pg_ctl.arg("-D").arg(cluster.data()).args(["-m", "immediate", "-w", "stop"]));
}

/// Recovers once, so that no copy has to, and leaves out what a copy does not need.
fn recover(cluster: &Cluster, other: &str) {
    let mut postgres: Command = cluster.command("postgres");
    postgres.arg("--single").arg("-D").arg(cluster.data()).arg("template1");
    let mut postgres =
        postgres.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let drop = format!("DROP DATABASE {other};\nDROP DATABASE postgres;\n");
    postgres.stdin.take().unwrap().write_all(drop.as_bytes()).unwrap();
    assert!(postgres.wait().unwrap().success());
    let mut pg_resetwal = cluster.command("pg_resetwal");
    run(pg_resetwal.arg("--wal-segsize=1").arg("-D").arg(cluster.data()));
}
