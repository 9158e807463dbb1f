//! A network between a client and a server that fails when told to, below TLS.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::link::carry;
use super::ports::{Port, close};

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Nobody listens.
    Refused,
    /// New connections are accepted and reset at once.
    Reset,
    /// A connection ends in an orderly way when so many bytes have gone one of the ways, and not one more has. Those
    /// that went before this was set count. `usize::MAX` for the way that does not matter.
    CutAfter { to_server: usize, to_client: usize },
    /// Connections stand, and nothing goes through. What was sent goes through later, if there is a later.
    Silence,
    /// So many bytes a second each way.
    Slow(usize),
}

/// Listens on a port of its own and forwards to another.
pub struct Faults {
    port: Port,
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) target: u16,
    state: Mutex<State>,
}

struct State {
    fault: Fault,
    listener: Option<TcpListener>,
    /// Counts how often everything was cut. Who came before that goes.
    cuts: usize,
    arrivals: Vec<Instant>,
    open: usize,
    most: usize,
    ended: bool,
}

impl Faults {
    /// In front of a port of this machine.
    pub fn before(target: u16) -> Self {
        let port = Port::free();
        let state = State {
            fault: Fault::None,
            listener: Some(listen(port.number)),
            cuts: 0,
            arrivals: Vec::new(),
            open: 0,
            most: 0,
            ended: false,
        };
        let shared = Arc::new(Shared { target, state: Mutex::new(state) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&accepting));
        Self { port, shared }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// What happens from now on, to old connections too where it says nothing else.
    pub fn set(&self, fault: Fault) {
        let mut state = self.shared.state();
        state.fault = fault;
        if fault == Fault::Refused {
            state.listener.take().into_iter().for_each(close);
        } else if state.listener.is_none() {
            state.listener = Some(listen(self.port.number));
        }
    }

    /// Resets every connection that there is. New ones are none of its business.
    pub fn cut(&self) {
        self.shared.state().cuts += 1;
    }

    /// When each connection was accepted.
    pub fn arrivals(&self) -> Vec<Instant> {
        self.shared.state().arrivals.clone()
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> usize {
        self.shared.state().arrivals.len()
    }

    /// How many there are now.
    pub fn open(&self) -> usize {
        self.shared.state().open
    }

    /// How many there were at once, at most.
    pub fn most(&self) -> usize {
        self.shared.state().most
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.listener.take().into_iter().for_each(close);
        state.ended = true;
        state.cuts += 1;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What happens now to a connection that came after so many cuts: `None` if it goes.
    pub(super) fn fault(&self, cuts: usize) -> Option<Fault> {
        let state = self.state();
        (state.cuts == cuts).then_some(state.fault)
    }
}

fn listen(port: u16) -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn accept(shared: &Arc<Shared>) {
    loop {
        let mut state = shared.state();
        if state.ended {
            return;
        }
        let accepted = state.listener.as_ref().and_then(|listener| listener.accept().ok());
        let Some((client, _)) = accepted else {
            drop(state);
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        state.arrivals.push(Instant::now());
        if state.fault == Fault::Reset {
            let _ = reset(&client);
            continue;
        }
        state.open += 1;
        state.most = state.most.max(state.open);
        let cuts = state.cuts;
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            carry(&shared, &client, cuts);
            shared.state().open -= 1;
        });
    }
}

/// The last one who closes it sends a reset.
pub(super) fn reset(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))
}
