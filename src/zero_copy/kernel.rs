//! What the kernel does with pipes and files, where it does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

#[cfg(target_os = "linux")]
pub(super) use linux::{open_file, open_pipe, pass, send_file};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{MemfdFlags, memfd_create, sendfile};
    use rustix::io::{Errno, retry_on_intr};
    use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, pipe_with, splice};

    use super::super::PIPE_BYTES;
    use super::{AsFd, OwnedFd, io};

    /// Makes a pipe: its reader and its writer.
    pub fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Users who have many pipes are given short ones, which cost more than copying.
        if fcntl_getpipe_size(&writer)? < PIPE_BYTES {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok((reader, writer))
    }

    /// Moves bytes out of a pipe, or into one.
    pub fn pass(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        Ok(retry_on_intr(|| splice(&from, None, &to, None, most, flags))?)
    }

    /// Makes a file in memory.
    pub fn open_file() -> io::Result<OwnedFd> {
        let make = |flags| memfd_create(c"safelight", flags | MemfdFlags::CLOEXEC);
        // Linux before 6.3 does not know the flag, and some later ones refuse a file without it.
        Ok(match make(MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => make(MemfdFlags::empty()),
            made => made,
        }?)
    }

    /// Sends a file's bytes from an offset on, which it moves.
    pub fn send_file(
        file: impl AsFd,
        offset: &mut u64,
        to: impl AsFd,
        most: usize,
    ) -> io::Result<usize> {
        Ok(retry_on_intr(|| sendfile(&to, &file, Some(&mut *offset), most))?)
    }
}

/// Elsewhere there are no such pipes, and everything is copied.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pass(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Elsewhere there are no such files either.
#[cfg(not(target_os = "linux"))]
pub(super) fn open_file() -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn send_file(_: impl AsFd, _: &mut u64, _: impl AsFd, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
