//! One connection through a network that fails.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::faults::{Fault, Shared, reset};

/// How long it takes at most until a connection notices another fault.
const NOTICE: Duration = Duration::from_millis(25);

/// What a link has come to.
const OPEN: u8 = 0;
const ENDED: u8 = 1;
const RESET: u8 = 2;

/// From its beginning to its end.
pub(super) fn carry(shared: &Shared, client: &TcpStream, cuts: usize) {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target));
    let both = server.and_then(|server| prepare(client).and(prepare(&server)).and(Ok(server)));
    let Ok(server) = both else {
        let _ = reset(client);
        return;
    };
    let end = &AtomicU8::new(OPEN);
    let pump = |from, to, upward| Pump {
        shared,
        cuts,
        end,
        from,
        to,
        upward,
        held: Vec::new(),
        passed: 0,
    };
    let (up, down) = (pump(client, &server, true), pump(&server, client, false));
    thread::scope(|scope| {
        scope.spawn(move || down.run());
        up.run();
    });
    if end.load(Ordering::Relaxed) == RESET {
        let _ = reset(client);
        let _ = reset(&server);
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(NOTICE))?;
    stream.set_write_timeout(Some(NOTICE))
}

/// One way of a link.
struct Pump<'a> {
    shared: &'a Shared,
    cuts: usize,
    end: &'a AtomicU8,
    from: &'a TcpStream,
    to: &'a TcpStream,
    upward: bool,
    /// Has come and not gone on.
    held: Vec<u8>,
    passed: usize,
}

impl Pump<'_> {
    fn run(mut self) {
        if self.pump().is_err() {
            // As the one side has gone, so goes the other.
            self.end.fetch_max(RESET, Ordering::Relaxed);
        }
        if self.end.load(Ordering::Relaxed) != RESET {
            // The other way may have something to say still.
            let _ = self.to.shutdown(Shutdown::Write);
            self.drain();
        }
    }

    /// Until the end of what comes, or of the link. An error resets it.
    fn pump(&mut self) -> io::Result<()> {
        let mut more = true;
        while self.end.load(Ordering::Relaxed) == OPEN {
            // Where nobody takes it, the sender has to wait some day, as on a real network.
            if more && self.held.len() < 256 * 1024 {
                more = self.take()?;
            } else {
                thread::sleep(NOTICE);
            }
            // After the wait for what comes, in which it may have changed.
            let fault = self.shared.fault(self.cuts).ok_or(io::ErrorKind::ConnectionReset)?;
            if !more && self.upward && fault == Fault::Silence {
                // A client who has given up hears nothing any more.
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.pass(fault)?;
            if !more && self.held.is_empty() && fault != Fault::Silence {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Is there more to come?
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let mut from = self.from;
        let size = match from.read(&mut buffer) {
            Err(error) if is_timeout(&error) => return Ok(true),
            read => read?,
        };
        self.held.extend_from_slice(&buffer[..size]);
        Ok(size > 0)
    }

    /// Lets through what the fault lets through.
    fn pass(&mut self, fault: Fault) -> io::Result<()> {
        let most = match fault {
            Fault::Silence => return Ok(()),
            Fault::Slow(rate) => (rate / 40).max(1),
            Fault::CutAfter { to_server, .. } if self.upward => {
                to_server.saturating_sub(self.passed)
            }
            Fault::CutAfter { to_client, .. } => to_client.saturating_sub(self.passed),
            Fault::None | Fault::Refused | Fault::Reset => usize::MAX,
        };
        let mut left = most.min(self.held.len());
        let cut = matches!(fault, Fault::CutAfter { .. }) && self.held.len() >= most;
        let mut to = self.to;
        while left > 0 {
            let size = match to.write(&self.held[..left]) {
                // It comes again, with whatever is the fault then.
                Err(error) if is_timeout(&error) => return Ok(()),
                written => written?,
            };
            self.held.drain(..size);
            self.passed += size;
            left -= size;
        }
        if cut {
            self.end.fetch_max(ENDED, Ordering::Relaxed);
        }
        if matches!(fault, Fault::Slow(_)) {
            thread::sleep(NOTICE);
        }
        Ok(())
    }

    /// Reads what still comes and throws it away: to close with something unread would be a reset, which takes from
    /// the other side what it has not read yet.
    fn drain(&mut self) {
        let start = Instant::now();
        let is_over =
            || self.end.load(Ordering::Relaxed) == OPEN || start.elapsed() > Duration::from_secs(1);
        let mut from = self.from;
        let mut buffer = [0; 16 * 1024];
        while !is_over() {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Err(error) if !is_timeout(&error) => return,
                _ => {}
            }
        }
    }
}

/// Is there only nothing yet? Where there is a timeout, the kernel does not go on by itself after a process was stopped.
fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    [Interrupted, TimedOut, WouldBlock].contains(&error.kind())
}
