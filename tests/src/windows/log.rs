//! The log of a server, taken apart: every field of every message, in each of its formats.

use std::fs;
use std::path::Path;

use super::seen::Window;

/// A field of a message: of which file, which window it is, and its text.
pub struct Field {
    pub file: &'static str,
    pub window: Window,
    pub text: String,
}

/// The files of a log, and how they are called here.
pub const FILES: [(&str, &str); 3] =
    [("server.log", "stderr"), ("server.csv", "csvlog"), ("server.json", "jsonlog")];

type Parse = fn(&str, &mut Vec<Field>);

/// Every field of every message that is in the files of this folder.
pub fn read(folder: &Path) -> Vec<Field> {
    let mut fields = Vec::new();
    for ((name, _), parse) in FILES.iter().zip([stderr as Parse, csv, json]) {
        let Ok(bytes) = fs::read(folder.join(name)) else { continue };
        parse(&String::from_utf8_lossy(&bytes), &mut fields);
    }
    fields
}

/// What the message is, by how PostgreSQL and its libraries begin theirs.
pub fn kind_of(message: &str) -> Window {
    let begins = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    if message.starts_with("duration: ") {
        // auto_explain: "duration: 0.1 ms  plan:"; others end, or go on with the statement.
        let rest = message.split_once(" ms").map_or("", |it| it.1);
        return if rest.starts_with("  plan:") { Window::Plan } else { Window::Duration };
    }
    if begins(&["statement: ", "execute ", "fastpath function call"]) {
        return Window::Statement;
    }
    if message.starts_with("AUDIT: ") {
        return Window::Audit;
    }
    if message.starts_with("level: ") || message.starts_with("logging memory contexts") {
        return Window::Contexts;
    }
    Window::Message
}

fn detail_of(message: &str) -> Window {
    let dumps = ["parse tree:", "rewritten parse tree:", "plan:", "raw parse tree:"];
    if dumps.iter().any(|it| message.starts_with(it)) { Window::Debug } else { Window::Detail }
}

/// One message from its fields: (name, text).
fn put(file: &'static str, message: &[(&str, String)], into: &mut Vec<Field>) {
    let said = message.iter().find(|it| it.0 == "message").map_or("", |it| it.1.as_str());
    for (name, text) in message {
        let window = match *name {
            "detail" => detail_of(said),
            "context" => Window::Context,
            "statement" => Window::About,
            "internal_query" => Window::Internal,
            "hint" => Window::Hint,
            _ => kind_of(said),
        };
        into.push(Field { file, window, text: text.clone() });
    }
}

/// Lines that begin with the prefix begin a field, others go on with it.
fn stderr(log: &str, into: &mut Vec<Field>) {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in log.split('\n') {
        let rest = line.strip_prefix("@@ [").and_then(|it| it.split_once("] "));
        match rest.and_then(|it| it.1.split_once(":  ")) {
            Some((label, text)) => fields.push((label.to_owned(), text.to_owned())),
            None => {
                if let Some(last) = fields.last_mut() {
                    last.1.push('\n');
                    last.1.push_str(line.strip_prefix('\t').unwrap_or(line));
                } else {
                    fields.push(("LOG".into(), line.to_owned()));
                }
            }
        }
    }
    let mut message: Vec<(&str, String)> = Vec::new();
    for (label, text) in &fields {
        let name = match label.as_str() {
            "DETAIL" => "detail",
            "CONTEXT" => "context",
            "STATEMENT" => "statement",
            "QUERY" => "internal_query",
            "HINT" => "hint",
            "LOCATION" => "location",
            _ => {
                put("stderr", &message, into);
                message.clear();
                // With the SQLSTATE, as log_error_verbosity says.
                let said = text.split_once(": ").map_or(text.as_str(), |it| it.1);
                message.push(("message", said.to_owned()));
                continue;
            }
        };
        if name != "location" {
            message.push((name, text.clone()));
        }
    }
    put("stderr", &message, into);
}

const COLUMNS: [(usize, &str); 6] = [
    (13, "message"),
    (14, "detail"),
    (15, "hint"),
    (16, "internal_query"),
    (18, "context"),
    (19, "statement"),
];

fn csv(log: &str, into: &mut Vec<Field>) {
    let mut row: Vec<String> = vec![String::new()];
    let mut quoted = false;
    let mut letters = log.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                row.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\n' if !quoted => {
                let named = COLUMNS.iter().filter_map(|(at, name)| {
                    row.get(*at).filter(|it| !it.is_empty()).map(|it| (*name, it.clone()))
                });
                put("csvlog", &named.collect::<Vec<_>>(), into);
                row = vec![String::new()];
            }
            _ => row.last_mut().unwrap().push(letter),
        }
    }
}

fn json(log: &str, into: &mut Vec<Field>) {
    for line in log.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        let names = ["message", "detail", "hint", "internal_query", "context", "statement"];
        let named = names.iter().filter_map(|name| {
            value.get(*name).and_then(|it| it.as_str()).map(|it| (*name, it.to_owned()))
        });
        put("jsonlog", &named.collect::<Vec<_>>(), into);
    }
}
