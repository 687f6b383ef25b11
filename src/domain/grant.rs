//! What the operator lets apps do with the process's own cloud credentials.

use super::AppName;

/// A permission of the operator's: this app may use the process's own credentials for this bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The app.
    pub app: AppName,
    /// The bucket, in its exact spelling.
    pub bucket: String,
    /// `scheme://host[:port]` of the store; Amazon's without one. It is part of the permission: a
    /// tenant that chose the host freely could name one that reads the path as another bucket's.
    pub endpoint: Option<String>,
}

/// Every permission.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// Whether there is this very permission.
    #[must_use]
    pub fn allow(&self, wanted: &Grant) -> bool {
        self.0.contains(wanted)
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().collect())
    }
}

/// The entry to write for it, for a message.
impl std::fmt::Display for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[[Grants]] with App = {:?}, Bucket = {:?}", self.app.as_str(), self.bucket)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, ", Endpoint = {endpoint:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(app: &str, bucket: &str, endpoint: Option<&str>) -> Grant {
        let endpoint = endpoint.map(str::to_owned);
        Grant { app: AppName::parse(app).unwrap(), bucket: bucket.to_owned(), endpoint }
    }

    #[test]
    fn only_the_very_same_is_allowed() {
        let grants = Grants::from_iter([
            grant("shop", "shop-media", None),
            grant("blog", "pictures", Some("https://s3.example")),
        ]);
        for (wanted, allowed) in [
            (grant("shop", "shop-media", None), true),
            (grant("shop", "shop-media-2", None), false),
            (grant("shop", "Shop-media", None), false),
            (grant("shop", "pictures", None), false),
            (grant("shop2", "shop-media", None), false),
            (grant("blog", "shop-media", None), false),
            // Where the bucket is, belongs to it.
            (grant("shop", "shop-media", Some("https://other-bucket.s3.amazonaws.com")), false),
            (grant("blog", "pictures", Some("https://s3.example")), true),
            (grant("blog", "pictures", Some("https://s3.example:8333")), false),
            (grant("blog", "pictures", None), false),
        ] {
            assert_eq!(grants.allow(&wanted), allowed, "{wanted}");
        }
        assert!(!Grants::default().allow(&grant("shop", "shop-media", None)));
    }

    #[test]
    fn the_message_is_the_entry() {
        let with = grant("blog", "pictures", Some("https://s3.example")).to_string();
        let expected = "[[Grants]] with App = \"blog\", Bucket = \"pictures\", \
                        Endpoint = \"https://s3.example\"";
        assert_eq!(with, expected);
    }
}
