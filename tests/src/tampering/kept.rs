//! What the keeper keeps in the database that is tampered with, and what is asked about it.

use postgres::{Client, GenericClient};

use super::probe::{Answers, ask};
use crate::Answer;
use crate::keeper::{
    Taken, VAULT, VAULT2, acknowledge, change_vault, create_vault, finish, request, store_in_vault,
    take, try_note, try_request, try_take, unlock,
};

/// Users of whom jobs are leased. A lease opens a secret three times, and each case opens one of each.
const HOLDERS: [&str; 2] = ["plain", "disabled"];
const LEASES: usize = 60;
const OPENINGS: usize = 3;

const NOW: &str = r#"{"protocol":"imaps","host":"mail.example.org","port":993,"login":"now","mechanism":"PLAIN"}"#;
const THEN: &str = r#"{"protocol":"imaps","host":"mail.example.net","port":993,"login":"then","mechanism":"PLAIN"}"#;

/// The answer of `pv_take_job` in words: jobs that are not as they were written are passed over.
pub(super) const NOTHING_DUE: &str = "nothing is due";

/// Jobs, by their numbers.
#[derive(Debug, Default)]
pub struct Kept {
    /// Of each holder.
    leased: [Vec<String>; 2],
    /// One with results that is repeated, and one that is over.
    feed: String,
    once: String,
    again: i64,
}

fn secret_of(user: &str, name: &str) -> String {
    format!("{name} of {user}, hunter2")
}

fn mail(i: usize) -> String {
    format!("mail {i}")
}

fn store(client: &mut Client, user: &str, name: &str, secret: &str, to: &str) {
    let sql = "SELECT success FROM auth.pv_store_secret($1::text, $2, $3, $4::text::jsonb)";
    let stored = client.query_one(sql, &[&user, &name, &secret, &to]).unwrap();
    assert!(stored.get::<_, bool>(0), "{user} {name}");
}

/// Secrets as they were a week ago, and jobs in every state.
pub(super) fn populate(admin: &mut Client) -> Kept {
    for user in ["plain", "former"] {
        assert_eq!(create_vault(admin, user, VAULT), Answer::yes(), "{user}");
    }
    let of = [("token", "feed"), ("waiting", "once"), ("locked", "again"), ("revoked", "bank")];
    for (user, name) in of {
        store(admin, user, name, "that of last week", THEN);
    }
    let sql =
        "SELECT auth.pv_request('token'::text, 'feed', '{}', '1 hour', now() + interval '30 days')";
    let feed: i64 = admin.query_one(sql, &[]).unwrap().get(0);
    let [once, again, bank] = [1, 2, 3].map(|i: usize| request(admin, of[i].0, of[i].1));
    of.iter().for_each(|of| assert!(take(admin).is_some(), "{of:?}"));
    for (job, results) in [(feed, 3), (once, 1), (bank, 1)] {
        for i in 0..results {
            let (result, progress) = (format!("{{\"i\":{i}}}"), format!("{{\"next\":{i}}}"));
            try_note(admin, job, &result, Some(&progress)).unwrap();
        }
    }
    finish(admin, feed, "done", "ok");
    finish(admin, once, "done", "ok");
    finish(admin, bank, "rejected", "credential_refused");
    store_in_vault(admin, "former", "vaulted", "that of last week");
    let handle = unlock(admin, "former");
    try_request(admin, "former", "vaulted", Some(&handle)).unwrap();
    assert!(take(admin).is_some());
    for user in HOLDERS {
        for i in 0..LEASES {
            store(admin, user, &mail(i), "that of last week", THEN);
            request(admin, user, &mail(i));
        }
    }
    Kept { feed: feed.to_string(), once: once.to_string(), again, ..Kept::default() }
}

/// What has happened since.
pub(super) fn change(admin: &mut Client, kept: &mut Kept) {
    for (user, name) in [("token", "feed"), ("expired", "news")] {
        store(admin, user, name, &secret_of(user, name), NOW);
    }
    for (at, user) in HOLDERS.iter().enumerate() {
        kept.leased[at].resize(LEASES, String::new());
        for i in 0..LEASES {
            store(admin, user, &mail(i), &secret_of(user, &mail(i)), NOW);
        }
    }
    while let Some(Taken { job, user, name, .. }) = try_take(admin, "1 hour").unwrap() {
        let at = HOLDERS.iter().position(|holder| *holder == user).unwrap();
        let i: usize = name.strip_prefix("mail ").unwrap().parse().unwrap();
        kept.leased[at][i] = job.to_string();
    }
    assert!(kept.leased.concat().iter().all(|job| !job.is_empty()));
    assert!(acknowledge(admin, kept.feed.parse().unwrap(), 1));
    assert_eq!(change_vault(admin, "plain", VAULT, VAULT2), Answer::yes());
    // One is to be tried again, and is never due, because its secret has been rejected since.
    finish(admin, kept.again, "retry", "unavailable");
    let rejected = request(admin, "locked", "again");
    assert_eq!(take(admin), Some(rejected));
    finish(admin, rejected, "rejected", "reconsent");
    // The only one that is due.
    request(admin, "expired", "news");
}

const OPEN: &str =
    "SELECT CASE WHEN secret = $2 THEN 'yes' ELSE COALESCE(reason, 'another secret') END
    FROM auth.pv_open_secret($1::text::bigint)";
const TAKE: &str =
    "SELECT COALESCE((SELECT concat_ws(' ', user_id, name, destination->>'host', what, progress)
    FROM auth.pv_take_job('1 minute')), 'nothing is due')";
const SECRETS: &str = "SELECT COALESCE(string_agg(concat_ws(' ', name, destination->>'host', in_vault, state, why, stored_at, opened_at), ', ' ORDER BY name), 'none')
    FROM auth.pv_secrets($1::text)";
const REQUESTS: &str = "SELECT COALESCE(string_agg(concat_ws(' ', request, name, what, every, until, state, due_at, outcome, detail, finished_at, results), ', ' ORDER BY request), 'none')
    FROM auth.pv_requests($1::text)";
const RESULTS: &str = "SELECT COALESCE(string_agg(concat_ws(' ', seq, delivered_at, result), ', ' ORDER BY seq), 'none')
    FROM auth.pv_results($1::text::bigint)";
/// And locks it again, since places for unlocked vaults are in no transaction.
const UNLOCK: &str = "SELECT COALESCE(u.reason, auth.pv_lock_vault(u.handle)::text)
    FROM auth.pv_unlock_vault($1::text, $2) u";
const RENAME: &str = "SELECT success::text FROM auth.pv_rename_user($1::text, $2::text)";
const STORE: &str = "SELECT COALESCE(reason, 'yes')
    FROM auth.pv_store_secret($1::text, $2, 'x', $3::text::jsonb)";
const CHANGE: &str = "SELECT COALESCE(reason, 'yes')
    FROM auth.pv_change_vault_password($1::text, $2, $3)";
const FIRST: &str = "'00000000-0000-0000-0000-000000000000'";

impl Kept {
    /// Everything that needs a row of the keeper, each in a savepoint. `turn`: how often it was asked before.
    pub fn answers(&self, open: &mut impl GenericClient, turn: usize, answers: &mut Answers) {
        let mut note = |what: &str, calls: &[(&str, &[&str])]| {
            answers.insert(format!("keeper: {what}"), ask(open, calls));
        };
        let which = turn / OPENINGS;
        for (user, jobs) in HOLDERS.iter().zip(&self.leased) {
            let (job, secret) = (&jobs[which], secret_of(user, &mail(which)));
            note(&format!("{user}'s is opened"), &[(OPEN, &[job, &secret])]);
        }
        note("the next job", &[(TAKE, &[])]);
        for user in ["plain", "former", "token", "revoked", "waiting"] {
            note(&format!("secrets of {user}"), &[(SECRETS, &[user])]);
            note(&format!("requests of {user}"), &[(REQUESTS, &[user])]);
        }
        note("results of one that is repeated", &[(RESULTS, &[&self.feed])]);
        note("results of one that is over", &[(RESULTS, &[&self.once])]);
        note("plain unlocks the vault", &[(UNLOCK, &["plain", VAULT2])]);
        note("plain has the vault password of last week", &[(UNLOCK, &["plain", VAULT])]);
        note("former unlocks the vault", &[(UNLOCK, &["former", VAULT])]);
        note("nobody unlocks a vault", &[(UNLOCK, &["nobody", VAULT])]);
        note("former changes the vault password", &[(CHANGE, &["former", VAULT, VAULT2])]);
        self.writes(which, &mut note);
    }

    /// What writes rows anew, which must make nothing good of them.
    fn writes(&self, which: usize, note: &mut impl FnMut(&str, &[(&str, &[&str])])) {
        let job: &str = &self.leased[0][which];
        let one = |call: &str| format!("SELECT COALESCE((auth.{call})::text, 'null')");
        note("delivers", &[(&one("pv_deliver($1::text::bigint, '{}')"), &[job])]);
        note("finishes", &[(&one("pv_finish_job($1::text::bigint, 'done')"), &[job])]);
        note("keeps a newer one", &[(&one("pv_store_rotated($1::text::bigint, 'x')"), &[job])]);
        note("acknowledges", &[(&one("pv_ack_results($1::text::bigint, 2)"), &[&self.feed])]);
        note("cancels", &[(&one("pv_cancel_request($1::text::bigint)"), &[&self.feed])]);
        note("forgets", &[(&one("pv_forget_secret($1::text, 'feed')"), &["token"])]);
        note("deletes a vault", &[(&one("pv_delete_vault($1::text)"), &["former"])]);
        note("deletes a user", &[(&one("pv_delete_user($1::text)"), &["token"])]);
        note("stores anew", &[(STORE, &["expired", "news", NOW])]);
        let request = "SELECT (auth.pv_request($1::text, 'feed', '{}') IS NOT NULL)::text";
        note("requests", &[(request, &["token"])]);
        let renamed: [(&str, &[&str]); 2] =
            [(RENAME, &["token", "renamed"]), (SECRETS, &["renamed"])];
        note("secrets by another name", &renamed);
        let renamed: [(&str, &[&str]); 2] =
            [(RENAME, &["former", "renamed"]), (UNLOCK, &["renamed", VAULT])];
        note("a vault by another name", &renamed);
        let steps: Vec<String> = (1..5)
            .map(|step| {
                format!("SELECT (auth.pv_rotate_batch({step}, {FIRST}, 1000)).finished::text")
            })
            .collect();
        let all: Vec<(&str, &[&str])> = steps.iter().map(|sql| (sql.as_str(), &[][..])).collect();
        for (what, sql, args) in [
            ("secrets after a rotation", SECRETS, &["token"][..]),
            ("requests after a rotation", REQUESTS, &["token"][..]),
            ("results after a rotation", RESULTS, &[self.feed.as_str()][..]),
            ("a vault after a rotation", UNLOCK, &["plain", VAULT2][..]),
        ] {
            note(what, &[&all[..], &[(sql, args)]].concat());
        }
    }
}
