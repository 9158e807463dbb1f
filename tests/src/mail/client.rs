//! A client of IMAP that says what it is told to and shows what comes back.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// No answer of a server of ours takes as long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection, over TLS as a rule.
pub struct Imap {
    stream: BufReader<Box<dyn Stream>>,
    number: u32,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// What a server said to a command.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The untagged lines, with the literals in them.
    pub lines: Vec<String>,
    /// The tagged one without its tag.
    pub result: String,
}

impl Reply {
    pub fn is_ok(&self) -> bool {
        self.result.starts_with("OK")
    }
}

impl Imap {
    /// Connects with TLS from the start and reads the greeting.
    pub fn connect(port: u16, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let mut client = Self::over(Box::new(encrypt(connect(port)?, tls)?));
        client.line()?;
        Ok(client)
    }

    /// Connects without TLS, reads the greeting, and goes on with TLS.
    pub fn starttls(port: u16, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = connect(port)?;
        let mut plain = Self::over(Box::new(stream.try_clone()?));
        plain.line()?;
        let reply = plain.command("STARTTLS")?;
        assert!(reply.is_ok(), "{reply:?}");
        Ok(Self::over(Box::new(encrypt(stream, tls)?)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream), number: 0 }
    }

    /// Says something and reads up to the end of the answer.
    pub fn command(&mut self, words: &str) -> io::Result<Reply> {
        let tag = self.send(words)?;
        self.reply(&tag)
    }

    /// `LOGIN`.
    pub fn login(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        self.command(&format!("LOGIN \"{user}\" \"{password}\""))
    }

    /// `AUTHENTICATE` with an initial response in base64. Where the server says why not, it is told to go on.
    pub fn authenticate(&mut self, mechanism: &str, response: &str) -> io::Result<Reply> {
        let tag = self.send(&format!("AUTHENTICATE {mechanism} {response}"))?;
        loop {
            let line = self.line()?;
            if let Some(result) = line.strip_prefix(&tag) {
                return Ok(Reply { lines: Vec::new(), result: result.trim().into() });
            }
            if line.starts_with('+') {
                self.write(b"\r\n")?;
            }
        }
    }

    /// `APPEND`.
    pub fn append(&mut self, mailbox: &str, message: &[u8]) -> io::Result<Reply> {
        let tag = self.send(&format!("APPEND \"{mailbox}\" {{{}}}", message.len()))?;
        let line = self.line()?;
        assert!(line.starts_with('+'), "{line}");
        self.write(message)?;
        self.write(b"\r\n")?;
        self.reply(&tag)
    }

    fn send(&mut self, words: &str) -> io::Result<String> {
        self.number += 1;
        let tag = format!("t{} ", self.number);
        self.write(format!("{tag}{words}\r\n").as_bytes())?;
        Ok(tag)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    fn reply(&mut self, tag: &str) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(result) = line.strip_prefix(tag) {
                return Ok(Reply { lines, result: result.into() });
            }
            lines.push(line);
        }
    }

    /// One line, with the literals in it.
    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        loop {
            if self.stream.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            let Some(size) = literal(text) else { return Ok(text.to_owned()) };
            let before = line.len();
            line.resize(before + size, 0);
            self.stream.read_exact(&mut line[before..])?;
        }
    }
}

/// `{size}` at the end of a line: so many bytes follow.
fn literal(line: &str) -> Option<usize> {
    let (_, size) = line.strip_suffix('}')?.rsplit_once('{')?;
    size.parse().ok()
}

pub(super) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) fn encrypt(
    stream: TcpStream,
    tls: Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(tls, name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Does somebody greet whoever connects, without TLS?
pub(crate) fn greets(port: u16) -> bool {
    let greeting = connect(port).and_then(|stream| Imap::over(Box::new(stream)).line());
    greeting.is_ok_and(|line| line.starts_with("* OK"))
}
