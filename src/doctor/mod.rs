//! `safelight doctor`: tries against the real bucket and the real CDN what an app needs of them, and
//! says what to change where it fails. Nothing here prints.
//!
//! | file | what it knows |
//! |---|---|
//! | `check.rs` | the checks, in order, and what comes of one |
//! | `upload.rs` | the signed PUT of the probe, and storage's clock |
//! | `promises.rs` | whether storage holds clients to what was signed |
//! | `objects.rs` | what the gateway asks of the bucket: reads, listing, deletion |
//! | `strangers.rs` | what somebody without credentials can do |
//! | `browser.rs` | what a page needs: preflight, the exposed tag |
//! | `cors.rs` | the CORS configuration in the form that the provider takes |
//! | `cdn.rs` | what the CDN must do |
//! | `plain.rs` | a client without credentials |
//! | `provider.rs` | what things are called at each provider |
//! | `fix.rs` | what to change |

mod browser;
mod cdn;
mod check;
mod cors;
mod fix;
mod objects;
mod plain;
mod promises;
mod provider;
mod strangers;
mod upload;

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::apps::App;
use crate::cdn::Cdn;
use crate::domain::{MediaType, ObjectKey, ObjectMeta, StoragePath, hex};
use crate::storage::{PutGrant, StorageError};
use crate::upstream::{Client, SendError};

pub use check::{Check, Row, Verdict};
pub use cors::{CorsConfiguration, GcsCorsRule, S3Cors, S3CorsRule};

use check::Finding;
use fix::Place;
use plain::Answer;
use provider::{Permission, Provider};

/// The probe: a PNG of one transparent pixel.
const PROBE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\
\x89\0\0\0\x0bIDATx\xdac`\0\x02\0\0\x05\0\x01\xe9\xfa\xdc\xd8\0\0\0\0IEND\xaeB`\x82";
const PROBE_TYPE: MediaType = MediaType::Png;

/// How long the URLs of the probe hold.
const URL_LIFE: Duration = Duration::from_secs(60);

/// Why what needs the probe is not checked.
const NO_PROBE: &str = "the probe object could not be written";

/// The examination of one app.
pub struct Examination<'a> {
    app: &'a App,
    client: &'a Client,
    bucket: &'a str,
    /// The pages' origins: those of the app, or the one that was asked for.
    origins: Vec<String>,
    /// The probe's name, without prefix and extension.
    name: String,
    /// What may lie in the bucket and has to go at the end.
    written: Vec<StoragePath>,
    /// The answer to the PUT, if it was accepted.
    put: Option<Answer>,
    /// This machine's clock and storage's, when that answer came.
    clocks: Option<(SystemTime, SystemTime)>,
    /// What storage says of the probe.
    meta: Option<ObjectMeta>,
    /// Whether storage has listed the probe.
    may_list: bool,
    /// What the CDN said when it was asked for the probe.
    cdn: Option<cdn::Seen>,
}

impl<'a> Examination<'a> {
    /// Prepares the examination of an app whose objects are in `bucket`, for pages of `origin`, or
    /// of the origins that the app allows. Nothing is asked of anybody yet.
    ///
    /// # Errors
    /// A text, if the system gives no random bytes.
    pub fn new(
        app: &'a App,
        client: &'a Client,
        bucket: &'a str,
        origin: Option<String>,
    ) -> Result<Self, String> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| error.to_string())?;
        let random = hex(&random);
        Ok(Self {
            app,
            client,
            bucket,
            origins: origin.map_or_else(|| app.cors.allowed_origins.clone(), |origin| vec![origin]),
            name: format!("safelight-doctor-{random}"),
            written: Vec::new(),
            put: None,
            clocks: None,
            meta: None,
            may_list: false,
            cdn: None,
        })
    }

    /// Makes every check, and deletes the probe. Where this is dropped before its end,
    /// [`clean_up`](Self::clean_up) deletes it.
    pub async fn run(&mut self) -> Vec<Row> {
        let mut rows = Vec::with_capacity(Check::ALL.len());
        for &check in Check::ALL {
            let Finding { verdict, detail, fix } = self.perform(check).await;
            rows.push(Row { check, verdict, detail, fix });
        }
        rows
    }

    /// Deletes whatever may have been written and was not deleted yet.
    ///
    /// # Errors
    /// The first failure, with the names of the objects that are left behind.
    pub async fn clean_up(&mut self) -> Result<(), String> {
        objects::delete_rest(self).await.map_err(|error| {
            let left = objects::left_behind(self);
            format!("left behind in bucket {}: {left}: {error}", self.bucket)
        })
    }

    /// The CORS configuration that the bucket needs; `None` if no page is to upload.
    #[must_use]
    pub fn cors_configuration(&self) -> Option<CorsConfiguration> {
        CorsConfiguration::for_origins(
            self.provider(),
            &self.app.cors.allowed_origins,
            &self.origins,
        )
    }

    async fn perform(&mut self, check: Check) -> Finding {
        match check {
            Check::Put => upload::put(self).await,
            Check::Clock => upload::clock(self),
            Check::OtherType => promises::other_type(self).await,
            Check::OtherSize => promises::other_size(self).await,
            Check::OtherContent => promises::other_content(self).await,
            Check::Expired => promises::expired(self).await,
            Check::CreateOnce => promises::create_once(self).await,
            Check::Head => objects::head(self).await,
            Check::Range => objects::range(self).await,
            Check::IfMatch => objects::if_match(self).await,
            Check::List => objects::list(self).await,
            Check::Missing => objects::missing(self).await,
            Check::StrangersWrite => strangers::write(self).await,
            Check::StrangersRead => strangers::read(self).await,
            Check::OriginAllowed => browser::origin_allowed(self),
            Check::Preflight => browser::preflight(self).await,
            Check::ExposedEtag => browser::exposed_etag(self),
            Check::CdnAnswers => cdn::answers(self).await,
            Check::CdnOrigin => cdn::origin(self),
            Check::CdnSame => cdn::same(self),
            Check::CdnCaching => cdn::caching(self),
            Check::CdnRange => cdn::range(self).await,
            Check::Delete => objects::delete(self).await,
        }
    }

    fn cdn_itself(&self) -> Option<&'a Cdn> {
        self.app.cdn.as_ref().map(|guarded| &guarded.cdn)
    }

    /// The key of the probe, or of an object of its own beside it.
    fn key(&self, suffix: &str) -> ObjectKey {
        ObjectKey::Foreign(format!("{}{suffix}.png", self.name).into())
    }

    /// Where such a key is in the bucket.
    fn path(&self, suffix: &str) -> StoragePath {
        self.app.key_prefix.path_of(&self.key(suffix))
    }

    /// What presigning asks storage for, by the app's own policy.
    fn grant<'p>(&self, path: &'p StoragePath) -> PutGrant<'p> {
        PutGrant {
            path,
            media_type: PROBE_TYPE,
            size: self.app.upload.require_size.then_some(PROBE.len() as u64),
            sha256: None,
            prevent_overwrite: self.app.upload.prevent_overwrite,
            expires_in: URL_LIFE,
        }
    }

    fn provider(&self) -> Provider {
        Provider::of(self.app)
    }

    fn place(&self) -> Place<'_> {
        Place { app: self.app, bucket: self.bucket }
    }

    /// What to say of a call of the gateway's own that failed.
    fn call_failed(&self, error: &StorageError, permission: Permission) -> Finding {
        Finding::fail(error.detail.as_str(), self.place().of_call(error.kind, permission))
    }

    /// What to say of a client's request that got no answer, or another one than it should.
    fn put_failed(&self, sent: Result<Answer, SendError>) -> Finding {
        match sent {
            Err(error) => Finding::fail(error.to_string(), self.place().of_silence(&error)),
            Ok(answer) => Finding::fail(answer.summary(), self.place().of_refusal(&answer)),
        }
    }

    fn probe() -> Bytes {
        Bytes::from_static(PROBE)
    }
}
