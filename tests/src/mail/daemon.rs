//! A server's processes: started together, killed together, and never left behind.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::place::servant;
use crate::hold::process_stat;

/// Kills the whole group as soon as the server ends or the test lets go of the pipe, however the test ends.
const GUARD: &str = r#"("$@"; kill -9 0) & read -r line; kill -9 0"#;

/// A server that can be killed and started again.
pub(crate) struct Daemon {
    /// Program and arguments.
    words: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    running: Mutex<Option<Child>>,
    /// Where it works.
    folder: PathBuf,
}

impl Daemon {
    /// Not running yet. What it says is appended to the log.
    pub fn new(folder: &Path, log: &Path, words: &[&str], environment: &[(&str, &str)]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            environment: environment
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            log: log.to_owned(),
            running: Mutex::new(None),
            folder: folder.to_owned(),
        }
    }

    /// Starts it and waits until it is up.
    pub fn start(&self, is_up: impl Fn() -> bool) {
        let mut running = self.running.lock().unwrap();
        assert!(running.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = command("/bin/sh", &self.folder);
        command.args(["-c", GUARD, "guard"]).args(&self.words);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.process_group(0).spawn().unwrap();
        let start = Instant::now();
        while !is_up() {
            // Not by try_wait, which would free the number of the group.
            let ended = process_stat(child.id()).is_none_or(|stat| stat.starts_with('Z'));
            if ended || start.elapsed() > Duration::from_secs(60) {
                end(&mut child);
                panic!("{} does not start:\n{}", self.words[0], self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        *running = Some(child);
    }

    /// `kill -9` of all its processes at once. Returns when all have ended.
    pub fn kill(&self) {
        let child = self.running.lock().unwrap().take();
        end(&mut child.expect("it does not run"));
    }

    pub fn runs(&self) -> bool {
        self.running.lock().unwrap().is_some()
    }

    /// What it has said.
    pub fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = self.running.get_mut().unwrap() {
            end(child);
        }
    }
}

/// A program that runs as the servant.
pub(crate) fn command(program: impl AsRef<Path>, folder: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some((uid, gid)) = servant().ids {
        command.uid(uid).gid(gid);
    }
    command.current_dir(folder).env("HOME", folder);
    command
}

/// Ends the group that the child leads.
fn end(child: &mut Child) {
    // The leader is not reaped yet, so that the number is still the group's.
    let group = child.id();
    let _ = Command::new("kill").args(["-9", "--", &format!("-{group}")]).output();
    child.wait().unwrap();
    let start = Instant::now();
    while members(group) > 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "some of group {group} stay");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many processes are in a group, without those that only wait to be reaped.
fn members(group: u32) -> usize {
    let group = group.to_string();
    let names =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|it| it.file_name().into_string().ok());
    let stats =
        names.filter(|name| name.bytes().all(|it| it.is_ascii_digit())).filter_map(process_stat);
    // State, parent, group.
    let is_in_it = |stat: &String| {
        let fields: Vec<&str> = stat.split_whitespace().take(3).collect();
        fields[0] != "Z" && fields[2] == group
    };
    stats.filter(is_in_it).count()
}
