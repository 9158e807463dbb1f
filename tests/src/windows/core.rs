//! A few ways of each kind, for servers that are special in some way.

use super::way::Way;
use super::{bound, failing, from_code, literals};

/// By name.
const CORE: &[&str] = &[
    "literal",
    "literal E''",
    "literal $tag$",
    "literal with letters of many bytes",
    "array",
    "EXPLAIN ANALYZE",
    "PREPARE, EXECUTE",
    "COPY TO",
    "bound",
    "bound, binary",
    "prepared by name",
    "prepared by name with a literal",
    "wrapper in PL/pgSQL",
    "wrapper with EXECUTE format()",
    "wrapper with EXECUTE USING, bound",
    "procedure",
    "DO",
    "DO, EXECUTE format()",
    "DO, an error in EXECUTE",
    "cursor that stays",
    "id and password exchanged",
    "bound id and password exchanged",
    "bound, division by zero",
    "syntax error after it",
    "division by zero beside it",
];

/// These, with something after their names.
pub fn ways_of(suffix: &str) -> Vec<Way> {
    let mut all = literals::ways();
    all.extend(bound::ways());
    all.extend(from_code::ways());
    all.extend(failing::ways());
    all.retain(|way| CORE.contains(&way.name.as_str()));
    assert_eq!(all.len(), CORE.len(), "a way has another name");
    for way in &mut all {
        way.name += suffix;
    }
    all
}
