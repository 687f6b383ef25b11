//! What the kernel does with pipes, where it does.

use std::io;
use std::os::fd::AsFd;

use super::Pipe;

#[cfg(target_os = "linux")]
pub(super) fn open() -> io::Result<Pipe> {
    use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};

    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Users who have many pipes are given short ones, which cost more than copying.
    if fcntl_getpipe_size(&writer)? < super::PIPE_BYTES {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    Ok(Pipe { reader, writer })
}

/// Elsewhere there are no such pipes, and everything is copied.
#[cfg(not(target_os = "linux"))]
pub(super) fn open() -> io::Result<Pipe> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Moves bytes out of a pipe, or into one.
#[cfg(target_os = "linux")]
pub(super) fn pass(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    use rustix::io::retry_on_intr;
    use rustix::pipe::{SpliceFlags, splice};

    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    Ok(retry_on_intr(|| splice(&from, None, &to, None, most, flags))?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pass(_: impl AsFd, _: impl AsFd, _: usize) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
