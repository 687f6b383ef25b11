//! Real photographs: see `tests/photos/README.md`.

/// A photograph and what it is.
#[derive(Clone, Copy)]
pub struct Photo {
    pub file: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

pub const JPEG: Photo = Photo {
    file: "portrait.jpg",
    content_type: "image/jpeg",
    bytes: include_bytes!("../../photos/portrait.jpg"),
};

pub const PNG: Photo = Photo {
    file: "portrait.png",
    content_type: "image/png",
    bytes: include_bytes!("../../photos/portrait.png"),
};

pub const WEBP: Photo = Photo {
    file: "portrait.webp",
    content_type: "image/webp",
    bytes: include_bytes!("../../photos/portrait.webp"),
};

pub const ALL: [Photo; 3] = [JPEG, PNG, WEBP];
