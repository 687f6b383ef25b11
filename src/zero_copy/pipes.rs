//! Bytes on their way from one socket to another through a pipe (`splice(2)`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use rustix::io::retry_on_intr;

use super::{descriptors, kernel};

/// How many bytes a pipe takes that was not told otherwise (pipe(7)): as much as is read at once
/// where bytes are copied.
pub const PIPE_BYTES: usize = 64 * 1024;

/// How many pipes there may be. A user who is not root may have 1,024 of this size, in all processes;
/// those beyond are shorter (pipe(7), `pipe-user-pages-soft`), and not used.
const MAX_PIPES: usize = 1_000;

/// One in so many of the file descriptors that the process may have is for pipes, of two descriptors
/// each. Most are for connections.
const PART_OF_DESCRIPTORS: u64 = 4;

/// One in so many of the pipes that there may be is kept when nothing is in it.
const SPARE: usize = 4;

/// Bytes in a pipe that holds nothing else.
#[derive(Debug)]
pub struct Piped {
    /// `None` once it was given back.
    pipe: Option<Pipe>,
    left: usize,
    pipes: Arc<Pipes>,
}

impl Piped {
    /// How many are left.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.left
    }

    /// Whether none are left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Moves as many of the first `most` into a socket as it takes at once; how many that are.
    ///
    /// # Errors
    /// Of the socket; [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes nothing now.
    pub(super) fn send_to(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let moved = kernel::pass(&pipe.reader, socket, most.min(self.left))?;
        self.left -= moved;
        Ok(moved)
    }

    /// Reads those that are left into memory.
    ///
    /// # Errors
    /// Of reading from the pipe, which holds them: none is known.
    pub fn into_bytes(mut self) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(self.left);
        if let Some(pipe) = &self.pipe {
            while self.left > 0 {
                let at = bytes.len() - self.left;
                match retry_on_intr(|| rustix::io::read(&pipe.reader, &mut bytes[at..]))? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => self.left -= read,
                }
            }
        }
        Ok(bytes.freeze())
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.pipes.give_back(pipe, self.left == 0);
        }
    }
}

/// The pipes of a process: made when they are needed, and used again.
#[derive(Debug)]
pub struct Pipes {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spare: Vec<Pipe>,
    /// The fewest that were spare at a time since they were looked at.
    unused: usize,
    /// How many there are, with those that are in use.
    open: usize,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipes {
    /// Pipes, as many as the process may have descriptors for.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::at_most(MAX_PIPES.min(descriptors(PART_OF_DESCRIPTORS) / 2))
    }

    fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default() })
    }

    /// Takes what has come on a socket into a pipe, at most `most` bytes and not more than fit;
    /// `None` if there is no pipe to be had, and the bytes must be copied.
    ///
    /// # Errors
    /// Of the socket: [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has come,
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if nothing will.
    pub fn fill(self: &Arc<Self>, socket: impl AsFd, most: usize) -> Option<io::Result<Piped>> {
        let pipe = self.take()?;
        // An empty pipe has room: it is the socket that has nothing, if nothing can be moved.
        let filled = kernel::pass(socket, &pipe.writer, most.min(PIPE_BYTES));
        let left = *filled.as_ref().unwrap_or(&0);
        let piped = Piped { pipe: Some(pipe), left, pipes: Arc::clone(self) };
        match filled {
            Ok(0) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Some(Ok(piped)),
            // Of the call, which some sandboxes do not have, and not of the socket.
            Err(error) if is_refusal(error.kind()) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Closes the pipes that nobody has needed since this was called last.
    pub fn close_unused(&self) {
        let mut state = self.lock();
        // Those that lie deepest.
        let unused = state.unused;
        let closed: Vec<Pipe> = state.spare.drain(..unused).collect();
        (state.open, state.unused) = (state.open - unused, state.spare.len());
        drop(state);
        drop(closed);
    }

    fn take(&self) -> Option<Pipe> {
        let mut state = self.lock();
        if let Some(pipe) = state.spare.pop() {
            state.unused = state.unused.min(state.spare.len());
            return Some(pipe);
        }
        if state.open == self.most {
            return None;
        }
        // Where there is none, bytes are copied.
        let (reader, writer) = kernel::open_pipe().ok()?;
        state.open += 1;
        Some(Pipe { reader, writer })
    }

    /// A pipe with something in it is never used again.
    fn give_back(&self, pipe: Pipe, is_empty: bool) {
        let mut state = self.lock();
        if is_empty && state.spare.len() < self.most.div_ceil(SPARE) {
            state.spare.push(pipe);
        } else {
            state.open -= 1;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_refusal(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(kind, InvalidInput | PermissionDenied | Unsupported)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    /// Two ends of a connection, of which the second does not wait.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_nonblocking(true).unwrap();
        (near, far)
    }

    /// What comes of filling a pipe, once something has come.
    fn fill(pipes: &Arc<Pipes>, socket: &TcpStream, most: usize) -> io::Result<Piped> {
        loop {
            match pipes.fill(socket, most).expect("a pipe") {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                filled => return filled,
            }
        }
    }

    #[test]
    fn bytes_go_from_one_socket_to_another() {
        let pipes = Pipes::new();
        let (mut sender, from) = connection();
        let (mut receiver, to) = connection();
        sender.write_all(b"hello, world").unwrap();
        let mut piped = fill(&pipes, &from, 5).unwrap();
        assert_eq!(piped.len(), 5, "no more than was asked for");
        assert_eq!(piped.send_to(&to, 2).unwrap(), 2);
        assert_eq!(piped.send_to(&to, 100).unwrap(), 3);
        assert_eq!((piped.len(), piped.send_to(&to, 100).unwrap()), (0, 0));
        let rest = fill(&pipes, &from, 100).unwrap();
        assert_eq!(rest.into_bytes().unwrap(), ", world", "where they stay in memory");
        drop(to);
        let mut received = String::new();
        receiver.read_to_string(&mut received).unwrap();
        assert_eq!(received, "hello");
    }

    #[test]
    fn nothing_yet_is_not_the_end() {
        let pipes = Pipes::new();
        let (sender, from) = connection();
        let kind = |filled: Option<io::Result<Piped>>| filled.unwrap().unwrap_err().kind();
        assert_eq!(kind(pipes.fill(&from, 1)), ErrorKind::WouldBlock);
        drop(sender);
        assert_eq!(fill(&pipes, &from, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(pipes.lock().open, 1, "the same pipe each time");
    }

    #[test]
    fn what_cannot_be_passed_on_is_to_be_copied() {
        // A directory gives no bytes to anybody.
        let directory = std::fs::File::open("/").unwrap();
        assert!(Pipes::new().fill(&directory, 1).is_none());
    }

    #[test]
    fn a_socket_that_takes_nothing_leaves_everything_where_it_is() {
        let pipes = Pipes::new();
        let (mut sender, from) = connection();
        let (mut receiver, to) = connection();
        let (mut sent, mut piped) = (0, None::<Piped>);
        // Until nothing more fits between them.
        let mut piped = loop {
            let mut next = match piped.take() {
                Some(piped) => piped,
                None => {
                    sender.write_all(&[7; 1000]).unwrap();
                    sent += 1000;
                    fill(&pipes, &from, 1000).unwrap()
                }
            };
            match next.send_to(&to, 1000) {
                Ok(_) => piped = Some(next).filter(|next| !next.is_empty()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break next,
                Err(error) => panic!("{error}"),
            }
        };
        // What is in the pipe is not lost, nor what was still on its way into it.
        sender.shutdown(std::net::Shutdown::Write).unwrap();
        let reading = std::thread::spawn(move || {
            let mut received = Vec::new();
            receiver.read_to_end(&mut received).unwrap();
            received.len()
        });
        loop {
            match piped.send_to(&to, 1000) {
                Ok(0) => match fill(&pipes, &from, 1000) {
                    Ok(next) => piped = next,
                    Err(error) => break assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
                },
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        drop(to);
        assert_eq!(reading.join().unwrap(), sent);
    }

    #[test]
    fn a_pipe_is_used_again_only_when_it_is_empty() {
        let pipes = Pipes::at_most(2);
        let (mut sender, from) = connection();
        sender.write_all(b"abc").unwrap();
        let first = fill(&pipes, &from, 1).unwrap();
        let second = fill(&pipes, &from, 1).unwrap();
        assert!(pipes.fill(&from, 1).is_none(), "there are only so many");
        drop(first);
        let open_and_spare = || {
            let state = pipes.lock();
            (state.open, state.spare.len())
        };
        assert_eq!(open_and_spare(), (1, 0), "there is an a in it");
        assert_eq!(second.into_bytes().unwrap(), "b");
        assert_eq!(open_and_spare(), (1, 1));
        assert_eq!(fill(&pipes, &from, 9).unwrap().into_bytes().unwrap(), "c", "and no b");
    }

    #[test]
    fn what_a_burst_needed_is_closed_when_nobody_needs_it() {
        let pipes = Pipes::at_most(100);
        let (mut sender, from) = connection();
        let mut use_at_once = |count: usize| {
            sender.write_all(&vec![0; count]).unwrap();
            let all: Vec<_> = (0..count).map(|_| fill(&pipes, &from, 1).unwrap()).collect();
            all.into_iter().for_each(|piped| drop(piped.into_bytes().unwrap()));
            pipes.close_unused();
            let state = pipes.lock();
            (state.open, state.spare.len())
        };
        assert_eq!(use_at_once(40), (25, 25), "of a hundred that there may be, a quarter is kept");
        assert_eq!(use_at_once(3), (3, 3));
        assert_eq!(use_at_once(2), (2, 2));
        assert_eq!(use_at_once(0), (0, 0));
        assert_eq!(use_at_once(1), (1, 1));
    }
}
