//! `safelight api-key`: a new key for `[Identity] ApiKeys` of an app's file.

use std::io::Write as _;
use std::process::ExitCode;

use crate::identity::{KEY_ENTROPY_BYTES, KeyHash, mint_api_key};

pub(super) fn run() -> ExitCode {
    match print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("there is no key: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Key and hash on standard output, each in a line of TOML; what to do with them on standard error.
fn print() -> Result<(), String> {
    let mut entropy = [0; KEY_ENTROPY_BYTES];
    getrandom::fill(&mut entropy)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    let key = mint_api_key(entropy);
    let text = key.expose_str().expect("a minted key is ASCII");
    let mut out = std::io::stdout().lock();
    writeln!(out, "Key  = \"{text}\"\nHash = \"{}\"", KeyHash::of(text))
        .and_then(|()| out.flush())
        .map_err(|error| error.to_string())?;
    eprintln!(
        "The key is shown this once: it goes to the server that is to call. The hash goes into the \
         app's file:\n[Identity]\nApiKeys = [{{ ID = \"backend-1\", Hash = \"sha256:…\", Owners = \
         \"any\" }}]"
    );
    Ok(())
}
