//! What somebody who writes the tables can try, and what came of it: `docs/tampering.md`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use postgres::GenericClient;

pub mod base;
mod certified;
pub mod kept;
pub mod probe;
pub mod restart;

/// Tables that sessions read, what the keeper keeps in among them, and those that only the worker does.
pub const OF_SESSIONS: [&str; 4] = ["credential", "account", "blind_index_key", "event"];
pub const OF_THE_KEEPER: [&str; 4] = ["secret", "job", "result", "vault"];
pub const OF_WORKERS: [&str; 5] = ["throttle", "event_fold", "open_change", "cost_class", "anchor"];
/// What the worker reads of `event` when it comes.
pub const AT_A_START: &str = "at a start: event";

/// What is done to a column, and to a row.
pub const TO_A_COLUMN: [How; 3] = [How::Changed, How::Swapped, How::Null];
pub const TO_A_ROW: [How; 4] = [How::Deleted, How::Duplicated, How::Elsewhere, How::LastWeek];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Changed,
    Swapped,
    Null,
    Deleted,
    Duplicated,
    Elsewhere,
    LastWeek,
}

/// One thing to try. All rows of [`rows`] are tampered with at once.
#[derive(Debug, Clone)]
pub struct Case {
    pub table: &'static str,
    pub column: Option<String>,
    pub how: How,
    pub sql: String,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {:?}", self.table, self.column.as_deref().unwrap_or("*"), self.how)
    }
}

/// The rows of a table that are tampered with: all that belong to somebody, but for one that shows when the worker
/// has looked at all of them.
pub fn rows(table: &str) -> &'static str {
    match table {
        "credential" | "account" => "user_id NOT IN ('', 'bystander')",
        "throttle" => "kind >= 0",
        "event_fold" => "user_id IS DISTINCT FROM 'canary'",
        _ => "true",
    }
}

/// The columns of its primary key, without which the library refuses the table.
fn key(table: &str) -> &'static [&'static str] {
    match table {
        "credential" | "account" => &["blind_index"],
        "event" => &["epoch", "seq"],
        // No row is found by it.
        "blind_index_key" => &[],
        _ => &["key"],
    }
}

/// The unique index is taken away for that, and put back.
fn unkeyed(table: &str, column: &str, sql: &str) -> String {
    if (table, column) == ("job", "due") {
        return format!(
            "DROP INDEX password_verify.job_due; {sql};
             CREATE UNIQUE INDEX job_due ON password_verify.job (due)"
        );
    }
    let (alter, key) = (format!("ALTER TABLE password_verify.{table}"), key(table).join(", "));
    format!(
        "{alter} DROP CONSTRAINT {table}_pkey; {sql};
         {alter} ADD CONSTRAINT {table}_pkey PRIMARY KEY ({key})"
    )
}

/// Of the trail, some rows of the first epoch and the last ones.
const SOME_EVENTS: &str = "(epoch = 1 AND seq BETWEEN 1 AND 20
    OR (epoch, seq) IN (SELECT epoch, seq FROM password_verify.event ORDER BY epoch DESC, seq DESC LIMIT 5))";

/// What the rows of two databases have in common by which they are paired, and their order where that is not enough.
fn pairs(table: &str) -> [&'static str; 2] {
    match table {
        "credential" | "account" | "event_fold" | "vault" => ["user_id", "1"],
        "secret" => ["(user_id, name)", "1"],
        "job" => ["state", "created_at"],
        // The number of the result.
        "result" => ["right(key::text, 17)", "delivered_at"],
        "throttle" => ["kind", "count, at"],
        "event" => ["(epoch, seq)", "1"],
        "open_change" => ["by_session", "top_xid, xid"],
        _ => ["key", "1"],
    }
}

/// Everything that can be tried on a table, column by column as the catalog has them.
pub fn cases(client: &mut impl GenericClient, table: &'static str) -> Vec<Case> {
    let sql = "SELECT attname::text, atttypid::regtype::text FROM pg_attribute
                WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let columns = client.query(sql, &[&format!("password_verify.{table}")]).unwrap();
    let columns: Vec<(String, String)> = columns.iter().map(|r| (r.get(0), r.get(1))).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let mut cases = Vec::new();
    for (column, kind) in &columns {
        for how in TO_A_COLUMN {
            for sql in column_sql(table, column, kind, how) {
                let is_key = key(table).contains(&column.as_str())
                    || (table, column.as_str()) == ("job", "due");
                let sql = if is_key { unkeyed(table, column, &sql) } else { sql };
                cases.push(Case { table, column: Some(column.clone()), how, sql });
            }
        }
    }
    for how in TO_A_ROW {
        cases.extend(row_sql(table, &names, how).map(|sql| Case { table, column: None, how, sql }));
    }
    cases
}

fn column_sql(table: &str, column: &str, kind: &str, how: How) -> Vec<String> {
    let rows = rows(table);
    let set =
        |value: &str| format!("UPDATE password_verify.{table} SET {column} = {value} WHERE {rows}");
    let times = if table == "throttle" { "kind, at" } else { "ctid" };
    let flipped = |at: &str| format!("set_byte({column}, {at}, get_byte({column}, {at}) # 1)");
    match how {
        How::Null => vec![set("NULL")],
        How::Changed => match kind {
            "uuid" => vec![set(&format!("md5({column}::text)::uuid"))],
            "text" => vec![set(&format!("COALESCE({column}, '') || 'x'"))],
            "boolean" => vec![set(&format!("NOT {column}"))],
            "timestamp with time zone" => {
                vec![set(&format!("COALESCE({column}, now()) - interval '1 second'"))]
            }
            // Another tag, another key, and none.
            "bytea" if column == "mac" => {
                let last = flipped("length(mac) - 1");
                vec![
                    set(&format!("CASE mac WHEN '' THEN '\\x01' ELSE {last} END")),
                    set(&format!("CASE mac WHEN '' THEN '\\x01' ELSE {} END", flipped("0"))),
                    set("''"),
                ]
            }
            "bytea" => vec![set(&flipped("0"))],
            _ => vec![set(&format!("COALESCE({column}, 0) + 1"))],
        },
        // Each row gets what the next one has, in the order of these values; where they are the same, of the times.
        _ => vec![format!(
            "WITH r AS (SELECT ctid AS place, {column} AS value, count(*) OVER () AS n,
                               row_number() OVER (ORDER BY {column}, {times}, ctid) AS i
                          FROM password_verify.{table} WHERE {rows})
             UPDATE password_verify.{table} t SET {column} = o.value
               FROM r JOIN r o ON o.i = r.i % r.n + 1 WHERE t.ctid = r.place"
        )],
    }
}

fn row_sql(table: &str, columns: &[&str], how: How) -> Option<String> {
    let rows = if table == "event" { SOME_EVENTS } else { rows(table) };
    let ([pair, order], first) = (pairs(table), columns[0]);
    let whole = format!("DELETE FROM password_verify.{table} WHERE {rows};");
    let all = columns.join(", ");
    let others = columns[1..].join(", ");
    Some(match (how, table) {
        (How::Duplicated, _) => format!(
            "INSERT INTO password_verify.{table} SELECT * FROM password_verify.{table} WHERE {rows}"
        ),
        // What is at such a place is never written again.
        (How::LastWeek, "event") => return None,
        // One row, which has another key each time; and no row is found by its key.
        (How::Elsewhere, "anchor" | "blind_index_key") => {
            format!("{whole} INSERT INTO password_verify.{table} TABLE elsewhere.{table}")
        }
        (How::LastWeek, "anchor") => {
            format!("{whole} INSERT INTO password_verify.{table} TABLE week.{table}")
        }
        (How::LastWeek, _) => {
            let key = if table == "blind_index_key" { "id" } else { first };
            format!(
                "UPDATE password_verify.{table} t SET ({all}) = (SELECT {all} FROM week.{table} w WHERE w.{key} = t.{key})
                  WHERE {rows} AND {key} IN (SELECT {key} FROM week.{table})"
            )
        }
        (How::Elsewhere, _) => format!(
            "WITH here AS (SELECT ctid AS place, {pair} AS pair, row_number() OVER (PARTITION BY {pair} ORDER BY {order}) AS i
                             FROM password_verify.{table} WHERE {rows}),
                  there AS (SELECT *, {pair} AS pair, row_number() OVER (PARTITION BY {pair} ORDER BY {order}) AS i
                              FROM elsewhere.{table})
             UPDATE password_verify.{table} t
                SET ({others}) = (SELECT {others} FROM there WHERE (there.pair, there.i) = (here.pair, here.i))
               FROM here JOIN there USING (pair, i) WHERE t.ctid = here.place"
        ),
        _ => whole,
    })
}

/// What the library was seen to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// PostgreSQL did not let it be done.
    pub impossible: Option<String>,
    /// The rows are what they were: all have the same there.
    pub nothing: bool,
    /// Calls that were answered before, and now end in these errors.
    pub refused: Vec<String>,
    /// Calls that are answered otherwise than before.
    pub otherwise: Vec<String>,
    /// What should have come into the audit trail and has not.
    pub lacking: Vec<String>,
    /// Users whose row is another one, and who are answered as before.
    pub passed: Vec<String>,
    /// What came into the audit trail and did not happen.
    pub planted: Vec<String>,
    /// Who has noticed.
    pub noticed: BTreeSet<&'static str>,
}

/// Who can notice.
pub const CREDENTIALS: &str = "credentials";
pub const EVENTS: &str = "events";
pub const TAMPERED: &str = "tampered";
pub const MISMATCH: &str = "mismatch";

/// Where it is known why something that nobody notices changes nothing: the document says it.
fn why_harmless(case: &Case) -> &'static str {
    let harmless = case.table == "blind_index_key"
        && match case.column.as_deref() {
            Some(column) => ["in_use", "mac"].contains(&column),
            None => [How::Duplicated, How::LastWeek].contains(&case.how),
        };
    if harmless { "harmless" } else { "UNNOTICED" }
}

/// The text of a cell.
pub fn classify(case: &Case, seen: &Seen) -> String {
    if let Some(state) = &seen.impossible {
        return format!("PostgreSQL refuses ({state})");
    }
    if seen.nothing {
        return "–".into();
    }
    let mut words = Vec::new();
    if !seen.planted.is_empty() {
        let once_true = [How::Duplicated, How::LastWeek].contains(&case.how);
        words.push(if once_true { "recorded" } else { "PLANTED" });
    }
    if !seen.refused.is_empty() {
        let partly = !seen.otherwise.is_empty() || !seen.passed.is_empty();
        words.push(if partly { "refused in part" } else { "refused" });
    }
    let changes_nothing = words.is_empty() && seen.otherwise.is_empty() && seen.lacking.is_empty();
    if seen.noticed.is_empty() && !changes_nothing && seen.refused.is_empty() {
        words.push("UNNOTICED");
    }
    words.extend(&seen.noticed);
    if words.is_empty() { why_harmless(case).into() } else { words.join(", ") }
}

/// The lines of the document for one table, from what each case has come to.
pub fn lines(table: &str, results: &[(Case, Seen)]) -> Vec<String> {
    let cell = |column: Option<&String>, how| {
        let of: Vec<_> = results
            .iter()
            .filter(|(case, _)| case.column.as_ref() == column && case.how == how)
            .map(|(case, seen)| classify(case, seen))
            .collect();
        let mut distinct: Vec<String> = Vec::new();
        of.into_iter().for_each(|text| {
            if !distinct.contains(&text) {
                distinct.push(text);
            }
        });
        if distinct.is_empty() { "–".into() } else { distinct.join("; ") }
    };
    let mut columns: Vec<&String> = Vec::new();
    for column in results.iter().filter_map(|(case, _)| case.column.as_ref()) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let row = |name: String, column: Option<&String>, hows: &[How]| {
        let cells: Vec<_> = hows.iter().map(|how| cell(column, *how)).collect();
        format!("| {name} | {} |", cells.join(" | "))
    };
    let by_column = columns
        .iter()
        .map(|column| row(format!("`{table}.{column}`"), Some(*column), &TO_A_COLUMN));
    let whole = row(format!("`{table}`"), None, &TO_A_ROW);
    by_column.chain([whole]).collect()
}

/// Nothing is unnoticed, and the document says of these tables what was seen. `make tampering` has it written.
pub fn assert_documented(tables: &[&str], lines: &[String]) {
    lines.iter().for_each(|line| println!("tampering: {line}"));
    let bad = |line: &&String| line.contains("UNNOTICED") || line.contains("PLANTED");
    let unnoticed: Vec<_> = lines.iter().filter(bad).collect();
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
    if std::env::var_os("PV_TAMPERING_WRITE").is_some() {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tampering.md");
    let text = fs::read_to_string(path).unwrap();
    let is_of = |line: &str| {
        tables.iter().any(|table| {
            line.starts_with(&format!("| `{table}.")) || line.starts_with(&format!("| `{table}` "))
        })
    };
    let documented: BTreeSet<&str> = text.lines().filter(|line| is_of(line)).collect();
    let seen: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
    let differ: Vec<_> = documented.symmetric_difference(&seen).collect();
    assert!(differ.is_empty(), "run make tampering if this is meant to be:\n{differ:#?}");
}
