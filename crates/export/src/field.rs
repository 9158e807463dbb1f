//! The fields of a row in a dump, and which column each one is.

use password_verify_core::rules::account::Timestamp;

use crate::copy_text::decode;
use crate::timestamp;

/// The positions of the `N` columns that are read. A later version may have more, in another order.
pub struct Columns<const N: usize> {
    all: usize,
    places: [usize; N],
}

/// A point in time: the dump's text, and its value.
#[derive(Clone)]
pub struct Time {
    pub text: String,
    pub at: Timestamp,
}

impl<const N: usize> Columns<N> {
    /// Finds the wanted columns among `names`.
    ///
    /// # Errors
    /// The name of a missing column.
    pub fn of(names: &[String], wanted: [&'static str; N]) -> Result<Self, &'static str> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(wanted) {
            *place = names.iter().position(|other| other == name).ok_or(name)?;
        }
        Ok(Self { all: names.len(), places })
    }

    /// The wanted fields of a line, if the line is complete.
    pub fn fields<'a>(&self, line: &'a [u8]) -> Option<[&'a [u8]; N]> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
        (fields.len() == self.all).then(|| self.places.map(|place| fields[place]))
    }

    /// The number of a row for messages, if it has one: a uuid in the first of the wanted columns.
    pub fn number(&self, line: &[u8]) -> Option<String> {
        let number = line.split(|byte| *byte == b'\t').nth(*self.places.first()?)?;
        let plain = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-';
        let is_one = number.len() == 36 && number.iter().all(plain);
        is_one.then(|| String::from_utf8_lossy(number).into_owned())
    }
}

pub fn text(field: &[u8]) -> Option<String> {
    String::from_utf8(decode(field)?).ok()
}

/// A value that may be NULL. `None` if the field is not a value at all.
pub fn optional<T>(field: &[u8], read: fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    if field == b"\\N" { Some(None) } else { read(field).map(Some) }
}

pub fn time(field: &[u8]) -> Option<Time> {
    let text = text(field)?;
    timestamp::parse(&text).map(|at| Time { text, at })
}

pub fn boolean(field: &[u8]) -> Option<bool> {
    match field {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

pub fn uuid(field: &[u8]) -> Option<[u8; 16]> {
    let hyphens = [8, 13, 18, 23];
    if field.len() != 36 || hyphens.iter().any(|at| field[*at] != b'-') {
        return None;
    }
    let digits: Vec<u8> = field.iter().copied().filter(|byte| *byte != b'-').collect();
    hexadecimal(&digits)?.try_into().ok()
}

/// A bytea in either form of `bytea_output`.
pub fn bytea(field: &[u8]) -> Option<Vec<u8>> {
    let text = decode(field)?;
    match text.strip_prefix(b"\\x") {
        Some(digits) => hexadecimal(digits),
        // The escapes are those of COPY once more.
        None => decode(&text),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBER: &str = "0123abcd-0000-0000-0000-0000000000ff";

    fn columns<const N: usize>(names: &[&str], wanted: [&'static str; N]) -> Columns<N> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        Columns::of(&names, wanted).ok().unwrap()
    }

    #[test]
    fn columns_are_found_by_name() {
        let found = columns(&["d", "b", "another", "a"], ["a", "b"]);
        assert_eq!(found.fields(b"1\t2\t3\t4"), Some([&b"4"[..], b"2"]));
        assert_eq!(found.fields(b"1\t2\t3"), None);
        assert_eq!(found.fields(b"1\t2\t3\t4\t5"), None);
        assert_eq!(Columns::of(&["a".to_owned()], ["a", "b"]).err(), Some("b"));
    }

    #[test]
    fn a_number_is_said_only_if_it_is_one() {
        let columns = columns(&["a"], ["a"]);
        assert_eq!(columns.number(NUMBER.as_bytes()).as_deref(), Some(NUMBER));
        for text in ["", "secret\tx", "$argon2id$v=19$m=65536,t=3,p=4$c2l4dG"] {
            assert_eq!(columns.number(text.as_bytes()), None);
        }
    }

    #[test]
    fn values() {
        assert_eq!((boolean(b"t"), boolean(b"f")), (Some(true), Some(false)));
        assert_eq!((boolean(b"true"), boolean(b"\\N")), (None, None));
        assert_eq!(optional(b"\\N", text), Some(None));
        assert_eq!(optional(b"a", text), Some(Some("a".into())));
        assert_eq!(optional(b"\xff", text), None);
        assert_eq!(uuid(NUMBER.as_bytes()).unwrap()[..4], [1, 0x23, 0xab, 0xcd]);
        for other in [&NUMBER[1..], &NUMBER.replace('-', "0"), &NUMBER.replace('a', "g")] {
            assert_eq!(uuid(other.as_bytes()), None, "{other}");
        }
        for text in ["0+23abcd-0000-0000-0000-0000000000ff", &NUMBER.replace("-", "--")[..36]] {
            assert_eq!(uuid(text.as_bytes()), None, "{text}");
        }
        assert_eq!(bytea(b"\\\\x00ffA1"), Some(vec![0, 0xff, 0xa1]));
        assert_eq!(bytea(b"\\\\x0"), None);
        assert_eq!(bytea(b"\\\\x0g"), None);
        assert_eq!(bytea(b"\\N"), None);
        assert_eq!(bytea(b""), Some(vec![]));
        // SELECT '\x00ff615c'::bytea with bytea_output = escape, as COPY writes it.
        assert_eq!(bytea(b"\\\\000\\\\377a\\\\\\\\"), Some(vec![0, 0xff, b'a', b'\\']));
    }

    proptest! {
        #[test]
        fn any_field_is_read_or_refused_without_a_panic(field in any::<Vec<u8>>()) {
            let _ = (uuid(&field), bytea(&field), boolean(&field), time(&field).is_some());
        }
    }
}
