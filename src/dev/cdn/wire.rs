//! The socket under hyper, which can be ended in ways that hyper has no word for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a server sends that is none: no status line, and a byte that no header has.
pub(super) const GARBAGE: &[u8] = b"\x16\x03\x01 this is not HTTP\r\n\r\n";

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// With a FIN.
    Close,
    /// With a RST.
    Reset,
    /// With [`GARBAGE`] and a FIN.
    Garbage,
}

/// Ends a connection from within its service.
#[derive(Debug, Clone)]
pub(super) struct Switch(Arc<OnceLock<Cut>>);

impl Switch {
    /// Orders the end of the connection. What was handed to hyper before is still sent: hyper
    /// flushes after each time that it asked the service or a body for more, and only a flush with
    /// nothing left to write carries the order out. So whoever orders it has to be pending next.
    pub(super) fn order(&self, how: Cut) {
        // The first order counts.
        let _ = self.0.set(how);
    }

    /// Orders the end, and waits for it: the future is dropped with the connection.
    pub(super) async fn end<T>(&self, how: Cut) -> T {
        self.order(how);
        std::future::pending().await
    }
}

/// A socket with a [`Switch`].
pub(super) struct Wire {
    stream: TcpStream,
    cut: Arc<OnceLock<Cut>>,
    garbage: &'static [u8],
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> (Self, Switch) {
        let cut = Arc::new(OnceLock::new());
        (Self { stream, cut: Arc::clone(&cut), garbage: GARBAGE }, Switch(cut))
    }

    /// Ends the connection, once everything before was written: hyper drops the socket on the error.
    fn poll_cut(&mut self, how: Cut, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match how {
            Cut::Close => {}
            Cut::Reset => self.stream.set_zero_linger()?,
            Cut::Garbage => {
                while !self.garbage.is_empty() {
                    let written = ready!(Pin::new(&mut self.stream).poll_write(cx, self.garbage))?;
                    self.garbage = &self.garbage[written..];
                }
            }
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        match self.cut.get().copied() {
            None => Poll::Ready(Ok(())),
            Some(how) => self.poll_cut(how, cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.cut.get() {
            // The FIN of a shutdown would come before the RST.
            Some(Cut::Reset) => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_shutdown(cx),
        }
    }
}
