//! What somebody without credentials can do to the bucket: nothing, but read where a CDN must.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use crate::domain::StoragePath;

use super::check::Finding;
use super::plain::{self, Answer};
use super::provider::Provider;
use super::{Examination, NO_PROBE, PROBE, PROBE_TYPE};

/// How the document of a listing shows.
const LISTING: &str = "<ListBucketResult";

/// The addresses of an object and of its bucket's listing, without a signature.
struct Addresses {
    object: String,
    listing: Option<String>,
}

impl Addresses {
    /// Takes them from the signed URL of an object.
    fn of(signed: &str, path: &StoragePath) -> Option<Self> {
        let mut url = Url::parse(signed).ok()?;
        url.set_query(None);
        let object = url.to_string();
        let bucket = url.path().strip_suffix(&*path.to_url_path()).map(str::to_owned);
        let listing = bucket.map(|bucket| {
            url.set_path(&bucket);
            url.set_query(Some("list-type=2&max-keys=1"));
            url.to_string()
        });
        Some(Self { object, listing })
    }
}

async fn addresses(exam: &Examination<'_>, path: &StoragePath) -> Result<Addresses, Finding> {
    let signed = exam.sign_all(path).await.map_err(Finding::not_checked)?;
    Addresses::of(&signed.url, path)
        .ok_or_else(|| Finding::not_checked("the address of the object is not a URL"))
}

pub(super) async fn write(exam: &mut Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let path = exam.path("-stranger");
    let url = match addresses(exam, &path).await {
        Ok(addresses) => addresses.object,
        Err(finding) => return finding,
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBE_TYPE.as_str()));
    match exam.send_put(path, &url, headers, Examination::probe()).await {
        Ok(answer) if answer.status.is_success() => Finding::fail(
            format!("{}: a PUT without a signature was accepted", answer.status.as_u16()),
            format!("{}: anyone can write to this bucket", exam.provider().close(exam.bucket)),
        ),
        Ok(answer) if answer.is_refusal() => Finding::pass(answer.brief()),
        other => exam.put_failed(other),
    }
}

pub(super) async fn read(exam: &Examination<'_>) -> Finding {
    if exam.put.is_none() {
        return Finding::not_checked(NO_PROBE);
    }
    let addresses = match addresses(exam, &exam.path("")).await {
        Ok(addresses) => addresses,
        Err(finding) => return finding,
    };
    let ask = async |url: &str| {
        plain::send(exam.client, Method::GET, url, HeaderMap::new(), bytes::Bytes::new()).await
    };
    let object = match ask(&addresses.object).await {
        Ok(answer) => answer,
        Err(error) => return exam.put_failed(Err(error)),
    };
    let listing = match &addresses.listing {
        Some(url) => ask(url).await.ok(),
        None => None,
    };
    let is_listed = listing.is_some_and(|answer| answer.status.is_success() && lists(&answer));
    let is_read = object.status.is_success() && object.body() == PROBE;
    judge(exam, is_read, is_listed, &object)
}

fn lists(answer: &Answer) -> bool {
    String::from_utf8_lossy(answer.body()).contains(LISTING)
}

fn judge(exam: &Examination<'_>, is_read: bool, is_listed: bool, object: &Answer) -> Finding {
    let close = || exam.provider().close(exam.bucket);
    match (is_read, is_listed, &exam.app.cdn) {
        (false, false, _) => Finding::pass(object.brief()),
        (true, false, Some(_)) => Finding::pass(
            "anyone can read objects past the gateway and the CDN: right only if this CDN reads \
             the bucket without credentials",
        ),
        (true, false, None) => Finding::fail(
            "anyone can read objects past the gateway",
            format!("{}: nobody but the gateway needs to read it", close()),
        ),
        (_, true, None) => Finding::fail("anyone can list the bucket", close()),
        (_, true, Some(_)) => Finding::fail(
            "anyone can list the bucket",
            match exam.provider() {
                Provider::S3 => {
                    "allow nobody but the gateway s3:ListBucket: remove it from the statements of \
                     the bucket's policy that name Principal \"*\". A CDN that reads without \
                     credentials needs s3:GetObject only"
                        .to_owned()
                }
                Provider::Gcs => format!(
                    "give allUsers roles/storage.legacyObjectReader on gs://{} in place of \
                     roles/storage.objectViewer, which lists as well",
                    exam.bucket
                ),
            },
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_bucket_wherever_its_name_stands() {
        let path = StoragePath::from_listing("images/a b.png");
        for (signed, object, listing) in [
            (
                "https://s3.example/media/images/a%20b.png?X-Amz-Signature=1",
                "https://s3.example/media/images/a%20b.png",
                "https://s3.example/media/?list-type=2&max-keys=1",
            ),
            (
                "https://media.s3.example/images/a%20b.png?X-Amz-Signature=1",
                "https://media.s3.example/images/a%20b.png",
                "https://media.s3.example/?list-type=2&max-keys=1",
            ),
        ] {
            let found = Addresses::of(signed, &path).unwrap();
            assert_eq!(found.object, object);
            assert_eq!(found.listing.as_deref(), Some(listing));
        }
        assert!(Addresses::of("no URL", &path).is_none());
    }
}
