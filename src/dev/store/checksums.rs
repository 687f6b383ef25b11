//! The checksums that a client declares of a body, and the receiving of that body.

use aws_smithy_types::base64;
use futures_util::StreamExt as _;
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};

use super::blobs::{Blobs, Draft};
use super::internal;

/// The largest body of one PUT, in bytes: 5 GiB.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
const MAX_BODY: u64 = 5 << 30;

/// The checksums of S3 besides `Content-MD5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The field that declares it, in the head or in the trailer.
    const fn field(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn enable(self, hasher: &mut ChecksumHasher) {
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
    }

    fn of(self, computed: &s3s::dto::Checksum) -> Option<&str> {
        match self {
            Self::Crc32 => computed.checksum_crc32.as_deref(),
            Self::Crc32c => computed.checksum_crc32c.as_deref(),
            Self::Crc64Nvme => computed.checksum_crc64nvme.as_deref(),
            Self::Sha1 => computed.checksum_sha1.as_deref(),
            Self::Sha256 => computed.checksum_sha256.as_deref(),
        }
    }
}

/// What a request declares of its body.
pub(super) struct Declared {
    length: u64,
    md5: Option<[u8; 16]>,
    /// Base64, from the head.
    checksums: Vec<(Algorithm, String)>,
    /// To come after the body.
    trailing: Vec<Algorithm>,
    trailers: Option<TrailingHeaders>,
}

/// A body that arrived whole and is what it was declared to be.
pub(super) struct Received {
    /// Its bytes, synced.
    pub(super) draft: Draft,
    /// Its length in bytes.
    pub(super) size: u64,
    /// Its MD5.
    pub(super) md5: [u8; 16],
    /// Its SHA-256 in base64, where the client declared it.
    pub(super) sha256: Option<String>,
}

impl Declared {
    /// Reads the declarations of a PUT.
    ///
    /// # Errors
    /// The S3 error for a length that is missing or too large, and for a checksum that is none.
    pub(super) fn parse(
        headers: &http::HeaderMap,
        length: Option<i64>,
        trailers: Option<TrailingHeaders>,
    ) -> S3Result<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let decoded = text("x-amz-decoded-content-length").and_then(|text| text.parse().ok());
        let length = decoded.or(length).and_then(|length| u64::try_from(length).ok());
        let length = length.ok_or_else(|| {
            s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header.")
        })?;
        if length > MAX_BODY {
            return Err(s3_error!(EntityTooLarge, "One PUT may carry 5 GiB at most."));
        }
        let md5 = match text("content-md5") {
            None => None,
            Some(text) => Some(parse_md5(text)?),
        };
        let announced = text("x-amz-trailer").unwrap_or_default();
        let trailing = Algorithm::ALL
            .into_iter()
            .filter(|a| announced.split(',').any(|n| n.trim().eq_ignore_ascii_case(a.field())))
            .collect();
        let checksums = Algorithm::ALL
            .into_iter()
            .filter_map(|a| Some((a, text(a.field())?.to_owned())))
            .collect();
        Ok(Self { length, md5, checksums, trailing, trailers })
    }

    /// Receives the body into a new blob, and verifies it.
    ///
    /// # Errors
    /// `IncompleteBody`, `BadDigest`, or what the signature of the body failed with.
    pub(super) async fn receive(
        self,
        blobs: &Blobs,
        body: Option<StreamingBlob>,
    ) -> S3Result<Received> {
        let mut draft = blobs.create().await.map_err(internal)?;
        let mut md5 = Md5::new();
        let mut hasher = ChecksumHasher::default();
        let from_head = self.checksums.iter().map(|(algorithm, _)| *algorithm);
        from_head.chain(self.trailing.iter().copied()).for_each(|a| a.enable(&mut hasher));
        let mut size = 0;
        let mut body = body;
        while let Some(chunk) = match &mut body {
            Some(body) => body.next().await,
            None => None,
        } {
            let chunk = chunk.map_err(|error| body_error(&error))?;
            size += chunk.len() as u64;
            if size > self.length {
                return Err(s3_error!(IncompleteBody, "The body is longer than was declared."));
            }
            md5.update(&chunk);
            hasher.update(&chunk);
            draft.write(&chunk).await.map_err(internal)?;
        }
        if size < self.length {
            return Err(s3_error!(IncompleteBody, "The body is shorter than was declared."));
        }
        let md5: [u8; 16] = md5.finalize().into();
        let computed = hasher.finalize();
        self.verify(md5, &computed)?;
        draft.sync().await.map_err(internal)?;
        Ok(Received { draft, size, md5, sha256: computed.checksum_sha256 })
    }

    fn verify(&self, md5: [u8; 16], computed: &s3s::dto::Checksum) -> S3Result<()> {
        if self.md5.is_some_and(|declared| declared != md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        let trailer = self.trailers.as_ref().and_then(TrailingHeaders::take).unwrap_or_default();
        let trailing = self.trailing.iter().map(|algorithm| {
            (*algorithm, trailer.get(algorithm.field()).and_then(|value| value.to_str().ok()))
        });
        let leading = self.checksums.iter().map(|(a, declared)| (*a, Some(declared.as_str())));
        for (algorithm, declared) in leading.chain(trailing) {
            if declared.is_none() || algorithm.of(computed) != declared {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match what we received.",
                    algorithm.field()
                ));
            }
        }
        Ok(())
    }
}

fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    let bytes = base64::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        s3_error!(InvalidDigest, "The Content-MD5 you specified is not the base64 of 16 bytes.")
    })
}

/// What a broken body means. The types of these errors are private to `s3s`, their names are not.
fn body_error(error: &StdError) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let mut error = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk does not match.")
    } else {
        s3_error!(IncompleteBody, "The request body ended early or is malformed.")
    }
}
