//! Records of pgaudit: `AUDIT: SESSION,1,1,READ,SELECT,,,"SELECT …",<none>`, whose fields are quoted
//! as in CSV where they have to be (pgaudit 1.6 to 18).

use super::mask::VALUE;
use super::quotes::{double, undouble};

/// Where the statement and its parameters are.
const STATEMENT: usize = 7;
const PARAMETERS: usize = 8;

/// What every record begins with.
pub const PREFIX: &[u8] = b"AUDIT: ";

/// The record, with another statement, and with its parameters redacted. `None` if `redact` leaves
/// the statement as it is.
pub fn redacted(record: &[u8], redact: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut fields = fields(record);
    let statement = redact(&unquote(fields.get(STATEMENT)?))?;
    let statement = quote(&statement);
    fields[STATEMENT] = &statement;
    if let Some(parameters) = fields.get_mut(PARAMETERS)
        // `<none>`, `<not logged>`
        && !parameters.starts_with(b"<")
    {
        *parameters = VALUE;
    }
    Some(fields.join(&b','))
}

/// The fields as they are written.
fn fields(record: &[u8]) -> Vec<&[u8]> {
    let mut quoted = false;
    let is_comma = |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    record.split(is_comma).collect()
}

fn unquote(field: &[u8]) -> Vec<u8> {
    match field.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        Some(inside) => undouble(inside, b'"'),
        None => field.to_vec(),
    }
}

fn quote(field: &[u8]) -> Vec<u8> {
    if !field.iter().any(|byte| b",\"\n\r".contains(byte)) {
        return field.to_vec();
    }
    [b"\"", double(field, b'"').as_slice(), b"\""].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(record: &str) -> String {
        let marked = |text: &[u8]| Some([b"[", text, b"]"].concat());
        String::from_utf8(redacted(record.as_bytes(), marked).unwrap()).unwrap()
    }

    #[test]
    fn records() {
        let head = "AUDIT: SESSION,1,1,READ,SELECT,,";
        assert_eq!(of(&format!("{head},SELECT 1,<none>")), format!("{head},[SELECT 1],<none>"));
        assert_eq!(
            of(&format!("{head},\"SELECT \"\"a\"\", 1\",\"1,a\"\"b\",5")),
            format!("{head},\"[SELECT \"\"a\"\", 1]\",<redacted>,5")
        );
        assert_eq!(of(&format!("{head},SELECT $1,a")), format!("{head},[SELECT $1],<redacted>"));
        assert!(redacted(b"AUDIT: a,b", |_| Some(Vec::new())).is_none());
        assert!(redacted(head.as_bytes(), |_| None).is_none());
    }
}
