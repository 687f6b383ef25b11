//! What to change: from what was seen to a sentence for the operator.

use crate::apps::App;
use crate::domain::{FallbackReason, Source};
use crate::storage::StorageErrorKind;
use crate::upstream::SendError;

/// What the wrong thing is about.
pub(super) struct Place<'a> {
    pub(super) app: &'a App,
    pub(super) bucket: &'a str,
}

impl Place<'_> {
    /// Asks for a permission on the app's objects.
    pub(super) fn grant(&self, permission: &str) -> String {
        let (bucket, prefix) = (self.bucket, self.app.key_prefix.as_str());
        format!(
            "allow {permission} on arn:aws:s3:::{bucket}/{prefix}* to the access key of [Storage]"
        )
    }

    /// After storage refused a request that a client sent to a signed URL. Codes of the Amazon S3
    /// API reference ("Error responses"), with those of servers that speak its protocol.
    pub(super) fn of_refusal(&self, status: u16, code: &str, permission: &str) -> String {
        match (code, status) {
            ("InvalidAccessKeyId", _) => {
                "storage does not know this access key: correct Storage.AccessKeyID".into()
            }
            ("SignatureDoesNotMatch", _) => "correct Storage.SecretAccessKey: it is not the one \
                of Storage.AccessKeyID (or something between here and storage changes requests)"
                .into(),
            ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => {
                "the temporary credentials are over or not valid: renew the three credentials of \
                 [Storage], Storage.SessionToken among them"
                    .into()
            }
            ("RequestTimeTooSkewed" | "RequestExpired", _) => {
                "set this machine's clock: storage takes the signature for one of another time"
                    .into()
            }
            ("NoSuchBucket", _) => {
                format!("create the bucket {}, or correct Storage.Bucket", self.bucket)
            }
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "AuthorizationQueryParametersError"
                | "IllegalLocationConstraintException",
                _,
            )
            | (_, 300..=399) => "the bucket is in another region: correct Storage.Region (and \
                Storage.Endpoint, if there is one)"
                .into(),
            ("NotImplemented", _) | (_, 501) if self.app.upload.prevent_overwrite => {
                "this storage has no conditional writes: Upload.PreventOverwrite = false, or \
                 other storage"
                    .into()
            }
            ("AccessDenied", _) => self.grant(permission),
            (_, 403) => format!(
                "{}; if it is allowed, look at the bucket's policy and at firewalls",
                self.grant(permission)
            ),
            (_, 404) => format!(
                "correct Storage.Endpoint, Storage.PathStyle or Storage.Bucket ({}): nothing is \
                 there that takes uploads",
                self.bucket
            ),
            (_, 429 | 500..=599) => {
                "storage is ill or throttles: try again, and look at its status page".into()
            }
            _ => "look the code up in the provider's documentation".into(),
        }
    }

    /// After a call of the gateway's own failed.
    pub(super) fn of_call(&self, kind: StorageErrorKind, permission: &str) -> String {
        use StorageErrorKind as Kind;
        match kind {
            Kind::AccessDenied => self.grant(permission),
            Kind::Credentials => {
                "correct Storage.AccessKeyID and Storage.SecretAccessKey (and, of temporary \
                 credentials, Storage.SessionToken)"
                    .into()
            }
            Kind::Timeout | Kind::Unavailable => {
                "storage is ill, or is not what [Storage] says: look at what it answered".into()
            }
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
        let address = match self.app.store.source() {
            Source::S3 => "Storage.Endpoint (without one: Storage.Region)",
            _ => "the address of storage",
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
            | SendError::Closed(_)
            | SendError::Protocol(_) => {
                format!("correct {address}: something answers that is not storage, or is ill")
            }
        }
    }
}

/// After the CDN failed: what `docs/metrics.md` says of the reason.
pub(super) fn of_cdn(reason: FallbackReason) -> &'static str {
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
        FallbackReason::Status403 => {
            "let the CDN read the bucket (origin access control and the bucket policy with \
             s3:GetObject), and correct CloudFrontPathPrefix if the CDN keeps objects elsewhere; \
             or a firewall rule of the CDN refuses this machine"
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
             name); if it leads to S3, the origin's region is wrong"
        }
        FallbackReason::Protocol => {
            "CloudFrontURL is not a CDN, or something between here and there rewrites answers"
        }
        FallbackReason::Mismatch | FallbackReason::BreakerOpen | FallbackReason::Hedge => {
            "run it again"
        }
    }
}
