//! One request to a server that closes afterwards.

use std::io::{self, Read, Write};

/// `POST`: the status and the body of the answer.
pub(super) fn post(
    mut stream: impl Read + Write,
    path: &str,
    kind: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // It did not say goodbye in TLS. The length tells whether all is there.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.split_once("\r\n\r\n");
    let (head, body) = parts.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}
