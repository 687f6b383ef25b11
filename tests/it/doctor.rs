//! `safelight doctor` against real storage: what is right passes, what is wrong is named with what
//! to change, and nothing is left in the bucket.

mod buckets;
mod cdn;
mod command;
mod denied;
mod gcs;
mod lax;

use std::collections::BTreeMap;

use safelight::doctor::{Check, Examination, Row, Verdict};
use safelight::gateway::Prepared;
use safelight::storage::{ObjectStore as _, S3Config};

use crate::harness::gateway::{Setup, app_file};
use crate::harness::seaweed::open;

/// A page of the app's.
const PAGE: &str = "https://shop.example";

/// The rows of an examination, by what was checked.
struct Rows(BTreeMap<&'static str, Row>);

impl Rows {
    /// Examines the app `shop` as the command does.
    async fn of(setup: Setup, bucket: &str, origin: Option<&str>) -> Self {
        let Prepared { apps, client, .. } =
            setup.configuration().prepare().await.unwrap_or_else(|errors| panic!("{errors:#?}"));
        let app = apps.get("shop").expect("it was built");
        let origin = origin.map(str::to_owned);
        let mut examination = Examination::new(&app, &client, bucket, origin).unwrap();
        Self::from(examination.run().await)
    }

    fn from(rows: Vec<Row>) -> Self {
        let checks: Vec<_> = rows.iter().map(|row| row.check).collect();
        assert_eq!(checks, Check::ALL, "each once, in order");
        for row in &rows {
            assert_eq!(row.fix.is_some(), row.verdict == Verdict::Fail, "{row:?}");
            let text = format!("{} {}", row.detail, row.fix.as_deref().unwrap_or_default());
            assert!(!text.contains("Signature=") && !text.contains("X-Amz-"), "{text}");
            assert!(!text.contains("X-Goog-") && !text.contains("CloudFront-"), "{text}");
            assert!(!text.contains("a-secret-of-the-tests-only"), "{text}");
        }
        Self(rows.into_iter().map(|row| (row.check.name(), row)).collect())
    }

    /// These fail, and no others.
    #[track_caller]
    fn assert_only_fail(&self, checks: &[Check]) {
        let failed = self.0.values().filter(|row| row.verdict == Verdict::Fail);
        let mut failed: Vec<_> = failed.map(|row| row.check.name()).collect();
        let mut expected: Vec<_> = checks.iter().map(|check| check.name()).collect();
        failed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(failed, expected, "{:#?}", self.0);
    }

    #[track_caller]
    fn assert_passed(&self, checks: &[Check]) {
        for check in checks {
            let row = &self.0[check.name()];
            assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
        }
    }

    #[track_caller]
    fn assert_not_checked(&self, check: Check, why: &str) {
        let row = &self.0[check.name()];
        assert_eq!(row.verdict, Verdict::NotChecked, "{row:?}");
        assert!(row.detail.contains(why), "{row:?}");
    }

    /// It failed, and the detail and the fix have these words.
    #[track_caller]
    fn assert_failed(&self, check: Check, detail: &str, fix: &str) {
        let row = &self.0[check.name()];
        assert_eq!(row.verdict, Verdict::Fail, "{row:?}");
        assert!(row.detail.contains(detail), "{detail:?} is not in {row:?}");
        let known = row.fix.as_deref().expect("a failure has a fix");
        assert!(known.contains(fix), "{fix:?} is not in {known:?}");
    }
}

/// An app on this storage, under a prefix of its own, that lets `PAGE` upload.
fn app_on(storage: &S3Config, prefix: &str, head: &str, sections: &str) -> Setup {
    let sections = format!("{sections}\n[CORS]\nAllowedOrigins = [\"{PAGE}\"]");
    let file = app_file(storage, head, &sections)
        .replace("KeyPrefix = \"images/\"", &format!("KeyPrefix = \"{prefix}\""));
    Setup::with_app("shop", file)
}

#[track_caller]
fn assert_nothing_left(left: &[String]) {
    assert!(left.is_empty(), "{left:?}");
}

/// What lies under a prefix.
async fn objects(storage: &S3Config, prefix: &str) -> Vec<String> {
    let page = open(storage.clone()).list(prefix, None, 100).await.unwrap();
    page.objects.iter().map(|object| object.path.as_str().to_owned()).collect()
}

/// The checks that need nothing but storage.
const OF_STORAGE: [Check; 13] = [
    Check::Put,
    Check::Clock,
    Check::OtherType,
    Check::OtherSize,
    Check::OtherContent,
    Check::Expired,
    Check::Head,
    Check::Range,
    Check::IfMatch,
    Check::List,
    Check::Missing,
    Check::StrangersWrite,
    Check::StrangersRead,
];
