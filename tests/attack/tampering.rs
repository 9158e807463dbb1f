//! Whoever writes the tables that sessions read, and has no key, gets nothing by it: `docs/tampering.md`.
#![allow(clippy::unwrap_used)]

use password_verify_tests::calls::{manage, validate};
use password_verify_tests::keyring::{fresh_key, line, sealed_site};
use password_verify_tests::query::{number, text};
use password_verify_tests::tampering::base::{Base, USERS};
use password_verify_tests::tampering::probe::{
    Answers, case_in_transaction, in_transaction, verdicts,
};
use password_verify_tests::tampering::{
    Case, OF_SESSIONS, OF_THE_KEEPER, Seen, TAMPERED, assert_documented, cases, lines,
};
use password_verify_tests::trail::{assert_intact, settle, wait_until};
use password_verify_tests::{Answer, Cluster, GOOD, sqlstate};
use postgres::{Client, GenericClient};

/// In this session nobody has to wait, however often a record cannot be read.
const LENIENT: &str = "SET password_verify.throttle_free_failures = 100;
                       SET password_verify.throttle_lock_after = 100;
                       SET password_verify.throttle_first_wait = 1";

struct Site<'a> {
    base: &'a Base,
    cluster: Cluster,
    admin: Client,
    app: Client,
    /// How often the keeper was asked.
    turn: usize,
}

impl<'a> Site<'a> {
    fn new(base: &'a Base) -> Self {
        let cluster = base.copy();
        let mut admin = cluster.admin(&base.database);
        let app = cluster.connect(&base.app, &base.database);
        admin.batch_execute(LENIENT).unwrap();
        Self { base, cluster, admin, app, turn: 0 }
    }

    fn turn(&mut self) -> usize {
        self.turn += 1;
        self.turn - 1
    }

    fn answers(&mut self) -> Answers {
        let (tokens, turn) = ([&*self.base.token, &*self.base.revoked], self.turn());
        let mut open = self.admin.transaction().unwrap();
        let mut answers = in_transaction(&mut open, tokens, true);
        self.base.kept.answers(&mut open, turn, &mut answers);
        open.rollback().unwrap();
        answers
    }

    /// Events that tell of tables, each with an alert in the log, by now: the worker writes them before the next
    /// event.
    fn told(&mut self) -> i64 {
        assert_eq!(validate(&mut self.app, "bystander", GOOD), Answer::yes());
        let admin = &mut self.admin;
        let all = "SELECT count(*) FROM password_verify.event WHERE action = 'tampered'";
        let alerts =
            "SELECT count(*) FROM password_verify.event WHERE action = 'tampered' AND alert <> 32";
        assert_eq!(number(admin, alerts), 0);
        let events = number(admin, all);
        let line = r#""alert":["tampered"],"#;
        let cluster = &self.cluster;
        wait_until("the log has an alert for each", || {
            cluster.log().matches(line).count() as i64 == events
        });
        events
    }

    /// Nobody has failed, and the worker would say again what it has said.
    fn forget(&mut self) {
        let sql = "SELECT count(auth.pv_unlock_user(u)) FROM unnest($1::text[] || 'nobody'::text || 'renamed'::text) u";
        self.admin.query_one(sql, &[&USERS.as_slice()]).unwrap();
        settle(&mut self.admin);
        self.admin.query_one("SELECT auth.pv_accept_restore('the next case')", &[]).unwrap();
    }

    fn case(&mut self, case: &Case, before: &Answers) -> Seen {
        let (told, turn) = (self.told(), self.turn());
        let mut seen = case_in_transaction(&mut self.admin, case, before, self.base, turn);
        if self.told() != told {
            seen.noticed.insert(TAMPERED);
        }
        seen
    }
}

/// Tries everything on these tables.
fn all(site: &mut Site, tables: &[&'static str], document: &mut Vec<String>) {
    settle(&mut site.admin);
    assert_intact(&mut site.admin);
    site.admin.batch_execute("CREATE SCHEMA kept").unwrap();
    let before = site.answers();
    settle(&mut site.admin);
    for table in tables {
        // Only the trail grows by itself.
        let keep = format!(
            "DROP TABLE IF EXISTS kept.{table}; CREATE TABLE kept.{table} AS TABLE password_verify.{table}"
        );
        site.admin.batch_execute(&keep).unwrap();
        let mut results = Vec::new();
        for case in cases(&mut site.admin, table) {
            if *table == "event" {
                site.admin.batch_execute(&keep).unwrap();
            }
            let seen = site.case(&case, &before);
            println!("{case}: {seen:?}");
            results.push((case, seen));
            // (A restore that is accepted would end what is verified of the trail.)
            if *table != "event" {
                site.forget();
            }
        }
        document.extend(lines(table, &results));
    }
    // It is as it was, and has its own answers.
    assert_eq!(site.answers(), before);
    let mut seen = Seen::default();
    verdicts(&mut site.admin, &mut seen);
    assert_eq!(seen, Seen::default());
}

#[test]
fn tables_that_sessions_read() {
    let base = Base::make();
    let mut document = Vec::new();
    let mut site = Site::new(&base);
    site.forget();
    all(&mut site, &OF_SESSIONS[..3], &mut document);
    drop(site);
    // Another one, whose trail has events that were folded.
    base.await_folds();
    let mut site = Site::new(&base);
    let folds = "SELECT count(*) FROM password_verify.event_fold";
    assert_eq!(validate(&mut site.app, "bystander", GOOD), Answer::yes());
    wait_until("folded events are written", || number(&mut site.admin, folds) == 0);
    all(&mut site, &["event"], &mut document);
    assert_documented(&OF_SESSIONS, &document);
}

#[test]
fn tables_of_the_keeper() {
    let base = Base::make();
    let mut document = Vec::new();
    let mut site = Site::new(&base);
    site.forget();
    all(&mut site, &OF_THE_KEEPER, &mut document);
    assert_documented(&OF_THE_KEEPER, &document);
}

/// The rows that CREATE EXTENSION makes, which belong to nobody and have no MAC. Where there are no users, everybody's
/// nearest row is the first one.
#[test]
fn a_first_row_that_was_changed_changes_nothing_or_is_noticed() {
    let site = sealed_site(&line("ours", &fresh_key()));
    site.allow_failures();
    let mut admin = site.admin();
    site.enroll("somebody", GOOD);
    // As if a key that is not in the keyring had sealed it.
    let mut foreign = |table: &str, column: &str| {
        let sql = format!(
            "SELECT replace({column}, '$ours$', '$lost$') FROM password_verify.{table} WHERE user_id <> ''"
        );
        format!("{column} = '{}'", text(&mut admin, &sql))
    };
    let [verifier, seal] = [foreign("credential", "verifier"), foreign("account", "seal")];
    assert!(manage(&mut admin, "pv_delete_user", "somebody"));
    settle(&mut admin);
    let mut unnoticed = Vec::new();
    for (table, set) in [
        ("credential", &*verifier),
        ("credential", "user_id = 'planted', must_change = true"),
        ("credential", "expires_at = now(), former = 'x', changed_at = now()"),
        ("account", &seal),
        ("account", "disabled_at = now()"),
        ("account", "user_id = 'planted'"),
        ("throttle", "kind = 0, count = 100"),
        ("throttle", "rests_at = now() - interval '1 day'"),
    ] {
        let before = strangers(&mut admin);
        let mut open = admin.transaction().unwrap();
        let sql = format!("UPDATE password_verify.{table} SET {set}");
        let place = if table == "throttle" { " WHERE kind < 0" } else { "" };
        assert_eq!(open.execute(&(sql + place), &[]).unwrap(), 1, "{table}: {set}");
        let mut seen = Seen::default();
        verdicts(&mut open, &mut seen);
        let now = strangers(&mut open);
        open.rollback().unwrap();
        if seen.noticed.is_empty() && now != before {
            unnoticed.push(format!("{table}: {set}: {now:?}"));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

/// What users are told who are none, and who is shown as a user.
fn strangers(client: &mut impl GenericClient) -> Vec<String> {
    let mut said: Vec<String> = (0..2)
        .map(|i| {
            let mut call = client.transaction().unwrap();
            let sql = "SELECT reason FROM auth.pv_validate_password($1::text, $2)";
            let answer = call.query_one(sql, &[&format!("stranger {i}"), &GOOD]);
            let told = answer.map_or_else(|error| sqlstate::<()>(Err(error)), |row| row.get(0));
            call.rollback().unwrap();
            told
        })
        .collect();
    let shown = "SELECT COALESCE(string_agg(u::text, ' '), 'nobody') FROM auth.pv_users u";
    said.push(text(client, shown));
    said
}
