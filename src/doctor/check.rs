//! What is checked, and what comes of it.

use serde::Serialize;

/// Defines the checks: an enum, all its variants in the order in which they are made, and what each
/// is called for machines and for people.
macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $title:literal;)+) => {
        /// One thing that an app needs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Check { $($(#[$doc])* $variant,)+ }

        impl Check {
            /// Every check, in the order in which they are made.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// What it is called for machines. It does not change between versions.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is called for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

checks! {
    /// A plain client can PUT the probe through a signed URL.
    Put = "put", "a signed PUT is accepted";
    /// The clocks of this machine and of storage agree.
    Clock = "clock", "the clocks agree";
    /// The same PUT with another type is refused.
    OtherType = "other-type", "another type is refused";
    /// The same PUT with another length than the declared one is refused.
    OtherSize = "other-size", "another size is refused";
    /// The same PUT with other bytes than those of the declared SHA-256 is refused.
    OtherContent = "other-content", "other content is refused";
    /// A URL that has run out is refused.
    Expired = "expired", "an expired URL is refused";
    /// What exists is not written again, where the app says so.
    CreateOnce = "create-once", "an object is created once";
    /// Storage tells size, type and tag.
    Head = "head", "HEAD tells size, type and ETag";
    /// Storage gives a part of an object.
    Range = "range", "a ranged GET gives that part";
    /// Storage gives a version of an object or nothing.
    IfMatch = "if-match", "GET honours If-Match";
    /// Storage lists what it has.
    List = "list", "a listing has the object";
    /// Storage tells that an object is missing.
    Missing = "missing", "a missing object is a 404";
    /// Nobody can write without a signature.
    StrangersWrite = "anonymous-write", "strangers cannot write";
    /// Nobody can read or list without credentials, unless the CDN must.
    StrangersRead = "anonymous-read", "strangers cannot read or list";
    /// The gateway itself lets the page begin an upload.
    OriginAllowed = "origin-allowed", "the app allows the origin";
    /// The bucket lets the page PUT.
    Preflight = "cors-preflight", "browsers may PUT to the bucket";
    /// The page can read the tag of what it has written.
    ExposedEtag = "cors-etag", "pages can read the ETag";
    /// The CDN answers with the probe.
    CdnAnswers = "cdn-answers", "the CDN serves the object";
    /// The gateway is not behind its own CDN.
    CdnOrigin = "cdn-origin", "the CDN's origin is no gateway";
    /// What the CDN serves is what storage has.
    CdnSame = "cdn-same", "the CDN serves what is stored";
    /// The CDN may keep what it serves.
    CdnCaching = "cdn-caching", "the CDN may cache";
    /// The CDN gives a part of an object.
    CdnRange = "cdn-range", "the CDN honours Range";
    /// The probe can be deleted, and is gone.
    Delete = "delete", "the probe is deleted";
}

impl Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// The app does not need it, or it cannot be told.
    NotChecked,
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was checked.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen: one line, without secrets and signatures.
    pub detail: String,
    /// What to change; only where the verdict is [`Verdict::Fail`].
    pub fix: Option<String>,
}

/// What a check found.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) detail: String,
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn pass(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, detail: detail.into(), fix: None }
    }

    pub(super) fn fail(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(super) fn not_checked(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotChecked, detail: why.into(), fix: None }
    }
}
