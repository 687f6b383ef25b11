//! What the process says: to standard error, one line an event, each with the request that it
//! belongs to. A process has one log, as it has one standard error.

mod access;
mod lines;
mod request;
mod subscriber;
mod time;
mod writer;

use std::sync::OnceLock;
use std::time::SystemTime;

pub use access::{AccessLine, TARGET as ACCESS_TARGET};
pub use request::{RequestId, of_this_request};

use writer::Writer;

/// Where the access log goes.
enum Access {
    Nowhere,
    Written(Writer),
}

/// How the access log is kept, where it does not go the way of all events.
static ACCESS: OnceLock<Access> = OnceLock::new();

/// Logs in JSON, for machines. What is logged is `info` and above, unless `SAFELIGHT_LOG` says
/// otherwise.
///
/// # Errors
/// The system has no thread for the access log.
pub fn to_json() -> std::io::Result<()> {
    let access = match subscriber::to_json() {
        true => Access::Written(Writer::start(std::io::stderr())?),
        false => Access::Nowhere,
    };
    // A second call, in a test, keeps the first one's.
    let _ = ACCESS.set(access);
    Ok(())
}

/// Logs in text, for a developer at a terminal.
pub fn to_terminal() {
    subscriber::to_terminal();
}

/// Logs a request that has ended.
pub fn access(line: &AccessLine<'_>) {
    match ACCESS.get() {
        Some(Access::Written(writer)) => {
            writer.line(|out| line.append_to(out, SystemTime::now()));
        }
        Some(Access::Nowhere) => {}
        None => line.emit(),
    }
}

/// Writes what is still waiting. To be called once, at the end of the process.
pub fn end() {
    if let Some(Access::Written(writer)) = ACCESS.get() {
        writer.end();
    }
}
