//! Prints how events are written in ECS for docs/siem.md: `make tables`.

use password_verify_core::rules::event::{Action, Outcome};
use password_verify_core::trail::ecs::{FIELDS, Field, classes, success};

fn main() {
    println!("| field | type | what it says |");
    println!("| --- | --- | --- |");
    for Field(path, kind, what) in FIELDS {
        println!("| `{path}` | {kind} | {what} |");
    }
    println!();
    println!("| `event.action` | `event.category` | `event.type` |");
    println!("| --- | --- | --- |");
    let list = |texts: &[&str]| {
        texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
    };
    for action in Action::ALL {
        let (category, kinds) = classes(*action);
        println!("| `{}` | {} | {} |", action.as_str(), list(category), list(kinds));
    }
    println!();
    println!("| `event.reason` | `event.outcome` |");
    println!("| --- | --- |");
    for outcome in Outcome::ALL {
        let success = success(*outcome).map_or("not there".into(), |it| format!("`{it}`"));
        println!("| `{}` | {success} |", outcome.as_str());
    }
}
