//! Windows, and what was seen in them.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::SimpleQueryMessage;

use super::room::Room;
use super::setup::SHOWS;

/// Where a text may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// In the log: what `log_statement` prints.
    Statement,
    /// What `log_duration` and `log_min_duration_statement` print.
    Duration,
    /// Any other message.
    Message,
    Detail,
    Context,
    /// The statement that a message is about.
    About,
    /// The query of a function that a message is about.
    Internal,
    Hint,
    /// Anywhere else in the files of the log.
    Log,
    /// `auto_explain`.
    Plan,
    /// `pgaudit`.
    Audit,
    /// `debug_print_parse` and its like.
    Debug,
    /// `pg_log_backend_memory_contexts`.
    Contexts,
    /// `pg_stat_activity`, sampled all the time.
    Passing,
    /// `pg_stat_activity` while a statement is known to wait.
    Running,
    /// `pg_stat_activity` afterwards.
    After,
    /// `pg_stat_statements`.
    Statements,
    /// `pg_prepared_statements` and `pg_cursors` of the session.
    Session,
    /// `pg_backend_memory_contexts` of the session.
    OwnContexts,
    /// All other views of PostgreSQL.
    Views,
    /// Temporary files while the session is there.
    Temporary,
    /// The files of the server after its end: tables, catalogs, WAL, statistics.
    Files,
    /// Memory that processes share, and that of another process.
    Memory,
    /// Errors and notices that the session itself gets.
    Client,
}

impl Window {
    /// Whether somebody sees something there is a matter of luck.
    pub fn is_by_chance(self) -> bool {
        matches!(self, Self::Passing | Self::Memory)
    }
}

/// Texts, each with where it was seen.
#[derive(Default)]
pub struct Seen(Mutex<HashSet<(Window, String)>>);

impl Seen {
    pub fn put(&self, window: Window, text: impl Into<String>) {
        self.0.lock().unwrap().insert((window, text.into()));
    }

    /// All of it, sorted.
    pub fn all(&self) -> Vec<(Window, String)> {
        let mut all: Vec<_> = self.0.lock().unwrap().iter().cloned().collect();
        all.sort_unstable();
        all
    }
}

/// Texts that a superuser sees in `pg_stat_activity`, of whomever it is.
const ACTIVITY: &str =
    "SELECT DISTINCT query FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query <> ''";

/// What sessions do just now, or have done last.
pub fn look_at_activity(room: &Room, window: Window) {
    for row in room.admin(|admin| admin.query(ACTIVITY, &[]).unwrap()) {
        room.seen.put(window, row.get::<_, String>(0));
    }
}

/// Samples `pg_stat_activity` as fast as it can until it is told to stop; how many samples there were. A crash of the
/// server ends the samples of one connection, and others begin.
pub fn sample(room: &Room, stop: &AtomicBool) -> usize {
    let mut samples = 0;
    while !stop.load(Ordering::Relaxed) {
        let cluster = &room.site.cluster;
        let Ok(mut admin) = cluster.try_connect("postgres", &room.site.database) else {
            thread::yield_now();
            continue;
        };
        if room.be_quiet(&mut admin).is_err() {
            continue;
        }
        while !stop.load(Ordering::Relaxed) {
            let Ok(rows) = admin.query(ACTIVITY, &[]) else { break };
            samples += 1;
            for row in rows {
                room.seen.put(Window::Passing, row.get::<_, String>(0));
            }
        }
    }
    samples
}

/// All that the views and tables of statistics show, and every other view of PostgreSQL that has a text in it.
pub fn look_at_views(room: &Room) {
    let sql = "SELECT format('%s', c.oid::regclass) FROM pg_class c
                WHERE relkind = 'v' AND relnamespace = 'pg_catalog'::regnamespace
                  AND relname NOT IN ('pg_stat_activity', 'pg_prepared_statements', 'pg_cursors',
                                      'pg_backend_memory_contexts', 'pg_hba_file_rules',
                                      'pg_stats', 'pg_stats_ext', 'pg_stats_ext_exprs',
                                      'pg_shmem_allocations_numa')";
    room.admin(|admin| {
        let views: Vec<String> =
            admin.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        assert!(views.iter().any(|view| view == "pg_locks"), "{views:?}");
        // In pg_settings.
        admin.batch_execute(&format!("SET application_name = '{SHOWS}'")).unwrap();
        for view in views {
            for message in admin.simple_query(&format!("SELECT t::text FROM {view} t")).unwrap() {
                if let SimpleQueryMessage::Row(row) = message {
                    room.seen.put(Window::Views, row.get(0).unwrap_or_default());
                }
            }
        }
    });
}

/// `pg_stat_statements`, of whomever it is.
pub fn look_at_statements(room: &Room) {
    room.admin(|admin| {
        let rows = admin.query("SELECT DISTINCT query FROM public.pg_stat_statements", &[]);
        for row in rows.unwrap() {
            if let Some(text) = row.get::<_, Option<String>>(0) {
                room.seen.put(Window::Statements, text);
            }
        }
    });
}
