//! Callers that prove who they are, by API keys of the tests.

use safelight::identity::KeyHash;

use super::plain_client::Plain;

/// Somebody with a key, or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(Option<&'static str>);

/// Who `TestGateway::granted` asks for: `owner-1`.
pub const ANN: Caller = Caller(Some("safelight_key_of_ann_0123456789abcdef0123456789"));

/// Somebody else: `owner-2`.
pub const BOB: Caller = Caller(Some("safelight_key_of_bob_0123456789abcdef0123456789"));

/// The application itself.
pub const BACKEND: Caller = Caller(Some("safelight_key_of_backend_0123456789abcdef012345"));

/// The same, without the right to delete.
pub const VIEWER: Caller = Caller(Some("safelight_key_of_viewer_0123456789abcdef0123456"));

/// A key that nobody has.
pub const STRANGER: Caller = Caller(Some("safelight_key_of_nobody_0123456789abcdef0123456"));

/// No key at all.
pub const NOBODY: Caller = Caller(None);

impl Caller {
    /// A request with this caller's key.
    pub fn sends(self, request: Plain) -> Plain {
        let bearer = self.0.map(|key| format!("Bearer {key}"));
        request.with_header("Authorization", bearer.as_deref())
    }

    /// The key.
    pub fn key(self) -> &'static str {
        self.0.expect("there is one")
    }
}

/// What the app's file says of them.
pub fn identity_section() -> String {
    let rights = [
        (ANN, "ann", "Owner = \"owner-1\", MayDelete = true"),
        (BOB, "bob", "Owner = \"owner-2\", MayDelete = true"),
        (BACKEND, "backend", "Owners = \"any\", MayDelete = true"),
        (VIEWER, "viewer", "Owners = \"any\""),
    ];
    let keys = rights.map(|(caller, id, rights)| {
        let hash = KeyHash::of(caller.key());
        format!("{{ ID = \"{id}\", Hash = \"{hash}\", {rights} }}")
    });
    format!("[Identity]\nApiKeys = [{}]\n", keys.join(", "))
}
