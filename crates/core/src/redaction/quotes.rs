//! Quotation marks that are doubled within quotation marks: in literals, identifiers, and CSV.

/// What stands between the marks, as it is meant.
pub fn undouble(quoted: &[u8], mark: u8) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        plain.push(*byte);
        if *byte == mark {
            bytes.next();
        }
    }
    plain
}

/// The same, as it is written between the marks.
pub fn double(plain: &[u8], mark: u8) -> Vec<u8> {
    let twice = |byte: &u8| std::iter::repeat_n(*byte, 1 + usize::from(*byte == mark));
    plain.iter().flat_map(twice).collect()
}
