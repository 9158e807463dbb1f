//! Whoever writes the tables that only the worker reads, while the server is down, gets nothing by it:
//! `docs/tampering.md`.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::thread;

use password_verify_tests::tampering::base::Base;
use password_verify_tests::tampering::restart::{Outcome, run, seen};
use password_verify_tests::tampering::{
    AT_A_START, Case, OF_WORKERS, Seen, assert_documented, cases, lines,
};

/// Tables that do not disturb one another are tampered with together.
const TOGETHER: [&[&str]; 4] =
    [&["throttle"], &["anchor"], &["event"], &["event_fold", "open_change", "cost_class"]];

/// Starts at a time: most of what they take is waiting.
const AT_ONCE: usize = 4;

#[test]
fn tables_that_the_worker_reads() {
    let base = Base::make();
    let all: Vec<Vec<Case>> = {
        let cluster = base.copy();
        let mut admin = cluster.admin(&base.database);
        let mut all: Vec<_> = OF_WORKERS.iter().map(|table| cases(&mut admin, table)).collect();
        let mut events = cases(&mut admin, "event");
        let read = |column: &String| ["epoch", "seq", "detail", "mac"].contains(&column.as_str());
        events.retain(|case| case.column.as_ref().is_none_or(read));
        all.push(events);
        all
    };
    let mut starts: Vec<Vec<&Case>> = Vec::new();
    for tables in TOGETHER {
        let of: Vec<_> = all.iter().filter(|cases| tables.contains(&cases[0].table)).collect();
        let most = of.iter().map(|cases| cases.len()).max().unwrap();
        starts.extend((0..most).map(|i| of.iter().filter_map(|cases| cases.get(i)).collect()));
    }
    // The last one is without tampering.
    starts.push(Vec::new());
    let todo = Mutex::new(starts.into_iter());
    let results: Mutex<Vec<Start>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = todo.lock().unwrap().next();
                    let Some(cases) = next else { break };
                    let folds = cases.iter().all(|case| TOGETHER[3].contains(&case.table));
                    if folds {
                        base.await_folds();
                    }
                    let (now, begun) = run(&base, &cases, folds);
                    results.lock().unwrap().push((cases, now, begun));
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let before = &results.iter().find(|(cases, ..)| cases.is_empty()).unwrap().1;
    println!("{before:#?}");
    assert!(
        before.named.is_empty() && before.told.is_empty() && !before.broken && !before.mismatch
    );
    let found: Vec<(Case, Seen)> = results.iter().flat_map(|start| found(start, before)).collect();
    let mut document = Vec::new();
    for cases in &all {
        let find = |case: &Case| found.iter().find(|(other, _)| other.sql == case.sql).cloned();
        let of: Vec<_> = cases.iter().filter_map(find).collect();
        let table = if cases[0].table == "event" { AT_A_START } else { cases[0].table };
        document.extend(lines(table, &of));
    }
    assert_documented(&[&OF_WORKERS[..], &[AT_A_START]].concat(), &document);
}

/// What was tried together, what came of it, and what was known of each without asking.
type Start<'a> = (Vec<&'a Case>, Outcome, Vec<Option<Seen>>);

fn found((cases, now, begun): &Start, before: &Outcome) -> Vec<(Case, Seen)> {
    let of = |(case, begun): (&&Case, &Option<Seen>)| {
        let seen = begun.clone().unwrap_or_else(|| seen(case, before, now));
        println!("{case}: {seen:?}");
        ((*case).clone(), seen)
    };
    cases.iter().zip(begun).map(of).collect()
}
