//! Reading a configuration file's text from the disk, whatever lies there.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::ConfigError;

/// The largest configuration file that is read, in bytes: ten times the longest sensible one. It
/// keeps the work that a hostile file can make small: the TOML parser's is quadratic at worst.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the text of a file of at most 64 KiB.
///
/// # Errors
/// With the path as the file's name: it cannot be read, is no regular file, is too large, or is
/// not UTF-8.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let name = path.display().to_string();
    let fail = |message: String| ConfigError::of_file(&*name, message);
    let unreadable = |error: std::io::Error| fail(format!("cannot be read: {error}"));
    // Asked before opening: opening a FIFO waits for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(fail("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fail("is larger than 64 KiB: this is no configuration file".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        ConfigError::at(&name, &text, valid, "is not UTF-8 text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_of_a_sensible_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        let told =
            || read_text(&path).unwrap_err().to_string().replace(&path.display().to_string(), "F");

        assert!(told().starts_with("F: cannot be read: No such file"));
        std::fs::write(&path, b"A = 1\nB = \"\xff\"").unwrap();
        assert_eq!(told(), "F:2: is not UTF-8 text");
        std::fs::write(&path, vec![b'#'; 64 << 10]).unwrap();
        assert_eq!(read_text(&path).unwrap().len(), 64 << 10);
        std::fs::write(&path, vec![b'#'; (64 << 10) + 1]).unwrap();
        assert!(told().starts_with("F: is larger than 64 KiB"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(told(), "F: is not a regular file");
    }
}
