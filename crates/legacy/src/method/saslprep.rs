//! SASLprep (RFC 4013) as PostgreSQL implements it in `pg_saslprep` and its callers.

use stringprep::tables;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The password after SASLprep, or unchanged if SASLprep refuses it.
///
/// PostgreSQL leaves ASCII unchanged, even control characters, and refuses an empty result. It
/// checks for forbidden characters after the mapping but before the normalisation, unlike RFC 3454
/// section 3. This function does the same; the `saslprep` of the crate with the tables does not.
pub fn prepared(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = std::str::from_utf8(password).ok().filter(|text| !text.is_ascii());
    let prepared = text.and_then(|text| {
        let mapped = mapped(text);
        let allowed = !mapped.is_empty() && !mapped.chars().any(forbidden) && directed(&mapped);
        allowed.then(|| normalized(&mapped))
    });
    prepared.unwrap_or_else(|| Zeroizing::new(password.to_vec()))
}

/// RFC 4013 section 2.1: other spaces become the ASCII space, and invisible characters are removed.
fn mapped(text: &str) -> Zeroizing<String> {
    let mut mapped = Zeroizing::new(String::with_capacity(text.len()));
    mapped.extend(text.chars().filter_map(|c| {
        if tables::non_ascii_space_character(c) {
            Some(' ')
        } else {
            (!tables::commonly_mapped_to_nothing(c)).then_some(c)
        }
    }));
    mapped
}

/// RFC 4013 sections 2.3 and 2.5: forbidden, or not assigned in Unicode 3.2.
fn forbidden(c: char) -> bool {
    tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::surrogate_code(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 4013 section 2.4: a text with a right-to-left character has no left-to-right ones, and
/// begins and ends with right-to-left ones.
fn directed(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(tables::bidi_r_or_al);
    !text.contains(tables::bidi_r_or_al)
        || !text.contains(tables::bidi_l)
            && ends(text.chars().next())
            && ends(text.chars().next_back())
}

/// RFC 4013 section 2.2: NFKC, which makes a text at most eleven times longer (UAX #15).
pub fn normalized(text: &str) -> Zeroizing<Vec<u8>> {
    let mut normalized = Zeroizing::new(String::with_capacity(11 * text.len()));
    normalized.extend(text.nfkc());
    Zeroizing::new(std::mem::take(&mut *normalized).into_bytes())
}
