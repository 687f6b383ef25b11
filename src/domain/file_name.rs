//! The `file` of a presign request: what a client calls its image, and what may become of that
//! name in a key.

use super::MediaType;

/// The longest `file` that is read at all, in bytes: the limit of common file systems.
const MAX_FILE_BYTES: usize = 255;

/// The longest name part of a key, in characters.
const MAX_NAME: usize = 64;

/// The name part of a key: `[a-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanName(Box<str>);

/// A file name that a client declared, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The name part, fit for a key.
    pub name: CleanName,
    /// The extension, lower case.
    pub extension: &'static str,
    /// The media type that the extension stands for.
    pub media_type: MediaType,
}

/// Why a file name cannot be accepted. The texts are meant for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFileName {
    /// Empty, too long, or with characters that no file name has.
    #[error("{0}")]
    Malformed(&'static str),
    /// No extension, or one that stands for no known image type.
    #[error(
        "the file name must end in .jpg, .jpeg, .png, .webp, .gif, .avif, .heic, .heif or .svg"
    )]
    UnknownExtension,
}

impl CleanName {
    /// The name that a key gets where an app does not keep names.
    #[must_use]
    pub fn image() -> Self {
        Self("image".into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the text is of the form that a key's name part has.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    }

    /// Makes a key's name of any text: lower case, every run of other characters one `-`, none at
    /// the ends, cut at 64; `image` where nothing is left.
    #[must_use]
    fn from_stem(stem: &str) -> Self {
        let mut clean = String::with_capacity(stem.len().min(MAX_NAME));
        for character in stem.chars() {
            if clean.len() == MAX_NAME {
                break;
            }
            match character.to_ascii_lowercase() {
                kept @ ('a'..='z' | '0'..='9' | '_') => clean.push(kept),
                _ if clean.is_empty() || clean.ends_with('-') => {}
                _ => clean.push('-'),
            }
        }
        clean.truncate(clean.trim_end_matches('-').len());
        if clean.is_empty() { Self::image() } else { Self(clean.into()) }
    }
}

impl FileName {
    /// Parses a declared file name, for example `profile-photo.jpg`.
    ///
    /// # Errors
    /// [`InvalidFileName`]: empty, over 255 bytes, a path, a control or direction-changing
    /// character, or an extension that stands for no known image type.
    pub fn parse(text: &str) -> Result<Self, InvalidFileName> {
        use InvalidFileName::{Malformed, UnknownExtension};
        if text.is_empty() {
            return Err(Malformed("the file name is empty"));
        }
        if text.len() > MAX_FILE_BYTES {
            return Err(Malformed("the file name is longer than 255 bytes"));
        }
        if text.contains(['/', '\\']) {
            return Err(Malformed("the file name is a path: send the name of the file alone"));
        }
        if text.chars().any(is_unprintable) {
            return Err(Malformed("the file name has a control or direction-changing character"));
        }
        let (stem, extension) = text.rsplit_once('.').ok_or(UnknownExtension)?;
        let (media_type, extension) =
            MediaType::from_extension(extension).ok_or(UnknownExtension)?;
        Ok(Self { name: CleanName::from_stem(stem), extension, media_type })
    }
}

/// Control characters, and the marks that change the direction of text, which make a name show as
/// another one (Unicode TR 36 §2.4).
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_cleaned_for_keys() {
        let longest = "x".repeat(200) + ".png";
        for (file, name, extension) in [
            ("profile-photo.jpg", "profile-photo", "jpg"),
            ("Profile Photo (1).JPEG", "profile-photo-1", "jpeg"),
            ("../x.jpg", "", ""),
            ("été à Paris.webp", "t-paris", "webp"),
            ("写真.png", "image", "png"),
            (".jpg", "image", "jpg"),
            ("a.tar.gif", "a-tar", "gif"),
            ("\"quoted\".avif", "quoted", "avif"),
            ("IMG_0001.HEIC", "img_0001", "heic"),
            (longest.as_str(), &"x".repeat(64), "png"),
        ] {
            match FileName::parse(file) {
                Ok(parsed) => {
                    assert_eq!((parsed.name.as_str(), parsed.extension), (name, extension));
                }
                Err(_) => assert_eq!(name, "", "{file} was refused"),
            }
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let too_long = "a".repeat(4096) + ".jpg";
        for file in
            ["", "a\r\n.jpg", "a\0.jpg", "a\u{202E}gpj.exe.jpg", "a/b.jpg", "a\\b.jpg", &too_long]
        {
            assert!(
                matches!(FileName::parse(file), Err(InvalidFileName::Malformed(_))),
                "{file:?}"
            );
        }
        for file in ["photo", "photo.", "photo.exe", "photo.jpg ", "jpg"] {
            assert_eq!(FileName::parse(file), Err(InvalidFileName::UnknownExtension), "{file:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_fit_for_a_key(stem in "\\PC{0,80}") {
            if let Ok(parsed) = FileName::parse(&format!("{stem}.jpg")) {
                prop_assert!(CleanName::is_valid(parsed.name.as_str()));
            }
        }
    }
}
