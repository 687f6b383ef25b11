//! Bytes that stay in the kernel, and are never copied into the process or out of it: those that go
//! from one socket to another through a pipe, and those that lie in a file of memory.
//!
//! | file | what it knows |
//! |---|---|
//! | `pipes.rs` | pipes from one socket to another, and how many there may be |
//! | `files.rs` | files that lie in memory and nowhere else, and how many there may be |
//! | `shared.rs` | bytes that many are sent: in memory as any are, or in such a file |
//! | `chunks.rs` | bodies whose bytes may be in the kernel |
//! | `kernel.rs` | what it is asked to do |
//!
//! Only sockets in the clear can be sent such bytes, and only Linux can do it; whoever cannot pass
//! them on reads them into memory, and nothing but speed and memory depends on it.

use std::io;
use std::os::fd::AsFd;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::process::{Resource, getrlimit};
use tokio::io::Interest;
use tokio::net::TcpStream;

mod chunks;
mod files;
mod kernel;
mod pipes;
mod shared;

pub use chunks::{Chunks, poll_data};
pub use files::{Filed, MemoryFiles};
pub use pipes::{PIPE_BYTES, Piped, Pipes};
pub use shared::Shared;

/// Bytes of a body.
#[derive(Debug)]
pub enum Chunk {
    /// In memory.
    Here(Bytes),
    /// In the kernel.
    InKernel(InKernel),
}

impl Chunk {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::InKernel(held) => held.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes them into memory.
    ///
    /// # Errors
    /// As [`InKernel::into_bytes`].
    pub fn into_bytes(self) -> io::Result<Bytes> {
        match self {
            Self::Here(bytes) => Ok(bytes),
            Self::InKernel(held) => held.into_bytes(),
        }
    }
}

/// Bytes that are in the kernel.
#[derive(Debug)]
pub enum InKernel {
    /// In a pipe.
    Piped(Piped),
    /// In a file.
    Filed(Filed),
}

impl InKernel {
    /// How many are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Piped(piped) => piped.len(),
            Self::Filed(filed) => filed.len(),
        }
    }

    /// Whether none are left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends as many of the first `most` to a socket as it takes at once; how many that are. Not 0
    /// unless there is nothing to send.
    ///
    /// # Errors
    /// Of the socket; [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes nothing now.
    pub fn send_to(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        if most.min(self.len()) == 0 {
            return Ok(0);
        }
        let sent = match self {
            Self::Piped(piped) => piped.send_to(socket, most),
            Self::Filed(filed) => filed.send_to(socket, most),
        }?;
        // What was put into either comes out of it.
        if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
    }

    /// Reads those that are left into memory.
    ///
    /// # Errors
    /// Of reading what is in the kernel already: none is known.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        match self {
            Self::Piped(piped) => piped.into_bytes(),
            Self::Filed(mut filed) => filed.read(filed.len()),
        }
    }
}

/// One part in so many of the file descriptors that the process may have.
fn descriptors(part: u64) -> usize {
    let all = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(all / part).unwrap_or(usize::MAX)
}

/// Tries it whenever the socket is ready for it, until something comes of it.
pub fn poll_io<T>(
    socket: &TcpStream,
    interest: Interest,
    cx: &mut Context<'_>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(match interest.is_readable() {
            true => socket.poll_read_ready(cx),
            false => socket.poll_write_ready(cx),
        })?;
        match socket.try_io(interest, &mut attempt) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            attempted => return Poll::Ready(attempted),
        }
    }
}
