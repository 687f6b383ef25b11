//! Whether storage holds clients to what was signed: the type, the size, the content, the time, and
//! that nothing is written twice.
//!
//! A refusal proves something only where the same request, sent as it was signed, is accepted. What
//! the app itself signs has been accepted by then; the rest is sent both ways.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::domain::StoragePath;
use crate::storage::{PutGrant, SignedRequest, StorageErrorKind};
use crate::upstream::SendError;

use super::check::Finding;
use super::plain::{self, Answer};
use super::provider::{Permission, Provider};
use super::{Examination, NO_PROBE, PROBE};

/// The type that was not signed: what an attacker would store, for its script.
const OTHER_TYPE: HeaderValue = HeaderValue::from_static("text/html");

/// How long ago the expired URL was signed. Servers allow clocks to differ by 15 minutes.
const LONG_AGO: Duration = Duration::from_secs(3_600);

/// How long a URL lives whose end is waited for. One second may have passed before it is signed.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// What is waited beyond the end: some servers take the last second as within.
const BEYOND: Duration = Duration::from_secs(1);

/// How long an end is waited for at most.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// What a client may declare of its upload.
#[derive(Clone, Copy)]
enum Declared {
    Size,
    Sha256,
}

impl Declared {
    /// The grant with the declaration that is true of the probe.
    fn on(self, grant: PutGrant<'_>) -> PutGrant<'_> {
        match self {
            Self::Size => PutGrant { size: Some(PROBE.len() as u64), ..grant },
            Self::Sha256 => PutGrant { sha256: Some(Sha256::digest(PROBE).into()), ..grant },
        }
    }

    /// Bytes of which it is not true, and the names of the two objects.
    fn broken(self) -> Bytes {
        let mut bytes = PROBE.to_vec();
        match self {
            Self::Size => bytes.push(b'\n'),
            Self::Sha256 => *bytes.last_mut().expect("the probe has bytes") ^= 1,
        }
        bytes.into()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Sha256 => "sha256",
        }
    }

    const fn header(self, provider: Provider) -> &'static str {
        match self {
            Self::Size => provider.size(),
            Self::Sha256 => provider.sha256(),
        }
    }

    /// What to do about storage that does not hold clients to it.
    const fn without(self) -> &'static str {
        match self {
            Self::Size => {
                "turn off Upload.RequireSize and do not count on a declared size before an upload \
                 is finalized, which is when the gateway looks for itself; or use other storage"
            }
            Self::Sha256 => {
                "let clients declare no sha256, which would promise nothing here; or use other \
                 storage"
            }
        }
    }
}

impl Examination<'_> {
    /// Signs the PUT of everything that a client may declare and storage may enforce.
    pub(super) async fn sign_all(&self, path: &StoragePath) -> Result<SignedRequest, String> {
        let now = SystemTime::now();
        let sized = Declared::Size.on(self.grant(path));
        let all = Declared::Sha256.on(sized.clone());
        let signed = match self.app.store.sign_put(&all, now).await {
            Err(error) if error.kind == StorageErrorKind::Unsupported => {
                self.app.store.sign_put(&sized, now).await
            }
            signed => signed,
        };
        signed.map_err(|error| error.detail)
    }

    /// What came of a PUT that must be refused; `fix` is for the case that it is not.
    fn must_be_refused(&self, sent: Result<Answer, SendError>, fix: impl Into<String>) -> Finding {
        match sent {
            Ok(answer) if answer.is_refusal() => Finding::pass(answer.brief()),
            Ok(answer) if answer.status.is_success() => {
                Finding::fail(format!("{}: it was accepted", answer.status.as_u16()), fix)
            }
            other => self.put_failed(other),
        }
    }
}

pub(super) async fn other_type(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path("-other-type");
    let signed = match exam.app.store.sign_put(&exam.grant(&path), SystemTime::now()).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, Permission::Write),
    };
    let mut headers = plain::headers_of(&signed);
    headers.insert(CONTENT_TYPE, OTHER_TYPE);
    let sent = exam.send_put(path, &signed.url, headers, Examination::probe()).await;
    exam.must_be_refused(
        sent,
        "do not open uploads on this storage: it ignores a signed Content-Type, and whoever has an \
         upload URL can store a page with a script",
    )
}

pub(super) async fn other_size(exam: &mut Examination<'_>) -> Finding {
    declared(exam, Declared::Size).await
}

pub(super) async fn other_content(exam: &mut Examination<'_>) -> Finding {
    declared(exam, Declared::Sha256).await
}

/// Declares, and sends first what was declared, and then something else.
async fn declared(exam: &mut Examination<'_>, what: Declared) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let (name, header) = (what.name(), what.header(exam.provider()));
    for (suffix, body) in [("", Examination::probe()), ("-other", what.broken())] {
        let is_true = suffix.is_empty();
        let path = exam.path(&format!("-{name}{suffix}"));
        let grant = what.on(exam.grant(&path));
        let signed = match exam.app.store.sign_put(&grant, SystemTime::now()).await {
            Ok(signed) => signed,
            Err(error) if error.kind == StorageErrorKind::Unsupported => {
                return Finding::not_checked(format!("{}: presigning says so", error.detail));
            }
            Err(error) => return exam.call_failed(&error, Permission::Write),
        };
        let sent = exam.send_signed(path, &signed, body).await;
        if !is_true {
            let fix = format!("this provider ignores {header}: {}", what.without());
            return exam.must_be_refused(sent, fix);
        }
        match sent {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) if answer.is_refusal() || answer.status == StatusCode::NOT_IMPLEMENTED => {
                return Finding::fail(
                    format!("a PUT with a true {name} is refused: {}", answer.summary()),
                    format!("this provider does not take {header}: {}", what.without()),
                );
            }
            other => return exam.put_failed(other),
        }
    }
    unreachable!("the second PUT has been judged")
}

pub(super) async fn expired(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        // Then a refusal would prove nothing.
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path("-expired");
    let signed = match sign_expired(exam, &path).await {
        Ok(signed) => signed,
        Err(finding) => return finding,
    };
    let sent = exam.send_signed(path, &signed, Examination::probe()).await;
    exam.must_be_refused(
        sent,
        "do not open uploads on this storage: an upload URL that has run out still works, and \
         whoever finds one in a log can write",
    )
}

/// Signs a URL that has run out by storage's clock when this returns.
async fn sign_expired(
    exam: &Examination<'_>,
    path: &StoragePath,
) -> Result<SignedRequest, Finding> {
    let sign = async |expires_in, at| {
        let grant = PutGrant { expires_in, ..exam.grant(path) };
        exam.app.store.sign_put(&grant, at).await
    };
    let failed = |error| exam.call_failed(&error, Permission::Write);
    let now = SystemTime::now();
    match sign(super::URL_LIFE, now - LONG_AGO).await {
        // Google's signer stamps with its own clock and signs nothing of the past.
        Err(error) if error.kind == StorageErrorKind::Unsupported => {}
        signed => return signed.map_err(failed),
    }
    let signed = sign(SHORT_LIFE, now).await.map_err(failed)?;
    let behind = exam.clocks.and_then(|(ours, theirs)| ours.duration_since(theirs).ok());
    let over = signed.expires_at + behind.unwrap_or_default() + BEYOND;
    let wait = over.duration_since(SystemTime::now()).unwrap_or_default();
    if wait > MAX_WAIT {
        let why = format!("storage's clock is {} s behind: too long to wait for", wait.as_secs());
        return Err(Finding::not_checked(why));
    }
    // Nothing announces that a time has come.
    tokio::time::sleep(wait).await;
    Ok(signed)
}

pub(super) async fn create_once(exam: &mut Examination<'_>) -> Finding {
    if !exam.app.upload.prevent_overwrite {
        return Finding::not_checked("Upload.PreventOverwrite is off");
    }
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path("");
    let signed = match exam.app.store.sign_put(&exam.grant(&path), SystemTime::now()).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, Permission::Write),
    };
    let condition = exam.provider().create_once();
    match exam.send_signed(path, &signed, Examination::probe()).await {
        Ok(answer) if answer.status.as_u16() == 412 => {
            Finding::pass(format!("412 to a second {condition}"))
        }
        Ok(answer) if answer.status.is_success() => Finding::fail(
            format!("{} to a second PUT with {condition}", answer.status.as_u16()),
            format!(
                "turn off Upload.PreventOverwrite: this provider ignores {}, so that an upload URL \
                 can replace what it wrote; or use other storage",
                condition.split(':').next().unwrap_or(condition).to_ascii_lowercase()
            ),
        ),
        other => exam.put_failed(other),
    }
}
