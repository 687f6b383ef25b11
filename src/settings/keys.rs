//! `[Keys]`: the secrets of the gateway itself.

use std::path::Path;

use crate::config::{Section, read_text};
use crate::domain::{MintSecrets, Secret};

/// The shortest secret, in bytes: HMAC-SHA256 is as strong as its key up to 32 bytes (RFC 2104 §3).
const SHORTEST: usize = 32;

/// The secrets of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySettings {
    /// The first mints keys, all verify. Append-only: back it up like data.
    pub mint: MintSecrets,
    /// The first signs upload tokens, all verify. Never empty.
    pub signing: Vec<Secret>,
}

impl KeySettings {
    pub(super) fn from_section(section: &mut Section<'_>) -> Option<Self> {
        let mint = secrets(section, "MintSecrets", "MintSecretsFile");
        let signing = secrets(section, "SigningSecrets", "SigningSecretsFile");
        Some(Self { mint: MintSecrets::new(mint?)?, signing: signing? })
    }
}

/// The secrets of one kind, from the list or from the file. Never an empty list.
fn secrets(
    section: &mut Section<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Vec<Secret>> {
    let listed = section.key(key).texts(|text| secret(text, None)).check(|secrets| {
        if secrets.is_empty() { Err(how_to_make("the list is empty")) } else { Ok(()) }
    });
    let filed = section.key(file_key).text(secrets_in_file);
    if listed.is_present() && filed.is_present() {
        let message = format!("Keys.{key} and Keys.{file_key} are both set");
        section.error(filed.place(), message, Some("remove one of the two".to_owned()));
        return None;
    }
    if filed.is_present() {
        return filed.optional();
    }
    let what = format!(
        "one or more secrets (or {file_key}, a file with one in a line); make one with: openssl rand -hex 32"
    );
    listed.required(&what)
}

/// Reads a file with a secret in each line; empty lines do not count.
pub(super) fn secrets_in_file(path: &str) -> Result<Vec<Secret>, String> {
    let text = read_text(Path::new(path)).map_err(|error| error.to_string())?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let secrets: Vec<_> = lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| secret(line, Some((path, number))))
        .collect::<Result<_, _>>()?;
    if secrets.is_empty() { Err(how_to_make(&format!("{path} is empty"))) } else { Ok(secrets) }
}

/// Takes a secret that is long enough. The error does not tell it.
pub(super) fn secret(text: &str, place: Option<(&str, usize)>) -> Result<Secret, String> {
    if text.len() >= SHORTEST {
        return Ok(Secret::new(text));
    }
    let what = format!("a secret has {} bytes, and at least {SHORTEST} are needed", text.len());
    Err(match place {
        Some((file, line)) => how_to_make(&format!("{file}:{line}: {what}")),
        None => how_to_make(&what),
    })
}

fn how_to_make(problem: &str) -> String {
    format!("{problem}; make one with: openssl rand -hex 32")
}
