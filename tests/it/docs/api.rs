//! `docs/api.md` against the errors, states, types and routes of the program.

use std::collections::BTreeSet;
use std::time::Duration;

use safelight::domain::{
    Error, InvalidFileName, MediaType, RateLimitVerdict, UploadState, VerificationFailure,
};
use safelight::http::Problem;

use super::{code, first_column, one_code, read, rows};

/// One of each refusal. Whether it is really one of each, the source is asked.
fn problems() -> Vec<Problem> {
    let verdict = RateLimitVerdict {
        limit: "owner",
        quota: 1,
        window: Duration::from_secs(1),
        remaining: 0,
        retry_after: Duration::from_secs(1),
    };
    let type_mismatch =
        Error::TypeMismatch { declared: String::new(), extension: "png", expected: "image/png" };
    let actions = [
        Error::InvalidRequest(String::new()),
        Error::InvalidFileName(InvalidFileName::Malformed("")),
        Error::InvalidFileName(InvalidFileName::UnknownExtension),
        Error::UnsupportedImageType(String::new()),
        type_mismatch,
        Error::SizeRequired,
        Error::UnsupportedConstraint(String::new()),
        Error::InvalidKey,
        Error::PublicUploadDisabled,
        Error::Forbidden,
        Error::UnknownApp,
        Error::NotFound,
        Error::UploadNotFound,
        Error::NotUploaded,
        Error::UploadExpired,
        Error::Conflict,
        Error::IdempotencyConflict,
        Error::WrongParts(String::new()),
        Error::MultipartUnsupported,
        Error::FileTooLarge { max_bytes: 1 },
        Error::VerificationFailed(VerificationFailure::Size),
        Error::PreconditionFailed,
        Error::RangeNotSatisfiable { size: 1 },
        Error::RateLimited(verdict),
        Error::RecordsUnavailable,
        Error::Overloaded,
        Error::StorageFailed,
        Error::StorageTimeout,
        Error::Internal,
    ];
    let of_http = [
        Problem::InvalidJson(String::new()),
        Problem::MissingOwnerId,
        Problem::InvalidOwnerId,
        Problem::AmbiguousOwnerId,
        Problem::BadRequest(""),
        Problem::Unauthenticated,
        Problem::InvalidCredential,
        Problem::IdentityUnavailable,
        Problem::NoIdentity,
        Problem::InvalidSignature,
        Problem::UnknownRoute,
        Problem::MethodNotAllowed { allow: "GET" },
        Problem::RequestTimeout,
        Problem::BodyTooLarge { limit: 1 },
        Problem::UriTooLong,
        Problem::HeadersTooLarge,
        Problem::ExpectationFailed,
        Problem::Overloaded,
        Problem::LoopDetected,
    ];
    actions.map(Problem::from).into_iter().chain(of_http).collect()
}

/// The codes that a source file gives to its errors: the texts in its `fn code`.
fn codes_in(path: &str) -> BTreeSet<String> {
    let source = read(path);
    let body = source.split("pub const fn code(&self)").nth(1).expect("an error has a code");
    let body = body.split("\n    }\n").next().unwrap();
    body.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_errors_are_those_of_the_program() {
    let document = rows(&read("docs/api.md"));
    let table =
        document.iter().filter(|row| row.columns.starts_with(&["Status".into(), "Code".into()]));
    let told: BTreeSet<(String, u16)> = table
        .map(|row| (one_code(row.cell("Code")).to_owned(), row.cell("Status").parse().unwrap()))
        .collect();
    let answered: BTreeSet<_> = problems()
        .iter()
        .map(|problem| (problem.code().to_owned(), problem.status().as_u16()))
        .collect();
    assert_eq!(told, answered);

    let in_source = &codes_in("src/domain/error.rs") | &codes_in("src/http/error.rs");
    let codes: BTreeSet<_> = answered.into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, in_source, "`problems` above lacks one");
}

#[test]
fn reasons_and_states_are_those_of_the_program() {
    let document = read("docs/api.md");
    assert_eq!(
        first_column(&document, "Finalize an upload", &["Reason"]),
        VerificationFailure::ALL.map(VerificationFailure::as_str)
    );
    assert_eq!(
        first_column(&document, "Ask about an upload", &["State"]),
        UploadState::ALL.map(UploadState::as_str)
    );
}

#[test]
fn types_and_extensions_are_those_of_the_program() {
    let document = rows(&read("docs/api.md"));
    let table = document.iter().filter(|row| row.columns[0] == "Extension");
    let told: Vec<_> = table
        .map(|row| {
            let extensions = code(row.cell("Extension")).into_iter();
            let extensions = extensions.map(|extension| extension.trim_start_matches('.'));
            (code(row.cell("Type"))[0].to_owned(), extensions.collect::<Vec<_>>().join(" "))
        })
        .collect();
    let known =
        MediaType::ALL.map(|known| (known.as_str().to_owned(), known.extensions().join(" ")));
    assert_eq!(told, known);
}

#[test]
fn the_routes_are_those_of_the_program() {
    let source = read("src/http/route.rs");
    let routes = source.lines().filter_map(|line| line.trim().strip_prefix("/// `/darkroom/"));
    let routes: BTreeSet<_> =
        routes.map(|route| format!("/darkroom/{}", route.trim_end_matches('`'))).collect();
    // Those of no app: what is no text in the code is none of theirs.
    let source = read("src/http/events.rs");
    let of_no_app = source.split('"').filter(|text| text.starts_with("/darkroom/_"));
    let routes: BTreeSet<_> = routes.into_iter().chain(of_no_app.map(str::to_owned)).collect();
    let document = rows(&read("docs/api.md"));
    let told: BTreeSet<_> = document
        .iter()
        .filter(|row| row.columns == ["Request", "Does"])
        .map(|row| code(row.cell("Request"))[0].split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert!(!routes.is_empty());
    assert_eq!(told, routes);
}
