//! Who speaks the protocol of S3, and how much of it.
//!
//! What a provider cannot do is refused when the configuration is read or the URL is signed; a
//! server that ignores a header would else drop a promise without a word. A promise counts as kept
//! where the provider's documentation says so, or the project's own tests have seen it; who knows
//! better of a server writes `Provider = "other"`, and `safelight doctor` tries it.

/// A provider. Every difference hangs on its variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3.
    Aws,
    /// Cloudflare R2.
    R2,
    /// Backblaze B2.
    B2,
    /// SeaweedFS.
    SeaweedFs,
    /// Garage.
    Garage,
    /// The gateway of Ceph (RGW).
    Ceph,
    /// MinIO.
    MinIo,
    /// Anything else: taken for a server that does all that Amazon's do.
    Other,
}

/// What a provider knows of regions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Regions {
    /// Any; this one, if nobody says.
    Any(&'static str),
    /// This one; tools that know only Amazon's may call it by the alias.
    One {
        /// Its own name.
        own: &'static str,
        /// What it is taken for too.
        alias: &'static str,
    },
    /// The one that is in the endpoint's host.
    OfHost(String),
    /// The one that somebody must name.
    Required,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 8] = [
        Self::Aws,
        Self::R2,
        Self::B2,
        Self::SeaweedFs,
        Self::Garage,
        Self::Ceph,
        Self::MinIo,
        Self::Other,
    ];

    /// How configuration names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::R2 => "r2",
            Self::B2 => "b2",
            Self::SeaweedFs => "seaweedfs",
            Self::Garage => "garage",
            Self::Ceph => "ceph",
            Self::MinIo => "minio",
            Self::Other => "other",
        }
    }

    /// What people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Aws => "Amazon S3",
            Self::R2 => "Cloudflare R2",
            Self::B2 => "Backblaze B2",
            Self::SeaweedFs => "SeaweedFS",
            Self::Garage => "Garage",
            Self::Ceph => "Ceph",
            Self::MinIo => "MinIO",
            Self::Other => "the storage",
        }
    }

    /// The provider whose endpoint a host is, where the host tells.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|h| h.ends_with('.'));
        // The jurisdictions of R2 are labels before its own: `ACCOUNT.eu.r2.cloudflarestorage.com`.
        if is_below("amazonaws.com") || is_below("amazonaws.com.cn") {
            Some(Self::Aws)
        } else if is_below("r2.cloudflarestorage.com") {
            Some(Self::R2)
        } else if is_below("backblazeb2.com") {
            Some(Self::B2)
        } else {
            None
        }
    }

    /// Whether `If-None-Match: *` on a PUT keeps what is there.
    ///
    /// R2 documents it among its extensions; MinIO announced it in 2024. B2 answers 501. Garage does
    /// not read the header, and of Ceph's versions some do not.
    #[must_use]
    pub const fn keeps_what_exists(self) -> bool {
        match self {
            Self::Aws | Self::R2 | Self::SeaweedFs | Self::MinIo | Self::Other => true,
            Self::B2 | Self::Garage | Self::Ceph => false,
        }
    }

    /// Whether `x-amz-checksum-sha256` on a PUT is compared with the body.
    ///
    /// R2 does since June 2023. B2 documents the header as not supported, and answers 400. Neither
    /// Garage's nor Ceph's documentation names it; older versions of both ignore it.
    #[must_use]
    pub const fn checks_sha256(self) -> bool {
        match self {
            Self::Aws | Self::R2 | Self::SeaweedFs | Self::MinIo | Self::Other => true,
            Self::B2 | Self::Garage | Self::Ceph => false,
        }
    }

    /// Whether a DELETE obeys `If-Match`.
    ///
    /// Amazon's servers do since September 2025. MinIO ignores it, and so does Garage; R2's and B2's
    /// documentation names no condition of DELETE, and of Ceph's versions only the newest have it.
    #[must_use]
    pub const fn honours_if_match_on_delete(self) -> bool {
        match self {
            Self::Aws | Self::SeaweedFs | Self::Other => true,
            Self::R2 | Self::B2 | Self::Garage | Self::Ceph | Self::MinIo => false,
        }
    }

    /// Whether a DELETE with a version's id deletes that version and no other.
    ///
    /// Garage gives every write an id and ignores it when it deletes; R2 keeps no versions.
    #[must_use]
    pub const fn deletes_by_version(self) -> bool {
        match self {
            Self::Aws | Self::B2 | Self::SeaweedFs | Self::Ceph | Self::MinIo | Self::Other => true,
            Self::R2 | Self::Garage => false,
        }
    }

    /// Which regions there are, at an endpoint with this host.
    #[must_use]
    pub fn regions(self, host: Option<&str>) -> Regions {
        match self {
            Self::Aws => match host.and_then(region_of_amazon) {
                Some(region) => Regions::OfHost(region),
                None => Regions::Any("us-east-1"),
            },
            Self::R2 => Regions::One { own: "auto", alias: "us-east-1" },
            Self::B2 => host.and_then(region_of_b2).map_or(Regions::Required, Regions::OfHost),
            // `s3_region` of its configuration, which its manual sets so everywhere.
            Self::Garage => Regions::Any("garage"),
            Self::SeaweedFs | Self::Ceph | Self::MinIo | Self::Other => Regions::Any("us-east-1"),
        }
    }
}

/// The region in `s3.{region}.amazonaws.com`, also with a bucket or a VPC endpoint before it, and
/// also of `s3.dualstack.…` and `s3-fips.…`. Endpoints without a region are those of any.
fn region_of_amazon(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let host = host.strip_suffix(".cn").unwrap_or(&host).strip_suffix(".amazonaws.com")?;
    let host = host.strip_suffix(".vpce").unwrap_or(host);
    let (_, region) = host.rsplit_once('.')?;
    // `us-east-1`, `us-gov-west-1`: no other label ends in a number behind a dash.
    let is_region = region
        .rsplit_once('-')
        .is_some_and(|(place, n)| place.contains('-') && n.bytes().all(|b| b.is_ascii_digit()));
    is_region.then(|| region.to_owned())
}

/// The region in `s3.{region}.backblazeb2.com`, also with a bucket before it.
fn region_of_b2(host: &str) -> Option<String> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let labels: Vec<&str> = host.strip_suffix(".backblazeb2.com")?.split('.').collect();
    match labels.as_slice() {
        ["s3", region] | [_, "s3", region] => Some((*region).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_provider_does() {
        use Provider as P;
        // Keeps what exists, checks a SHA-256, deletes under If-Match, deletes by version.
        for (provider, name, promises) in [
            (P::Aws, "aws", [true, true, true, true]),
            (P::R2, "r2", [true, true, false, false]),
            (P::B2, "b2", [false, false, false, true]),
            (P::SeaweedFs, "seaweedfs", [true, true, true, true]),
            (P::Garage, "garage", [false, false, false, false]),
            (P::Ceph, "ceph", [false, false, false, true]),
            (P::MinIo, "minio", [true, true, false, true]),
            (P::Other, "other", [true, true, true, true]),
        ] {
            let found = [
                provider.keeps_what_exists(),
                provider.checks_sha256(),
                provider.honours_if_match_on_delete(),
                provider.deletes_by_version(),
            ];
            assert_eq!((provider.name(), found), (name, promises));
            assert!(P::ALL.contains(&provider), "{name}");
        }
    }

    #[test]
    fn hosts_that_tell() {
        use Provider as P;
        for (host, expected) in [
            ("s3.eu-central-1.amazonaws.com", Some(P::Aws)),
            ("S3.EU-CENTRAL-1.AMAZONAWS.COM.", Some(P::Aws)),
            ("s3.cn-north-1.amazonaws.com.cn", Some(P::Aws)),
            ("bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com", Some(P::Aws)),
            ("0123abcd.r2.cloudflarestorage.com", Some(P::R2)),
            ("0123abcd.eu.r2.cloudflarestorage.com", Some(P::R2)),
            ("0123abcd.fedramp.r2.cloudflarestorage.com", Some(P::R2)),
            ("s3.us-west-004.backblazeb2.com", Some(P::B2)),
            ("amazonaws.com", None),
            ("notamazonaws.com", None),
            ("s3.amazonaws.com.evil.example", None),
            ("r2.cloudflarestorage.com", None),
            ("xr2.cloudflarestorage.com", None),
            ("storage.googleapis.com", None),
            ("minio.example", None),
            ("127.0.0.1", None),
            ("", None),
        ] {
            assert_eq!(P::of_host(host), expected, "{host}");
        }
    }

    #[test]
    fn regions_are_those_of_the_host_where_it_has_one() {
        use Provider as P;
        let of_host = |region: &str| Regions::OfHost(region.to_owned());
        for (provider, host, expected) in [
            (P::Aws, None, Regions::Any("us-east-1")),
            (P::Aws, Some("s3.amazonaws.com"), Regions::Any("us-east-1")),
            (P::Aws, Some("s3.eu-central-1.amazonaws.com"), of_host("eu-central-1")),
            (P::Aws, Some("s3.dualstack.eu-west-1.amazonaws.com"), of_host("eu-west-1")),
            (P::Aws, Some("s3-fips.us-gov-west-1.amazonaws.com"), of_host("us-gov-west-1")),
            (P::Aws, Some("s3.cn-north-1.amazonaws.com.cn"), of_host("cn-north-1")),
            (
                P::Aws,
                Some("bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com"),
                of_host("us-east-1"),
            ),
            (P::Aws, Some("proxy.example"), Regions::Any("us-east-1")),
            (
                P::R2,
                Some("0123.r2.cloudflarestorage.com"),
                Regions::One { own: "auto", alias: "us-east-1" },
            ),
            (P::B2, Some("s3.us-west-004.backblazeb2.com"), of_host("us-west-004")),
            (P::B2, Some("shop.s3.us-west-004.backblazeb2.com"), of_host("us-west-004")),
            (P::B2, Some("f004.backblazeb2.com"), Regions::Required),
            (P::B2, Some("proxy.example"), Regions::Required),
            (P::Garage, Some("garage.example"), Regions::Any("garage")),
            (P::SeaweedFs, Some("s3.example"), Regions::Any("us-east-1")),
            (P::Ceph, Some("rgw.example"), Regions::Any("us-east-1")),
            (P::MinIo, Some("minio.example"), Regions::Any("us-east-1")),
            (P::Other, Some("s3.example"), Regions::Any("us-east-1")),
        ] {
            assert_eq!(provider.regions(host), expected, "{provider:?} {host:?}");
        }
    }
}
