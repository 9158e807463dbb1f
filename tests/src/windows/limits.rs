//! What redaction does not reach, by name.

use super::hits::Hits;
use super::room::has_pgaudit;
use super::seen::Window;

/// A limit: a letter for the table, what it is, and where it is allowed.
pub struct Limit {
    pub letter: char,
    pub name: &'static str,
    pub why: &'static str,
    /// Names of ways; none: any way.
    pub ways: &'static [&'static str],
    pub windows: &'static [Window],
}

pub const LIMITS: &[Limit] = &[
    Limit {
        letter: 'a',
        name: "a name that nobody has told us",
        why: "`log_statement` and `pgaudit` print a statement before anything is known of a wrapper, a procedure, an \
              operator or a table's trigger that is not in `password_verify.redact_functions`, or of a name that is put \
              together inside of a string. So does every message about it, with its parameters, until our function is \
              called, and `pg_stat_activity`. List the names.",
        ways: &[
            "wrapper that is not listed",
            "wrapper that is not listed, bound",
            "wrapper in SQL that is not listed",
            "procedure that is not listed",
            "trigger that is not listed, INSERT",
            "trigger that is not listed, bound",
            "trigger that is not listed, COPY",
            "waits before a wrapper that is not listed",
            "DO, the name put together",
            "DO, the name put together, USING",
            "operator",
        ],
        windows: &[
            Window::Statement,
            Window::Audit,
            Window::About,
            Window::Detail,
            Window::Context,
            Window::Running,
        ],
    },
    Limit {
        letter: 'b',
        name: "before it is analysed",
        why: "`pg_stat_activity` shows a statement from its arrival until it is logged or analysed. If nothing of it is \
              logged, that can be as long as its analysis waits for a lock on a table that it names. Bind parameters.",
        ways: &["waits while it is analysed, not logged"],
        windows: &[Window::Running],
    },
    Limit {
        letter: 'c',
        name: "arrival",
        why: "The same of any statement with literals, for microseconds: by luck, and therefore in no column. [How \
              often](#sampled).",
        ways: &[],
        windows: &[Window::Passing],
    },
    Limit {
        letter: 'd',
        name: "prepared, not yet bound",
        why: "`pg_prepared_statements` and the memory contexts of the session itself show the session's own statement \
              between its Parse and its first Bind; memory contexts show `DO`, `CALL` and their like also afterwards, if \
              they were prepared without a name.",
        ways: &[
            "prepared, never executed",
            "prepared without a name, never executed",
            "DO in Parse",
            "CALL in Parse",
        ],
        windows: &[Window::Session, Window::OwnContexts],
    },
    Limit {
        letter: 'e',
        name: "errors that are not logged",
        why: "With `log_min_messages = fatal` an error goes to the client alone, as PostgreSQL has made it, and a \
              statement that fails before it is analysed stays in `pg_stat_activity`, and in the shared memory behind \
              it. Only a superuser can set that.",
        ways: &["id and password exchanged, not logged", "syntax error, not logged"],
        windows: &[Window::Client, Window::After, Window::Memory],
    },
    Limit {
        letter: 'f',
        name: "what is no literal",
        why: "A password as an identifier (in double quotes, or without any) or in a comment is a part of the \
              statement's structure, which stays.",
        ways: &[
            "identifier instead of a literal",
            "no quotes",
            "in a comment",
            "bound, in a comment",
        ],
        windows: &[
            Window::Statement,
            Window::Duration,
            Window::Message,
            Window::About,
            Window::Plan,
            Window::Audit,
            Window::After,
            Window::Statements,
            Window::OwnContexts,
            Window::Contexts,
            Window::Memory,
        ],
    },
];

impl Limit {
    fn is_by_chance(&self) -> bool {
        self.windows.iter().all(|it| it.is_by_chance())
    }

    fn covers(&self, way: &str, window: Window) -> bool {
        self.windows.contains(&window) && (self.ways.is_empty() || self.ways.contains(&way))
    }
}

/// The limit under which this is allowed.
pub fn limit_of(way: &str, window: Window) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.covers(way, window))
}

/// Hits that no limit allows.
pub fn beyond(hits: &Hits) -> Hits {
    let beyond = hits.iter().filter(|((way, window), _)| limit_of(way, *window).is_none());
    beyond.map(|(key, texts)| (key.clone(), texts.clone())).collect()
}

/// What limits allow and nobody needs, each with its limit: a window in which nothing was found although it is no matter
/// of luck, or a way.
pub fn unused(hits: &Hits) -> Vec<String> {
    let mut unused = Vec::new();
    for limit in LIMITS.iter().filter(|limit| !limit.is_by_chance()) {
        let used: Vec<&(String, Window)> = hits
            .keys()
            .filter(|(way, it)| limit_of(way, *it).is_some_and(|it| it.letter == limit.letter))
            .collect();
        for window in limit.windows {
            if window.is_by_chance() || (*window == Window::Audit && !has_pgaudit()) {
                continue;
            }
            if !used.iter().any(|it| it.1 == *window) {
                unused.push(format!("{}: {window:?}", limit.name));
            }
        }
        for way in limit.ways {
            if !used.iter().any(|it| it.0 == *way) {
                unused.push(format!("{}: {way}", limit.name));
            }
        }
    }
    unused
}
