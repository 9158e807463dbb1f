//! Mails as people send them, and as nobody should.
//!
//! All end their lines with CRLF but where the name says otherwise.

use base64ct::{Base64, Encoding};

const HEAD: &str = "From: Berta Beispiel <berta@example.org>\r\n\
    To: anna@example.org\r\n\
    Date: Mon, 05 Oct 2026 09:30:00 +0200\r\n\
    Message-ID: <20261005.1@example.org>\r\n\
    MIME-Version: 1.0\r\n";

/// With everything before the type of the content.
fn mail(subject: impl AsRef<[u8]>, rest: impl AsRef<[u8]>) -> Vec<u8> {
    [HEAD.as_bytes(), b"Subject: ", subject.as_ref(), b"\r\n", rest.as_ref()].concat()
}

/// A text.
pub fn plain(subject: &str, text: &str) -> Vec<u8> {
    mail(subject, format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"))
}

/// A text of so many bytes with its headers. At least 300.
pub fn of_size(subject: &str, size: usize) -> Vec<u8> {
    let mut message = plain(subject, "");
    while message.len() < size {
        let left = size - message.len();
        // No line of a single byte is left over at the end.
        let line = if left <= 79 { left } else { 78.min(left - 2) };
        message.resize(message.len() + line - 2, b'x');
        message.extend(b"\r\n");
    }
    message
}

/// A text in a single line of so many bytes.
pub fn long_line(subject: &str, size: usize) -> Vec<u8> {
    plain(subject, &"x".repeat(size))
}

/// A text, and the same as HTML.
pub fn alternative(subject: &str, text: &str, html: &str) -> Vec<u8> {
    let parts = [
        format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"),
        format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}"),
    ];
    mail(subject, multipart("alternative", "ends", &parts))
}

/// A text and a file with its name, in base64.
pub fn attachment(subject: &str, text: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let encoded = Base64::encode_string(content);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
    with_file(subject, text, name, "base64", &lines.join("\r\n"))
}

/// The same in quoted-printable.
pub fn attachment_quoted(subject: &str, text: &str, name: &str, content: &[u8]) -> Vec<u8> {
    with_file(subject, text, name, "quoted-printable", &quoted_printable(content))
}

fn with_file(subject: &str, text: &str, name: &str, encoding: &str, encoded: &str) -> Vec<u8> {
    let parts = [
        format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{text}"),
        format!(
            "Content-Type: application/octet-stream; name=\"{name}\"\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: {encoding}\r\n\r\n{encoded}"
        ),
    ];
    mail(subject, multipart("mixed", "files", &parts))
}

/// RFC 2045, section 6.7, with every byte but letters and digits as a number.
fn quoted_printable(content: &[u8]) -> String {
    let mut text = String::new();
    let mut column = 0;
    for byte in content {
        if column > 72 {
            text.push_str("=\r\n");
            column = 0;
        }
        let before = text.len();
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("={byte:02X}")),
        }
        column += text.len() - before;
    }
    text
}

fn multipart(kind: &str, boundary: &str, parts: &[String]) -> String {
    let parts: String = parts.iter().map(|part| format!("--{boundary}\r\n{part}\r\n")).collect();
    format!(
        "Content-Type: multipart/{kind}; boundary=\"{boundary}\"\r\n\r\n{parts}--{boundary}--\r\n"
    )
}

/// Subject "Grüße aus Köln" as RFC 2047 has it in ISO 8859-1, and a text in it: "schöne Grüße".
pub fn latin1() -> Vec<u8> {
    let rest = b"Content-Type: text/plain; charset=iso-8859-1\r\n\
        Content-Transfer-Encoding: 8bit\r\n\r\nsch\xf6ne Gr\xfc\xdfe\r\n";
    mail("=?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?=", rest)
}

/// The same with the bytes themselves in the header, which nothing allows and many send.
pub fn latin1_raw() -> Vec<u8> {
    let rest = b"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nsch\xf6ne Gr\xfc\xdfe\r\n";
    mail(b"Gr\xfc\xdfe aus K\xf6ln", rest)
}

/// UTF-8 everywhere, in headers too (RFC 6532).
pub fn eight_bit(subject: &str, text: &str) -> Vec<u8> {
    let rest = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    mail(subject, format!("{rest}{text}\r\n"))
}

/// Multiparts in multiparts, so many deep, and a text in the innermost.
pub fn nested(subject: &str, depth: usize) -> Vec<u8> {
    let mut body = String::new();
    for level in 0..depth {
        let kind = format!("multipart/mixed; boundary=\"b{level}\"");
        body.push_str(&format!("Content-Type: {kind}\r\n\r\n--b{level}\r\n"));
    }
    body.push_str("Content-Type: text/plain\r\n\r\nthe innermost\r\n");
    for level in (0..depth).rev() {
        body.push_str(&format!("--b{level}--\r\n"));
    }
    mail(subject, body)
}

/// So many parts beside one another.
pub fn parts(subject: &str, count: usize) -> Vec<u8> {
    let part = "Content-Type: text/plain\r\n\r\nx".to_owned();
    mail(subject, multipart("mixed", "many", &vec![part; count]))
}

/// So many headers of a mail without a text.
pub fn headers(subject: &str, count: usize) -> Vec<u8> {
    let lines: String = (0..count).map(|number| format!("X-Header-{number}: x\r\n")).collect();
    mail(subject, lines + "\r\n")
}

/// What is wrong, and a mail that is. Dovecot shows all of them; Cyrus takes none whose header cannot be read.
pub fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let mixed = "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";
    let base64 = "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n";
    vec![
        ("no header", b"\r\nonly a text\r\n".to_vec()),
        ("no text and no empty line", b"Subject: cut off".to_vec()),
        ("a header without a colon", mail("x", "this is no header\r\n\r\ntext\r\n")),
        ("a boundary that never comes", mail("x", format!("{mixed}text\r\n"))),
        ("a multipart that never ends", mail("x", format!("{mixed}--b\r\n\r\ntext\r\n"))),
        (
            "a multipart without a boundary",
            mail("x", "Content-Type: multipart/mixed\r\n\r\n--\r\n\r\ntext\r\n"),
        ),
        ("no base64", mail("x", format!("{base64}%%%=not base64=%%%\r\n"))),
        ("base64 that is cut off", mail("x", format!("{base64}dGhpcyBpcyBjdXQgb2Z\r\n"))),
        ("no such encoding", mail("x", "Content-Transfer-Encoding: rot13\r\n\r\ngrkg\r\n")),
        (
            "no such charset",
            mail("x", b"Content-Type: text/plain; charset=none-such\r\n\r\nt\xe4xt\r\n"),
        ),
        ("no UTF-8", mail("x", b"Content-Type: text/plain; charset=utf-8\r\n\r\n\xff\xfe\xc3\r\n")),
        ("an encoded word that never ends", mail("=?utf-8?B?dGV4", "\r\ntext\r\n")),
        ("a date that is none", mail("x", "Date: the day before yesterday\r\n\r\ntext\r\n")),
        ("a name that leads elsewhere", attachment("x", "text", "../../etc/passwd", b"x")),
        ("terminal escapes", mail("\x1b[2J\x1b]0;title\x07", "\r\n\x1b[31mred\x1b[0m\r\n")),
    ]
}

/// A mail as a Unix program writes it, with LF alone. Dovecot has CRLF for it; Cyrus refuses it.
pub fn bare_lf(subject: &str) -> Vec<u8> {
    plain(subject, "text").into_iter().filter(|byte| *byte != b'\r').collect()
}

/// A mail with NUL bytes in it, which IMAP cannot send. Dovecot sends 0x80 for each; Cyrus refuses it.
pub fn nul_bytes(subject: &str) -> Vec<u8> {
    plain(subject, "be\0fore\0")
}
