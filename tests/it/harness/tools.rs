//! Clients that others wrote: curl, openssl, h2load.

use std::process::{Command, Output, Stdio};

/// How a tool ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a tool to its end, with an empty standard input, beside the test.
pub async fn run(tool: &'static str, arguments: &[&str]) -> Said {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || {
        let mut command = Command::new(tool);
        command.args(arguments).stdin(Stdio::null()).output()
    };
    let ran = tokio::task::spawn_blocking(run).await.unwrap();
    let Output { status, stdout, stderr } =
        ran.unwrap_or_else(|error| panic!("{tool}: {error}: run tests/peers"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}
