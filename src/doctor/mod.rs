//! `safelight doctor`: tries against the real bucket and the real CDN what an app needs of them, and
//! says what to change where it fails. Nothing here prints.
//!
//! | file | what it knows |
//! |---|---|
//! | `check.rs` | the checks, in order, and what comes of one |
//! | `storage.rs` | what the bucket must do: signed PUTs, reads, deletion |
//! | `browser.rs` | what a page needs: preflight, the exposed tag, the CORS configuration |
//! | `cdn.rs` | what the CDN must do |
//! | `plain.rs` | a client without credentials |
//! | `fix.rs` | what to change |

mod browser;
mod cdn;
mod check;
mod fix;
mod plain;
mod storage;

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::apps::App;
use crate::domain::{MediaType, ObjectKey, ObjectMeta, StoragePath};
use crate::storage::{PutGrant, SignedRequest, StorageError};
use crate::upstream::Client;

pub use browser::{CorsConfiguration, CorsRule};
pub use check::{Check, Row, Verdict};

use check::Finding;

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
    put: Option<plain::Answer>,
    /// This machine's clock and storage's, when that answer came.
    clocks: Option<(SystemTime, SystemTime)>,
    /// What storage says of the probe.
    meta: Option<ObjectMeta>,
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
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            app,
            client,
            bucket,
            origins: origin.map_or_else(|| app.allowed_origins.clone(), |origin| vec![origin]),
            name: format!("safelight-doctor-{random}"),
            written: Vec::new(),
            put: None,
            clocks: None,
            meta: None,
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
    /// The first failure, with the name of the object that is left behind.
    pub async fn clean_up(&mut self) -> Result<(), String> {
        storage::delete_rest(self).await.map_err(|(path, error)| {
            format!("{path:?} in bucket {} is left behind: {error}", self.bucket)
        })
    }

    /// The CORS configuration that the bucket needs; `None` if no page is to upload.
    #[must_use]
    pub fn cors_configuration(&self) -> Option<CorsConfiguration> {
        CorsConfiguration::for_origins(&self.app.allowed_origins, &self.origins)
    }

    async fn perform(&mut self, check: Check) -> Finding {
        match check {
            Check::Put => storage::put(self).await,
            Check::Clock => storage::clock(self),
            Check::OtherType => storage::other_type(self).await,
            Check::Expired => storage::expired(self).await,
            Check::CreateOnce => storage::create_once(self).await,
            Check::Head => storage::head(self).await,
            Check::Range => storage::range(self).await,
            Check::IfMatch => storage::if_match(self).await,
            Check::Missing => storage::missing(self).await,
            Check::OriginAllowed => browser::origin_allowed(self),
            Check::Preflight => browser::preflight(self).await,
            Check::ExposedEtag => browser::exposed_etag(self),
            Check::CdnAnswers => cdn::answers(self).await,
            Check::CdnOrigin => cdn::origin(self),
            Check::CdnSame => cdn::same(self),
            Check::CdnCaching => cdn::caching(self),
            Check::CdnRange => cdn::range(self).await,
            Check::Delete => storage::delete(self).await,
        }
    }

    /// The key of the probe, or of an object of its own beside it.
    fn key(&self, suffix: &str) -> ObjectKey {
        ObjectKey::Foreign(format!("{}{suffix}.png", self.name).into())
    }

    /// Where such a key is in the bucket.
    fn path(&self, suffix: &str) -> StoragePath {
        self.app.key_prefix.path_of(&self.key(suffix))
    }

    /// Signs the PUT of a probe as presigning does.
    async fn sign(
        &self,
        path: &StoragePath,
        now: SystemTime,
    ) -> Result<SignedRequest, StorageError> {
        let grant = PutGrant {
            path,
            media_type: PROBE_TYPE,
            size: self.app.upload.require_size.then_some(PROBE.len() as u64),
            sha256: None,
            prevent_overwrite: self.app.upload.prevent_overwrite,
            expires_in: URL_LIFE,
        };
        self.app.store.sign_put(&grant, now).await
    }

    fn probe() -> Bytes {
        Bytes::from_static(PROBE)
    }
}
