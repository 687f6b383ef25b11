//! The images that the gateway knows: one table of media type, file extensions and content
//! signature.

/// An image type. Everything about a type hangs on its variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
    /// AVIF.
    Avif,
    /// HEIC: HEIF with HEVC.
    Heic,
    /// HEIF with another codec.
    Heif,
    /// SVG: a document that can carry script, so it is only allowed where an app says so, and is
    /// never shown inline.
    Svg,
}

impl MediaType {
    /// Every type that the gateway knows.
    pub const ALL: [Self; 8] = [
        Self::Jpeg,
        Self::Png,
        Self::Webp,
        Self::Gif,
        Self::Avif,
        Self::Heic,
        Self::Heif,
        Self::Svg,
    ];

    /// What an app allows unless its file says otherwise: every type but SVG.
    pub const DEFAULT_ALLOWED: [Self; 7] =
        [Self::Jpeg, Self::Png, Self::Webp, Self::Gif, Self::Avif, Self::Heic, Self::Heif];

    /// The media type as it is written in `Content-Type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
            Self::Avif => "image/avif",
            Self::Heic => "image/heic",
            Self::Heif => "image/heif",
            Self::Svg => "image/svg+xml",
        }
    }

    /// The file extensions of the type, lower case, the usual one first.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Png => &["png"],
            Self::Webp => &["webp"],
            Self::Gif => &["gif"],
            Self::Avif => &["avif"],
            Self::Heic => &["heic"],
            Self::Heif => &["heif"],
            Self::Svg => &["svg"],
        }
    }

    /// Whether a browser may show the type inside a page of the same origin without risk.
    #[must_use]
    pub const fn is_safe_inline(self) -> bool {
        !matches!(self, Self::Svg)
    }

    /// The type of a `Content-Type` value; parameters and case are ignored.
    #[must_use]
    pub fn parse(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(essence))
    }

    /// The type and the canonical (lower-case) spelling of a file extension.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<(Self, &'static str)> {
        Self::ALL.into_iter().find_map(|known| {
            let spelled = known.extensions().iter().find(|e| e.eq_ignore_ascii_case(extension))?;
            Some((known, *spelled))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_contract() {
        for (extension, media_type) in [
            ("jpg", "image/jpeg"),
            ("JPEG", "image/jpeg"),
            ("png", "image/png"),
            ("webp", "image/webp"),
            ("gif", "image/gif"),
            ("avif", "image/avif"),
            ("heic", "image/heic"),
            ("heif", "image/heif"),
            ("svg", "image/svg+xml"),
        ] {
            let (known, _) = MediaType::from_extension(extension).unwrap();
            assert_eq!(known.as_str(), media_type);
            assert_eq!(MediaType::parse(media_type), Some(known));
        }
        for unknown in ["", "exe", "jpg ", "php", "html"] {
            assert_eq!(MediaType::from_extension(unknown), None);
        }
    }

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert_eq!(MediaType::parse("Image/JPEG; q=1"), Some(MediaType::Jpeg));
        assert_eq!(MediaType::parse("image/jpg"), None);
        assert_eq!(MediaType::parse("text/html"), None);
    }
}
