//! Texts that can be recognised, and looking for them in everything that a server leaves behind.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use postgres::Client;

use crate::keyring::fresh_key;

/// 32 letters and digits that nobody has seen before.
pub fn canary() -> String {
    let random = fresh_key() + &fresh_key();
    random.chars().filter(char::is_ascii_alphanumeric).take(32).collect()
}

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn base64(bytes: &[u8], last: [u8; 2]) -> Vec<u8> {
    let digits = [DIGITS, &last].concat();
    let digit = |chunk: &[u8], i: u32| {
        let word = u32::from_be_bytes([0, chunk[0], chunk[1], chunk[2]]);
        digits[(word >> (18 - 6 * i) & 63) as usize]
    };
    bytes
        .chunks_exact(3)
        .flat_map(|chunk| (0..4).map(move |i| (chunk, i)))
        .map(|(c, i)| digit(c, i))
        .collect()
}

/// What these bytes may look like.
pub fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let written = |one: &dyn Fn(&u8) -> String, between: &str| {
        bytes.iter().map(one).collect::<Vec<_>>().join(between).into_bytes()
    };
    let mut all = vec![
        bytes.to_vec(),
        bytes.iter().rev().copied().collect(),
        written(&|byte| format!("{byte:02x}"), ""),
        written(&|byte| format!("{byte:02X}"), ""),
        written(&|byte| byte.to_string(), ", "),
        written(&|byte| byte.to_string(), " "),
        written(&|byte| format!("{}\0", char::from(*byte)), ""),
    ];
    for skip in 0..3 {
        all.extend([*b"+/", *b"-_"].map(|last| base64(&bytes[skip..], last)));
    }
    all
}

/// What is looked for, each with what it is, by its first two bytes.
pub struct Hunt(Vec<Vec<(String, Vec<u8>)>>);

impl Default for Hunt {
    fn default() -> Self {
        Self(vec![Vec::new(); 1 << 16])
    }
}

impl Hunt {
    /// A new text to look for: each half of it, in every form.
    pub fn canary(&mut self, what: &str) -> String {
        let text = canary();
        self.add(what, text.as_bytes());
        text
    }

    /// The same for what there is already.
    pub fn add(&mut self, what: &str, bytes: &[u8]) {
        let (one, other) = bytes.split_at(bytes.len() / 2);
        for half in [one, other] {
            forms(half).into_iter().for_each(|form| self.put(what, form));
        }
    }

    /// A text to look for as it is.
    pub fn plain(text: &str) -> Self {
        let mut hunt = Self::default();
        hunt.put(text, text.as_bytes().to_vec());
        hunt
    }

    fn put(&mut self, what: &str, form: Vec<u8>) {
        let first = u16::from_be_bytes([form[0], form[1]]);
        self.0[usize::from(first)].push((what.to_owned(), form));
    }

    /// A handle, its text and its bytes.
    pub fn handle(&mut self, admin: &mut Client, handle: &str) {
        let sql = "SELECT decode(translate($1, '-_', '+/') || '=', 'base64')";
        let bytes: Vec<u8> = admin.query_one(sql, &[&&handle[4..]]).unwrap().get(0);
        self.add("handle", &handle.as_bytes()[4..]);
        self.add("bytes of a handle", &bytes);
    }

    /// What of it is in these bytes.
    pub fn look(&self, bytes: &[u8]) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        let mut pair = usize::from(bytes.first().copied().unwrap_or_default());
        for (at, byte) in bytes.iter().enumerate().skip(1) {
            pair = (pair << 8 | usize::from(*byte)) & 0xffff;
            if self.0[pair].is_empty() {
                continue;
            }
            for (what, form) in &self.0[pair] {
                if bytes[at - 1..].starts_with(form) {
                    found.push(what);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The same for all files of a folder: in which of them, and what.
    pub fn look_through(&self, folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(self.look_through(&path));
            } else if path.is_file() {
                let there = self.look(&fs::read(&path).unwrap());
                found.extend(there.iter().map(|what| format!("{}: {what}", path.display())));
            }
        }
        found
    }

    /// The memory that the server's processes share; `None` where the system lets nobody look.
    pub fn look_in_memory(&self, pid: u32) -> Option<Vec<&str>> {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
        let mut found = Vec::new();
        for line in maps.lines().filter(|line| line.contains(" rw-s ")) {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            let mut bytes = vec![0; (end - start) as usize];
            memory.read_exact_at(&mut bytes, start).unwrap();
            found.extend(self.look(&bytes));
        }
        Some(found)
    }
}
