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
    /// The patient is found ill, with one finding more than before, and healthy after the remedy.
    pub fn run(&self, site: &Site) {
        let (quiet, broken) = (filled_in(site, self.quiet), filled_in(site, self.broken));
        run(site, &quiet);
        let before = examine(&mut site.admin());
        assert!(!before.iter().any(|finding| finding.is_of(self.rule)), "{}: {before:?}", self.rule);
        run(site, &broken);
        let found = self.found(site, &before);
        match (found.is_statement(), self.mend) {
            (true, "") => run(site, &found.remedy),
            (false, "") => panic!("{}: neither remedy nor mended: {}", self.rule, found.remedy),
            (_, mend) => run(site, &filled_in(site, mend)),
        }
        self.is_mended(site, &before);
        told(self.rule, &found, self.broken, self.quiet, found.is_statement() && self.mend.is_empty());
    }

    fn found(&self, site: &Site, before: &[Finding]) -> Finding {
        let mut more = Vec::new();
        // A setting of the server takes a moment.
        wait_until(self.rule, || {
            more = examine(&mut site.admin());
            more.len() > before.len()
        });
        let (new, old): (Vec<_>, _) = more.into_iter().partition(|finding| !before.contains(finding));
        assert_eq!(old, before, "{}: something else is gone", self.rule);
        assert_eq!(new.len(), 1, "{}: one more: {new:?}", self.rule);
        assert!(new[0].is_of(self.rule), "{}: {new:?}", self.rule);
        new[0].clone()
    }

    fn is_mended(&self, site: &Site, before: &[Finding]) {
        let mut now = Vec::new();
        let mut tries = 0;
        wait_until(&format!("{} is gone: {now:?}", self.rule), || {
            now = examine(&mut site.admin());
            tries += 1;
            assert!(tries < 200 || now == before, "{}: {now:?}\n{before:?}", self.rule);
            now == before
        });
    }
}

/// A line of docs/doctor.md.
pub fn told(rule: &str, found: &Finding, broken: &str, quiet: &str, by_remedy: bool) {
    let cell = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.replace('|', "\\|")
    };
    let code = |text: &str| if text.starts_with('(') { cell(text) } else { format!("`{}`", cell(text)) };
    let mended = if by_remedy { "by the remedy" } else { "by hand" };
    println!("doctor: | {rule} | {} | {} | {} | {mended} |", found.severity, code(broken), code(quiet));
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
