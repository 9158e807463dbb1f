//! The network that fails when told to fails in that way and no other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use password_verify_tests::mail::{Certificates, Dovecot, Fault, Faults, Imap};
use password_verify_tests::trail::{SOON, wait_until};

/// Sends back what comes.
fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

fn connect(faults: &Faults) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, faults.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Nothing comes, not even an end.
fn assert_silent(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // Which goes on where it was interrupted.
    let heard = stream.read_exact(&mut [0; 1]);
    stream.set_read_timeout(Some(SOON)).unwrap();
    assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// How much comes back of it, and what ends it before all has.
fn said(mut stream: &TcpStream, words: &[u8]) -> (usize, Option<io::ErrorKind>) {
    if let Err(error) = stream.write_all(words) {
        return (0, Some(error.kind()));
    }
    let (mut heard, mut buffer) = (0, [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return (heard, None),
            Ok(size) => heard += size,
            Err(error) => return (heard, Some(error.kind())),
        }
        if heard == words.len() {
            return (heard, None);
        }
    }
}

#[test]
fn a_network_fails_as_it_is_told_to() {
    let faults = Faults::before(echo());
    let (first, words) = (connect(&faults), [b'x'; 1000]);
    assert_eq!(said(&first, &words), (1000, None));

    faults.set(Fault::Silence);
    let silent = connect(&faults);
    for mut stream in [&first, &silent] {
        stream.write_all(&words).unwrap();
        assert_silent(stream);
    }
    drop(silent);
    wait_until("the network hears who gives up", || faults.open() == 1);
    faults.set(Fault::None);
    (&first).read_exact(&mut [0; 1000]).expect("it comes late");

    faults.set(Fault::CutAfter { to_server: 700, to_client: usize::MAX });
    let (heard, why) = said(&connect(&faults), &words);
    assert!(heard <= 700 && why.is_none(), "{heard} {why:?}");
    faults.set(Fault::CutAfter { to_server: usize::MAX, to_client: 300 });
    assert_eq!(said(&connect(&faults), &words), (300, None));
    faults.set(Fault::None);

    faults.set(Fault::Reset);
    assert_eq!(said(&connect(&faults), &words).1, Some(io::ErrorKind::ConnectionReset));
    faults.set(Fault::Refused);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, faults.port())).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    faults.set(Fault::None);

    let (one, two) = (connect(&faults), connect(&faults));
    assert_eq!((said(&one, &words).0, said(&two, &words).0), (1000, 1000));
    faults.cut();
    wait_until("they are gone", || faults.open() == 0);
    for stream in [one, two] {
        assert!(said(&stream, &words).1.is_some());
    }
    assert_eq!(said(&connect(&faults), &words), (1000, None));
    assert_eq!((faults.accepted(), faults.arrivals().len()), (8, 8));
    assert!(faults.most() >= 3, "{}", faults.most());
    faults.set(Fault::Slow(40));
    let slow = connect(&faults);
    (&slow).write_all(&words).unwrap();
    (&slow).read_exact(&mut [0; 1]).unwrap();
    faults.cut();
    let mut rest = Vec::new();
    let end = (&slow).read_to_end(&mut rest).unwrap_err().kind();
    assert!(end == io::ErrorKind::ConnectionReset && rest.len() < 999, "{end} {}", rest.len());
}

#[test]
fn a_server_gets_what_went_before_the_cut() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let faults = Faults::before(listener.local_addr().unwrap().port());
    for size in [0, 1, 700, 1000] {
        faults.set(Fault::CutAfter { to_server: size, to_client: usize::MAX });
        let client = connect(&faults);
        // It may be gone before.
        let _ = (&client).write_all(&[b'x'; 1000]);
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(server.read_to_end(&mut Vec::new()).unwrap(), size);
    }
}

#[test]
fn a_network_in_front_of_a_server() {
    let certificates = Certificates::new();
    let dovecot = Dovecot::start(&certificates, &[("anna", "a")]);
    let faults = Faults::before(dovecot.imaps_port());
    let mut client = Imap::connect(faults.port(), certificates.client()).unwrap();
    assert!(client.login("anna", "a").unwrap().is_ok());
    dovecot.kill();
    client.command("NOOP").unwrap_err();
    drop(client);
    wait_until("nobody is there", || faults.open() == 0);
    Imap::connect(faults.port(), certificates.client()).err().expect("nobody there");
    dovecot.restart();
    Imap::connect(faults.port(), certificates.client()).unwrap();
}
