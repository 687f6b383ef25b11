//! Scripts in Python, with the packages of `.peers/`: what the code of others makes of what is ours.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a script of `tests/it/` with this input, and gives its output. Blocks until it has ended.
pub fn run(script: &str, input: String) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".peers/venv/bin/python");
    let run = Command::new(&python)
        .arg(root.join("tests/it").join(script))
        .env_clear()
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut run = run.unwrap_or_else(|error| {
        panic!("this test needs {} ({error}): run tests/peers", python.display())
    });
    let mut stdin = run.stdin.take().expect("it was asked for");
    // Beside the reading: neither side waits for the other's pipe to have room. A script that dies
    // early closes its input, and its status tells below.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = run.wait_with_output().expect("the process is ours");
    let written = writer.join().expect("writing does not panic");
    assert!(
        output.status.success(),
        "{script} failed; if it lacks something, run tests/peers:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    written.expect("the script reads all of its input");
    String::from_utf8(output.stdout).expect("the script writes UTF-8")
}
