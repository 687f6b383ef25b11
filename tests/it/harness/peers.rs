//! Starting real servers, whatever they are, so that none outlives the tests.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command until its standard input ends, however the test process ends, and then removes
/// the directory. A static value is never dropped, and a killed process drops nothing.
const UNTIL_INPUT_ENDS: &str = r#"
    trap '' INT
    dir=$1; shift; exec 3<&0
    "$@" & server=$!
    (cat <&3 >/dev/null; kill $server) & watcher=$!
    wait $server; status=$?
    kill $watcher 2>/dev/null
    rm -rf "$dir"
    exit $status
"#;

/// A command that runs `program` as long as the process that starts it keeps its standard input, with
/// its output in `log`; then `dir` is removed.
pub fn until_input_ends(program: &Path, dir: &Path, log: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", UNTIL_INPUT_ENDS, "sh"])
        .arg(dir)
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(File::create(log).expect("the log is created"))
        .stderr(File::options().append(true).open(log).expect("the log is opened"));
    command
}

/// An address on which nobody listens, at this moment.
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a free port")
}

/// Starts a server: another process may take a port between the look and the start, so it may take
/// a few tries.
///
/// # Panics
/// If it does not start.
pub async fn started<T>(name: &str, start: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..3 {
        if let Some(started) = start().await {
            return started;
        }
    }
    panic!("{name} does not start: its log is above");
}

/// Whether a server takes connections before the time is up. It can only be tried again and again:
/// these servers tell nobody when they are ready.
pub async fn listens_in_time(process: &mut Child, address: SocketAddr, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return true;
        }
        if process.try_wait().expect("the process is ours").is_some() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
