//! `docs/windows.md`: ways and windows.

use std::collections::BTreeSet;

use super::hits::Hits;
use super::limits::{LIMITS, limit_of};
use super::seen::Window;

/// The columns of the table, each with its windows.
const COLUMNS: [(&str, &[Window]); 14] = [
    ("statement", &[Window::Statement]),
    ("duration", &[Window::Duration]),
    ("message", &[Window::Message, Window::Hint, Window::Log]),
    ("DETAIL", &[Window::Detail, Window::Debug]),
    ("CONTEXT", &[Window::Context, Window::Internal]),
    ("STATEMENT", &[Window::About]),
    ("plan", &[Window::Plan]),
    ("audit", &[Window::Audit]),
    ("running", &[Window::Running]),
    ("afterwards", &[Window::After]),
    ("statements", &[Window::Statements]),
    ("session", &[Window::Session, Window::OwnContexts, Window::Contexts]),
    ("client", &[Window::Client]),
    ("files", &[Window::Temporary, Window::Files, Window::Views]),
];

/// One line for each way: `0` where a server without redaction shows the password and this one does not, the letter of a
/// limit where this one does, too, and nothing where neither does.
pub fn rows(ways: &[String], with: &Hits, without: &Hits) -> Vec<String> {
    ways.iter()
        .map(|way| {
            let cells = COLUMNS.iter().map(|(_, windows)| {
                let found = |hits: &Hits, window: Window| hits.contains_key(&(way.clone(), window));
                let letters: BTreeSet<char> = windows
                    .iter()
                    .filter(|it| found(with, **it))
                    .map(|it| limit_of(way, *it).map_or('!', |limit| limit.letter))
                    .collect();
                if !letters.is_empty() {
                    letters.into_iter().map(String::from).collect::<Vec<_>>().join(" ")
                } else if windows.iter().any(|it| found(without, *it)) {
                    "0".into()
                } else {
                    String::new()
                }
            });
            format!("| {way} | {} |", cells.collect::<Vec<_>>().join(" | "))
        })
        .collect()
}

/// The table's head.
pub fn head() -> [String; 2] {
    let names: Vec<&str> = COLUMNS.iter().map(|it| it.0).collect();
    let line = vec!["---"; COLUMNS.len() + 1].join(" | ");
    [format!("| way | {} |", names.join(" | ")), format!("| {line} |")]
}

/// The table of limits.
pub fn limits() -> Vec<String> {
    let mut lines = vec!["| | limit | what it is |".to_owned(), "| --- | --- | --- |".to_owned()];
    lines.extend(LIMITS.iter().map(|it| format!("| {} | {} | {} |", it.letter, it.name, it.why)));
    lines
}
