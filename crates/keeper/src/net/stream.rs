//! The stream that a protocol reads: TLS, with bounds on what comes and on how long nothing comes.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::guard::Guard;

/// So much is kept back until a response is whole, in bytes. The parser reads no more at a time.
const KEPT: usize = 4 << 10;

/// A stream with a [`Guard`]. It fails with [`io::ErrorKind::TimedOut`] if nothing comes for too long, or what is
/// sent is not taken, or the whole connection lasts too long.
///
/// The parser begins anew with whatever it gets. So it gets whole responses, or 4 KiB at a time, however small the pieces
/// are in which they come, and however slowly.
#[derive(Debug)]
pub struct Bounded<S> {
    inner: S,
    guard: Guard,
    silence: Duration,
    /// When it is over in any case.
    end: Instant,
    timer: Pin<Box<Sleep>>,
    /// What has come: its length, and how much of that is not kept back any more.
    come: Vec<u8>,
    length: usize,
    ready: usize,
}

impl<S> Bounded<S> {
    /// `silence`: the longest wait for one byte; `end`: when the connection is over.
    pub fn new(inner: S, silence: Duration, end: Instant) -> Self {
        let timer = Box::pin(sleep_until(end.min(Instant::now() + silence)));
        let (guard, come) = (Guard::default(), vec![0; KEPT]);
        Self { inner, guard, silence, end, timer, come, length: 0, ready: 0 }
    }

    /// For a protocol that is not IMAP.
    pub fn of_bytes(mut self) -> Self {
        self.guard = Guard::of_bytes();
        self
    }

    /// A command is sent, whose answer may have so many bytes.
    pub fn allow(&mut self, bytes: usize) {
        self.guard.allow(bytes);
    }

    /// The stream itself, for another layer. What was read already is not in it.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn moved(&mut self) {
        let next = self.end.min(Instant::now() + self.silence);
        self.timer.as_mut().reset(next);
    }

    /// What `poll` answers, unless the time is over first.
    fn in_time<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>>
    where
        S: Unpin,
    {
        if let Poll::Ready(result) = poll(Pin::new(&mut self.inner), cx) {
            self.moved();
            return Poll::Ready(result);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> Bounded<S> {
    /// Waits for more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut come = mem::take(&mut self.come);
        let mut room = ReadBuf::new(&mut come[self.length..]);
        let polled = self.in_time(cx, |inner, cx| inner.poll_read(cx, &mut room));
        let more = room.filled().len();
        self.come = come;
        ready!(polled)?;
        let before = self.length;
        self.length += more;
        let whole = self.guard.see(&self.come[before..self.length])?;
        self.ready = match whole {
            // Nothing will follow.
            _ if more == 0 => self.length,
            0 if self.length == KEPT => KEPT,
            0 => 0,
            whole => before + whole,
        };
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A server that sends a byte now and then is kept to the end of the connection.
        if Instant::now() >= this.end {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        while this.ready == 0 {
            ready!(this.poll_more(cx))?;
            if this.length == 0 {
                // The end.
                return Poll::Ready(Ok(()));
            }
        }
        let some = this.ready.min(buffer.remaining());
        buffer.put_slice(&this.come[..some]);
        this.come.copy_within(some..this.length, 0);
        this.length -= some;
        this.ready -= some;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().in_time(cx, |inner, cx| inner.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().in_time(cx, |inner, cx| inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().in_time(cx, |inner, cx| inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// Sends a byte at a time, and now and then there is none yet.
    struct Crumbs(Vec<u8>, usize, bool);

    impl AsyncRead for Crumbs {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.2 = !self.2;
            if self.2 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Some(byte) = self.0.get(self.1) {
                buffer.put_slice(&[*byte]);
                self.1 += 1;
            }
            Poll::Ready(Ok(()))
        }
    }

    fn crumbs(text: &str) -> Bounded<Crumbs> {
        let crumbs = Crumbs(text.into(), 0, false);
        let long = Duration::from_secs(60);
        let mut stream = Bounded::new(crumbs, long, Instant::now() + long);
        stream.allow(1 << 20);
        stream
    }

    /// The pieces in which it is read, with room for so many bytes.
    async fn pieces(stream: &mut Bounded<Crumbs>, room: usize) -> Vec<String> {
        let (mut pieces, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let size = stream.read(&mut buffer).await.unwrap();
            if size == 0 {
                return pieces;
            }
            pieces.push(String::from_utf8(buffer[..size].to_vec()).unwrap());
        }
    }

    #[tokio::test]
    async fn the_parser_gets_whole_responses() {
        let text = "* 1 EXISTS\r\n* 1 FETCH (X {2}\r\n\r\n)\r\nA1 OK";
        let whole = ["* 1 EXISTS\r\n", "* 1 FETCH (X {2}\r\n\r\n)\r\n", "A1 OK"];
        assert_eq!(pieces(&mut crumbs(text), 4096).await, whole);
        assert_eq!(pieces(&mut crumbs(text), 3).await.concat(), text);
        // What is not IMAP comes as it comes.
        assert_eq!(pieces(&mut crumbs(text).of_bytes(), 4096).await.len(), text.len());
    }

    #[tokio::test]
    async fn a_long_line_in_small_pieces_is_read_in_large_ones() {
        let text = format!("* SEARCH{}\r\n", " 12345".repeat(30_000));
        let pieces = pieces(&mut crumbs(&text), KEPT).await;
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.len(), text.len().div_ceil(KEPT));
    }
}
