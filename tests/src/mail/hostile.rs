//! A mail server that does at one step what no good one does, and remembers what it was shown.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;

use super::certificates::Identity;
use super::hostile_talk::serve;
use super::ports::Port;

/// Where in a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// As soon as somebody has connected, before TLS.
    Accept,
    /// The client has said its first words of TLS.
    Handshake,
    Greeting,
    StartTls,
    Capability,
    /// Which mechanism was said, and not the secret yet.
    Mechanism,
    /// The secret was shown, by either command.
    Login,
    Examine,
    Search,
    /// Sizes and times are asked for.
    Sizes,
    /// The mails themselves are asked for.
    Bodies,
    /// One of these mails is asked for, whether or not with others.
    Mails(&'static [u32]),
    /// The header of a part is asked for.
    Header,
    /// A piece of a part is asked for.
    Piece,
    Logout,
}

/// What it does there, one after the other. In texts `%t` is the tag of the command, `%p` the password that was
/// shown, and `%b` the line of base64 in which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// What a good server does.
    Usual,
    Say(&'static [u8]),
    /// The same so many times.
    Flood(&'static [u8], u64),
    /// The same, each byte in a record of its own.
    Crumbs(&'static [u8], u64),
    /// Again and again, a byte each second.
    Drip(&'static [u8]),
    /// Nothing more until the client goes.
    Silence,
    /// From now on, at this step of this connection.
    Then(&'static [Act]),
    /// An orderly end.
    Cut,
    /// The end of a process that was killed.
    Reset,
    /// Reads one line more.
    Listen,
    /// Reads what comes, which is no line.
    Hear,
    /// Goes on with TLS.
    Encrypt,
    /// What SCRAM-SHA-256 answers to a client's first message, with so many rounds.
    Challenge(u32),
}

/// What is in the mailbox: mails with the numbers 1 to `count`.
#[derive(Debug, Clone, Copy)]
pub struct Shelf {
    pub count: u32,
    pub mail: fn(u32) -> Vec<u8>,
    /// How long each is said to be, if that is not so.
    pub said: Option<u64>,
}

/// What a server does with one connection.
#[derive(Debug, Clone)]
pub struct Manner {
    pub at: Step,
    pub acts: &'static [Act],
    pub shelf: Shelf,
    /// What it can do, beside what every server can.
    pub offers: &'static str,
    /// Speaks in the clear until it is told otherwise.
    pub starts_tls: bool,
    pub tls: Arc<ServerConfig>,
}

/// A server on a port of its own.
pub struct Hostile {
    port: Port,
    shared: Arc<Shared>,
}

/// What it has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub connections: usize,
    /// How often it was shown a secret.
    pub logins: usize,
    /// What it has sent inside of TLS or without it.
    pub sent: u64,
    /// All that came without TLS.
    pub clear: Vec<u8>,
    /// All that came inside of TLS.
    pub inside: Vec<u8>,
}

pub(super) struct Shared {
    /// One for each connection from the last change on; the last one for all that follow.
    manners: Mutex<(Vec<Manner>, usize)>,
    seen: Mutex<Seen>,
    ended: AtomicBool,
}

impl Default for Shelf {
    fn default() -> Self {
        let mail = |uid| format!("Subject: mail {uid}\r\n\r\nhello\r\n").into_bytes();
        Self { count: 3, mail, said: None }
    }
}

impl Manner {
    /// That of a good server.
    pub fn good(identity: &Identity) -> Self {
        Self {
            at: Step::Greeting,
            acts: &[Act::Usual],
            shelf: Shelf::default(),
            offers: "AUTH=PLAIN AUTH=SCRAM-SHA-256",
            starts_tls: false,
            tls: identity.server(),
        }
    }

    /// The same but for one step.
    pub fn but(mut self, at: Step, acts: &'static [Act]) -> Self {
        (self.at, self.acts) = (at, acts);
        self
    }
}

impl Hostile {
    /// Serves until the test lets go of it.
    pub fn start(manner: Manner) -> Self {
        let port = Port::free();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).unwrap();
        let shared = Arc::new(Shared {
            manners: Mutex::new((vec![manner], 0)),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { port, shared }
    }

    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Changes its manners: the first for the next connection, the second for the one after, the last for all others.
    pub fn behave(&self, manners: &[Manner]) {
        *self.shared.manners.lock().unwrap() = (manners.to_vec(), 0);
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// How often it was shown a secret.
    pub fn logins(&self) -> usize {
        self.shared.seen().logins
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It waits for the next one.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number));
    }
}

impl Shared {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn next(&self) -> Manner {
        let (manners, next) = &mut *self.manners.lock().unwrap();
        let manner = manners[(*next).min(manners.len() - 1)].clone();
        *next += 1;
        manner
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream.and_then(prepare) else { continue };
        shared.seen().connections += 1;
        let (shared, manner) = (Arc::clone(shared), shared.next());
        // Whatever goes wrong is what was asked for, or that the client has gone.
        thread::spawn(move || serve(&shared, &manner, stream));
    }
}

fn prepare(stream: TcpStream) -> io::Result<TcpStream> {
    // Longer than any client here waits.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.set_write_timeout(Some(Duration::from_secs(60)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
