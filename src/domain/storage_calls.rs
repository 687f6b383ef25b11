//! What storage is asked for, and what becomes of it: the closed sets that its calls are counted under.

use super::reads::labels;

labels! {
    /// What storage is asked for.
    StorageOperation {
        /// A signature for a URL. Asks the provider only where the key is the provider's own.
        Sign => "sign",
        /// An object's metadata.
        Head => "head",
        /// An object, up to the head of the answer.
        Get => "get",
        /// To write a small object.
        Put => "put",
        /// To delete an object.
        Delete => "delete",
        /// A page of a listing.
        List => "list",
        /// To begin an upload in parts.
        CreateMultipart => "create_multipart",
        /// Which parts it has.
        ListParts => "list_parts",
        /// To assemble an object from its parts.
        CompleteMultipart => "complete_multipart",
        /// To give an upload in parts up.
        AbortMultipart => "abort_multipart",
    }
}

labels! {
    /// What became of a call.
    StorageOutcome {
        /// It was done.
        Ok => "ok",
        /// There is no such object.
        NotFound => "not_found",
        /// The object is one that the asker has.
        NotModified => "not_modified",
        /// The object is not the one that was asked for.
        PreconditionFailed => "precondition_failed",
        /// The range lies outside of the object.
        RangeNotSatisfiable => "range_not_satisfiable",
        /// The provider refuses without saying whether there is such an object.
        AccessDenied => "access_denied",
        /// The provider does not accept the credentials or the signature.
        Credentials => "credentials",
        /// The parts are not those of the upload.
        WrongParts => "wrong_parts",
        /// There is no such upload in parts (any more).
        NoSuchUpload => "no_such_upload",
        /// The provider cannot do this.
        Unsupported => "unsupported",
        /// No answer in time.
        Timeout => "timeout",
        /// More is to be signed than this machine can sign in time.
        Overloaded => "overloaded",
        /// No connection, a 5xx, a throttle, or an answer that makes no sense.
        Unavailable => "unavailable",
        /// Nobody waited for it any more: another source was faster, or the client left.
        Cancelled => "cancelled",
    }
}

impl StorageOperation {
    /// Whether a call for this can come to that, as far as providers keep to their protocols.
    #[must_use]
    pub const fn can_have(self, outcome: StorageOutcome) -> bool {
        match outcome {
            StorageOutcome::Ok
            | StorageOutcome::AccessDenied
            | StorageOutcome::Credentials
            | StorageOutcome::Unsupported
            | StorageOutcome::Timeout
            | StorageOutcome::Unavailable
            | StorageOutcome::Cancelled => true,
            StorageOutcome::NotFound => matches!(self, Self::Head | Self::Get),
            StorageOutcome::NotModified | StorageOutcome::RangeNotSatisfiable => {
                matches!(self, Self::Get)
            }
            StorageOutcome::Overloaded => matches!(self, Self::Sign),
            StorageOutcome::PreconditionFailed => matches!(self, Self::Get | Self::Delete),
            StorageOutcome::WrongParts => matches!(self, Self::CompleteMultipart),
            StorageOutcome::NoSuchUpload => {
                matches!(self, Self::ListParts | Self::CompleteMultipart)
            }
        }
    }
}
