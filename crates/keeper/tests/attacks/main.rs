//! What somebody tries who has the application's login, servers of their own, and may send mail to anybody.
#![allow(clippy::unwrap_used)]

mod secrets;
mod waits;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use password_verify_tests::keeper::KeptSite;
use password_verify_tests::mail::hostile::{Act, Hostile, Manner, Step};
use password_verify_tests::mail::{Certificates, Dovecot, messages};
use password_verify_tests::mail_app::{Mailbox, read};
use password_verify_tests::pv_keeper::{PvKeeper, Setup};
use password_verify_tests::trail::wait_until;
use postgres::{Client, GenericClient};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const KEEPER: &str = env!("CARGO_BIN_EXE_pv-keeper");
const PASSWORD: &str = "velvet-anvil-under";
const TOKEN: &str = r#"{"refresh_token": "first", "client_id": "a&b=c\r\nX: y"}"#;

struct Office {
    kept: KeptSite,
    certificates: Certificates,
    app: Client,
}

impl Office {
    fn new() -> Self {
        let kept = KeptSite::shared();
        Self { app: kept.depositor(), certificates: Certificates::new(), kept }
    }

    fn keeper(&self, lines: &[&str]) -> PvKeeper {
        self.keeper_of(KEEPER, lines)
    }

    fn keeper_of(&self, binary: &str, lines: &[&str]) -> PvKeeper {
        let setup = Setup::new(binary, &self.kept, &self.certificates);
        lines.iter().fold(setup, |setup, line| setup.connect(line)).start()
    }

    fn mailbox(&self, port: u16, user: &str) -> Mailbox {
        Mailbox::new(&self.certificates, port, user, PASSWORD)
    }

    fn good(&self) -> Manner {
        Manner::good(&self.certificates.good)
    }

    /// Somebody else, whose server is good and known.
    fn victim(&mut self) -> (Hostile, Mailbox) {
        let server = Hostile::start(self.good());
        let victim = self.mailbox(server.port(), "victim");
        let verify = victim.register(&mut self.app);
        victim.await_end(&mut self.app, verify, "ended done ok");
        (server, victim)
    }

    /// That somebody is served in time.
    fn assert_served(&mut self, victim: &Mailbox, seconds: u64) {
        let request = victim.request(&mut self.app);
        self.assert_done(victim, request, seconds);
    }

    fn assert_done(&mut self, of: &Mailbox, request: i64, seconds: u64) {
        let start = Instant::now();
        loop {
            let end = of.end(&mut self.app, request);
            if end == "ended done ok" {
                return;
            }
            let is_late = start.elapsed() > Duration::from_secs(seconds);
            assert!(!is_late && !end.contains("retry"), "{end:?} after {:?}", start.elapsed());
            sleep(Duration::from_millis(20));
        }
    }

    /// Where a request has come to when it waits or runs no more.
    fn ended(&mut self, of: &Mailbox, request: i64) -> String {
        let mut end = String::new();
        wait_until("an end", || {
            end = of.end(&mut self.app, request);
            !matches!(end.as_str(), "waiting" | "leased")
        });
        end
    }
}

/// `pv_register_imap_account` at a host, and whatever else it may refuse.
fn register(app: &mut impl GenericClient, of: &Mailbox, host: &str) -> Result<i64, String> {
    let sql = "SELECT request FROM auth.pv_register_imap_account($1::text, 'inbox', $2, $3::integer, $4, $5,
                   mechanism => $6, ca => $7, token_endpoint => $8)";
    let port = i32::from(of.port);
    let row = app.query_one(
        sql,
        &[
            &of.user,
            &host,
            &port,
            &of.login,
            &of.password,
            &of.mechanism,
            &of.ca,
            &of.token_endpoint,
        ],
    );
    let row = row.map_err(|why| why.as_db_error().unwrap().message().to_owned())?;
    row.get::<_, Option<i64>>(0).ok_or_else(|| "busy".to_owned())
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// A server of one's own behind TLS: the port, and how many have come. `serve`: with the number of the connection.
fn start(
    tls: Arc<ServerConfig>,
    serve: impl Fn(usize, &mut Stream) -> io::Result<()> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>) {
    // Where the keeper may connect to.
    let ports = (0..1000).map(|_| 10_000 + (RandomState::new().hash_one(()) % 20_000) as u16);
    let bound = ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let listener = bound.flatten().next().unwrap();
    let (port, serve) = (listener.local_addr().unwrap().port(), Arc::new(serve));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let number = count.fetch_add(1, Ordering::Relaxed);
            let (tls, serve) = (Arc::clone(&tls), Arc::clone(&serve));
            thread::spawn(move || {
                let connection = ServerConnection::new(tls).unwrap();
                serve(number, &mut BufReader::new(StreamOwned::new(connection, stream)))
            });
        }
    });
    (port, connections)
}

fn line(stream: &mut Stream) -> io::Result<String> {
    let mut line = String::new();
    match stream.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn say(stream: &mut Stream, text: &str) -> io::Result<()> {
    stream.get_mut().write_all(text.as_bytes())?;
    stream.get_mut().flush()
}

/// A server with an empty mailbox. `login`: what it says to whoever has shown that, and how long it thinks of an EXAMINE.
fn imap(stream: &mut Stream, login: impl Fn(&str) -> (&'static str, Duration)) -> io::Result<()> {
    say(stream, "* OK ready\r\n")?;
    let mut slow = Duration::ZERO;
    loop {
        let asked = line(stream)?;
        let (tag, words) = asked.split_once(' ').unwrap_or((&asked, ""));
        if words.starts_with("AUTHENTICATE") {
            say(stream, "+ \r\n")?;
            let shown = Base64::decode_vec(&line(stream)?).unwrap_or_default();
            let (answer, thinks) = login(&String::from_utf8_lossy(&shown));
            slow = thinks;
            say(stream, &format!("{tag} {answer}\r\n"))?;
        } else if words == "CAPABILITY" {
            say(stream, &format!("* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK\r\n"))?;
        } else if words.starts_with("EXAMINE") {
            let begun = Instant::now();
            while begun.elapsed() < slow {
                say(stream, "* 0 EXISTS\r\n")?;
                sleep(Duration::from_millis(500));
            }
            let found = "* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 1] x\r\n";
            say(stream, &format!("{found}{tag} OK\r\n"))?;
        } else {
            say(stream, &format!("* BYE\r\n{tag} OK\r\n"))?;
        }
    }
}
