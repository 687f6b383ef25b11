//! The upload of the probe, as a client uploads that was given a signed URL; and storage's clock,
//! which its answer tells.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};

use crate::domain::StoragePath;
use crate::storage::SignedRequest;
use crate::upstream::SendError;

use super::check::Finding;
use super::plain::{self, Answer};
use super::provider::Permission;
use super::{Examination, PROBE};

/// How far the clocks may be apart. NTP keeps them within a fraction of a second; at 15 minutes
/// Amazon refuses requests, and before that URLs live longer or shorter than they should.
const MAX_SKEW: Duration = Duration::from_secs(60);

impl Examination<'_> {
    /// Sends a PUT to where a signature, or the lack of one, leads, and remembers what may have
    /// been written by it.
    pub(super) async fn send_put(
        &mut self,
        path: StoragePath,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        // Before it is sent: who is interrupted while it waits has to clean up as well.
        self.written.push(path);
        let sent = plain::send(self.client, Method::PUT, url, headers, body).await;
        let wrote_nothing = match &sent {
            Ok(answer) => !answer.status.is_success() && !answer.status.is_server_error(),
            Err(error) => error.means_unsent(),
        };
        if wrote_nothing {
            self.written.pop();
        }
        sent
    }

    /// Sends the PUT that was signed, with these bytes.
    pub(super) async fn send_signed(
        &mut self,
        path: StoragePath,
        signed: &SignedRequest,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        self.send_put(path, &signed.url, plain::headers_of(signed), body).await
    }
}

pub(super) async fn put(exam: &mut Examination<'_>) -> Finding {
    let path = exam.path("");
    let signed = match exam.app.store.sign_put(&exam.grant(&path), SystemTime::now()).await {
        Ok(signed) => signed,
        Err(error) => return exam.call_failed(&error, Permission::Write),
    };
    let mut headers = plain::headers_of(&signed);
    if let Some(origin) = exam.origins.first().and_then(|origin| page_of(origin)) {
        headers.insert(ORIGIN, origin);
    }
    let sent = exam.send_put(path, &signed.url, headers, Examination::probe()).await;
    if let Ok(answer) = &sent {
        let theirs = httpdate::parse_http_date(answer.header(DATE)).ok();
        exam.clocks = theirs.map(|theirs| (answer.came_at, theirs));
    }
    match sent {
        Ok(answer) if answer.status.is_success() => {
            let finding = Finding::pass(format!("{} with {} bytes", answer.status, PROBE.len()));
            exam.put = Some(answer);
            finding
        }
        other => exam.put_failed(other),
    }
}

/// The page that asks on behalf of an origin: where all are allowed, any.
pub(super) fn page_of(origin: &str) -> Option<HeaderValue> {
    let page = if origin == "*" { "https://any-page.example" } else { origin };
    HeaderValue::try_from(page).ok()
}

/// Compares the clocks by the first answer, whatever it was: a wrong clock is why some are refused.
pub(super) fn clock(exam: &Examination<'_>) -> Finding {
    match exam.clocks {
        Some((ours, theirs)) => compare_clocks(ours, theirs),
        None => Finding::not_checked("storage does not tell its time"),
    }
}

fn compare_clocks(ours: SystemTime, theirs: SystemTime) -> Finding {
    let (skew, how) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    // Their time is told in whole seconds, and has travelled.
    if skew <= Duration::from_secs(2) {
        return Finding::pass("within 2 s");
    }
    let seen = format!("this machine is {} s {how} storage", skew.as_secs());
    if skew <= MAX_SKEW {
        return Finding::pass(seen);
    }
    Finding::fail(
        seen,
        "set this machine's clock and let NTP keep it (or that of the storage server, if it is \
         yours): signed URLs carry the time, and would end too early or too late, or be refused",
    )
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn clocks_may_differ_by_a_minute_and_no_more() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs;
        for (theirs, verdict, words) in [
            (now, Verdict::Pass, "within 2 s"),
            (now - seconds(60), Verdict::Pass, "60 s ahead"),
            (now - seconds(61), Verdict::Fail, "61 s ahead"),
            (now + seconds(60), Verdict::Pass, "60 s behind"),
            (now + seconds(61), Verdict::Fail, "61 s behind"),
        ] {
            let found = compare_clocks(now, theirs);
            assert_eq!(found.verdict, verdict, "{}", found.detail);
            assert!(found.detail.contains(words), "{}", found.detail);
        }
    }
}
