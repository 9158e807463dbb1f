//! A client of PostgreSQL that sends exactly the messages that it is told to, and keeps everything that the server says.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::Cluster;

/// Messages of the extended protocol, to be sent at once.
#[derive(Default)]
pub struct Batch(Vec<u8>);

/// A value that is bound.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Null,
}

impl Batch {
    fn put(mut self, kind: u8, body: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend((body.len() as u32 + 4).to_be_bytes());
        self.0.extend(body);
        self
    }

    /// A simple query.
    pub fn query(self, sql: &str) -> Self {
        self.put(b'Q', &zero(sql.as_bytes()))
    }

    /// Parse, without types of parameters.
    pub fn parse(self, name: &str, sql: &str) -> Self {
        let body = [zero(name.as_bytes()), zero(sql.as_bytes()), vec![0, 0]].concat();
        self.put(b'P', &body)
    }

    /// Bind. Results come as text.
    pub fn bind(self, portal: &str, statement: &str, values: &[Value<'_>]) -> Self {
        let count = (values.len() as u16).to_be_bytes();
        let mut body = [zero(portal.as_bytes()), zero(statement.as_bytes())].concat();
        body.extend(count);
        for value in values {
            body.extend([0, u8::from(matches!(value, Value::Binary(_)))]);
        }
        body.extend(count);
        for value in values {
            put_value(&mut body, *value);
        }
        body.extend([0, 0]);
        self.put(b'B', &body)
    }

    /// Describe a statement (`S`) or a portal (`P`).
    pub fn describe(self, what: u8, name: &str) -> Self {
        self.put(b'D', &[vec![what], zero(name.as_bytes())].concat())
    }

    /// Execute, for at most so many rows; 0: all.
    pub fn execute(self, portal: &str, rows: u32) -> Self {
        self.put(b'E', &[zero(portal.as_bytes()), rows.to_be_bytes().to_vec()].concat())
    }

    /// Close a statement (`S`) or a portal (`P`).
    pub fn close(self, what: u8, name: &str) -> Self {
        self.put(b'C', &[vec![what], zero(name.as_bytes())].concat())
    }

    /// The end of what fails or succeeds together.
    pub fn sync(self) -> Self {
        self.put(b'S', &[])
    }

    /// A call by the fast-path protocol.
    pub fn call(self, function: u32, values: &[Value<'_>]) -> Self {
        let mut body = function.to_be_bytes().to_vec();
        body.extend([0, 1, 0, 0]);
        body.extend((values.len() as u16).to_be_bytes());
        for value in values {
            put_value(&mut body, *value);
        }
        body.extend([0, 0]);
        self.put(b'F', &body)
    }

    /// CopyData and CopyDone.
    pub fn copy(self, data: &[u8]) -> Self {
        self.put(b'd', data).put(b'c', &[])
    }
}

fn zero(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0]].concat()
}

fn put_value(body: &mut Vec<u8>, value: Value<'_>) {
    let bytes = match value {
        Value::Text(text) => text.as_bytes(),
        Value::Binary(bytes) => bytes,
        Value::Null => return body.extend((-1_i32).to_be_bytes()),
    };
    body.extend((bytes.len() as u32).to_be_bytes());
    body.extend(bytes);
}

/// What came of something.
#[derive(Debug, Default)]
pub struct Reply {
    /// SQLSTATEs of the errors, in their order.
    pub errors: Vec<String>,
    /// The first column of every row, NULL as nothing.
    pub rows: Vec<String>,
    /// The connection is over.
    pub gone: bool,
}

impl Reply {
    /// The SQLSTATE of the first error, or `00000`.
    pub fn state(&self) -> &str {
        self.errors.first().map_or("00000", String::as_str)
    }
}

/// A connection.
pub struct Wire {
    stream: BufReader<UnixStream>,
    /// The login.
    pub user: String,
    /// The process that serves it.
    pub pid: i32,
    /// Every error and notice, all fields of it, in what came from the server.
    pub told: Vec<String>,
    /// `I` idle, `T` in a transaction, `E` in one that has failed.
    pub status: u8,
    copy: Vec<u8>,
}

impl Wire {
    /// Logs in.
    pub fn connect(cluster: &Cluster, user: &str, database: &str) -> Self {
        let stream = UnixStream::connect(cluster.folder().join(".s.PGSQL.5432")).unwrap();
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for text in ["user", user, "database", database] {
            body.extend(zero(text.as_bytes()));
        }
        body.push(0);
        let mut wire = Self {
            stream: BufReader::new(stream),
            user: user.into(),
            pid: 0,
            told: Vec::new(),
            status: b'I',
            copy: Vec::new(),
        };
        let length = (body.len() as u32 + 4).to_be_bytes();
        wire.stream.get_mut().write_all(&[&length, &body[..]].concat()).unwrap();
        let reply = wire.answer();
        assert!(reply.errors.is_empty() && !reply.gone, "{:?}", wire.told);
        wire
    }

    /// Sends without waiting for an answer.
    pub fn send(&mut self, batch: &Batch) {
        self.stream.get_mut().write_all(&batch.0).unwrap();
    }

    /// Everything up to the next ReadyForQuery, or to the end of the connection.
    pub fn answer(&mut self) -> Reply {
        let mut reply = Reply::default();
        loop {
            let Some((kind, body)) = self.message() else {
                reply.gone = true;
                return reply;
            };
            match kind {
                b'K' => self.pid = i32::from_be_bytes(body[..4].try_into().unwrap()),
                b'D' => reply.rows.push(first_column(&body)),
                b'd' => reply.rows.push(String::from_utf8_lossy(&body).into_owned()),
                b'E' | b'N' => {
                    let fields = fields(&body);
                    if kind == b'E' {
                        reply.errors.push(fields.iter().find(|it| it.0 == 'C').unwrap().1.clone());
                    }
                    self.told.extend(fields.into_iter().map(|it| format!("{}: {}", it.0, it.1)));
                }
                b'G' => {
                    let data = std::mem::take(&mut self.copy);
                    self.send(&Batch::default().copy(&data));
                }
                b'Z' => {
                    self.status = body[0];
                    return reply;
                }
                _ => {}
            }
        }
    }

    /// Sends, and waits for one ReadyForQuery.
    pub fn ask(&mut self, batch: &Batch) -> Reply {
        self.send(batch);
        self.answer()
    }

    /// A simple query.
    pub fn simple(&mut self, sql: &str) -> Reply {
        self.ask(&Batch::default().query(sql))
    }

    /// A simple query that copies this to the server.
    pub fn copy_in(&mut self, sql: &str, data: &str) -> Reply {
        self.copy = data.as_bytes().to_vec();
        self.simple(sql)
    }

    /// Unnamed statement and portal.
    pub fn extended(&mut self, sql: &str, values: &[Value<'_>]) -> Reply {
        let batch = Batch::default().parse("", sql).bind("", "", values);
        self.ask(&batch.describe(b'P', "").execute("", 0).sync())
    }

    /// A statement with a name of its own: a simple query would drop the one that has none.
    pub fn named(&mut self, sql: &str) -> Reply {
        let name = "a look around";
        let batch = Batch::default().parse(name, sql).bind(name, name, &[]).execute(name, 0);
        self.ask(&batch.close(b'P', name).close(b'S', name).sync())
    }

    /// Goes without a word.
    pub fn hang_up(&self) {
        self.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    }

    fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        // A connection that is cut off may end anywhere, and with a reset.
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).ok()?;
        Some((head[0], body))
    }
}

fn first_column(body: &[u8]) -> String {
    let Some(length) = body.get(2..6) else { return String::new() };
    let length = i32::from_be_bytes(length.try_into().unwrap());
    let bytes = usize::try_from(length).map_or(&[][..], |length| &body[6..6 + length]);
    String::from_utf8_lossy(bytes).into_owned()
}

fn fields(body: &[u8]) -> Vec<(char, String)> {
    body.split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
        .map(|field| (char::from(field[0]), String::from_utf8_lossy(&field[1..]).into_owned()))
        .collect()
}
