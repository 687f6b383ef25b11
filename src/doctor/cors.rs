//! The CORS configuration of a bucket, in the form that its provider takes.

use serde::Serialize;

use super::provider::Provider;

/// For how long browsers may remember the bucket's answer, in seconds.
const MAX_AGE_SECONDS: u32 = 3_600;

/// A CORS configuration, in the form that the provider's own command takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CorsConfiguration {
    /// As `aws s3api put-bucket-cors` takes it.
    S3(S3Cors),
    /// As `gcloud storage buckets update --cors-file` takes it.
    Gcs([GcsCorsRule; 1]),
}

/// A CORS configuration of the S3 protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct S3Cors {
    /// The rules; the first that fits a request decides.
    #[serde(rename = "CORSRules")]
    pub rules: [S3CorsRule; 1],
}

/// A rule of an S3 bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct S3CorsRule {
    /// Whose pages.
    pub allowed_origins: Vec<String>,
    /// What they may do.
    pub allowed_methods: Vec<&'static str>,
    /// What they may send.
    pub allowed_headers: Vec<&'static str>,
    /// What they may read of the answer.
    pub expose_headers: Vec<&'static str>,
    /// For how long browsers may remember that.
    pub max_age_seconds: u32,
}

/// A rule of a bucket of Google's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GcsCorsRule {
    /// Whose pages.
    pub origin: Vec<String>,
    /// What they may do.
    pub method: Vec<&'static str>,
    /// What they may send, and what they may read of the answer: Google has one list for both.
    pub response_header: Vec<&'static str>,
    /// For how long browsers may remember that.
    pub max_age_seconds: u32,
}

impl CorsConfiguration {
    /// What a bucket needs for the pages of these origins; `None` if there is none.
    pub(super) fn for_origins(
        provider: Provider,
        allowed: &[String],
        asked: &[String],
    ) -> Option<Self> {
        let mut origins = allowed.to_vec();
        origins.extend(asked.iter().filter(|origin| !allowed.contains(origin)).cloned());
        if origins.iter().any(|origin| origin == "*") {
            origins = vec!["*".to_owned()];
        }
        if origins.is_empty() {
            return None;
        }
        Some(match provider {
            Provider::S3 => Self::for_s3(&origins),
            Provider::Gcs => Self::for_gcs(&origins),
        })
    }

    /// Lets pages of these origins send every header that a presign can ask a client for.
    #[must_use]
    pub fn for_s3(origins: &[String]) -> Self {
        let rule = S3CorsRule {
            allowed_origins: origins.to_vec(),
            allowed_methods: vec!["PUT"],
            allowed_headers: vec!["content-type", "if-none-match", "x-amz-checksum-sha256"],
            expose_headers: vec!["ETag"],
            max_age_seconds: MAX_AGE_SECONDS,
        };
        Self::S3(S3Cors { rules: [rule] })
    }

    /// The same for a bucket of Google's.
    #[must_use]
    pub fn for_gcs(origins: &[String]) -> Self {
        Self::Gcs([GcsCorsRule {
            origin: origins.to_vec(),
            method: vec!["PUT"],
            response_header: vec![
                "Content-Type",
                "ETag",
                "x-goog-content-length-range",
                "x-goog-if-generation-match",
            ],
            max_age_seconds: MAX_AGE_SECONDS,
        }])
    }

    /// The command that applies it, from a file `cors.json`.
    #[must_use]
    pub fn command(&self, bucket: &str, endpoint: Option<&str>) -> String {
        match self {
            Self::S3(_) => {
                let mut command = format!(
                    "aws s3api put-bucket-cors --bucket {bucket} \\\n  \
                     --cors-configuration file://cors.json"
                );
                if let Some(url) = endpoint {
                    command.push_str(" \\\n  --endpoint-url ");
                    command.push_str(url.trim_end_matches('/'));
                }
                command
            }
            Self::Gcs(_) => {
                format!("gcloud storage buckets update gs://{bucket} --cors-file=cors.json")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn the_configuration_is_what_the_provider_takes() {
        let (page, admin) = ("https://shop.example", "https://admin.example");
        let (app, asked) = (texts(&[page]), texts(&[admin, page]));
        let of = |provider| CorsConfiguration::for_origins(provider, &app, &asked);
        assert_eq!(
            serde_json::to_value(of(Provider::S3)).unwrap(),
            serde_json::json!({"CORSRules": [{
                "AllowedOrigins": [page, admin],
                "AllowedMethods": ["PUT"],
                "AllowedHeaders": ["content-type", "if-none-match", "x-amz-checksum-sha256"],
                "ExposeHeaders": ["ETag"],
                "MaxAgeSeconds": 3600,
            }]})
        );
        assert_eq!(
            serde_json::to_value(of(Provider::Gcs)).unwrap(),
            serde_json::json!([{
                "origin": [page, admin],
                "method": ["PUT"],
                "responseHeader": [
                    "Content-Type", "ETag",
                    "x-goog-content-length-range", "x-goog-if-generation-match",
                ],
                "maxAgeSeconds": 3600,
            }])
        );
    }

    #[test]
    fn all_origins_are_told_as_one_and_none_need_nothing() {
        let of = |allowed: &[&str], asked: &[&str]| {
            CorsConfiguration::for_origins(Provider::Gcs, &texts(allowed), &texts(asked))
        };
        let Some(CorsConfiguration::Gcs([rule])) = of(&["*"], &["https://shop.example"]) else {
            panic!("it is Google's")
        };
        assert_eq!(rule.origin, ["*"]);
        assert_eq!(of(&[], &[]), None);
    }
}
