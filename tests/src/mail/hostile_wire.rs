//! What a hostile server sends and receives, in the clear and inside of TLS, all of it remembered.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::hostile::Shared;

/// One connection.
pub(super) struct Wire<'a> {
    shared: &'a Shared,
    stream: Stream,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl<'a> Wire<'a> {
    pub fn new(shared: &'a Shared, stream: TcpStream) -> Self {
        Self { shared, stream: Stream::Plain(stream) }
    }

    pub fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(tls) => &tls.sock,
        }
    }

    /// From now on with TLS.
    pub fn encrypt(&mut self, tls: &Arc<ServerConfig>) -> io::Result<()> {
        let stream = self.socket().try_clone()?;
        let connection = ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other)?;
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream)));
        Ok(())
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.shared.seen().sent += bytes.len() as u64;
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }

    /// Sends each byte in a record of its own.
    pub fn write_in_crumbs(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Stream::Tls(tls) = &mut self.stream else { return self.write(bytes) };
        self.shared.seen().sent += bytes.len() as u64;
        for byte in bytes {
            // Makes a record, and sends nothing yet.
            tls.conn.writer().write_all(&[*byte])?;
        }
        tls.flush()
    }

    /// What comes next, which is not nothing.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 4096];
        let (size, is_clear) = match &mut self.stream {
            Stream::Plain(stream) => (stream.read(&mut buffer)?, true),
            Stream::Tls(tls) => (tls.read(&mut buffer)?, false),
        };
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut seen = self.shared.seen();
        let of = if is_clear { &mut seen.clear } else { &mut seen.inside };
        of.extend_from_slice(&buffer[..size]);
        Ok(buffer[..size].to_vec())
    }

    /// An orderly end. Returns when the client has gone.
    pub fn cut(&mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        self.socket().shutdown(Shutdown::Write)?;
        // To close with something unread would be a reset.
        loop {
            self.read()?;
        }
    }
}
