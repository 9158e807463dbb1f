//! The stream that a protocol reads: TLS, with bounds on what comes and on how long nothing comes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::guard::Guard;

/// A stream with a [`Guard`]. It fails with [`io::ErrorKind::TimedOut`] if nothing comes for too long, or what is
/// sent is not taken, or the whole connection lasts too long.
#[derive(Debug)]
pub struct Bounded<S> {
    inner: S,
    guard: Guard,
    silence: Duration,
    /// When it is over in any case.
    end: Instant,
    timer: Pin<Box<Sleep>>,
}

impl<S> Bounded<S> {
    /// `silence`: the longest wait for one byte; `end`: when the connection is over.
    pub fn new(inner: S, silence: Duration, end: Instant) -> Self {
        let timer = Box::pin(sleep_until(end.min(Instant::now() + silence)));
        Self { inner, guard: Guard::default(), silence, end, timer }
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

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        // A server that sends a byte now and then is kept to the end of the connection.
        if Instant::now() >= this.end {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        ready!(this.in_time(cx, |inner, cx| inner.poll_read(cx, buffer)))?;
        this.guard.see(&buffer.filled()[before..])?;
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
