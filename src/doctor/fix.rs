//! What to change: from what was seen to a sentence for the operator.

use crate::apps::App;
use crate::domain::FallbackReason;
use crate::storage::StorageErrorKind;
use crate::upstream::SendError;

use super::plain::Answer;
use super::provider::{Permission, Provider};

const CLOCK: &str = "set this machine's clock: storage takes the signature for one of another time";

const REGION: &str = "the bucket is in another region: correct Storage.Region (and \
    Storage.Endpoint, if there is one)";

const NEW_KEY: &str = "Google does not accept this key: it was deleted or disabled, or its account \
    was. Make a new one with `gcloud iam service-accounts keys create`, and put it where \
    Storage.CredentialsFile says (or something between here and storage changes requests)";

/// What the wrong thing is about.
pub(super) struct Place<'a> {
    pub(super) app: &'a App,
    pub(super) bucket: &'a str,
}

impl Place<'_> {
    fn provider(&self) -> Provider {
        Provider::of(self.app)
    }

    /// Asks for a permission on the app's objects.
    pub(super) fn grant(&self, permission: Permission) -> String {
        self.provider().grant(permission, self.bucket, self.app.key_prefix.as_str())
    }

    /// After storage refused a request of a client's that it should have taken.
    pub(super) fn of_refusal(&self, answer: &Answer) -> String {
        let (status, code) = (answer.status.as_u16(), answer.code());
        let told = match self.provider() {
            Provider::S3 => self.of_s3_code(code),
            Provider::Gcs => self.of_gcs_code(code),
        };
        told.unwrap_or_else(|| self.of_status(status))
    }

    /// Codes of the Amazon S3 API reference ("Error responses"), with those of servers that speak
    /// its protocol.
    fn of_s3_code(&self, code: &str) -> Option<String> {
        Some(match code {
            "InvalidAccessKeyId" => {
                "storage does not know this access key: correct Storage.AccessKeyID".into()
            }
            "SignatureDoesNotMatch" => "correct Storage.SecretAccessKey: it is not the one of \
                Storage.AccessKeyID (or something between here and storage changes requests)"
                .into(),
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                "the temporary credentials are over or not valid: renew the three credentials of \
                 [Storage], Storage.SessionToken among them"
                    .into()
            }
            "RequestTimeTooSkewed" | "RequestExpired" => CLOCK.into(),
            "NoSuchBucket" => {
                format!("create the bucket {}, or correct Storage.Bucket", self.bucket)
            }
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "AuthorizationQueryParametersError"
            | "IllegalLocationConstraintException" => REGION.into(),
            "AccessDenied" => self.grant(Permission::Write),
            _ => return None,
        })
    }

    /// Codes of the XML API's reference ("HTTP status and error codes").
    fn of_gcs_code(&self, code: &str) -> Option<String> {
        let bucket = self.bucket;
        Some(match code {
            "SignatureDoesNotMatch" | "InvalidSecurity" | "AuthenticationRequired" => {
                NEW_KEY.into()
            }
            // What was signed a moment ago has run out: there are no tokens in a URL.
            "ExpiredToken" | "RequestTimeTooSkewed" => CLOCK.into(),
            "NoSuchBucket" => format!(
                "create the bucket (`gcloud storage buckets create gs://{bucket} \
                 --uniform-bucket-level-access`), or correct Storage.Bucket"
            ),
            "UserProjectMissing" | "UserProjectAccountProblem" => format!(
                "the bucket lets the requester pay, which signed URLs cannot say: `gcloud storage \
                 buckets update gs://{bucket} --no-requester-pays`"
            ),
            "AccountProblem" | "NotSignedUp" => {
                "look at the billing of the bucket's project: Google refuses for the account's sake"
                    .into()
            }
            "AccessDenied" => self.grant(Permission::Write),
            _ => return None,
        })
    }

    fn of_status(&self, status: u16) -> String {
        match (status, self.provider()) {
            (300..=399, Provider::S3) => REGION.into(),
            (501, provider) if self.app.upload.prevent_overwrite => format!(
                "this storage does not know {}: turn off Upload.PreventOverwrite, or use other \
                 storage",
                provider.create_once()
            ),
            (403, Provider::S3) => format!(
                "{}; if it is allowed, look at the bucket's policy and at firewalls",
                self.grant(Permission::Write)
            ),
            (403, Provider::Gcs) => format!(
                "{}; if it is allowed, look at VPC Service Controls and at organisation policies",
                self.grant(Permission::Write)
            ),
            (404, Provider::S3) => format!(
                "correct Storage.Endpoint, Storage.PathStyle or Storage.Bucket ({}): nothing is \
                 there that takes uploads",
                self.bucket
            ),
            (300..=399 | 404, Provider::Gcs) => format!(
                "correct Storage.Endpoint or Storage.Bucket ({}): nothing is there that takes \
                 uploads",
                self.bucket
            ),
            (429 | 500..=599, _) => {
                "storage is ill or throttles: try again, and look at its status page".into()
            }
            _ => "look the code up in the provider's documentation".into(),
        }
    }

    /// After a call of the gateway's own failed.
    pub(super) fn of_call(&self, kind: StorageErrorKind, permission: Permission) -> String {
        use StorageErrorKind as Kind;
        match kind {
            Kind::AccessDenied => self.grant(permission),
            Kind::Credentials => match self.provider() {
                Provider::S3 => "correct Storage.AccessKeyID and Storage.SecretAccessKey (and, of \
                    temporary credentials, Storage.SessionToken)"
                    .into(),
                Provider::Gcs => NEW_KEY.into(),
            },
            Kind::Timeout | Kind::Unavailable => {
                "storage is ill, or is not what [Storage] says: look at what it answered".into()
            }
            Kind::Overloaded => "this machine signs more than it can: try again".into(),
            Kind::Unsupported => "this storage lacks what the gateway needs: other storage".into(),
            Kind::NotFound => {
                "the object was written and is not there: do several servers answer at \
                 Storage.Endpoint, or does a rule of the bucket delete what is new?"
                    .into()
            }
            Kind::NotModified
            | Kind::PreconditionFailed
            | Kind::RangeNotSatisfiable { .. }
            | Kind::WrongParts
            | Kind::NoSuchUpload => {
                "something else changes objects, or storage reads conditions and ranges in its \
                 own way: the gateway cannot rely on it"
                    .into()
            }
        }
    }

    /// After no answer came from storage.
    pub(super) fn of_silence(&self, error: &SendError) -> String {
        let address = match self.provider() {
            Provider::S3 => "Storage.Endpoint (without one: Storage.Region)",
            Provider::Gcs => "Storage.Endpoint (without one: this machine's network)",
        };
        match error {
            SendError::Forbidden(_) => {
                "allow it in safelight.toml: Server.AllowedUpstreamNetworks; or correct \
                 Storage.Endpoint"
                    .into()
            }
            SendError::Resolve(_) => format!("correct {address}: the name does not resolve here"),
            SendError::Connect(_) | SendError::ConnectTimeout => {
                format!("nobody accepts connections there: correct {address}, or open the firewall")
            }
            SendError::Tls(_) | SendError::TlsTimeout => format!(
                "correct {address} (https and http, the certificate's name), or this machine's \
                 root certificates and clock"
            ),
            SendError::FirstByteTimeout
            | SendError::Reset(_)
            | SendError::Closed
            | SendError::Protocol(_) => {
                format!("correct {address}: something answers that is not storage, or is ill")
            }
        }
    }
}

/// After the CDN failed: what `docs/metrics.md` says of the reason.
pub(super) fn of_cdn(reason: FallbackReason, provider: Provider, signed: bool) -> &'static str {
    match reason {
        FallbackReason::Connect => {
            "correct CloudFrontURL: resolve its name on this machine; open the network's egress; a \
             private address needs Server.AllowedUpstreamNetworks"
        }
        FallbackReason::Tls => {
            "look at the distribution's certificate and alternate names, and at this machine's \
             clock and root certificates"
        }
        FallbackReason::Timeout => {
            "run it again; if it stays, raise Read.FirstByteTimeout, or look at the CDN's status"
        }
        FallbackReason::Status5xx => {
            "the CDN mostly cannot reach its own origin: look at the distribution's origin settings"
        }
        FallbackReason::Status429 => {
            "a quota at the CDN, or a firewall rule that takes the gateway for a flood: allow its \
             addresses"
        }
        FallbackReason::Status403 if signed => {
            "correct Read.SigningKeyPairID and SigningKeyFile: the id is that of the key's public \
             half, in a key group that the distribution's behavior trusts; correct CloudFrontURL \
             (the name that the distribution knows) and this machine's clock; or the CDN may not \
             read the bucket (origin access control and the bucket policy with s3:GetObject)"
        }
        FallbackReason::Status403 if provider == Provider::Gcs => {
            "let the CDN read the bucket (private origin authentication, or \
             roles/storage.legacyObjectReader for allUsers on a bucket of its own), and correct \
             CloudFrontPathPrefix if the CDN keeps objects elsewhere; or a firewall rule of the \
             CDN refuses this machine"
        }
        FallbackReason::Status403 => {
            "let the CDN read the bucket (origin access control and the bucket policy with \
             s3:GetObject), and correct CloudFrontPathPrefix if the CDN keeps objects elsewhere; \
             name Read.SigningKeyPairID and SigningKeyFile if it answers signed requests only; or \
             a firewall rule of the CDN refuses this machine"
        }
        FallbackReason::Status404 => {
            "correct CloudFrontPathPrefix, or the origin and origin path of the distribution: it \
             looks for the object somewhere else"
        }
        FallbackReason::StatusOther => {
            "400 mostly means that the distribution does not know the host name: correct \
             CloudFrontURL or the alternate names"
        }
        FallbackReason::Redirect => {
            "redirects are never followed: correct CloudFrontURL (https, and the final host \
             name); if it leads to storage, the origin's region is wrong"
        }
        FallbackReason::Protocol => {
            "CloudFrontURL is not a CDN, or something between here and there rewrites answers"
        }
        FallbackReason::Mismatch | FallbackReason::BreakerOpen | FallbackReason::Hedge => {
            "run it again"
        }
    }
}
