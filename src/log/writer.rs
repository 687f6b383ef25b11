//! Lines on their way to standard error. Whoever has a line puts it into a buffer; a thread of its
//! own writes what has come together, so that no request waits for a disk or for a pipe.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::time::timestamp;

/// How long lines are gathered. As long as a line may be missing after a crash; at 50,000 requests
/// a second one write takes a thousand of them.
const GATHER: Duration = Duration::from_millis(20);

/// How much waits at most, in bytes: at 50,000 requests a second that is a second of a log that
/// nobody takes. Beyond it lines are lost, rather than memory or requests; how many is said.
const MAX_WAITING: usize = 16 << 20;

/// A buffer that is written by its own thread.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: String,
    /// How many lines had no room since the last write.
    lost: u64,
    ending: bool,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || of_thread.write_until_ended(out))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Puts a line into the buffer.
    pub(super) fn line(&self, append: impl FnOnce(&mut String)) {
        let mut waiting = self.shared.lock();
        if waiting.text.len() >= MAX_WAITING {
            waiting.lost += 1;
            return;
        }
        let was_empty = waiting.text.is_empty();
        append(&mut waiting.text);
        drop(waiting);
        if was_empty {
            self.shared.changed.notify_one();
        }
    }

    /// Writes what there is, and ends the thread. Later lines are not written.
    pub(super) fn end(&self) {
        self.shared.lock().ending = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It panics at most where standard error does, and then there is nobody to tell.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until_ended(&self, mut out: impl Write) {
        let mut text = String::new();
        loop {
            let waiting = self.lock();
            let idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.ending;
            let waiting =
                self.changed.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
            let ending = |waiting: &mut Waiting| !waiting.ending;
            let gathered = self.changed.wait_timeout_while(waiting, GATHER, ending);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.text, &mut text);
            let (lost, ending) = (std::mem::take(&mut waiting.lost), waiting.ending);
            drop(waiting);
            if lost > 0 {
                text.push_str("{\"timestamp\":\"");
                timestamp(&mut text, SystemTime::now());
                text.push_str("\",\"level\":\"WARN\",\"target\":\"safelight::access\",");
                text.push_str("\"message\":\"lines were lost: the log is not taken\",\"lost\":");
                text.push_str(&lost.to_string());
                text.push_str("}\n");
            }
            // A log that nobody takes any more ends no request.
            let _ = out.write_all(text.as_bytes());
            text.clear();
            text.shrink_to(MAX_WAITING / 16);
            if ending {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Hands on what is written, and takes the next only after a word.
    struct Slow {
        written: Sender<String>,
        go_on: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.written.send(String::from_utf8(bytes.to_vec()).unwrap()).unwrap();
            self.go_on.recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_in_order_and_whole() {
        let (written, all) = channel();
        let (word, go_on) = channel();
        (0..10_000).for_each(|_| word.send(()).unwrap());
        let writer = Writer::start(Slow { written, go_on }).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let writer = &writer;
                scope.spawn(move || {
                    for line in 0..500 {
                        writer.line(|out| out.push_str(&format!("{thread} {line}\n")));
                    }
                });
            }
        });
        writer.end();
        let text: String = all.iter().collect();
        for thread in 0..4 {
            let own = text.lines().filter(|line| line.starts_with(&format!("{thread} ")));
            let expected: Vec<_> = (0..500).map(|line| format!("{thread} {line}")).collect();
            assert_eq!(own.collect::<Vec<_>>(), expected);
        }
        assert_eq!(text.lines().count(), 2000);
    }

    #[test]
    fn a_log_that_nobody_takes_loses_lines_and_says_how_many() {
        let (written, all) = channel();
        let (word, go_on) = channel();
        let writer = Writer::start(Slow { written, go_on }).unwrap();
        writer.line(|out| out.push_str("first\n"));
        assert_eq!(all.recv().unwrap(), "first\n", "and now it stands still");
        let large = "x".repeat(MAX_WAITING / 4 - 1) + "\n";
        for _ in 0..7 {
            writer.line(|out| out.push_str(&large));
        }
        (0..3).for_each(|_| word.send(()).unwrap());
        let text = all.recv().unwrap();
        writer.end();
        assert_eq!(text.lines().filter(|line| line.starts_with("xxx")).count(), 4);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["level"], &last["lost"]), (&"WARN".into(), &3.into()));
    }
}
