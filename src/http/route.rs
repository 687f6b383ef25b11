//! From a path to what is asked: one enum is the table of endpoints.

use http::Method;

/// An endpoint, with the parts of its path. The app's name is not parsed yet: whether it is a name
/// at all does not matter to a caller who gets a 404 for it either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/darkroom/{app}/v1/images/presigned-urls`
    Presign {
        /// The app.
        app: &'a str,
    },
    /// `/darkroom/{app}/v1/images/multipart-uploads`
    Multipart {
        /// The app.
        app: &'a str,
    },
    /// `/darkroom/{app}/v1/images/{key}`
    OwnImage {
        /// The app.
        app: &'a str,
        /// The key, still percent-encoded.
        key: &'a str,
    },
    /// `/darkroom/{app}/v1/images/{key}/signed-urls`
    SignedUrls {
        /// The app.
        app: &'a str,
        /// The key, still percent-encoded.
        key: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}`
    Upload {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}/finalize`
    Finalize {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}/upload-url`
    UploadUrl {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}/part-urls`
    PartUrls {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}/parts`
    Parts {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v1/uploads/{id}/complete`
    Complete {
        /// The app.
        app: &'a str,
        /// The upload.
        id: &'a str,
    },
    /// `/darkroom/{app}/v2/images/{key}`
    Image {
        /// The app.
        app: &'a str,
        /// The key, still percent-encoded.
        key: &'a str,
    },
}

/// Why a path is no endpoint's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// There is nothing at this path.
    Unknown,
    /// The path tries to be another one: dot segments, backslashes, empty segments.
    Hostile,
}

impl<'a> Route<'a> {
    /// Finds the endpoint of a path.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn parse(path: &'a str) -> Result<Self, NoRoute> {
        let rest = path.strip_prefix("/darkroom/").ok_or_else(|| no_route(path))?;
        let (app, rest) = rest.split_once('/').ok_or_else(|| no_route(path))?;
        if let Some(key) = rest.strip_prefix("v2/images/") {
            // Whether the key is hostile is for the key's own parser to say.
            return match is_hostile(app) {
                true => Err(NoRoute::Hostile),
                false => Ok(Self::Image { app, key }),
            };
        }
        if is_hostile(path) {
            return Err(NoRoute::Hostile);
        }
        if let Some(rest) = rest.strip_prefix("v1/images/") {
            return Self::of_images(app, rest).ok_or(NoRoute::Unknown);
        }
        let mut segments = rest.split('/');
        let parts = std::array::from_fn::<_, 5, _>(|_| segments.next());
        let route = match parts {
            [Some("v1"), Some("uploads"), Some(id), None, None] => Self::Upload { app, id },
            [Some("v1"), Some("uploads"), Some(id), Some(what), None] => match what {
                "finalize" => Self::Finalize { app, id },
                "upload-url" => Self::UploadUrl { app, id },
                "part-urls" => Self::PartUrls { app, id },
                "parts" => Self::Parts { app, id },
                "complete" => Self::Complete { app, id },
                _ => return Err(NoRoute::Unknown),
            },
            _ => return Err(NoRoute::Unknown),
        };
        Ok(route)
    }

    /// What stands after `v1/images/`: the two words that are no keys, or a key and what is asked
    /// of it.
    fn of_images(app: &'a str, rest: &'a str) -> Option<Self> {
        match rest.split_once('/').map_or((rest, None), |(first, more)| (first, Some(more))) {
            ("presigned-urls", None) => Some(Self::Presign { app }),
            ("multipart-uploads", None) => Some(Self::Multipart { app }),
            ("presigned-urls" | "multipart-uploads", Some(_)) => None,
            // A path that is not hostile has an empty segment at its end only.
            _ if rest.is_empty() || rest.ends_with('/') => None,
            _ => Some(match rest.strip_suffix("/signed-urls") {
                Some(key) => Self::SignedUrls { app, key },
                // The keys of other systems may have several segments.
                None => Self::OwnImage { app, key: rest },
            }),
        }
    }

    /// The app that is named.
    #[must_use]
    pub const fn app(&self) -> &'a str {
        match self {
            Self::Presign { app }
            | Self::Multipart { app }
            | Self::Upload { app, .. }
            | Self::Finalize { app, .. }
            | Self::UploadUrl { app, .. }
            | Self::PartUrls { app, .. }
            | Self::Parts { app, .. }
            | Self::Complete { app, .. }
            | Self::OwnImage { app, .. }
            | Self::SignedUrls { app, .. }
            | Self::Image { app, .. } => app,
        }
    }

    /// The name of the route, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Presign { .. } => "presign",
            Self::Multipart { .. } => "multipart",
            Self::Upload { .. } => "upload",
            Self::Finalize { .. } => "finalize",
            Self::UploadUrl { .. } => "upload_url",
            Self::PartUrls { .. } => "part_urls",
            Self::Parts { .. } => "parts",
            Self::Complete { .. } => "complete",
            Self::OwnImage { .. } => "own_image",
            Self::SignedUrls { .. } => "signed_urls",
            Self::Image { .. } => "image",
        }
    }

    /// The path with what varies left open, for traces.
    #[must_use]
    pub const fn path(&self) -> &'static str {
        match self {
            Self::Presign { .. } => "/darkroom/{app}/v1/images/presigned-urls",
            Self::Multipart { .. } => "/darkroom/{app}/v1/images/multipart-uploads",
            Self::OwnImage { .. } => "/darkroom/{app}/v1/images/{key}",
            Self::SignedUrls { .. } => "/darkroom/{app}/v1/images/{key}/signed-urls",
            Self::Upload { .. } => "/darkroom/{app}/v1/uploads/{id}",
            Self::Finalize { .. } => "/darkroom/{app}/v1/uploads/{id}/finalize",
            Self::UploadUrl { .. } => "/darkroom/{app}/v1/uploads/{id}/upload-url",
            Self::PartUrls { .. } => "/darkroom/{app}/v1/uploads/{id}/part-urls",
            Self::Parts { .. } => "/darkroom/{app}/v1/uploads/{id}/parts",
            Self::Complete { .. } => "/darkroom/{app}/v1/uploads/{id}/complete",
            Self::Image { .. } => "/darkroom/{app}/v2/images/{key}",
        }
    }

    /// The methods that the endpoint takes, as `Allow` says them.
    #[must_use]
    pub const fn allow(&self) -> &'static str {
        match self {
            Self::Presign { .. }
            | Self::Multipart { .. }
            | Self::Finalize { .. }
            | Self::UploadUrl { .. }
            | Self::PartUrls { .. }
            | Self::Complete { .. }
            | Self::SignedUrls { .. } => "POST, OPTIONS",
            Self::OwnImage { .. } => "DELETE, OPTIONS",
            Self::Parts { .. } => "GET, OPTIONS",
            Self::Upload { .. } => "GET, DELETE, OPTIONS",
            Self::Image { .. } => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether it is one of the endpoints of uploads and owners, and not a read.
    #[must_use]
    pub const fn is_of_uploads(&self) -> bool {
        match self {
            Self::Presign { .. }
            | Self::Multipart { .. }
            | Self::Upload { .. }
            | Self::Finalize { .. }
            | Self::UploadUrl { .. }
            | Self::PartUrls { .. }
            | Self::Parts { .. }
            | Self::Complete { .. }
            | Self::OwnImage { .. }
            | Self::SignedUrls { .. } => true,
            Self::Image { .. } => false,
        }
    }

    /// Whether it begins an upload, which is what the limits of owner, client and app count.
    #[must_use]
    pub const fn begins_an_upload(&self) -> bool {
        match self {
            Self::Presign { .. } | Self::Multipart { .. } => true,
            Self::Upload { .. }
            | Self::Finalize { .. }
            | Self::UploadUrl { .. }
            | Self::PartUrls { .. }
            | Self::Parts { .. }
            | Self::Complete { .. }
            | Self::OwnImage { .. }
            | Self::SignedUrls { .. }
            | Self::Image { .. } => false,
        }
    }

    /// Whether the endpoint takes a method.
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        // By bytes: a search for a text prepares itself for longer ones.
        let mut allowed = self.allow().as_bytes().split(|byte| *byte == b',');
        allowed.any(|allowed| allowed.trim_ascii() == method.as_str().as_bytes())
    }
}

fn no_route(path: &str) -> NoRoute {
    if is_hostile(path) { NoRoute::Hostile } else { NoRoute::Unknown }
}

/// Whether a path has what two parsers could read differently.
fn is_hostile(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    if path.bytes().all(is_plain) && !path.contains("//") {
        // Plain words, as the names of apps and most endpoints are.
        return false;
    }
    let inner = path.strip_prefix('/').unwrap_or(path);
    // A slash at the end is only a path that does not exist.
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let encoded = |code: &str| {
        inner.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(code.as_bytes()))
    };
    inner.contains('\\')
        || (inner.contains("//") || inner.starts_with('/') || inner.ends_with('/'))
        || inner.split('/').any(|segment| matches!(segment, "." | ".."))
        || ["%2e", "%2f", "%5c", "%00", "%25"].into_iter().any(encoded)
        || percent_encoding::percent_decode_str(inner).decode_utf8().is_err()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_endpoints() {
        for (path, route) in [
            ("/darkroom/my-app/v1/images/presigned-urls", Route::Presign { app: "my-app" }),
            ("/darkroom/a/v1/uploads/0123", Route::Upload { app: "a", id: "0123" }),
            ("/darkroom/a/v1/uploads/0123/finalize", Route::Finalize { app: "a", id: "0123" }),
            ("/darkroom/a/v1/uploads/0123/upload-url", Route::UploadUrl { app: "a", id: "0123" }),
            ("/darkroom/a/v1/images/multipart-uploads", Route::Multipart { app: "a" }),
            ("/darkroom/a/v1/uploads/0123/part-urls", Route::PartUrls { app: "a", id: "0123" }),
            ("/darkroom/a/v1/uploads/0123/parts", Route::Parts { app: "a", id: "0123" }),
            ("/darkroom/a/v1/uploads/0123/complete", Route::Complete { app: "a", id: "0123" }),
            ("/darkroom/a/v1/images/k-x.jpg", Route::OwnImage { app: "a", key: "k-x.jpg" }),
            ("/darkroom/a/v1/images/b/c%20d.jpg", Route::OwnImage { app: "a", key: "b/c%20d.jpg" }),
            (
                "/darkroom/a/v1/images/k-x.jpg/signed-urls",
                Route::SignedUrls { app: "a", key: "k-x.jpg" },
            ),
            ("/darkroom/a/v1/images/signed-urls", Route::OwnImage { app: "a", key: "signed-urls" }),
            ("/darkroom/a/v2/images/k-x.jpg", Route::Image { app: "a", key: "k-x.jpg" }),
            ("/darkroom/a/v2/images/b/c%20d.jpg", Route::Image { app: "a", key: "b/c%20d.jpg" }),
            ("/darkroom/a/v2/images/../x", Route::Image { app: "a", key: "../x" }),
        ] {
            assert_eq!(Route::parse(path), Ok(route));
        }
    }

    #[test]
    fn everything_else() {
        for path in [
            "/",
            "*",
            "/darkroom",
            "/darkroom/",
            "/darkroom/a/",
            "/darkroom/a/v1/images",
            "/darkroom/a/v1/images/",
            "/darkroom/a/v1/images/k-x.jpg/",
            "/darkroom/a/v1/images/k-x.jpg/signed-urls/",
            "/darkroom/a/v1/images/presigned-urls/",
            "/darkroom/a/v1/images/presigned-urls/x",
            "/darkroom/a/v2/files/x",
            "/darkroom/a/v1/uploads/0123/finalize/x",
            "/darkroom/a/v1/uploads/0123/parts/1",
            "/darkroom/a/v1/uploads/0123/",
            "/metrics",
        ] {
            assert_eq!(Route::parse(path), Err(NoRoute::Unknown), "{path}");
        }
        for path in [
            "//darkroom/a/v1/images/presigned-urls",
            "/darkroom//v1/images/presigned-urls",
            "/darkroom/../v1/images/presigned-urls",
            "/darkroom/a/v1/uploads/..",
            "/darkroom/a/v1/images/../x",
            "/darkroom/a/v1/images//signed-urls",
            "/darkroom/%2e%2e/v2/images/x",
            "/darkroom/a/v1/uploads/%252e",
            "/darkroom/a\\b/v1/uploads/x",
            "/darkroom/a/v1/uploads/x%00",
            "/darkroom/a/v1/uploads/%c0%af",
            "/..",
        ] {
            assert_eq!(Route::parse(path), Err(NoRoute::Hostile), "{path}");
        }
    }

    #[test]
    fn methods() {
        let image = Route::Image { app: "a", key: "k" };
        assert!(image.takes(&Method::GET) && image.takes(&Method::HEAD));
        assert!(!image.takes(&Method::POST) && !image.takes(&Method::TRACE));
        assert!(!Route::Presign { app: "a" }.takes(&Method::GET));
        let upload = Route::Upload { app: "a", id: "0123" };
        assert!(upload.takes(&Method::GET) && upload.takes(&Method::DELETE));
        assert!(!image.takes(&Method::DELETE));
        let own = Route::OwnImage { app: "a", key: "k" };
        assert!(own.takes(&Method::DELETE) && !own.takes(&Method::GET));
    }

    proptest! {
        #[test]
        fn never_panics(path in "\\PC{0,80}") {
            let _ = Route::parse(&path);
        }
    }
}
