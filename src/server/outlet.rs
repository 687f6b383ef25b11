//! How bytes get from the kernel into a client's socket although hyper writes the answer: it is given
//! a placeholder in their stead, and where it writes that, they are sent.
//!
//! It keeps what a body gives, and hands slices of just that to a stream which takes several at a
//! time. Nobody has promised so: if anything else is ever done to a placeholder (it is copied, cut
//! short, forgotten, or advanced over before its bytes were sent), then nothing more is written to
//! this client. What a placeholder itself is made of is never sent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::zero_copy::{InKernel, PIPE_BYTES, poll_io};

/// What a placeholder is made of, as far as hyper sees: it is known by where it lies. Not of zeros,
/// which a compiler might lay where other zeros are.
static PLACEHOLDER: [u8; PIPE_BYTES] = [b'?'; PIPE_BYTES];

/// What the two sides of a connection know of the bytes that hyper does not see.
#[derive(Debug, Default)]
pub(super) struct Outlet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// What hyper holds placeholders for, in their order.
    waiting: VecDeque<InKernel>,
    /// How many bytes were sent in the last write and not yet advanced over.
    sent: usize,
    /// Whether something was done to a placeholder that must not be.
    is_broken: bool,
}

/// What is next to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// All the slices, as they are.
    Slices,
    /// The first so many slices, and then at most so many bytes that a placeholder stands for.
    InKernel { before: usize, most: usize },
}

impl Outlet {
    /// Takes bytes, and gives what stands for them until they are sent.
    pub(super) fn hold(self: &Arc<Self>, held: InKernel) -> Parcel {
        let left = held.len();
        self.lock().waiting.push_back(held);
        Parcel::InKernel(Placeholder { left, outlet: Arc::clone(self) })
    }

    /// What of these slices is to be written now.
    ///
    /// # Errors
    /// When they are not what hyper should have made of the placeholders that it holds; then, always.
    fn next(&self, slices: &[IoSlice<'_>]) -> io::Result<Next> {
        let mut state = self.lock();
        let at = slices.iter().position(|slice| is_placeholder(slice));
        let next = match (state.waiting.front(), at) {
            _ if state.is_broken || state.sent > 0 => None,
            (None, None) => Some(Next::Slices),
            (Some(held), Some(before)) if slices[before].len() <= held.len() => {
                let most = length_of_placeholder(&slices[before..]).min(held.len());
                Some(Next::InKernel { before, most })
            }
            // A placeholder for nothing, or none for something: it was copied, and the copy is here.
            _ => None,
        };
        if next.is_none() {
            state.is_broken = true;
            // No client can bring this about.
            tracing::error!(
                "an answer was cut off: its bytes in the kernel were not written as given"
            );
        }
        next.ok_or_else(broken)
    }

    /// Sends slices, and if they all leave, what comes next too: as much as the socket takes at once.
    ///
    /// # Errors
    /// Of the socket, if it is before anything has left.
    fn send_after(
        &self,
        slices: &[IoSlice<'_>],
        socket: &TcpStream,
        most: usize,
    ) -> io::Result<usize> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length == 0 {
            return self.send(socket, most);
        }
        match send_with_more_to_come(socket, slices)? {
            // What is wrong with the socket now is still wrong at the next write.
            sent if sent == length => Ok(sent + self.send(socket, most).unwrap_or(0)),
            sent => Ok(sent),
        }
    }

    /// Sends what comes next, as much as the socket takes at once of at most so many bytes. Where the
    /// client has gone this raises SIGPIPE, which every program in Rust ignores from its start.
    ///
    /// # Errors
    /// Of the socket; [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes nothing now.
    fn send(&self, socket: &TcpStream, most: usize) -> io::Result<usize> {
        let mut state = self.lock();
        let held = state.waiting.front_mut().ok_or_else(broken)?;
        let sent = held.send_to(socket, most)?;
        if held.is_empty() {
            state.waiting.pop_front();
        }
        state.sent += sent;
        Ok(sent)
    }

    /// Notes that hyper takes so many bytes to be written.
    fn advance(&self, count: usize) {
        let mut state = self.lock();
        match state.sent.checked_sub(count) {
            Some(sent) => state.sent = sent,
            None => state.is_broken = true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Only what is whole is in it at any moment. It is one task that holds both sides, so nobody
        // ever waits here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these are bytes of a placeholder, wherever it was cut.
fn is_placeholder(slice: &[u8]) -> bool {
    !slice.is_empty() && PLACEHOLDER.as_ptr_range().contains(&slice.as_ptr())
}

/// How many bytes the first of these slices stand for.
fn length_of_placeholder(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().take_while(|slice| is_placeholder(slice)).map(|slice| slice.len()).sum()
}

fn broken() -> io::Error {
    io::Error::other("bytes in the kernel were not written as they were given")
}

/// Bytes of an answer, as hyper is given them.
#[derive(Debug)]
pub(super) enum Parcel {
    /// In memory.
    Here(Bytes),
    /// In the kernel.
    InKernel(Placeholder),
}

/// What stands for bytes in the kernel.
#[derive(Debug)]
pub(super) struct Placeholder {
    left: usize,
    outlet: Arc<Outlet>,
}

impl Buf for Parcel {
    fn remaining(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.remaining(),
            Self::InKernel(placeholder) => placeholder.left,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Here(bytes) => bytes.chunk(),
            Self::InKernel(placeholder) => &PLACEHOLDER[..placeholder.left.min(PLACEHOLDER.len())],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut left, mut count) = match (self, slices.first_mut()) {
            (Self::InKernel(placeholder), _) => (placeholder.left, 0),
            (Self::Here(bytes), Some(slice)) if !bytes.is_empty() => {
                *slice = IoSlice::new(bytes);
                return 1;
            }
            (Self::Here(_), _) => return 0,
        };
        // The same bytes over and over: they stand for others.
        for slice in slices {
            let length = left.min(PLACEHOLDER.len());
            if length == 0 {
                break;
            }
            *slice = IoSlice::new(&PLACEHOLDER[..length]);
            (left, count) = (left - length, count + 1);
        }
        count
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Here(bytes) => bytes.advance(count),
            Self::InKernel(Placeholder { left, outlet }) => {
                *left = left.checked_sub(count).expect("no further than there are bytes");
                outlet.advance(count);
            }
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // The next placeholder would be taken for this one.
        if self.left > 0 {
            self.outlet.lock().is_broken = true;
        }
    }
}

/// A client's socket, into which an outlet leads.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: TcpStream,
    outlet: Arc<Outlet>,
}

impl Outgoing {
    pub(super) const fn new(stream: TcpStream, outlet: Arc<Outlet>) -> Self {
        Self { stream, outlet }
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.outlet.next(slices)? {
            Next::Slices => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
            Next::InKernel { before, most } => {
                let send = || self.outlet.send_after(&slices[..before], &self.stream, most);
                poll_io(&self.stream, Interest::WRITABLE, cx, send)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Without it hyper would copy what it is given.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Sends what more follows at once, so that a head leaves in one packet with the body's first bytes.
#[cfg(target_os = "linux")]
fn send_with_more_to_come(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    use rustix::io::retry_on_intr;
    use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

    let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
    let send = || sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags);
    Ok(retry_on_intr(send)?)
}

/// Elsewhere there are no bytes in the kernel which could follow.
#[cfg(not(target_os = "linux"))]
fn send_with_more_to_come(socket: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    socket.try_write_vectored(slices)
}

#[cfg(test)]
mod tests;
