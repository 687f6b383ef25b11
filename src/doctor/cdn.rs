//! What the CDN must do: reach storage, serve what storage has, and not lead back to the gateway.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderName, StatusCode};

use crate::cdn::{Cdn, CdnFailure, CdnQuestion};
use crate::domain::{ETag, FallbackReason, RangeRequest, Shape, StoragePath};
use crate::upstream::{Answer, Fields};

use super::check::Finding;
use super::objects::{asked_part, expected_part};
use super::{Examination, NO_PROBE, PROBE, fix, plain};

const NO_CDN: &str = "there is no CloudFrontURL";
const NOT_SERVED: &str = "the CDN does not serve the object";

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What the CDN said when it was asked for the probe.
pub(super) struct Seen {
    status: StatusCode,
    fields: Fields,
    body: Result<Bytes, String>,
    /// Whether it is an answer to the question, as reads judge it.
    judged: Result<Shape, CdnFailure>,
}

impl Seen {
    /// Whether it is the probe.
    fn is_served(&self) -> bool {
        self.judged == Ok(Shape::Whole)
    }

    /// How the answer shows that a gateway made it.
    fn mark_of_a_gateway(&self) -> Option<&'static str> {
        if self.status == StatusCode::LOOP_DETECTED {
            return Some("508: the request came back with the gateway's own CDN-Loop mark");
        }
        let name = CACHE_STATUS;
        let mut members = self.fields.texts(&name).flat_map(|value| value.split(','));
        let ours = |member: &str| member.split(';').next().is_some_and(|c| c.trim() == "safelight");
        members.any(ours).then_some("the answer has Cache-Status: safelight")
    }
}

fn question(path: &StoragePath, range: Option<RangeRequest>) -> CdnQuestion<'_> {
    CdnQuestion { path, head_only: false, range, if_none_match: &[], recorded: None }
}

/// Asks as a read asks: with the app's own time limits, and with the mark against loops.
pub(super) async fn answers(exam: &mut Examination<'_>) -> Finding {
    let Some(cdn) = exam.cdn_itself() else { return Finding::not_checked(NO_CDN) };
    let path = exam.app.cdn_prefix.path_of(&exam.key(""));
    let question = question(&path, None);
    let seen = match cdn.send(&question).await {
        Err(failure) => return failed(exam, &failure),
        Ok(Answer { status, fields, body }) => {
            let judged = Cdn::judge(&question, status, &fields);
            Seen { status, fields, body: plain::read(body).await, judged }
        }
    };
    let finding = match &seen.judged {
        _ if seen.mark_of_a_gateway().is_some() => Finding::fail(
            format!("{}, from a gateway", seen.status.as_u16()),
            "correct the origin of the distribution: see below",
        ),
        _ if exam.put.is_none() => {
            Finding::not_checked(format!("it answers {}, but {NO_PROBE}", seen.status))
        }
        Err(failure) => failed(exam, failure),
        Ok(_) => Finding::pass(seen.status.to_string()),
    };
    exam.cdn = Some(seen);
    finding
}

fn failed(exam: &Examination<'_>, failure: &CdnFailure) -> Finding {
    let reason = failure.reason;
    Finding::fail(
        format!("{}; reads fall back with reason `{}`", failure.detail, reason.label()),
        fix_of(exam, reason),
    )
}

fn fix_of(exam: &Examination<'_>, reason: FallbackReason) -> &'static str {
    let is_signed = exam.cdn_itself().is_some_and(Cdn::is_signed);
    fix::of_cdn(reason, exam.provider(), is_signed)
}

pub(super) fn origin(exam: &Examination<'_>) -> Finding {
    let Some(seen) = seen(exam) else { return unseen(exam) };
    match seen.mark_of_a_gateway() {
        None => Finding::pass("no gateway's mark in the answer"),
        Some(mark) => Finding::fail(
            mark,
            "point the distribution's origin at the bucket, not at the gateway: the gateway asks \
             the CDN, which asks the gateway. A CDN in front of the gateway is another \
             distribution; the one of CloudFrontURL stands in front of storage",
        ),
    }
}

pub(super) fn same(exam: &Examination<'_>) -> Finding {
    let Some(seen) = served(exam) else { return unserved(exam) };
    match &seen.body {
        Err(error) => {
            return Finding::fail(
                error.as_str(),
                "the body breaks off: look at the distribution's origin and its error rate",
            );
        }
        Ok(bytes) if bytes != PROBE => {
            return Finding::fail(
                format!("{} bytes that are others than storage's", bytes.len()),
                "switch image optimisation and compression off at the CDN, and let it read this \
                 app's bucket and prefix: what it serves must be what was uploaded",
            );
        }
        Ok(_) => {}
    }
    let stored = exam.meta.as_ref().and_then(|meta| meta.etag.as_ref());
    compare_tags(stored, &seen.fields)
}

/// Healing continues a body of the CDN's from storage only under the same strong tag.
fn compare_tags(stored: Option<&ETag>, fields: &Fields) -> Finding {
    let sent = fields.text(&ETAG).and_then(ETag::parse);
    match (stored, sent) {
        (None, _) => Finding::pass("the same bytes; storage gives no ETag to compare"),
        (Some(stored), Some(sent)) if sent.matches_strongly(stored) => {
            Finding::pass("the same bytes and ETag")
        }
        (Some(stored), sent) => Finding::fail(
            format!(
                "ETag is {} at the CDN and {} in storage",
                sent.as_ref().map_or("missing", ETag::as_str),
                stored.as_str()
            ),
            "switch compression off for images and pass the ETag on: a body of the CDN's that \
             breaks off cannot be continued without it (aborted under `no_validator` or `changed`)",
        ),
    }
}

pub(super) fn caching(exam: &Examination<'_>) -> Finding {
    let Some(seen) = served(exam) else { return unserved(exam) };
    let values: Vec<&str> = seen.fields.texts(&CACHE_CONTROL).collect();
    judge_caching(&values.join(", "))
}

fn judge_caching(value: &str) -> Finding {
    if value.is_empty() {
        return Finding::pass("no Cache-Control; its default TTL decides");
    }
    let shown = format!("Cache-Control: {value}");
    let value = value.to_ascii_lowercase();
    let mut directives = value.split(',').map(str::trim);
    let forbids = |directive: &str| match directive.split_once('=') {
        Some(("max-age" | "s-maxage", seconds)) => seconds.trim_matches('"') == "0",
        Some((name, _)) => matches!(name, "private" | "no-cache"),
        None => matches!(directive, "no-store" | "no-cache" | "private"),
    };
    if directives.any(forbids) {
        return Finding::fail(
            shown,
            "every read goes through to storage: remove the rule of the bucket or the CDN that \
             sets this. Keys are never reused, so long caching is right",
        );
    }
    Finding::pass(shown)
}

pub(super) async fn range(exam: &Examination<'_>) -> Finding {
    let Some(cdn) = exam.cdn_itself() else { return Finding::not_checked(NO_CDN) };
    if served(exam).is_none() {
        return unserved(exam);
    }
    let path = exam.app.cdn_prefix.path_of(&exam.key(""));
    let answer = match cdn.ask(&question(&path, Some(asked_part()))).await {
        Err(failure) => return failed(exam, &failure),
        Ok(answer) => answer,
    };
    let Shape::Part(part) = answer.shape else {
        return Finding::fail(
            "the whole object came",
            "let the CDN pass Range on or answer it: each part that a player or a resumed \
             download asks for costs the whole image between CDN and gateway",
        );
    };
    match plain::read(answer.body).await {
        Ok(bytes) if bytes == expected_part() => Finding::pass(format!("206, {part}")),
        Ok(_) => Finding::fail(
            format!("{part}, with other bytes"),
            fix_of(exam, FallbackReason::Protocol),
        ),
        Err(error) => Finding::fail(error, "the body breaks off: look at the CDN's error rate"),
    }
}

fn seen<'a>(exam: &'a Examination<'_>) -> Option<&'a Seen> {
    exam.cdn.as_ref()
}

fn unseen(exam: &Examination<'_>) -> Finding {
    let why = if exam.app.cdn.is_none() { NO_CDN } else { "the CDN does not answer" };
    Finding::not_checked(why)
}

fn served<'a>(exam: &'a Examination<'_>) -> Option<&'a Seen> {
    seen(exam).filter(|seen| seen.is_served() && exam.put.is_some())
}

fn unserved(exam: &Examination<'_>) -> Finding {
    match seen(exam) {
        Some(_) => Finding::not_checked(NOT_SERVED),
        None => unseen(exam),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn what_keeps_a_cdn_from_caching() {
        for (value, verdict) in [
            ("", Verdict::Pass),
            ("public, max-age=31536000, immutable", Verdict::Pass),
            ("max-age=60", Verdict::Pass),
            ("no-store", Verdict::Fail),
            ("public, No-Cache", Verdict::Fail),
            ("private, max-age=600", Verdict::Fail),
            ("max-age=0", Verdict::Fail),
            ("max-age=600, s-maxage=0", Verdict::Fail),
        ] {
            assert_eq!(judge_caching(value).verdict, verdict, "{value}");
        }
    }

    #[test]
    fn the_tags_must_be_equal_and_strong() {
        let stored = ETag::parse("\"a\"");
        for (sent, verdict) in [
            (Some("\"a\""), Verdict::Pass),
            (Some("W/\"a\""), Verdict::Fail),
            (Some("\"b\""), Verdict::Fail),
            (None, Verdict::Fail),
        ] {
            let fields = sent.into_iter().map(|value| ("etag", value)).collect();
            assert_eq!(compare_tags(stored.as_ref(), &fields).verdict, verdict);
        }
    }

    #[test]
    fn how_a_gateway_shows() {
        let marked = |status: u16, header: Option<&'static str>| {
            let status = StatusCode::from_u16(status).unwrap();
            let fields = header.into_iter().map(|value| ("cache-status", value)).collect();
            let (body, judged) = (Ok(Bytes::new()), Ok(Shape::Whole));
            Seen { status, fields, body, judged }.mark_of_a_gateway().is_some()
        };
        assert!(marked(508, None));
        assert!(marked(200, Some("CloudFront; hit, safelight; fwd=uri-miss; detail=cdn")));
        assert!(marked(200, Some("safelight")));
        assert!(!marked(200, Some("CloudFront; hit; detail=safelight")));
        assert!(!marked(404, None));
    }
}
