//! The text format of COPY: a row per line, tabs between columns, `\N` for NULL, backslash escapes.

/// The value that COPY has written; `None` for NULL.
pub fn decode(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut value = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        // A backslash at the end stands for itself, as in PostgreSQL.
        let Some((&byte, after)) = rest.split_first() else {
            value.push(b'\\');
            break;
        };
        let (byte, length) = match byte {
            b'b' => (0x08, 0),
            b'f' => (0x0c, 0),
            b'n' => (b'\n', 0),
            b'r' => (b'\r', 0),
            b't' => (b'\t', 0),
            b'v' => (0x0b, 0),
            b'0'..=b'7' => {
                let (number, length) = number(rest, 8, 3);
                (number, length - 1)
            }
            b'x' if after.first().is_some_and(u8::is_ascii_hexdigit) => number(after, 16, 2),
            other => (other, 0),
        };
        value.push(byte);
        rest = &after[length..];
    }
    Some(value)
}

/// The number at the start of a text, and its number of digits. It wraps around, as in PostgreSQL.
fn number(text: &[u8], radix: u8, most: usize) -> (u8, usize) {
    let digits = text.iter().take(most).map_while(|byte| char::from(*byte).to_digit(radix.into()));
    digits.fold((0, 0), |(number, length), digit| {
        (number.wrapping_mul(radix).wrapping_add(digit as u8), length + 1)
    })
}

/// Writes a text as COPY does, without tabs and line ends.
pub fn encode(value: &str) -> String {
    let mut field = String::with_capacity(value.len());
    for c in value.chars() {
        let escape = match c {
            '\\' => '\\',
            '\u{8}' => 'b',
            '\u{c}' => 'f',
            '\n' => 'n',
            '\r' => 'r',
            '\t' => 't',
            '\u{b}' => 'v',
            _ => {
                field.push(c);
                continue;
            }
        };
        field.extend(['\\', escape]);
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(field: &str) -> Option<String> {
        decode(field.as_bytes()).map(|value| String::from_utf8(value).unwrap())
    }

    #[test]
    fn what_postgresql_writes() {
        for (field, value) in [
            ("", ""),
            ("plain", "plain"),
            ("zoë", "zoë"),
            ("a\\tb\\nc\\rd", "a\tb\nc\rd"),
            ("\\b\\f\\v", "\u{8}\u{c}\u{b}"),
            ("\\\\", "\\"),
            ("\\\\N", "\\N"),
            ("\\\\t", "\\t"),
            ("\\\\.", "\\."),
        ] {
            assert_eq!(decoded(field).as_deref(), Some(value), "{field}");
            assert_eq!(encode(value), field);
        }
        assert_eq!(decoded("\\N"), None);
    }

    #[test]
    fn what_postgresql_reads_besides() {
        for (field, value) in [
            ("\\x41\\x6Az\\xg", "Ajzxg"),
            ("\\101\\1012\\0618", "AA218"),
            ("\\q", "q"),
            ("end\\", "end\\"),
            ("\\Na", "Na"),
        ] {
            assert_eq!(decoded(field).as_deref(), Some(value), "{field}");
        }
        assert_eq!(decode(b"\\303\\253\\xff"), Some(vec![0xc3, 0xab, 0xff]));
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_stays_on_its_line(text in any::<String>()) {
            let field = encode(&text);
            prop_assert!(!field.contains(['\t', '\n', '\r']));
            prop_assert_eq!(decoded(&field), Some(text));
        }

        #[test]
        fn any_bytes_are_decoded_without_a_panic(field in any::<Vec<u8>>()) {
            let _ = decode(&field);
        }
    }
}
