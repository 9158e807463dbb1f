//! What stands in the way of the worker that writes the audit.

use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::calls::{CREATE, ask};
use crate::hold::Stopped;
use crate::trail::{wait_for, wait_until, worker};
use crate::{Answer, Site, sqlstate};

/// Nobody writes to this index until COMMIT.
///
/// Sessions look whether the worker could have its tables. They do not look at what only it needs: an index.
/// (To the tablespace where it is already nothing is moved, but it is locked against everybody.)
pub fn hold_index(index: &str) -> String {
    format!("BEGIN; ALTER INDEX password_verify.{index} SET TABLESPACE pg_default")
}

/// Nobody gets at the table of events until COMMIT.
pub const HOLD_TABLE: &str = "BEGIN; LOCK TABLE password_verify.event IN ACCESS EXCLUSIVE MODE";
/// The table of events is missing, until [`SHOW`].
pub const HIDE: &str = "ALTER TABLE password_verify.event RENAME TO hidden";
/// It is there again.
pub const SHOW: &str = "ALTER TABLE password_verify.hidden RENAME TO event";

/// It is there, waits for something to do and holds no lock.
const RESTS: &str =
    "SELECT FROM pg_stat_activity a WHERE a.pid = $1 AND a.wait_event_type = 'Extension'
    AND a.backend_type = 'password_verify' AND a.datname = current_database()
    AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid)";

/// The worker of a database, stopped while it waits for something to write.
pub fn stop_worker(site: &Site) -> Stopped {
    let (mut admin, mut app) = (site.admin(), site.login());
    wait_for("the worker is stopped", || {
        recovers(&mut app);
        let pid = worker(&mut admin)?;
        // Most likely it has let go of every lock by then, and does not leave yet.
        thread::sleep(Duration::from_millis(100));
        let held = Stopped::new(pid);
        admin.query_opt(RESTS, &[&pid]).unwrap().map(|_| held)
    })
}

/// Is it neither yes nor no?
pub fn is_no_answer(answer: &Result<Answer, String>) -> bool {
    match answer {
        Ok(answer) => *answer == Answer::no("busy"),
        Err(state) => ["58030", "53400"].contains(&state.as_str()),
    }
}

/// Waits until calls are answered again.
pub fn recovers(client: &mut Client) {
    wait_until("it recovers", || {
        let answer = ask(client, CREATE, &[&"after", &"short"]);
        let answer = answer.map_err(|error| sqlstate::<()>(Err(error)));
        assert!(is_no_answer(&answer) || answer == Ok(Answer::no("too_short")), "{answer:?}");
        answer == Ok(Answer::no("too_short"))
    });
}
