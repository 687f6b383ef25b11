//! Files that lie in memory and nowhere else (`memfd_create(2)`): a socket is sent what is in them
//! without a copy (`sendfile(2)`).
//!
//! A file is written once, before anybody has it, and never again: bytes that were sent are in the
//! socket's queue by reference, and would change with it there.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use rustix::io::retry_on_intr;
use rustix::param::page_size;

use super::{descriptors, kernel};

/// One in so many of the file descriptors that the process may have is for these files. Most are for
/// connections.
const PART_OF_DESCRIPTORS: u64 = 4;

/// What a file takes besides its pages, in bytes: the kernel's inode, directory entry, open file and
/// first node of pages (1,776 by `/proc/slabinfo` of Linux 6.18), and what is known of it here.
const FILE_BYTES: usize = 2 * 1024;

/// The files of a process, which are counted.
#[derive(Debug)]
pub struct MemoryFiles {
    most: usize,
    open: AtomicUsize,
}

impl MemoryFiles {
    /// Files, as many as the process may have descriptors for; none where a socket cannot be sent
    /// from them, as in some sandboxes: that is tried once.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let files = Self::at_most(descriptors(PART_OF_DESCRIPTORS));
        match files.try_one() {
            Ok(()) => files,
            Err(why) => {
                tracing::info!(%why, "objects in memory are copied: they cannot be sent from files");
                Self::at_most(0)
            }
        }
    }

    fn at_most(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: AtomicUsize::new(0) })
    }

    /// Sends a byte from a file.
    fn try_one(self: &Arc<Self>) -> io::Result<()> {
        let mut file = self.put(b"?").ok_or(io::ErrorKind::Unsupported)?;
        let (near, _far) = UnixStream::pair()?;
        match file.send_to(&near, 1)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Puts bytes into a file; `None` if there is none to be had.
    #[must_use]
    pub fn put(self: &Arc<Self>, bytes: &[u8]) -> Option<Filed> {
        // Counted before it is there, and no longer when it is not.
        let place = Place::take(self)?;
        let descriptor = kernel::open_file().ok()?;
        let mut left = bytes;
        while !left.is_empty() {
            match retry_on_intr(|| rustix::io::write(&descriptor, left)).ok()? {
                0 => return None,
                written => left = &left[written..],
            }
        }
        let file = Arc::new(File { descriptor, _place: place });
        Some(Filed { file, range: 0..bytes.len() as u64 })
    }
}

/// That there may be one file more.
#[derive(Debug)]
struct Place(Arc<MemoryFiles>);

impl Place {
    fn take(files: &Arc<MemoryFiles>) -> Option<Self> {
        let open = files.open.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(files));
        (open < files.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct File {
    descriptor: OwnedFd,
    _place: Place,
}

/// Bytes in a file, or a part of those. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Filed {
    file: Arc<File>,
    range: Range<u64>,
}

impl Filed {
    /// How many there are.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // they came from memory
    pub const fn len(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What their file takes in memory, in bytes: whole pages, and what the kernel knows of it.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.len().next_multiple_of(page_size()) + FILE_BYTES
    }

    /// A part of them.
    ///
    /// # Panics
    /// If it is not within them.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {self:?}");
        let at = |offset: usize| self.range.start + offset as u64;
        Self { file: Arc::clone(&self.file), range: at(range.start)..at(range.end) }
    }

    /// Whether both are of the same file.
    #[must_use]
    pub fn is_of_the_file_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// Sends as many of the first `most` to a socket as it takes at once; how many that are.
    ///
    /// # Errors
    /// Of the socket; [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes nothing now.
    pub(super) fn send_to(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let most = most.min(self.len());
        kernel::send_file(&self.file.descriptor, &mut self.range.start, socket, most)
    }

    /// Reads the first `most` of them into memory, or all if they are fewer.
    ///
    /// # Errors
    /// Of reading from the file, which holds them: none is known.
    pub fn read(&mut self, most: usize) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(most.min(self.len()));
        let mut at = 0;
        while at < bytes.len() {
            let read =
                || rustix::io::pread(&self.file.descriptor, &mut bytes[at..], self.range.start);
            match retry_on_intr(read)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    at += read;
                    self.range.start += read as u64;
                }
            }
        }
        Ok(bytes.freeze())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, Read as _};

    use proptest::prelude::*;

    use super::*;

    fn put(bytes: &[u8]) -> Filed {
        MemoryFiles::new().put(bytes).expect("a file")
    }

    /// What a socket is sent of them, at most so many at a time. Each piece is taken at once: of many
    /// small ones a socket holds few.
    fn sent(mut filed: Filed, most: usize) -> Vec<u8> {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut received = Vec::new();
        loop {
            let sent = filed.send_to(&near, most).unwrap();
            if sent == 0 {
                return received;
            }
            let begin = received.len();
            received.resize(begin + sent, 0);
            far.read_exact(&mut received[begin..]).unwrap();
        }
    }

    proptest! {
        /// A part of a part, however it is taken out, is what it would be of bytes in memory.
        #[test]
        fn a_part_is_what_it_would_be_in_memory(
            bytes in proptest::collection::vec(any::<u8>(), 0..9000),
            at in any::<[prop::sample::Index; 4]>(),
            most in 1..5000_usize,
        ) {
            let (mut filed, mut expected) = (put(&bytes), Bytes::from(bytes));
            for ends in at.chunks(2) {
                let ends = [0, 1].map(|end| ends[end].index(expected.len() + 1));
                let range = ends[0].min(ends[1])..ends[0].max(ends[1]);
                (filed, expected) = (filed.slice(range.clone()), expected.slice(range));
            }
            prop_assert_eq!(filed.len(), expected.len());
            prop_assert_eq!(sent(filed.clone(), most), expected.to_vec());
            let mut read = Vec::new();
            while !filed.is_empty() {
                let piece = filed.read(most).unwrap();
                prop_assert!(!piece.is_empty() && piece.len() <= most);
                read.extend_from_slice(&piece);
            }
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    #[should_panic(expected = "1..4 of")]
    fn there_is_no_part_beyond_the_end() {
        let _ = put(b"abc").slice(1..4);
    }

    #[test]
    fn what_one_has_taken_is_still_there_for_others() {
        let mut first = put(b"hello");
        let second = first.clone();
        assert_eq!(first.read(4).unwrap(), "hell");
        assert_eq!((sent(first, 9), sent(second.slice(1..3), 9)), (b"o".into(), b"el".into()));
    }

    #[test]
    fn a_socket_that_takes_nothing_leaves_everything_where_it_is() {
        let bytes: Vec<u8> = (0..1 << 20).map(|n: u32| (n / 251) as u8).collect();
        let mut filed = put(&bytes);
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let full = loop {
            match filed.send_to(&near, usize::MAX) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).unwrap();
        assert!(!received.is_empty() && !filed.is_empty());
        received.extend(filed.read(usize::MAX).unwrap());
        assert!(received == bytes);
    }

    #[test]
    fn there_are_only_so_many() {
        let files = MemoryFiles::at_most(2);
        let open = || files.count();
        let first = files.put(b"first").unwrap();
        let second = files.put(b"second").unwrap();
        assert!(files.put(b"third").is_none());
        assert_eq!(open(), 2, "and who had none has no place");
        let part = second.slice(0..3);
        drop((first, second));
        assert_eq!(open(), 1, "a part is all of a file");
        assert!(part.is_of_the_file_of(&part.clone()));
        assert!(files.put(b"third").is_some_and(|third| !third.is_of_the_file_of(&part)));
        drop(part);
        assert_eq!(open(), 0);
        assert!(
            MemoryFiles::at_most(0).try_one().is_err(),
            "one that cannot be had cannot be sent"
        );
    }

    #[test]
    fn a_file_weighs_whole_pages() {
        let page = page_size();
        for (length, pages) in [(0, 0), (1, 1), (page, 1), (page + 1, 2)] {
            assert_eq!(put(&vec![1; length]).weight(), pages * page + FILE_BYTES, "{length}");
        }
    }
}
