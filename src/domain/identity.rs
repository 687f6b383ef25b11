//! How callers prove who they are, and what comes of it: the closed sets under which it is counted.

/// How an app's callers prove who they are. An app has one way, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityMethod {
    /// A JSON Web Token of the app's own issuer.
    Jwt,
    /// A key that the app's file knows the hash of.
    ApiKey,
    /// A header that a proxy in front sets.
    TrustedProxy,
}

/// What came of asking a request who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityOutcome {
    /// It proved it.
    Proved,
    /// It claims nothing.
    Absent,
    /// What it claims cannot be read, or is said twice.
    Malformed,
    /// A token that asks for another algorithm, or for an extension.
    Algorithm,
    /// No such key, neither of an app nor of an issuer.
    UnknownKey,
    /// The signature is not one of that key.
    Signature,
    /// A token that ended, or begins later.
    Time,
    /// Another issuer's token.
    Issuer,
    /// A token for somebody else.
    Audience,
    /// A token whose claim names no owner.
    Account,
    /// A header of identity that no trusted proxy sent.
    Untrusted,
    /// It proved who it is, and names an owner for whom it may not act.
    OtherOwner,
    /// The issuer's keys are not known, and cannot be fetched.
    Unavailable,
}

impl IdentityMethod {
    /// The name of it in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::TrustedProxy => "trusted_proxy",
        }
    }

    /// What can come of it.
    #[must_use]
    pub const fn outcomes(self) -> &'static [IdentityOutcome] {
        use IdentityOutcome as Is;
        match self {
            Self::Jwt => &[
                Is::Proved,
                Is::Absent,
                Is::Malformed,
                Is::Algorithm,
                Is::UnknownKey,
                Is::Signature,
                Is::Time,
                Is::Issuer,
                Is::Audience,
                Is::Account,
                Is::OtherOwner,
                Is::Unavailable,
            ],
            Self::ApiKey => {
                &[Is::Proved, Is::Absent, Is::Malformed, Is::UnknownKey, Is::OtherOwner]
            }
            Self::TrustedProxy => {
                &[Is::Proved, Is::Absent, Is::Malformed, Is::Untrusted, Is::OtherOwner]
            }
        }
    }
}

impl IdentityOutcome {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Proved,
        Self::Absent,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Time,
        Self::Issuer,
        Self::Audience,
        Self::Account,
        Self::Untrusted,
        Self::OtherOwner,
        Self::Unavailable,
    ];

    /// The name of it in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Absent => "absent",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Time => "time",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Account => "account",
            Self::Untrusted => "untrusted",
            Self::OtherOwner => "other_owner",
            Self::Unavailable => "unavailable",
        }
    }
}
