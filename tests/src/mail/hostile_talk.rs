//! One connection of a [`Hostile`](super::hostile::Hostile) server.

use std::io;
use std::net::TcpStream;
use std::ops::{Range, RangeInclusive};
use std::thread::sleep;
use std::time::Duration;

use base64ct::{Base64, Encoding};

use super::faults::reset;
use super::hostile::{Act, Manner, Shared, Step};
use super::hostile_wire::Wire;

/// From its beginning to its end.
pub(super) fn serve(shared: &Shared, manner: &Manner, stream: TcpStream) -> io::Result<()> {
    let wire = Wire::new(shared, stream);
    let mut talk = Talk {
        shared,
        manner,
        acts: manner.acts,
        wire,
        tag: String::new(),
        line: String::new(),
        asked: String::new(),
    };
    talk.step(Step::Accept)?;
    if !manner.starts_tls {
        talk.encrypt()?;
    }
    talk.step(Step::Greeting)?;
    loop {
        talk.command()?;
    }
}

struct Talk<'a> {
    shared: &'a Shared,
    manner: &'a Manner,
    /// At the step at which it is not good.
    acts: &'static [Act],
    wire: Wire<'a>,
    /// Of the present command.
    tag: String,
    /// The last line that came.
    line: String,
    /// The command without its tag.
    asked: String,
}

impl Talk<'_> {
    /// Does what is to be done at a step.
    fn step(&mut self, at: Step) -> io::Result<()> {
        let acts = if self.manner.at == at { self.acts } else { &[Act::Usual] };
        acts.iter().try_for_each(|act| self.act(*act, at))
    }

    fn act(&mut self, act: Act, at: Step) -> io::Result<()> {
        match act {
            Act::Usual => self.usual(at),
            Act::Say(text) => self.say(text),
            Act::Flood(text, times) => {
                let each = self.filled(text);
                let at_once = (64 << 10) / each.len().max(1) as u64 + 1;
                let many = each.repeat(at_once.min(times) as usize);
                let mut left = times;
                while left > 0 {
                    let now = left.min(at_once);
                    self.wire.write(&many[..now as usize * each.len()])?;
                    left -= now;
                }
                Ok(())
            }
            Act::Crumbs(text, times) => {
                let each = self.filled(text);
                (0..times).try_for_each(|_| self.wire.write_in_crumbs(&each))
            }
            Act::Drip(text) => loop {
                for byte in text {
                    self.wire.write(&[*byte])?;
                    sleep(Duration::from_secs(1));
                }
            },
            Act::Silence => loop {
                self.wire.read()?;
            },
            Act::Then(acts) => {
                self.acts = acts;
                Ok(())
            }
            Act::Cut => self.wire.cut(),
            Act::Reset => {
                reset(self.wire.socket())?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Act::Listen => self.read_line(),
            Act::Hear => self.wire.read().map(drop),
            Act::Encrypt => self.encrypt(),
            Act::Challenge(rounds) => {
                let first = Base64::decode_vec(&self.line).unwrap_or_default();
                let first = String::from_utf8_lossy(&first).into_owned();
                let nonce = first.rsplit("r=").next().unwrap_or_default();
                let challenge = format!("r={nonce}more,s=c2FsdHNhbHQ=,i={rounds}");
                let line = format!("+ {}\r\n", Base64::encode_string(challenge.as_bytes()));
                self.wire.write(line.as_bytes())
            }
        }
    }

    /// What a good server does.
    fn usual(&mut self, at: Step) -> io::Result<()> {
        let count = self.manner.shelf.count;
        match at {
            Step::Accept | Step::Handshake => Ok(()),
            Step::Greeting => self.say(b"* OK ready\r\n"),
            Step::StartTls => {
                self.say(b"%t OK begin\r\n")?;
                self.encrypt()
            }
            Step::Capability => {
                let offers = self.manner.offers;
                let line = format!("* CAPABILITY IMAP4rev1 {offers}\r\n");
                self.wire.write(line.as_bytes())?;
                self.say(b"%t OK done\r\n")
            }
            Step::Mechanism => self.say(b"+ \r\n"),
            Step::Login => self.say(b"%t OK logged in\r\n"),
            Step::Examine => {
                let next = count + 1;
                let lines = format!(
                    "* {count} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT {next}] x\r\n"
                );
                self.wire.write(lines.as_bytes())?;
                self.say(b"%t OK [READ-ONLY] done\r\n")
            }
            Step::Search => {
                let found: String = self.wanted("UID ").map(|uid| format!(" {uid}")).collect();
                self.wire.write(format!("* SEARCH{found}\r\n").as_bytes())?;
                self.say(b"%t OK done\r\n")
            }
            Step::Sizes | Step::Bodies | Step::Mails(_) => {
                let wanted: Vec<u32> = self.wanted("FETCH ").collect();
                for uid in wanted {
                    self.mail(uid, at != Step::Sizes)?;
                }
                self.say(b"%t OK done\r\n")
            }
            Step::Header | Step::Piece => {
                let wanted: Vec<u32> = self.wanted("FETCH ").collect();
                for uid in wanted {
                    self.part(uid, at == Step::Piece)?;
                }
                self.say(b"%t OK done\r\n")
            }
            Step::Logout => {
                self.say(b"* BYE\r\n%t OK done\r\n")?;
                self.act(Act::Cut, at)
            }
        }
    }

    /// Reads a command and does what it asks for.
    fn command(&mut self) -> io::Result<()> {
        self.read_line()?;
        let line = self.line.clone();
        let (tag, asked) = line.split_once(' ').unwrap_or((&line, ""));
        tag.clone_into(&mut self.tag);
        asked.clone_into(&mut self.asked);
        match asked {
            "STARTTLS" => self.step(Step::StartTls),
            "CAPABILITY" => self.step(Step::Capability),
            "LOGOUT" => self.step(Step::Logout),
            _ if asked.starts_with("AUTHENTICATE ") => {
                self.step(Step::Mechanism)?;
                self.read_line()?;
                self.login()
            }
            _ if asked.starts_with("LOGIN ") => self.login(),
            _ if asked.starts_with("EXAMINE ") => self.step(Step::Examine),
            _ if asked.starts_with("UID SEARCH ") => self.step(Step::Search),
            _ if asked.contains("RFC822.SIZE") => self.step(Step::Sizes),
            _ if asked.contains(".MIME]") => self.step(Step::Header),
            _ if asked.contains("[1]") => self.step(Step::Piece),
            _ if asked.starts_with("UID FETCH ") => match self.manner.at {
                Step::Mails(some) if self.wanted("FETCH ").any(|uid| some.contains(&uid)) => {
                    self.step(Step::Mails(some))
                }
                _ => self.step(Step::Bodies),
            },
            _ => self.say(b"%t BAD what?\r\n"),
        }
    }

    fn login(&mut self) -> io::Result<()> {
        self.shared.seen().logins += 1;
        self.step(Step::Login)
    }

    /// One mail, or only what is known of it.
    fn mail(&mut self, uid: u32, whole: bool) -> io::Result<()> {
        let shelf = self.manner.shelf;
        let mail = (shelf.mail)(uid);
        if !whole {
            let size = shelf.said.unwrap_or(mail.len() as u64);
            let date = "05-Oct-2026 09:30:00 +0200";
            let line =
                format!("* {uid} FETCH (UID {uid} RFC822.SIZE {size} INTERNALDATE \"{date}\")\r\n");
            return self.wire.write(line.as_bytes());
        }
        let mail = &mail[self.range(mail.len())];
        let line = format!("* {uid} FETCH (UID {uid} BODY[]<0> {{{}}}\r\n", mail.len());
        self.wire.write(&[line.as_bytes(), mail, b")\r\n"].concat())
    }

    /// The only part of a mail, or its header.
    fn part(&mut self, uid: u32, content: bool) -> io::Result<()> {
        let mail = (self.manner.shelf.mail)(uid);
        let end = mail.windows(4).position(|it| it == b"\r\n\r\n").unwrap_or(mail.len() - 4) + 4;
        let (header, body) = mail.split_at(end);
        let (name, bytes) = if content {
            let range = self.range(body.len());
            (format!("[1]<{}>", range.start), &body[range])
        } else {
            ("[1.MIME]".to_owned(), header)
        };
        let line = format!("* {uid} FETCH (UID {uid} BODY{name} {{{}}}\r\n", bytes.len());
        self.wire.write(&[line.as_bytes(), bytes, b")\r\n"].concat())
    }

    /// Which bytes are asked for of so many: `<first.count>`.
    fn range(&self, length: usize) -> Range<usize> {
        let asked = self.asked.rsplit_once('<').and_then(|(_, it)| it.split_once('>'));
        let (first, count) = asked.and_then(|(it, _)| it.split_once('.')).unwrap_or(("0", ""));
        let first = first.parse().unwrap_or(0).min(length);
        first..count.parse().map_or(length, |count: usize| length.min(first + count))
    }

    /// The mails that there are of a set of numbers after a word.
    fn wanted(&self, word: &str) -> impl Iterator<Item = u32> + use<> {
        let set = self.asked.rsplit(word).next().unwrap_or_default();
        let set = set.split(' ').next().unwrap_or_default();
        let count = self.manner.shelf.count;
        let ranges: Vec<RangeInclusive<u32>> = set
            .split(',')
            .filter_map(|part| {
                let (first, last) = part.split_once(':').unwrap_or((part, part));
                Some(first.parse().ok()?..=last.parse::<u32>().ok()?.min(count))
            })
            .collect();
        ranges.into_iter().flatten().filter(move |uid| *uid <= count)
    }

    fn say(&mut self, text: &[u8]) -> io::Result<()> {
        let text = self.filled(text);
        self.wire.write(&text)
    }

    /// With what stands for something.
    fn filled(&self, text: &[u8]) -> Vec<u8> {
        let mut filled = Vec::with_capacity(text.len());
        let mut rest = text;
        while let [first, after @ ..] = rest {
            rest = after;
            match (first, after.first()) {
                (b'%', Some(b't')) => filled.extend(self.tag.bytes()),
                (b'%', Some(b'b')) => filled.extend(self.line.bytes()),
                (b'%', Some(b'p')) => filled.extend(self.password()),
                _ => {
                    filled.push(*first);
                    continue;
                }
            }
            rest = &rest[1..];
        }
        filled
    }

    /// What came last, as PLAIN has it.
    fn password(&self) -> Vec<u8> {
        let shown = Base64::decode_vec(&self.line).unwrap_or_default();
        shown.rsplit(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    }

    /// Goes on with TLS.
    fn encrypt(&mut self) -> io::Result<()> {
        if self.manner.at == Step::Handshake {
            self.wire.read()?;
            self.step(Step::Handshake)?;
        }
        self.wire.encrypt(&self.manner.tls)
    }

    /// A line. A client says one and waits.
    fn read_line(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.wire.read()?);
        }
        self.line = String::from_utf8_lossy(&line).trim_end().to_owned();
        Ok(())
    }
}
