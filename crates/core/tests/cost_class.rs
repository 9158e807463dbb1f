//! Every importable format has a class for its cost, whose template contains nothing of a record.
#![allow(clippy::unwrap_used)]

use password_verify_argon2::Path;
use password_verify_core::decoys::cost_class::{NO_CLASS, class, template};
use password_verify_core::kept::record::{Imported, Record, label, wrap};
use password_verify_core::kept::workspace::Workspace;
use password_verify_core::rules::cost::{Cost, MAX_MEMORY_KIB};

#[test]
fn every_format_has_a_template() {
    let cost = Cost::new(32, 1, 1).unwrap();
    let mut workspace = Workspace::new(cost, Path::best()).unwrap();
    let mut seen = 0;
    for line in include_str!("../../legacy/tests/vectors.txt").lines() {
        let Some(hash) = line.split('\t').nth(4) else { continue };
        let record = match Imported::parse(hash, MAX_MEMORY_KIB) {
            Ok(Imported::Ready(record)) => record,
            Ok(Imported::Fast(scheme, output)) => {
                wrap(scheme, &output, cost, [7; 16], &mut workspace).unwrap()
            }
            Err(_) => continue,
        };
        seen += 1;
        let text = record.expose();
        let template = template(text.expose()).unwrap_or_else(|| panic!("{hash}"));
        assert_eq!(label(&template), label(text.expose()), "{hash}");
        assert_ne!(class(text.expose()), NO_CLASS);
        assert_eq!(
            class(&template),
            class(text.expose()),
            "a template is of its own class: {hash}"
        );
        let decoy = Record::parse(&template, MAX_MEMORY_KIB).ok().unwrap();
        assert_eq!(decoy.cost(), record.cost());
        // No part that is long enough to be a secret occurs in the record.
        for part in template.split('$').filter(|part| part.len() > 12 && !part.contains('=')) {
            let zeros = part.bytes().all(|byte| byte == b'A');
            assert!(zeros || label(text.expose()).contains(part), "{part} of {hash}");
        }
    }
    assert!(seen > 100, "{seen}");
}
