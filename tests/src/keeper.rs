//! What the keeper keeps, as the application and the keeper's own login call for it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use postgres::types::ToSql;
use postgres::{Client, Error, GenericClient};

use crate::keyring::{fresh_key, line, sealed_server, sealed_server_with};
use crate::query::{number, text};
use crate::trail::{assert_intact, settle, wait_for};
use crate::whole::assert_whole;
use crate::{Answer, Cluster, Site};

/// Where the secrets of tests may be sent, as somebody writes it.
pub const DESTINATION: &str = r#"{"protocol":"imaps","host":"Mail.example.org","port":993,"login":"alice","mechanism":"PLAIN"}"#;

/// A vault password that every rule accepts.
pub const VAULT: &str = "an orchard of brass lanterns";
/// Another one.
pub const VAULT2: &str = "seventeen quiet harbour seals";

/// The tables of what is kept.
pub const TABLES: [&str; 4] = ["secret", "job", "result", "vault"];

/// A database where secrets are kept, with a login that stores and one that opens.
pub struct KeptSite {
    pub site: Site,
    pub keys: String,
    pub depositor: String,
    pub connector: String,
}

/// The server that the tests of one file share, and its keyring.
static SHARED: Mutex<(Weak<Cluster>, String)> = Mutex::new((Weak::new(), String::new()));

impl KeptSite {
    /// On the server with a keyring that the file's tests share.
    pub fn shared() -> Self {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = shared.0.upgrade().unwrap_or_else(|| {
            shared.1 = line("a", &fresh_key());
            let cluster = sealed_server(&shared.1);
            shared.0 = Arc::downgrade(&cluster);
            cluster
        });
        let keys = shared.1.clone();
        drop(shared);
        Self::on(cluster, &keys)
    }

    /// On a server of one's own with a keyring.
    pub fn new() -> Self {
        let keys = line("a", &fresh_key());
        Self::on(sealed_server(&keys), &keys)
    }

    /// The same with more settings of the server.
    pub fn with(settings: &[&str]) -> Self {
        let keys = line("a", &fresh_key());
        Self::on(sealed_server_with(&keys, settings), &keys)
    }

    /// On a server with that keyring.
    pub fn on(cluster: Arc<Cluster>, keys: &str) -> Self {
        let site = Site::on(cluster);
        let role = |kind| text(&mut site.login_with(&[kind]), "SELECT current_user::text");
        let (depositor, connector) = (role("depositor"), role("connector"));
        Self { site, keys: keys.to_owned(), depositor, connector }
    }

    /// The application's connection.
    pub fn depositor(&self) -> Client {
        self.site.cluster.connect(&self.depositor, &self.site.database)
    }

    /// The keeper's connection.
    pub fn connector(&self) -> Client {
        self.site.cluster.connect(&self.connector, &self.site.database)
    }

    /// A superuser's connection.
    pub fn admin(&self) -> Client {
        self.site.admin()
    }

    /// Nothing is changed, missing or inserted.
    pub fn assert_sound(&self) {
        let mut admin = self.admin();
        settle(&mut admin);
        assert_whole(&mut admin);
        assert_intact(&mut admin);
    }
}

impl Default for KeptSite {
    fn default() -> Self {
        Self::new()
    }
}

/// Two rows and more of each table: of two users, with a vault each.
pub fn fill(admin: &mut Client, users: [&str; 2]) {
    for user in users {
        store(admin, user, "mail", "hunter2");
        assert_eq!(create_vault(admin, user, VAULT), Answer::yes(), "{user}");
        let job = request(admin, user, "mail");
        assert_eq!(take(admin), Some(job));
        deliver(admin, job, "{}");
    }
}

/// How many rows a table has.
pub fn rows(admin: &mut impl GenericClient, table: &str) -> i64 {
    number(admin, &format!("SELECT count(*) FROM password_verify.{table}"))
}

/// All that is kept, to compare.
pub fn contents(admin: &mut impl GenericClient) -> String {
    let sql = TABLES.map(|table| {
        format!("(SELECT COALESCE(string_agg(t::text, E'\\n' ORDER BY t.key), '') FROM password_verify.{table} t)")
    });
    text(admin, &format!("SELECT concat_ws(E'\\n--\\n', {})", sql.join(", ")))
}

/// `pv_store_secret`, with the usual destination.
pub fn try_store(
    client: &mut impl GenericClient,
    user: &str,
    name: &str,
    secret: &str,
    vault: Option<&str>,
) -> Result<Answer, Error> {
    let sql =
        "SELECT success, reason FROM auth.pv_store_secret($1::text, $2, $3, $4::text::jsonb, $5)";
    let row = client.query_one(sql, &[&user, &name, &secret, &DESTINATION, &vault])?;
    Ok(Answer(row.get(0), row.get(1)))
}

/// The same, where it must succeed.
pub fn store(client: &mut impl GenericClient, user: &str, name: &str, secret: &str) {
    assert_eq!(
        try_store(client, user, name, secret, None).unwrap(),
        Answer::yes(),
        "{user} {name}"
    );
}

/// The same, into the user's vault.
pub fn store_in_vault(client: &mut impl GenericClient, user: &str, name: &str, secret: &str) {
    let answer = try_store(client, user, name, secret, Some(VAULT)).unwrap();
    assert_eq!(answer, Answer::yes(), "{user} {name}");
}

/// `pv_forget_secret`.
pub fn forget(client: &mut impl GenericClient, user: &str, name: &str) -> bool {
    let sql = "SELECT auth.pv_forget_secret($1::text, $2)";
    client.query_one(sql, &[&user, &name]).unwrap().get(0)
}

/// `pv_secrets`, sorted: "name state", with "vault" and why where there is something to say.
pub fn secrets(client: &mut impl GenericClient, user: &str) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', name, CASE WHEN in_vault THEN 'vault' END, state, why)
                 FROM auth.pv_secrets($1::text) ORDER BY 1";
    client.query(sql, &[&user]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// So many requests for each of so many secrets of a user, oldest first, and their numbers.
pub fn request_many(app: &mut impl GenericClient, user: &str, names: i32, each: i32) -> Vec<i64> {
    let ask = "SELECT auth.pv_request($1::text, $2, '{}') FROM generate_series(1, $3)";
    let mut numbers = Vec::new();
    for i in 0..names {
        let name = format!("secret {i}");
        store(app, user, &name, "of many");
        let rows = app.query(ask, &[&user, &name, &each]).unwrap();
        numbers.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
    }
    numbers
}

/// `pv_request` for once.
pub fn try_request(
    client: &mut impl GenericClient,
    user: &str,
    name: &str,
    handle: Option<&str>,
) -> Result<i64, Error> {
    let sql = "SELECT auth.pv_request($1::text, $2, '{\"mailbox\":\"INBOX\"}', NULL, NULL, $3)";
    Ok(client.query_one(sql, &[&user, &name, &handle])?.get(0))
}

/// The same, where it must succeed.
pub fn request(client: &mut impl GenericClient, user: &str, name: &str) -> i64 {
    try_request(client, user, name, None).unwrap()
}

/// `pv_requests`, oldest first: "name state outcome detail", and how many results are left.
pub fn requests(client: &mut impl GenericClient, user: &str) -> Vec<(i64, String, i64)> {
    let sql = "SELECT request, concat_ws(' ', name, state, outcome, detail), results
                 FROM auth.pv_requests($1::text) ORDER BY name, due_at, request";
    let rows = client.query(sql, &[&user]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// `pv_cancel_request`.
pub fn cancel(client: &mut impl GenericClient, job: i64) -> bool {
    client.query_one("SELECT auth.pv_cancel_request($1)", &[&job]).unwrap().get(0)
}

/// `pv_results` after a number.
pub fn results(client: &mut impl GenericClient, job: i64, after: i64) -> Vec<(i64, String)> {
    let sql = "SELECT seq, result::text FROM auth.pv_results($1, $2)";
    let rows = client.query(sql, &[&job, &after]).unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// `pv_ack_results`.
pub fn acknowledge(client: &mut impl GenericClient, job: i64, up_to: i64) -> bool {
    client.query_one("SELECT auth.pv_ack_results($1, $2)", &[&job, &up_to]).unwrap().get(0)
}

/// A job as the keeper takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub job: i64,
    /// Which lease of the job it is.
    pub lease: i64,
    pub user: String,
    pub name: String,
    pub destination: String,
    pub what: String,
    /// What was noted with its last result.
    pub progress: Option<String>,
}

/// `pv_take_job`.
pub fn try_take(client: &mut impl GenericClient, lease: &str) -> Result<Option<Taken>, Error> {
    let sql = "SELECT job, lease, user_id, name, destination::text, what::text, progress::text
                 FROM auth.pv_take_job($1::text::interval)";
    let row = client.query_opt(sql, &[&lease])?;
    Ok(row.map(|row| Taken {
        job: row.get(0),
        lease: row.get(1),
        user: row.get(2),
        name: row.get(3),
        destination: row.get(4),
        what: row.get(5),
        progress: row.get(6),
    }))
}

/// The number of the job that is taken next, for a lease that no test outlives.
pub fn take(client: &mut impl GenericClient) -> Option<i64> {
    take_for(client, "1 hour")
}

/// The same for another lease.
pub fn take_for(client: &mut impl GenericClient, lease: &str) -> Option<i64> {
    try_take(client, lease).unwrap().map(|taken| taken.job)
}

/// Waits until there is a job to take.
pub fn await_job(client: &mut impl GenericClient) -> i64 {
    wait_for("a job is due", || take(client))
}

/// `pv_open_secret`: the secret, or why not.
pub fn try_open(
    client: &mut impl GenericClient,
    job: i64,
) -> Result<Result<String, String>, Error> {
    let row = client.query_one("SELECT secret, reason FROM auth.pv_open_secret($1)", &[&job])?;
    let (secret, reason): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(secret.is_some(), reason.is_none(), "one of them");
    Ok(secret.ok_or_else(|| reason.unwrap_or_default()))
}

/// The same, where it may not be an error.
pub fn open(client: &mut impl GenericClient, job: i64) -> Result<String, String> {
    try_open(client, job).unwrap()
}

/// `pv_deliver`.
pub fn deliver(client: &mut impl GenericClient, job: i64, result: &str) -> i64 {
    let sql = "SELECT auth.pv_deliver($1, $2::text::jsonb)";
    client.query_one(sql, &[&job, &result]).unwrap().get(0)
}

/// The same, with what is noted of how far it has come.
pub fn try_note(
    client: &mut impl GenericClient,
    job: i64,
    result: &str,
    progress: Option<&str>,
) -> Result<i64, Error> {
    let sql = "SELECT auth.pv_deliver($1, $2::text::jsonb, NULL, $3::text::jsonb)";
    Ok(client.query_one(sql, &[&job, &result, &progress])?.get(0))
}

/// The same, where it must succeed.
pub fn note(client: &mut impl GenericClient, job: i64, progress: Option<&str>) -> i64 {
    try_note(client, job, "{}", progress).unwrap()
}

/// `pv_finish_job`.
pub fn try_finish(
    client: &mut impl GenericClient,
    job: i64,
    outcome: &str,
    detail: &str,
) -> Result<(), Error> {
    let sql = "SELECT auth.pv_finish_job($1, $2, $3)";
    client.query(sql, &[&job, &outcome, &detail]).map(drop)
}

/// The same, where it must succeed.
pub fn finish(client: &mut impl GenericClient, job: i64, outcome: &str, detail: &str) {
    try_finish(client, job, outcome, detail).unwrap();
}

/// A whole round of the next job: what was opened.
pub fn work_once(client: &mut impl GenericClient) -> (i64, Result<String, String>) {
    let job = await_job(client);
    let opened = open(client, job);
    deliver(client, job, r#"{"subject":"hi"}"#);
    finish(client, job, "done", "ok");
    (job, opened)
}

/// `pv_create_vault`.
pub fn create_vault(client: &mut impl GenericClient, user: &str, password: &str) -> Answer {
    let sql = "SELECT success, reason FROM auth.pv_create_vault($1::text, $2)";
    answer(client, sql, &[&user, &password])
}

/// `pv_change_vault_password`.
pub fn change_vault(client: &mut impl GenericClient, user: &str, old: &str, new: &str) -> Answer {
    let sql = "SELECT success, reason FROM auth.pv_change_vault_password($1::text, $2, $3)";
    answer(client, sql, &[&user, &old, &new])
}

fn answer(client: &mut impl GenericClient, sql: &str, args: &[&(dyn ToSql + Sync)]) -> Answer {
    let row = client.query_one(sql, args).unwrap();
    Answer(row.get(0), row.get(1))
}

/// `pv_delete_vault`.
pub fn delete_vault(client: &mut impl GenericClient, user: &str) -> bool {
    client.query_one("SELECT auth.pv_delete_vault($1::text)", &[&user]).unwrap().get(0)
}

/// `pv_unlock_vault`: the handle, or why not.
pub fn try_unlock(
    client: &mut impl GenericClient,
    user: &str,
    password: &str,
    duration: &str,
) -> Result<Result<String, String>, Error> {
    let sql = "SELECT handle, reason FROM auth.pv_unlock_vault($1::text, $2, $3::text::interval)";
    let row = client.query_one(sql, &[&user, &password, &duration])?;
    let (handle, reason): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    assert_eq!(handle.is_some(), reason.is_none(), "one of them");
    Ok(handle.ok_or_else(|| reason.unwrap_or_default()))
}

/// The same with the right password, for a time that no test outlives.
pub fn unlock(client: &mut impl GenericClient, user: &str) -> String {
    try_unlock(client, user, VAULT, "1 hour").unwrap().unwrap()
}

/// `pv_lock_vault`.
pub fn lock_vault(client: &mut impl GenericClient, handle: &str) -> bool {
    client.query_one("SELECT auth.pv_lock_vault($1)", &[&handle]).unwrap().get(0)
}
