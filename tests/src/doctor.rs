//! Patients of `pv_doctor`: what is broken, how a thing looks that only resembles it, and how the remedy works.

use std::io::Write;
use std::process::{Command, Stdio};

use postgres::GenericClient;

use crate::Site;
use crate::trail::wait_until;

/// One row of `pv_doctor`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: String,
    pub what: String,
    pub remedy: String,
}

impl Finding {
    /// Is it of that rule?
    pub fn is_of(&self, rule: &str) -> bool {
        self.what.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
    }

    /// Can the remedy be run, or is it for people to read?
    pub fn is_statement(&self) -> bool {
        !self.remedy.starts_with("--")
    }
}

/// Everything it finds, in order.
pub fn examine(client: &mut impl GenericClient) -> Vec<Finding> {
    let rows = client.query("SELECT severity, what, remedy FROM auth.pv_doctor()", &[]).unwrap();
    let finding = |row: &postgres::Row| Finding {
        severity: row.get(0),
        what: row.get(1),
        remedy: row.get(2),
    };
    let mut all: Vec<Finding> = rows.iter().map(finding).collect();
    all.sort();
    all
}

/// What is broken, in SQL, and what is not although it resembles it. `{app}` and `{db}` are the site's.
pub struct Case {
    pub rule: &'static str,
    /// Empty: what an earlier case of this rule has.
    pub quiet: &'static str,
    pub broken: &'static str,
    /// What mends it where the remedy is no statement.
    pub mend: &'static str,
}

/// A case whose remedy is a statement.
pub const fn case(rule: &'static str, quiet: &'static str, broken: &'static str) -> Case {
    Case { rule, quiet, broken, mend: "" }
}

impl Case {
    pub fn run(&self, site: &Site) {
        let quiet = ((self.quiet), || run(site, &filled_in(site, self.quiet)));
        let broken = ((self.broken), || run(site, &filled_in(site, self.broken)));
        let by_hand = || run(site, &filled_in(site, self.mend));
        let mend = if self.mend.is_empty() { Mend::Remedy } else { Mend::ByHand(&by_hand) };
        examined(site, self.rule, quiet, broken, &mend);
    }
}

/// How it is mended.
pub enum Mend<'a> {
    /// By the remedy alone, which is a statement.
    Remedy,
    /// The remedy is a statement, and something comes after it.
    RemedyThen(&'a dyn Fn()),
    /// The remedy is a comment, and this is what it says; or it needs what is not there.
    ByHand(&'a dyn Fn()),
}

/// With what only resembles it nothing is found; the patient is found ill, with one finding more than before; and after the
/// remedy it is gone.
pub fn examined(
    site: &Site,
    rule: &str,
    quiet: (&str, impl FnOnce()),
    broken: (&str, impl FnOnce()),
    mend: &Mend,
) {
    let healthy = examine(&mut site.admin());
    quiet.1();
    let before = examine(&mut site.admin());
    assert_eq!(before, healthy, "{rule}: {}", quiet.0);
    assert!(!before.iter().any(|finding| finding.is_of(rule)), "{rule}: {before:?}");
    broken.1();
    let found = found(site, rule, &before);
    match mend {
        Mend::ByHand(mend) => mend(),
        Mend::Remedy | Mend::RemedyThen(_) => {
            assert!(found.is_statement(), "{found:?}");
            run(site, &found.remedy);
        }
    }
    if let Mend::RemedyThen(more) = mend {
        more();
    }
    let mut now = Vec::new();
    wait_until(&format!("{rule} is gone"), || {
        now = examine(&mut site.admin());
        if now != before {
            eprintln!("{rule}: {now:?}");
        }
        now == before
    });
    told(rule, &found, broken.0, quiet.0, !matches!(mend, Mend::ByHand(_)));
}

fn found(site: &Site, rule: &str, before: &[Finding]) -> Finding {
    let mut more = Vec::new();
    // A setting of the server takes a moment, and so does what the worker writes.
    wait_until(rule, || {
        more = examine(&mut site.admin());
        more.len() > before.len()
    });
    let (new, old): (Vec<_>, _) = more.into_iter().partition(|finding| !before.contains(finding));
    assert_eq!(old, before, "{rule}: something else is gone");
    assert_eq!(new.len(), 1, "{rule}: one more: {new:?}");
    assert!(new[0].is_of(rule), "{rule}: {new:?}");
    new[0].clone()
}

/// A line of docs/doctor.md.
pub fn told(rule: &str, found: &Finding, broken: &str, quiet: &str, by_remedy: bool) {
    let cell = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.replace('|', "\\|")
    };
    // Words are not in capital letters.
    let code = |text: &str| match text.chars().next() {
        None => "as above".to_owned(),
        Some(first) if first.is_uppercase() => format!("`{}`", cell(text)),
        Some(_) => cell(text),
    };
    let mended = if by_remedy { "by the remedy" } else { "by hand" };
    println!(
        "doctor: | {rule} | {} | {} | {} | {mended} |",
        found.severity,
        code(broken),
        code(quiet)
    );
}

fn filled_in(site: &Site, sql: &str) -> String {
    sql.replace("{app}", &site.app).replace("{db}", &site.database)
}

/// As if it was pasted into psql by a superuser.
pub fn run(site: &Site, sql: &str) {
    let mut psql: Command = site.cluster.command("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &site.database]);
    psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = psql.spawn().unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
}
