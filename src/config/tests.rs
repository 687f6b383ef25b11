//! What authors are told.

use proptest::prelude::*;

use super::*;
use crate::domain::Rate;

/// A reader with one key of each kind.
fn read_all(source: &Source<'_>) -> Result<(), Vec<ConfigError>> {
    read(source, |file| {
        let _ = file.key("KeepNames").boolean().or(true);
        let _ = file.key("Name").non_empty().text(str::parse::<String>).required("a name");
        file.section("Storage", |storage| {
            let _ = storage.key("Bucket").text(str::parse::<String>).optional();
            let _ = storage.key("MaxBytes").byte_size().or(1);
            let _ = storage.key("Timeout").duration().optional();
            let _ = storage.key("Parts").integer().or(1);
        });
        file.section("RateLimit", |limits| {
            let default = Rate::per_minute(60, 20);
            let _ = limits.section("PerOwner", |owner| rate(owner, default));
        });
        file.section("CORS", |cors| {
            let _ = cors.key("AllowedOrigins").texts(str::parse::<u8>).or(Vec::new());
        });
        Some(())
    })
}

fn told(text: &str) -> Vec<String> {
    let errors = read_all(&Source::new("f", text)).err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn every_error_has_its_line_and_says_what_to_change() {
    for (text, expected) in [
        ("Name = 'x'", &[][..]),
        ("", &["f: Name is missing: a name"]),
        ("Name = ''", &["f: Name is missing: a name"]),
        (
            "Name = 'x'\nKeepName = true",
            &["f:2: unknown key \"KeepName\"; did you mean \"KeepNames\"?"],
        ),
        (
            "Name = 'x'\n[Storage]\nKeepNames = true",
            &["f:3: unknown key \"KeepNames\" in [Storage]; it belongs above the first [section]"],
        ),
        ("Name = 'x'\nBucket = 'b'", &["f:2: unknown key \"Bucket\"; it belongs in [Storage]"]),
        (
            "Name = 'x'\n[Storage]\nColour = 1",
            &[
                "f:3: unknown key \"Colour\" in [Storage]; known here: Bucket, MaxBytes, Timeout, Parts",
            ],
        ),
        ("Name = 'x'\n[Sotrage]", &["f:2: unknown section [Sotrage]; did you mean [Storage]?"]),
        (
            "Name = 'x'\n\n[RateLimit.PerOwners]\nRate = '1/s'",
            &["f:3: unknown section [RateLimit.PerOwners]; did you mean [RateLimit.PerOwner]?"],
        ),
        ("Name = 'x'\nStorage = 1", &["f:2: Storage is a section, not an integer"]),
        (
            "Name = 1\nKeepNames = 'yes'",
            &[
                "f:1: Name: expected a string, found an integer",
                "f:2: KeepNames: expected true or false, found a string",
            ],
        ),
        (
            "Name = 'x'\n[Storage]\nMaxBytes = 1.5\nTimeout = 3\nParts = -1",
            &[
                "f:3: Storage.MaxBytes: expected a size such as \"20MiB\", found a number with a fraction",
                "f:4: Storage.Timeout: expected a time such as \"15m\", found an integer",
                "f:5: Storage.Parts: -1 is less than nothing",
            ],
        ),
        (
            "Name = 'x'\n[RateLimit]\nPerOwner = { Rate = '60/m' }",
            &[
                "f:3: RateLimit.PerOwner.Burst is missing: how many requests may come at once, such as 20",
            ],
        ),
        (
            "Name = 'x'\n[CORS]\nAllowedOrigins = [\n '1',\n 'x',\n 2]",
            &[
                "f:5: CORS.AllowedOrigins: invalid digit found in string",
                "f:6: CORS.AllowedOrigins: expected a string, found an integer",
            ],
        ),
        (
            "Name = 'x'\n[CORS]\nAllowedOrigins = '1'",
            &[
                "f:3: CORS.AllowedOrigins: expected a list of strings such as [\"…\"], found a string",
            ],
        ),
        ("Name = 'x'\nName = 'y'", &["f:2: this is not TOML: duplicate key"]),
        (
            "Name = \nKeepNames = tru",
            &[
                "f:1: this is not TOML: string values must be quoted, expected literal string",
                "f:2: this is not TOML: invalid boolean, expected `true`",
            ],
        ),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let source = |name: &str, section, key, raw: &str| {
        let variable = Override::new(name.to_owned(), section, key, raw.to_owned());
        Source::new("f", "Name = 'x'\n[Storage]\nMaxBytes = 'wrong'").with_overrides(vec![variable])
    };
    for raw in ["'20MiB'", "\"1B\"", "20MiB", "5"] {
        assert_eq!(read_all(&source("V", "STORAGE", "maxbytes", raw)), Ok(()), "{raw}");
    }
    let told = |name, section, key, raw| {
        let errors = read_all(&source(name, section, key, raw)).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert!(told("SAFELIGHT__STORAGE__MAXBYTE", "STORAGE", "MAXBYTE", "1").starts_with(
        "environment: SAFELIGHT__STORAGE__MAXBYTE names no setting; \
             did you mean SAFELIGHT__STORAGE__MAXBYTES?\n"
    ));
    assert_eq!(
        told("V", "Storage", "MaxBytes", "true"),
        "environment: V: Storage.MaxBytes: expected a size such as \"20MiB\", found true or false"
    );
    // A value is a value: it cannot bring further keys.
    assert!(told("V", "Storage", "MaxBytes", "1\nBucket = 2").contains("is not a size"));
}

#[test]
fn a_number_in_the_environment_may_be_a_name() {
    let variable = Override::new("V".to_owned(), "Storage", "Bucket", "2024".to_owned());
    let source = Source::new("f", "Name = 'x'").with_overrides(vec![variable]);
    assert_eq!(read_all(&source), Ok(()));
}

#[test]
fn two_variables_for_one_key_are_refused() {
    let variable = |name: &str| Override::new(name.to_owned(), "Storage", "Parts", "1".to_owned());
    let source = Source::new("f", "Name = 'x'").with_overrides(vec![variable("A"), variable("a")]);
    let errors = read_all(&source).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "environment: a: another variable sets the same key; remove one of the two"
    );
}

#[test]
fn what_is_not_built_is_refused() {
    static NOT_BUILT: [NotBuilt; 8] = [
        NotBuilt::new("", "Tracing", When::Set),
        NotBuilt::new("", "Grants", When::Set),
        NotBuilt::new("", "Visibility", When::NotText("public")),
        NotBuilt::new("Read", "Share", When::NotZero),
        NotBuilt::new("Read", "Ready", When::NotFalse),
        NotBuilt::new("Read", "Key", When::NotEmpty),
        NotBuilt::new("Read", "Proxies", When::NotEmptyList),
        NotBuilt::new("Read", "Kind", When::IsText("azure")),
    ];
    let told = |text: &str, overrides| {
        let source = Source::new("f", text).with_overrides(overrides).with_not_built(&NOT_BUILT);
        let read = read(&source, |file| {
            file.section("Read", |inner| {
                inner.key("Kind").text(str::parse::<String>).or(String::new())
            });
            Some(())
        });
        let errors = read.err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let off = "Visibility = 'public'\n[Read]\nShare = 0.0\nReady = false\nKey = ''\nProxies = []\nKind = 's3'";
    assert_eq!(told(off, vec![]), [""; 0]);
    assert_eq!(
        told(
            "Visibility = 'private'\n[Tracing]\n[[Grants]]\nApp = 'x'\n[Read]\nShare = 0.1\n\
             Ready = true\nKey = 'x'\nProxies = ['x']\nKind = 'azure'",
            vec![]
        ),
        [
            "f:1: Visibility other than \"public\" is not available in this version; remove it, or write \"public\"",
            "f:2: [Tracing] is not available in this version; remove it",
            "f:3: [[Grants]] is not available in this version; remove it",
            "f:6: Read.Share other than 0 is not available in this version; remove it, or write 0",
            "f:7: Read.Ready = true is not available in this version; remove it, or write false",
            "f:8: Read.Key is not available in this version; remove it, or write \"\"",
            "f:9: Read.Proxies is not available in this version; remove it, or write []",
            "f:10: Read.Kind = \"azure\" is not available in this version; choose another",
        ]
    );
    let variable = Override::new("V".to_owned(), "TRACING", "ENDPOINT", "x".to_owned());
    assert_eq!(
        told("", vec![variable]),
        ["environment: V: [Tracing] is not available in this version; remove it"]
    );
}

proptest! {
    #[test]
    fn no_file_is_too_strange(text in "(?s).{0,200}") {
        let _ = told(&text);
    }

    /// Texts that come near to being right.
    #[test]
    fn no_pieces_make_it_panic(pieces in prop::collection::vec(
        prop::sample::select(vec![
            "Name", "=", "'x'", "\n", "[", "]", "Storage", ".", "PerOwner", "RateLimit", "{", "}",
            "Bucket", "1", "\"", "'''", ",", "CORS", "#", "1979-05-27", "0x", "-", "nan", "ü", "\\u",
        ]), 0..40)) {
        let _ = told(&pieces.concat());
    }
}

#[test]
fn deep_nesting_is_survived() {
    let many = |piece: &str| piece.repeat((64 << 10) / 2 / piece.len());
    for text in [
        many("["),
        format!("A={}", many("[")),
        format!("A={}1{}", many("["), many("]")),
        format!("A={}", many("{a=")),
        format!("{}a=1", many("a.")),
        format!("[{}a]", many("a.")),
        format!("[a]\n{}", many("[[a.a]]\n")),
    ] {
        assert_ne!(told(&text), [""; 0]);
    }
}
