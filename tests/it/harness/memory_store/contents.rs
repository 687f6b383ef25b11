//! What lies in the store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use safelight::domain::{ByteRange, ETag, StoragePath};
use safelight::storage::{
    GetOptions, ListPage, Listed, MultipartId, ObjectMeta, StorageErrorKind as Kind, UploadedPart,
};
use sha2::{Digest as _, Sha256};

/// The smallest part that Amazon accepts, but for the last one.
const MIN_PART_BYTES: u64 = 5 << 20;

#[derive(Default)]
pub struct Contents {
    pub objects: BTreeMap<String, Object>,
    /// The multipart uploads that are going on, by id.
    pub uploads: BTreeMap<String, Upload>,
    /// Grows with every write: the version of what it wrote.
    writes: u64,
}

pub struct Object {
    pub meta: ObjectMeta,
    pub body: Bytes,
}

pub struct Upload {
    path: String,
    content_type: String,
    /// Whether every part has a checksum, or none has: as on Amazon's servers.
    pub checksums: bool,
    parts: BTreeMap<u16, Bytes>,
}

impl Object {
    pub fn part(&self, range: ByteRange) -> Bytes {
        let start = usize::try_from(range.start).unwrap();
        self.body.slice(start..start + usize::try_from(range.len()).unwrap())
    }

    /// Whether it is a version that is asked for.
    pub fn check(&self, options: &GetOptions) -> Result<(), Kind> {
        if options.if_match.is_some() && options.if_match != self.meta.etag {
            return Err(Kind::PreconditionFailed);
        }
        let own = self.meta.etag.as_ref().expect("every object has a tag");
        if options.if_none_match.iter().any(|known| known.matches_weakly(own)) {
            return Err(Kind::NotModified);
        }
        Ok(())
    }
}

impl Upload {
    /// The parts that are there, in the order of their numbers.
    pub fn listed(&self) -> Vec<UploadedPart> {
        let part = |(number, body): (&u16, &Bytes)| UploadedPart {
            number: *number,
            size: body.len() as u64,
            etag: etag(body),
            sha256: self.checksums.then(|| Sha256::digest(body).into()),
        };
        self.parts.iter().map(part).collect()
    }
}

impl Contents {
    pub fn object(&self, path: &str) -> Result<&Object, Kind> {
        self.objects.get(path).ok_or(Kind::NotFound)
    }

    pub fn put(&mut self, path: &str, content_type: Option<String>, body: Bytes) -> ObjectMeta {
        self.writes += 1;
        let meta = ObjectMeta {
            size: body.len() as u64,
            content_type,
            content_encoding: None,
            etag: Some(etag(&body)),
            last_modified: Some(SystemTime::now()),
            version: Some(self.writes.to_string()),
        };
        self.objects.insert(path.to_owned(), Object { meta: meta.clone(), body });
        meta
    }

    pub fn delete(&mut self, path: &str, only: Option<&ObjectMeta>) -> Result<(), Kind> {
        let Some(object) = self.objects.get(path) else { return Ok(()) };
        let is_meant = match only {
            None => true,
            Some(ObjectMeta { version: Some(version), .. }) => {
                object.meta.version.as_ref() == Some(version)
            }
            Some(ObjectMeta { etag: Some(etag), .. }) => object.meta.etag.as_ref() == Some(etag),
            Some(_) => return Err(Kind::Unsupported),
        };
        if !is_meant {
            return Err(Kind::PreconditionFailed);
        }
        self.objects.remove(path);
        Ok(())
    }

    /// A page of names; the next one begins behind its last.
    pub fn list(&self, prefix: &str, from: Option<&str>, limit: u16) -> ListPage {
        let start = from.map_or(Bound::Included(prefix), Bound::Excluded);
        let mut rest = self
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .peekable();
        let mut objects = Vec::new();
        for (name, object) in rest.by_ref().take(limit.into()) {
            objects.push(Listed {
                path: StoragePath::from_listing(name),
                size: object.meta.size,
                etag: object.meta.etag.clone(),
                last_modified: object.meta.last_modified,
            });
        }
        let last = objects.last().map(|object| object.path.as_str().to_owned());
        ListPage { next: last.filter(|_| rest.peek().is_some()), objects }
    }

    pub fn begin(&mut self, path: &str, content_type: &str, checksums: bool) -> MultipartId {
        self.writes += 1;
        let id = format!("upload-{}", self.writes);
        let (path, content_type) = (path.to_owned(), content_type.to_owned());
        let upload = Upload { path, content_type, checksums, parts: BTreeMap::new() };
        self.uploads.insert(id.clone(), upload);
        MultipartId(id)
    }

    pub fn upload(&self, path: &str, id: &str) -> Result<&Upload, Kind> {
        self.uploads.get(id).filter(|upload| upload.path == path).ok_or(Kind::NoSuchUpload)
    }

    pub fn put_part(&mut self, path: &str, id: &str, part: u16, body: Bytes) -> Option<ETag> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.path == path)?;
        let etag = etag(&body);
        upload.parts.insert(part, body);
        Some(etag)
    }

    pub fn complete(&mut self, path: &str, id: &str, parts: &[UploadedPart]) -> Result<(), Kind> {
        let upload = self.upload(path, id)?;
        let mut whole = BytesMut::new();
        let mut before = 0;
        for (index, part) in parts.iter().enumerate() {
            let body = upload.parts.get(&part.number).filter(|body| etag(body) == part.etag);
            let body = body.filter(|_| part.number > before).ok_or(Kind::WrongParts)?;
            let wanted = upload.checksums.then(|| Sha256::digest(body).into());
            if part.sha256 != wanted {
                return Err(Kind::WrongParts);
            }
            let is_last = index + 1 == parts.len();
            if !is_last && (body.len() as u64) < MIN_PART_BYTES {
                return Err(Kind::WrongParts);
            }
            whole.extend_from_slice(body);
            before = part.number;
        }
        if parts.is_empty() {
            return Err(Kind::WrongParts);
        }
        let upload = self.uploads.remove(id).expect("it was there a moment ago");
        self.put(path, Some(upload.content_type), whole.freeze());
        Ok(())
    }
}

fn etag(body: &[u8]) -> ETag {
    let sum: String = Sha256::digest(body)[..16].iter().map(|b| format!("{b:02x}")).collect();
    ETag::parse(&format!("\"{sum}\"")).expect("hex digits in quotes are a tag")
}
