//! A message on its way to the server log, and what has to be redacted in it.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::audit;
use super::identifier::identifier;
use super::lexer::Lexer;
use super::mask::VALUE;
use super::statement::Reader;
use super::values;

/// The fields of a message, as PostgreSQL has them before it prints them.
#[derive(Default, Clone, Copy)]
pub struct Report<'a> {
    pub message: &'a [u8],
    pub detail: Option<&'a [u8]>,
    pub detail_log: Option<&'a [u8]>,
    pub context: Option<&'a [u8]>,
    pub internal_query: Option<&'a [u8]>,
    /// The format string of the message, untranslated.
    pub template: &'a str,
    /// Of the schema, table, column, type and constraint that it is about.
    pub names: [Option<&'a [u8]>; 5],
    pub state: &'a str,
    /// The C function that reports.
    pub routine: &'a str,
    /// The statement of the client that the session is at; `None` if it is known to call nothing, or
    /// what is printed in its place is known.
    pub statement: Option<&'a [u8]>,
    /// Is it known to call a function that takes or gives a secret, whatever its text says?
    pub is_call: bool,
    /// Does the statement call one that was last analysed or planned?
    pub is_tree_of_call: bool,
}

impl Report<'_> {
    /// Is it the tree of a statement that calls one?
    fn is_tree(&self) -> bool {
        self.is_tree_of_call && matches!(about(self), About::Tree)
    }
}

/// What the fields become; `None`: stays as it is.
#[derive(Default, PartialEq, Eq, Debug)]
pub struct Redacted {
    pub message: Option<Vec<u8>>,
    pub detail: Option<Vec<u8>>,
    pub detail_log: Option<Vec<u8>>,
    pub context: Option<Vec<u8>>,
    pub internal_query: Option<Vec<u8>>,
    pub statement: Option<Vec<u8>>,
}

/// What a message is about.
enum About<'a> {
    /// A statement, which its last part is.
    Sql { head: &'a [u8], sql: &'a [u8] },
    /// The plan of one.
    Plan { head: &'a [u8], plan: &'a [u8] },
    /// One, as pgaudit writes it.
    Audit,
    /// The tree of one.
    Tree,
    /// Something else, which may quote one.
    Other,
}

/// The format strings of PostgreSQL that end in a statement.
const ENDS_IN_SQL: [&str; 7] = [
    "statement: %s",
    "duration: %s ms  statement: %s",
    "duration: %s ms  parse %s: %s",
    "duration: %s ms  bind %s%s%s: %s",
    "duration: %s ms  %s %s%s%s: %s",
    "%s %s%s%s: %s",
    "parse %s: %s",
];

impl Reader<'_> {
    /// Could anything have to be redacted? Found out in one pass, without any memory.
    pub fn may_redact(&self, report: &Report<'_>) -> bool {
        let fields = [
            report.detail,
            report.detail_log,
            report.context,
            report.internal_query,
            report.statement,
        ];
        report.is_call
            || report.is_tree()
            || self.names.may_be_in(report.message)
            || fields.iter().flatten().any(|field| self.names.may_be_in(field))
    }

    /// `None` if nothing has to be redacted.
    pub fn redacted_report(&self, report: &Report<'_>) -> Option<Redacted> {
        if !self.may_redact(report) {
            return None;
        }
        let about = about(report);
        let calls = |text: Option<&[u8]>| text.is_some_and(|text| self.calls(text));
        // A statement within a function may call one whatever the client's does.
        let in_context = |context| self.redacted_context(context, false) != context;
        let is_call = report.is_call
            || report.is_tree()
            || calls(report.statement)
            || calls(report.detail)
            || calls(report.internal_query)
            || report.context.is_some_and(in_context);
        let redact = |sql: &[u8], is_call: bool| {
            self.redacted(sql).or_else(|| is_call.then(|| self.all_redacted(sql)))
        };
        let mut redacted = Redacted {
            statement: report.statement.and_then(|text| redact(text, is_call)),
            // Otherwise nothing in it calls one.
            context: report.context.filter(|_| is_call).map(|it| self.redacted_context(it, true)),
            detail_log: report.detail_log.map(|detail| self.redacted_processes(detail)),
            ..Redacted::default()
        };
        if let Some(text) = report.internal_query {
            // Its length stays, because a position in it is reported.
            let mut place = text.to_vec();
            if !self.redact_in_place(&mut place) && is_call {
                self.redact_all_in_place(&mut place);
            }
            redacted.internal_query = (place != text).then_some(place);
        }
        let is_call = is_call
            || match about {
                About::Sql { sql, .. } => self.calls(sql),
                About::Plan { plan, .. } => self.plan_calls(plan),
                _ => false,
            };
        redacted.message = match about {
            About::Sql { head, sql } => redact(sql, is_call).map(|sql| [head, &sql].concat()),
            About::Plan { head, plan } => {
                is_call.then(|| [head, &self.redacted_plan(plan)].concat())
            }
            About::Audit => audit::redacted(report.message, |sql| redact(sql, is_call)),
            About::Tree => None,
            About::Other => is_call
                .then(|| self.redacted_values(report, redacted.context.as_deref()))
                .flatten()
                .or_else(|| self.redacted_quote(report.message)),
        };
        redacted.detail = report.detail.and_then(|detail| match about {
            About::Tree => is_call.then(|| VALUE.to_vec()),
            _ => self.redacted_detail(detail, report, is_call),
        });
        Some(redacted)
    }

    /// PostgreSQL's own words about the statement.
    fn redacted_values(&self, report: &Report<'_>, context: Option<&[u8]>) -> Option<Vec<u8>> {
        // A setting's own check says what is wrong with a value of it.
        let is_check =
            report.routine.starts_with("call_") && report.routine.ends_with("_check_hook");
        if is_check && report.template == "%s" {
            return Some(values::redacted_quotes(report.message));
        }
        let texts = [report.statement, report.internal_query, context];
        let words = OnceCell::new();
        let words = || -> &HashSet<Vec<u8>> {
            words.get_or_init(|| {
                texts.into_iter().flatten().flat_map(|text| self.words(text)).collect()
            })
        };
        let is_known = |value: &[u8]| {
            value.split(|byte| *byte == b'.').all(|part| {
                report.names.contains(&Some(part))
                    || words().contains(part)
                    || words().contains(&part.to_ascii_lowercase())
            })
        };
        values::redacted(report.message, report.template, report.state, &is_known)
    }

    /// The identifiers and keywords of a text.
    fn words<'a>(&self, text: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let mut lexer = Lexer::new(text, self.backslash_in(text));
        std::iter::from_fn(move || {
            loop {
                let token = lexer.next()?;
                if let Some(word) = identifier(text, token, &mut lexer) {
                    return Some(word);
                }
            }
        })
    }

    /// A message that quotes a statement somewhere, and may cut it off.
    fn redacted_quote(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.redacted_cut(message).or_else(|| {
            // A DO is known as one by its beginning.
            let is_do = |at: &usize| {
                message[at + 2..].get(..2).is_some_and(|word| word.eq_ignore_ascii_case(b"do"))
            };
            let at = memchr::memmem::find_iter(message, b": ").find(is_do)? + 2;
            Some([&message[..at], &self.redacted_cut(&message[at..])?].concat())
        })
    }

    fn redacted_detail(
        &self,
        detail: &[u8],
        report: &Report<'_>,
        is_call: bool,
    ) -> Option<Vec<u8>> {
        if report.state == "40P01" {
            return Some(self.redacted_processes(detail));
        }
        // `prepare: PREPARE …`, `Failed process was running: …`, in any language.
        let sql = memchr::memmem::find(detail, b": ").map_or(0, |colon| colon + 2);
        let (head, sql) = detail.split_at(sql);
        if let Some(redacted) = self.redacted_cut(sql) {
            return Some([head, &redacted].concat());
        }
        if let Some(redacted) = self.redacted_cut(detail) {
            return Some(redacted);
        }
        // `parameters: $1 = '…'`, and other values of the statement's own.
        is_call.then(|| {
            values::redacted_detail(detail, report.state).or_else(|| {
                memchr::memmem::find(detail, b" = '").map(|_| self.all_redacted(detail))
            })
        })?
    }
}

fn about<'a>(report: &Report<'a>) -> About<'a> {
    let message = report.message;
    let split = |at: usize| (&message[..at], &message[at..]);
    if report.routine == "elog_node_display" {
        return About::Tree;
    }
    if message.starts_with(audit::PREFIX) && report.template.starts_with("AUDIT: ") {
        return About::Audit;
    }
    if report.template.ends_with("plan:\n%s")
        && let Some(at) = memchr::memmem::find(message, b"plan:\n")
    {
        let (head, plan) = split(at + 6);
        return About::Plan { head, plan };
    }
    if ENDS_IN_SQL.contains(&report.template) {
        // In whatever language: the client's statement, if that is it. Otherwise from the colon on.
        let whole = report
            .statement
            .filter(|sql| message.ends_with(sql))
            .map(|sql| message.len() - sql.len());
        let after_time = memchr::memmem::find(message, b" ms  ").unwrap_or(0);
        let colon =
            || memchr::memmem::find(&message[after_time..], b": ").map(|n| after_time + n + 2);
        if let Some(at) = whole.or_else(colon) {
            let (head, sql) = split(at);
            return About::Sql { head, sql };
        }
    }
    About::Other
}
