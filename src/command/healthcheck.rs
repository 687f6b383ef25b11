//! `safelight healthcheck`: whether a gateway on this machine is ready, for containers that have no
//! curl.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

/// How long the gateway may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which gateway to ask.
#[derive(Debug, Args)]
pub(super) struct HealthcheckArgs {
    /// Where its admin listener is.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    admin: SocketAddr,
}

pub(super) fn run(args: &HealthcheckArgs) -> ExitCode {
    match ask(args.admin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the gateway at {} is not ready: {error}", args.admin);
            ExitCode::FAILURE
        }
    }
}

fn ask(admin: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect_timeout(&admin, TIMEOUT).map_err(|e| e.to_string())?;
    let prepared = stream
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
        .and_then(|()| {
            write!(stream, "GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")
        });
    prepared.map_err(|error| error.to_string())?;
    // The status line is all that matters.
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(|error| error.to_string())?;
    match &head {
        b"HTTP/1.1 200" => Ok(()),
        other => Err(String::from_utf8_lossy(other).into_owned()),
    }
}
