//! Content of a part, piece by piece, out of its transfer encoding (RFC 2045 section 6).

use mail_parser::decoders::base64::base64_decode;

/// How a part is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transfer {
    Identity,
    Base64,
    QuotedPrintable,
}

impl Transfer {
    /// Reads the header of a part. An encoding that nobody knows is left as it is.
    pub fn of(header: &[u8]) -> Self {
        let message = mail_parser::MessageParser::default().parse_headers(header);
        let name = message.as_ref().and_then(|it| {
            let value = it.header("Content-Transfer-Encoding")?;
            value.as_text().map(|text| text.trim().to_ascii_lowercase())
        });
        match name.as_deref() {
            Some("base64") => Self::Base64,
            Some("quoted-printable") => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }

    /// Decodes a piece. `rest`: the end of the piece before that could not be decoded without this one, in ASCII; becomes
    /// that of this one. `last`: nothing follows.
    pub fn decode(self, rest: &mut Vec<u8>, piece: &[u8], last: bool) -> Vec<u8> {
        match self {
            Self::Identity => piece.to_vec(),
            Self::Base64 => {
                rest.extend(
                    piece.iter().filter(|b| b.is_ascii_alphanumeric() || b"+/=".contains(b)),
                );
                let whole = if last { rest.len() } else { rest.len() / 4 * 4 };
                let taken: Vec<u8> = rest.drain(..whole).collect();
                // What cannot be a byte is dropped, as everybody does; what is none of its characters is gone already.
                base64_decode(&taken).unwrap_or_default()
            }
            Self::QuotedPrintable => {
                rest.extend_from_slice(piece);
                // What may be the beginning of an escape, or of a line's end.
                let begins = match rest[..] {
                    [.., b'='] => 1,
                    [.., b'=', after] if after.is_ascii() => 2,
                    _ => 0,
                };
                let whole = if last { rest.len() } else { rest.len() - begins };
                let taken: Vec<u8> = rest.drain(..whole).collect();
                quoted_printable(&taken)
            }
        }
    }
}

fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |b: &u8| char::from(*b).to_digit(16).map(|it| it as u8);
        match (first, after) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => match digit(high).zip(digit(low)) {
                Some((high, low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                None => bytes.push(b'='),
            },
            (first, _) => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64, Encoding as _};
    use proptest::prelude::*;

    fn in_pieces(transfer: Transfer, text: &[u8], size: usize) -> Vec<u8> {
        let (mut rest, mut bytes) = (Vec::new(), Vec::new());
        let pieces: Vec<&[u8]> = text.chunks(size).collect();
        for (number, piece) in pieces.iter().enumerate() {
            bytes.extend(transfer.decode(&mut rest, piece, number + 1 == pieces.len()));
            assert!(rest.is_ascii(), "it is noted as text: {rest:?}");
        }
        bytes
    }

    #[test]
    fn the_header_names_it() {
        for (header, transfer) in [
            (&b"Content-Transfer-Encoding: BASE64\r\n\r\n"[..], Transfer::Base64),
            (
                b"Content-Type: a/b\r\ncontent-transfer-encoding: Quoted-Printable \r\n\r\n",
                Transfer::QuotedPrintable,
            ),
            (b"Content-Transfer-Encoding: 8bit\r\n\r\n", Transfer::Identity),
            (b"", Transfer::Identity),
            (b"\xff\0", Transfer::Identity),
        ] {
            assert_eq!(Transfer::of(header), transfer);
        }
    }

    #[test]
    fn base64_as_mail_programs_write_it() {
        for (text, bytes) in [
            ("aGFsbG8=", "hallo"),
            ("aGFsbG8", "hallo"),
            ("aG Fs\r\nbG8=\r\n--", "hallo"),
            // Bits that mean nothing, and are not zero (RFC 4648 section 3.5).
            ("aGFsbG9=", "hallo"),
            ("aGFsbG+", "hallo"),
            ("aGFsbG8=aGFsbG8=", "hallohallo"),
            ("aGFsb", "hal"),
            ("", ""),
        ] {
            for size in 1..=text.len().max(1) {
                let read = in_pieces(Transfer::Base64, text.as_bytes(), size);
                assert_eq!(str::from_utf8(&read), Ok(bytes), "{text} by {size}");
            }
        }
    }

    #[test]
    fn quoted_printable_as_mail_programs_write_it() {
        assert_eq!(
            quoted_printable(b"Gr=C3=BC=c3=9fe=\r\n, a=3Db=\n= x=1"),
            "Grüße, a=b= x=1".as_bytes()
        );
    }

    proptest! {
        #[test]
        fn pieces_make_the_whole(bytes in prop::collection::vec(any::<u8>(), 1..300), size in 1usize..50) {
            let mut text = Base64::encode_string(&bytes).into_bytes();
            for at in (0..text.len()).step_by(76).rev() {
                text.splice(at..at, *b"\r\n");
            }
            prop_assert_eq!(&in_pieces(Transfer::Base64, &text, size), &bytes);
            let quoted: String = bytes.iter().map(|b| format!("={b:02X}=\r\n")).collect();
            prop_assert_eq!(&in_pieces(Transfer::QuotedPrintable, quoted.as_bytes(), size), &bytes);
            prop_assert_eq!(&in_pieces(Transfer::Identity, &bytes, size), &bytes);
        }

        #[test]
        fn no_text_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
            in_pieces(Transfer::Base64, &bytes, size);
        }

        #[test]
        fn pieces_that_are_garbled_make_the_garbled_whole(
            bytes in prop::collection::vec(prop_oneof![Just(b'='), Just(b'\r'), Just(b'A'), any::<u8>()], 0..60),
            size in 1usize..20,
        ) {
            let whole = quoted_printable(&bytes);
            prop_assert_eq!(in_pieces(Transfer::QuotedPrintable, &bytes, size), whole);
        }
    }
}
