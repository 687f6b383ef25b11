//! What things are called at each provider: permissions, signed headers, and where they are set.

use crate::apps::App;
use crate::domain::Source;

/// Whose words an operator needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
}

/// What a request needs to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    /// To write an object.
    Write,
    /// To read an object.
    Read,
    /// To delete an object.
    Delete,
    /// To be told what is in the bucket, and so what is not.
    List,
}

impl Provider {
    /// The provider of an app's storage.
    pub(super) fn of(app: &App) -> Self {
        match app.store.source() {
            Source::Gcs => Self::Gcs,
            Source::S3
            | Source::Embedded
            | Source::Azure
            | Source::Memory
            | Source::Cdn
            | Source::Redirect
            | Source::None => Self::S3,
        }
    }

    /// What the provider calls a permission.
    pub(super) const fn name_of(self, permission: Permission) -> &'static str {
        match (self, permission) {
            (Self::S3, Permission::Write) => "s3:PutObject",
            (Self::S3, Permission::Read) => "s3:GetObject",
            (Self::S3, Permission::Delete) => {
                "s3:DeleteObject (where the bucket keeps versions, s3:GetObjectVersion and \
                 s3:DeleteObjectVersion too)"
            }
            (Self::S3, Permission::List) => "s3:ListBucket",
            // Overwriting is deleting, too.
            (Self::Gcs, Permission::Write) => "storage.objects.create and storage.objects.delete",
            (Self::Gcs, Permission::Read) => "storage.objects.get",
            (Self::Gcs, Permission::Delete) => "storage.objects.delete",
            (Self::Gcs, Permission::List) => "storage.objects.list",
        }
    }

    /// Who is to be allowed: what the operator can find in the app's file.
    const fn who(self) -> &'static str {
        match self {
            Self::S3 => "the access key of [Storage]",
            Self::Gcs => "the service account of [Storage]",
        }
    }

    /// How an object that exists is kept: what is signed under `PreventOverwrite`.
    pub(super) const fn create_once(self) -> &'static str {
        match self {
            Self::S3 => "If-None-Match: *",
            Self::Gcs => "x-goog-if-generation-match: 0",
        }
    }

    /// How a declared size is held.
    pub(super) const fn size(self) -> &'static str {
        match self {
            Self::S3 => "Content-Length",
            Self::Gcs => "x-goog-content-length-range",
        }
    }

    /// How a declared SHA-256 is held, where it is.
    pub(super) const fn sha256(self) -> &'static str {
        match self {
            Self::S3 => "x-amz-checksum-sha256",
            Self::Gcs => "a SHA-256",
        }
    }

    /// Which of its pages has the rest.
    pub(super) const fn page(self) -> &'static str {
        match self {
            Self::S3 => "docs/providers/s3.md",
            Self::Gcs => "docs/providers/gcs.md",
        }
    }

    /// A sentence that asks for a permission on the objects of a bucket, or on the bucket.
    pub(super) fn grant(self, permission: Permission, bucket: &str, prefix: &str) -> String {
        let (name, who) = (self.name_of(permission), self.who());
        match (self, permission) {
            (Self::S3, Permission::List) => {
                format!("allow {name} on arn:aws:s3:::{bucket} to {who}")
            }
            (Self::S3, Permission::Write | Permission::Read | Permission::Delete) => {
                format!("allow {name} on arn:aws:s3:::{bucket}/{prefix}* to {who}")
            }
            (Self::Gcs, _) => format!(
                "allow {name} on gs://{bucket} to {who}, by the role in {page} or by \
                 `gcloud storage buckets add-iam-policy-binding gs://{bucket} \
                 --member=serviceAccount:ITS_ADDRESS --role=roles/storage.objectUser`",
                page = self.page(),
            ),
        }
    }

    /// How strangers are kept out of a bucket.
    pub(super) fn close(self, bucket: &str) -> String {
        match self {
            Self::S3 => format!(
                "block public access to {bucket} (`aws s3api put-public-access-block`), and remove \
                 what names Principal \"*\" from its policy"
            ),
            Self::Gcs => format!(
                "remove allUsers and allAuthenticatedUsers from gs://{bucket}: `gcloud storage \
                 buckets update gs://{bucket} --public-access-prevention`"
            ),
        }
    }
}
