//! A mail server that takes everything and keeps it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens when a mail has arrived and the client has not been told so.
type Hook = Box<dyn FnMut(&Mail) + Send>;

/// A mail as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub to: String,
    /// Headers and body.
    pub text: String,
}

impl Mail {
    /// The value of a header.
    pub fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        self.text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
    }
}

/// The server. Its threads end with the test.
pub struct Sink {
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
    hook: Arc<Mutex<Hook>>,
}

impl Sink {
    /// Listens. Recipients that begin with `refused` or `later` are told so.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::default();
        let hook: Arc<Mutex<Hook>> = Arc::new(Mutex::new(Box::new(|_| {})));
        let sink = Self { port, mails: Arc::clone(&mails), hook: Arc::clone(&hook) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mails, hook) = (Arc::clone(&mails), Arc::clone(&hook));
                // A client that goes away in the middle is no fault of the server's.
                thread::spawn(move || drop(talk(stream, &mails, &hook)));
            }
        });
        sink
    }

    /// All that have arrived.
    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// From now on this happens to each mail that has arrived, before the client is told so.
    pub fn before_answers(&self, hook: impl FnMut(&Mail) + Send + 'static) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }
}

fn talk(stream: TcpStream, mails: &Mutex<Vec<Mail>>, hook: &Mutex<Hook>) -> std::io::Result<()> {
    let (mut out, mut lines) = (stream.try_clone()?, BufReader::new(stream).lines());
    let mut to = String::new();
    out.write_all(b"220 sink\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let upper = line.to_uppercase();
        let answer = if upper.starts_with("RCPT TO:") {
            to = line[8..].trim().trim_matches(['<', '>']).to_owned();
            match &to {
                it if it.starts_with("refused") => "550 no such user",
                it if it.starts_with("later") => "450 come again",
                _ => "250 fine",
            }
        } else if upper == "DATA" {
            out.write_all(b"354 go on\r\n")?;
            let mut text = String::new();
            while let Some(line) = lines.next().transpose()?.filter(|line| line != ".") {
                text.push_str(&line);
                text.push('\n');
            }
            let mail = Mail { to: to.clone(), text };
            mails.lock().unwrap().push(mail.clone());
            (hook.lock().unwrap())(&mail);
            "250 taken"
        } else if upper == "QUIT" {
            out.write_all(b"221 bye\r\n")?;
            return Ok(());
        } else {
            "250 fine"
        };
        out.write_all(format!("{answer}\r\n").as_bytes())?;
    }
    Ok(())
}
