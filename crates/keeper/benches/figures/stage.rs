//! PostgreSQL with fsync, Dovecot, and an application with mailboxes.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::dovecot::Setup as DovecotSetup;
use password_verify_tests::mail::{Certificates, Dovecot};
use password_verify_tests::pv_keeper::{PvKeeper, Setup};
use postgres::Client;

/// As this build has it, unless `PV_KEEPER` names another.
const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");
const PASSWORD: &str = "velvet-anvil-under";
/// Longer than anything here takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(900);

pub struct Stage {
    pub kept: KeptSite,
    pub certificates: Certificates,
    pub dovecot: Dovecot,
}

impl Stage {
    /// Everybody has the same password, and gets a mailbox with the first mail or the first look at it.
    pub fn new() -> Self {
        let kept = KeptSite::with(&["fsync = on"]);
        let certificates = Certificates::new();
        let anybody = format!("passdb {{\n driver = static\n args = password={PASSWORD}\n}}");
        let setup = DovecotSetup::new(&certificates).user("nobody", PASSWORD).setting(&anybody);
        let dovecot = setup.start();
        Self { kept, certificates, dovecot }
    }

    /// A mail arrives in the user's INBOX.
    pub fn deliver(&self, user: &str, message: &[u8]) {
        self.dovecot.deliver_to(user, "INBOX", message);
    }

    /// A keeper with the usual settings.
    pub fn keeper(&self) -> Setup {
        let binary = std::env::var("PV_KEEPER").unwrap_or_else(|_| KEEPER.into());
        Setup::new(&binary, &self.kept, &self.certificates)
    }

    /// Accounts of all these users at `host`, and each is to be tried once. Four sessions do it.
    pub fn register(&self, users: &[String], host: &str, port: u16) {
        scope(|scope| {
            for some in users.chunks(users.len().div_ceil(4)) {
                scope.spawn(move || register(&mut self.kept.depositor(), some, host, port));
            }
        });
    }

    /// Asks for mail of all these users at once: the numbers of the requests.
    pub fn request(&self, app: &mut Client, users: &[String], more: &str) -> Vec<i64> {
        let sql =
            format!("SELECT auth.pv_request_mail(u, 'inbox', {more}) FROM unnest($1::text[]) u");
        app.query(&sql, &[&users]).unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Waits until all that is asked for once has come to its end.
    pub fn await_all_over(&self) {
        let mut admin = self.kept.admin();
        await_for(|| {
            let left = "SELECT count(*) FROM password_verify.job WHERE state <> 'ended'";
            admin.query_one(left, &[]).unwrap().get::<_, i64>(0) == 0
        });
        let failed = "SELECT count(*) FROM password_verify.job WHERE outcome <> 'done'";
        assert_eq!(admin.query_one(failed, &[]).unwrap().get::<_, i64>(0), 0);
    }
}

fn register(app: &mut Client, users: &[String], host: &str, port: u16) {
    let sql = "SELECT success FROM auth.pv_register_imap_account($1::text, 'inbox', $2, $3::integer, $1, $4)";
    let statement = app.prepare(sql).unwrap();
    for user in users {
        let row = app.query_one(&statement, &[user, &host, &i32::from(port), &PASSWORD]).unwrap();
        assert!(row.get::<_, bool>(0), "{user}");
    }
}

/// `prefix0`, `prefix1` and so on.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number}")).collect()
}

/// Looks every 10 ms until it is so.
pub fn await_for(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain");
        sleep(Duration::from_millis(10));
    }
}

/// How many jobs have ended well.
pub fn done(keeper: &PvKeeper) -> usize {
    ended(keeper, "outcome=\"done\"")
}

/// How many jobs have ended with that outcome or detail.
pub fn ended(keeper: &PvKeeper, label: &str) -> usize {
    let text = keeper.metrics();
    let lines =
        text.lines().filter(|it| it.starts_with("pv_keeper_jobs_total{") && it.contains(label));
    lines.map(|it| it.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() as usize).sum()
}
