//! What a way does its calls with: sessions that stay until all windows were looked at, and passwords.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::room::Room;
use super::seen::{Window, look_at_activity, look_at_statements};
use super::wire::{Batch, Reply, Value, Wire};
use crate::hunt::{Hunt, canary};
use crate::kill::crash_by;
use crate::trail::wait_until;

/// A password, or what it was made from, as it is looked for.
#[derive(Clone)]
pub struct Canary {
    pub way: String,
    pub text: String,
    /// Each quarter of it cannot be there by chance.
    pub quarters: bool,
}

impl Canary {
    pub fn hunt(&self, hunt: &mut Hunt) {
        let bytes = self.text.as_bytes();
        if !self.quarters {
            return hunt.add(&self.way, bytes);
        }
        // In lower case as well, which identifiers are shown in.
        for text in [bytes, &bytes.to_ascii_lowercase()] {
            let (one, other) = text.split_at(text.len() / 2);
            hunt.add(&self.way, one);
            hunt.add(&self.way, other);
        }
    }
}

pub struct Stage<'a> {
    pub room: &'a Room,
    way: String,
    pub canaries: Vec<Canary>,
    sessions: Vec<Wire>,
    /// Statements that came to something else than they should.
    wrong: Vec<String>,
}

impl<'a> Stage<'a> {
    pub fn new(room: &'a Room, way: &str) -> Self {
        Self {
            room,
            way: way.into(),
            canaries: Vec::new(),
            sessions: Vec::new(),
            wrong: Vec::new(),
        }
    }

    fn look_for(&mut self, text: &str, quarters: bool) {
        let canary = Canary { way: self.way.clone(), text: text.into(), quarters };
        self.canaries.push(canary);
    }

    /// A password of 32 letters and digits.
    pub fn secret(&mut self) -> String {
        let text = canary();
        self.look_for(&text, true);
        text
    }

    /// One of up to 32 digits, which a statement may have without quotes.
    pub fn digits(&mut self, count: usize) -> String {
        let text: String = canary()
            .chars()
            .take(count)
            .map(|it| char::from_digit(u32::from(it) % 9 + 1, 10).unwrap())
            .collect();
        self.look_for(&text, false);
        text
    }

    /// Another spelling of a password.
    pub fn also(&mut self, text: &str) {
        self.look_for(text, false);
    }

    /// Each `@` becomes a password.
    pub fn fill(&mut self, sql: &str) -> String {
        let mut parts = sql.split('@');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            filled += &self.secret();
            filled += part;
        }
        filled
    }

    /// The session that most ways have one of.
    pub fn session(&mut self) -> &mut Wire {
        if self.sessions.is_empty() {
            self.open(&self.room.caller);
        }
        &mut self.sessions[0]
    }

    /// Another session; its number.
    pub fn open(&mut self, user: &str) -> usize {
        self.sessions.push(self.room.session(user));
        self.sessions.len() - 1
    }

    pub fn at(&mut self, session: usize) -> &mut Wire {
        &mut self.sessions[session]
    }

    /// What a statement has come to. All that went another way are told in the end.
    pub fn expect(&mut self, state: &str, reply: &Reply, sql: &str) {
        if reply.state() != state {
            let told =
                self.sessions.iter().flat_map(|it| &it.told).filter(|it| it.starts_with("M"));
            let (way, was) = (&self.way, reply.state());
            let told: Vec<&String> = told.collect();
            self.wrong.push(format!("{way}: {was} instead of {state}: {sql:.300}\n    {told:?}"));
        }
    }

    /// A simple query that ends with this SQLSTATE.
    pub fn simple(&mut self, state: &str, sql: &str) -> Reply {
        let reply = self.session().simple(sql);
        self.expect(state, &reply, sql);
        reply
    }

    /// One that succeeds.
    pub fn ok(&mut self, sql: &str) -> Reply {
        self.simple("00000", sql)
    }

    /// Parse, Bind, Execute that end with this SQLSTATE.
    pub fn bound(&mut self, state: &str, sql: &str, values: &[String]) -> Reply {
        let values: Vec<Value<'_>> = values.iter().map(|it| Value::Text(it)).collect();
        let reply = self.session().extended(sql, &values);
        self.expect(state, &reply, sql);
        reply
    }

    /// Messages that end with this SQLSTATE.
    pub fn sent(&mut self, state: &str, batch: &Batch) -> Reply {
        let reply = self.session().ask(batch);
        self.expect(state, &reply, "messages");
        reply
    }

    /// Waits until a session waits for a lock or in `pg_sleep`, and looks at what everybody sees of it meanwhile.
    pub fn await_waiting(&mut self, session: usize) {
        let pid = self.sessions[session].pid;
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1
                    AND (wait_event_type = 'Lock' OR wait_event = 'PgSleep')";
        wait_until(&format!("{}: it waits", self.way), || {
            self.room.admin(|admin| admin.query_one(sql, &[&pid]).unwrap().get::<_, i64>(0)) == 1
        });
        look_at_activity(self.room, Window::Running);
    }

    /// `kill -9` of a session's process, of which the postmaster tells the log.
    pub fn crash(&mut self, session: usize) {
        look_at_statements(self.room);
        crash_by(&self.room.site.cluster, self.sessions[session].pid);
        self.room.has_crashed();
    }

    /// Looks at all that a session leaves while it is there, and ends it: its passwords, and what went wrong.
    pub fn end(mut self) -> (Vec<Canary>, Vec<String>) {
        let room = self.room;
        look_at_activity(room, Window::After);
        look_at_temporary_files(room);
        for session in &mut self.sessions {
            if !log_contexts(room, session) {
                continue;
            }
            let told = session.told.len();
            if session.status == b'E' {
                session.named("ROLLBACK");
            }
            for (window, sql) in [
                (Window::Session, "SELECT p::text FROM pg_prepared_statements p"),
                (Window::Session, "SELECT c::text FROM pg_cursors c WHERE name <> ''"),
                (Window::OwnContexts, "SELECT c::text FROM pg_backend_memory_contexts c"),
            ] {
                let reply = session.named(sql);
                assert_eq!(reply.state(), "00000", "{}: {sql}: {:?}", self.way, session.told);
                for row in reply.rows {
                    room.seen.put(window, row);
                }
            }
            session.told.truncate(told);
        }
        for session in &self.sessions {
            for told in &session.told {
                room.seen.put(Window::Client, told.clone());
            }
        }
        (self.canaries, self.wrong)
    }
}

/// Has a session's memory contexts logged, unless nothing of it is logged; false if it is not there any more.
fn log_contexts(room: &Room, session: &Wire) -> bool {
    let pid = session.pid;
    let sql = "SELECT pg_log_backend_memory_contexts($1) FROM pg_stat_activity WHERE pid = $1";
    let log = room.log_folder().join("server.log");
    let before = fs::metadata(&log).unwrap().len();
    let there = room.admin(|admin| admin.query_opt(sql, &[&pid]).unwrap().is_some());
    if there && session.user != room.quiet {
        wait_until("the contexts are logged", || {
            // The last line of them, which is in no other language.
            let of_it = format!("@@ [{pid}] ");
            tail(&log, before)
                .lines()
                .any(|it| it.starts_with(&of_it) && it.contains(": Grand total: "))
        });
    }
    there
}

/// What a file has got since it was that long.
fn tail(path: &Path, before: u64) -> String {
    let mut file = File::open(path).unwrap();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(before)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is in files that vanish with the session; how many there are.
pub fn look_at_temporary_files(room: &Room) -> usize {
    let folder = room.site.cluster.data().join("base/pgsql_tmp");
    let mut files = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(bytes) = fs::read(entry.path()) {
            files += 1;
            room.seen.put(Window::Temporary, String::from_utf8_lossy(&bytes));
        }
    }
    files
}
