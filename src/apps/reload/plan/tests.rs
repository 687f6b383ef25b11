//! The planner, by a table and by random histories.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::apps::load::read_directory;
use crate::apps::{AppFiles, LoadContext};
use crate::domain::Grants;
use crate::upstream::AddressPolicy;

const GRACE: Duration = Duration::from_secs(60);

/// The file of an app with this prefix in a bucket that all share.
fn text(prefix: &str) -> String {
    format!(
        "[Storage]\nBucket = 'media'\nKeyPrefix = '{prefix}'\nAccessKeyID = 'id'\n\
         SecretAccessKey = 's'\n"
    )
}

/// Files as they are read from a directory. A prefix of `!` is a file that is refused.
fn files(apps: &[(&str, &str)]) -> Vec<AppFile> {
    let dir = tempfile::tempdir().unwrap();
    for (name, prefix) in apps {
        let text = if *prefix == "!" { "nonsense".to_owned() } else { text(prefix) };
        std::fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
    }
    let context = LoadContext {
        address_policy: &AddressPolicy::default(),
        max_url_expiry: Duration::from_secs(900),
        secrets_dir: Path::new("/nowhere"),
        env: &|_| None,
        grants: &Grants::default(),
        trusted_proxies: None,
    };
    read_directory(dir.path(), &context).unwrap().files
}

/// The apps that these files make, and for how many seconds some of them have been gone.
fn live<'a>(
    files: &'a [AppFile],
    gone_for: &[(&str, u64)],
    now: Instant,
) -> BTreeMap<&'a AppName, Live<'a>> {
    let seconds = |name: &AppName| gone_for.iter().find(|(gone, _)| *gone == name.as_str());
    let live = files.iter().map(|file| {
        let missing_since = seconds(&file.name).map(|(_, gone)| now - Duration::from_secs(*gone));
        let config = &file.read.as_ref().unwrap().config;
        (&file.name, Live { config, file: &file.file, missing_since })
    });
    live.collect()
}

/// The verdicts in short: the first word, and why.
fn told(verdicts: &BTreeMap<AppName, Verdict>) -> String {
    let short = |(name, verdict): (&AppName, &Verdict)| {
        let verdict = match verdict {
            Verdict::Stay => "stays",
            Verdict::Take => "is taken",
            Verdict::Refuse(errors) if errors[0].message.contains("overlaps") => "overlaps",
            Verdict::Refuse(_) => "is refused",
            Verdict::Wait { .. } => "waits",
            Verdict::Remove => "goes",
        };
        format!("{name} {verdict}")
    };
    verdicts.iter().map(short).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_case_has_its_verdict() {
    let now = Instant::now() + Duration::from_secs(3600);
    for (was, gone_for, is, expected) in [
        (vec![("a", "a/")], vec![], vec![("a", "a/")], "a stays"),
        (vec![("a", "a/")], vec![], vec![("a", "b/")], "a is taken"),
        (vec![("a", "a/")], vec![], vec![("a", "!")], "a is refused"),
        (vec![], vec![], vec![("a", "a/")], "a is taken"),
        (vec![], vec![], vec![("a", "!")], "a is refused"),
        // Gone, and back.
        (vec![("a", "a/")], vec![], vec![], "a waits"),
        (vec![("a", "a/")], vec![("a", 59)], vec![], "a waits"),
        (vec![("a", "a/")], vec![("a", 60)], vec![], "a goes"),
        (vec![("a", "a/")], vec![("a", 60)], vec![("a", "a/")], "a stays"),
        (vec![("a", "a/")], vec![("a", 60)], vec![("a", "!")], "a is refused"),
        // Whoever has a part keeps it, also while its file is refused or gone.
        (vec![("a", "x/")], vec![], vec![("a", "x/"), ("b", "x/y/")], "a stays, b overlaps"),
        (vec![("b", "x/y/")], vec![], vec![("a", "x/"), ("b", "x/y/")], "a overlaps, b stays"),
        (vec![("a", "x/")], vec![], vec![("a", "!"), ("b", "x/")], "a is refused, b overlaps"),
        (vec![("a", "x/")], vec![("a", 5)], vec![("b", "x/")], "a waits, b overlaps"),
        (vec![("a", "x/")], vec![("a", 60)], vec![("b", "x/")], "a goes, b is taken"),
        // Whoever moves away leaves room; two may change places.
        (vec![("a", "x/")], vec![], vec![("a", "z/"), ("b", "x/")], "a is taken, b is taken"),
        (
            vec![("a", "x/"), ("b", "y/")],
            vec![],
            vec![("a", "y/"), ("b", "x/")],
            "a is taken, b is taken",
        ),
        // Whoever cannot move stays where it is, and keeps the part that a third one counted on.
        (
            vec![("a", "x/"), ("b", "y/")],
            vec![],
            vec![("a", "y/"), ("b", "y/"), ("c", "x/")],
            "a overlaps, b stays, c overlaps",
        ),
        // A part that nobody has is nobody's, if two want it; one of them may be live elsewhere.
        (vec![], vec![], vec![("a", "x/"), ("b", "x/")], "a overlaps, b overlaps"),
        (vec![("a", "a/")], vec![], vec![("a", "x/"), ("b", "x/")], "a overlaps, b overlaps"),
        // Whoever wants everything and may not have it keeps nobody from anything.
        (
            vec![("c", "c/")],
            vec![],
            vec![("a", "a/"), ("b", ""), ("c", "c/")],
            "a is taken, b overlaps, c stays",
        ),
    ] {
        let (was, is) = (files(&was), files(&is));
        let plan = plan(&live(&was, &gone_for, now), &is, now, GRACE);
        assert_eq!(told(&plan), expected);
    }
}

#[test]
fn without_grace_an_app_goes_with_its_file() {
    let (was, now) = (files(&[("a", "a/")]), Instant::now());
    let plan = plan(&live(&was, &[], now), &[], now, Duration::ZERO);
    assert_eq!(told(&plan), "a goes");
}

#[test]
fn a_comment_changes_nothing() {
    let was = files(&[("a", "a/")]);
    let mut is = was.clone();
    is[0].read.as_mut().unwrap().text.push_str("# a word\n");
    let now = Instant::now();
    assert_eq!(told(&plan(&live(&was, &[], now), &is, now, GRACE)), "a stays");
}

/// A rotated secret makes another app of the same text.
#[test]
fn another_secret_is_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let (apps, secrets) = (dir.path().join("apps"), dir.path().join("secrets"));
    std::fs::create_dir_all(&apps).unwrap();
    std::fs::create_dir_all(secrets.join("a")).unwrap();
    let text = text("a/").replace("'s'", "'file:key'");
    std::fs::write(apps.join("a.toml"), text).unwrap();
    let read = |secret: &str| {
        std::fs::write(secrets.join("a/key"), secret).unwrap();
        let files = AppFiles {
            dir: apps.clone(),
            address_policy: AddressPolicy::default(),
            max_url_expiry: Duration::from_secs(900),
            secrets_dir: secrets.clone(),
            grants: Grants::default(),
            trusted_proxies: None,
            env: std::sync::Arc::new(|_| None),
            removal_grace: GRACE,
        };
        files.read().unwrap().files
    };
    let (was, now) = (read("one"), Instant::now());
    let live = live(&was, &[], now);
    assert_eq!(told(&plan(&live, &read("one"), now, GRACE)), "a stays");
    let rotated = read("two");
    assert_eq!(told(&plan(&live, &rotated, now, GRACE)), "a is taken");
    assert_eq!(rotated[0].secret_files, [secrets.join("a/key")].into());
}

/// An app's prefix: `None` if it has no file, `!` if its file is refused.
fn prefix() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(proptest::sample::select(vec![
        "", "x/", "x/y/", "x/y/z/", "w/", "v/", "!",
    ]))
}

proptest! {
    /// Whatever happens, in whatever order: no two apps share a part, and nobody who is live loses
    /// its part but by its own file.
    #[test]
    fn no_history_makes_two_apps_share_a_part(
        history in proptest::collection::vec(proptest::collection::vec(prefix(), 4), 1..6)
    ) {
        let names = ["a", "b", "c", "d"];
        let now = Instant::now();
        let mut current: BTreeMap<AppName, AppFile> = BTreeMap::new();
        for step in history {
            let written = names.iter().zip(step).filter_map(|(name, prefix)| Some((*name, prefix?)));
            let is = files(&written.collect::<Vec<_>>());
            let was: Vec<AppFile> = current.values().cloned().collect();
            let verdicts = plan(&live(&was, &[], now), &is, now, GRACE);
            for file in is {
                if verdicts[&file.name] == Verdict::Take {
                    current.insert(file.name.clone(), file);
                }
            }
            let configs: Vec<_> =
                current.values().map(|file| &file.read.as_ref().unwrap().config.storage).collect();
            prop_assert!(rivals(&configs).iter().all(Option::is_none), "{verdicts:?}");
            for old in &was {
                prop_assert!(current.contains_key(&old.name));
                let (one, other) = (old.read.as_ref().unwrap(), current[&old.name].read.as_ref().unwrap());
                let moved = !is_same_part(&one.config.storage, &other.config.storage);
                prop_assert!(!moved || verdicts[&old.name] == Verdict::Take);
            }
        }
    }
}
