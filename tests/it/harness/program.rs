//! The program as an operator runs it: its own process, its exit code, its log.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// After this a line is taken for one that never comes. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    /// Everything that was written to standard error.
    pub stderr: String,
}

/// The command with these arguments, and nothing of this process's environment.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_safelight"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A program whose system calls `strace` writes to a file. The process is the program itself; what
/// traces it is no child of ours (`-D`) and ends after it.
pub fn traced(program: &Path, calls: &str, trace: &Path) -> Command {
    let mut command = Command::new("/usr/bin/strace");
    command.args(["-D", "-f", "-q", "-y", "-s", "65536", "-e", &format!("trace={calls}"), "-o"]);
    command.arg(trace).arg(program).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Ended {
    run_with(arguments, &[])
}

/// Runs it to its end with environment variables.
pub fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let environment = environment.iter().copied();
    let output = command(arguments).envs(environment).output().expect("the program starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A process that goes on until it is told to end; killed when the test does not.
pub struct Program {
    process: Child,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// What was read of the log so far.
    log: Vec<String>,
}

impl Program {
    /// `safelight serve` with a settings file.
    pub fn serve(settings: &Path, environment: &[(&str, &str)]) -> Self {
        let mut serve = command(&["serve", "--config", settings.to_str().unwrap()]);
        serve.envs(environment.iter().copied());
        Self::start(serve)
    }

    /// The same, from a shell that gives so many file descriptors, and lets others be asked for.
    pub fn serve_with_descriptors(settings: &Path, given: u64, allowed: u64) -> Self {
        let script = format!("ulimit -S -n {given} && ulimit -H -n {allowed} && exec \"$@\"");
        let mut serve = Command::new("sh");
        serve.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_safelight"), "serve", "--config"]);
        serve.arg(settings).env_clear().stdin(Stdio::null());
        serve.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start(serve)
    }

    /// The same, with its system calls written to a file by `strace`.
    pub fn traced(settings: &Path, calls: &str, trace: &Path) -> Self {
        let mut serve = traced(env!("CARGO_BIN_EXE_safelight").as_ref(), calls, trace);
        serve.args(["serve", "--config", settings.to_str().unwrap()]).env_clear();
        Self::start(serve)
    }

    fn start(mut command: Command) -> Self {
        let mut process = command.spawn().expect("the program starts");
        let stderr = process.stderr.take().expect("it was asked for");
        let (sender, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                if sender.send(line.expect("the log is text")).is_err() {
                    break;
                }
            }
        });
        Self { process, lines, reader: Some(reader), log: Vec::new() }
    }

    /// Reads the log up to the line with this message, which is an object of JSON.
    ///
    /// # Panics
    /// If the process ends without it; what it said is in the message.
    pub fn wait_for(&mut self, message: &str) -> Value {
        self.wait_for_line(message, |event| event["message"] == message)
    }

    /// Reads the log up to the next line that is the one meant; `what` is for the message.
    ///
    /// # Panics
    /// If the process ends without it; what it said is in the message.
    pub fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line says {what:?}:\n{}", self.log.join("\n"));
            };
            let event = serde_json::from_str::<Value>(&line).unwrap_or_default();
            self.log.push(line);
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Where it listens: for the world and for the operator.
    pub fn addresses(&mut self) -> (String, String) {
        let event = self.wait_for("listening");
        let base = |field: &str| format!("http://{}", event[field].as_str().unwrap());
        (base("address"), base("admin"))
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends the signal that asks a process to end.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal that asks a process to read its files again.
    pub fn hang_up(&self) {
        self.signal("HUP");
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        let script = format!("kill -{name} \"$1\"");
        let sent = Command::new("sh").args(["-c", &script, "sh", &id]).status();
        assert!(sent.expect("sh starts").success(), "the process is gone already");
    }

    /// Ends it as a crash does: at once, in whatever it is doing.
    pub fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("the process is ours");
    }

    /// Waits for its end, for which something else has given the reason.
    pub fn ended(mut self) -> Ended {
        let code = self.process.wait().expect("the process is ours").code();
        self.reader.take().expect("it runs").join().expect("the log is text");
        self.log.extend(self.lines.try_iter());
        let mut stdout = String::new();
        let mut output = self.process.stdout.take().expect("it was asked for");
        output.read_to_string(&mut stdout).unwrap();
        Ended { code, stdout, stderr: self.log.join("\n") }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where the test has waited for it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
