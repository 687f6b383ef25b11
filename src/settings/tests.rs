//! Good and bad settings.

use super::*;
use crate::traces::SampleRatio;

const MINT: &str = "mint-mint-mint-mint-mint-mint-mint";
const SIGN: &str = "sign-sign-sign-sign-sign-sign-sign";

fn load(text: &str, env: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("safelight.toml");
    std::fs::write(&path, text).unwrap();
    let shown = |error: &ConfigError| error.to_string().replace(&path.display().to_string(), "F");
    load_path(Some(&path), env).map_err(|errors| errors.iter().map(shown).collect())
}

fn load_path(path: Option<&Path>, env: &[(&str, &str)]) -> Result<Settings, Vec<ConfigError>> {
    Settings::load(path, env.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

/// A file with the required keys and these lines in `[Server]` (2…) and after it.
fn with(server: &str, rest: &str) -> String {
    let keys = format!("[Keys]\nMintSecrets = ['{MINT}']\nSigningSecrets = ['{SIGN}']");
    format!("[Server]\n{server}\nPublicBaseURL = 'https://m.example'\n{keys}\n{rest}")
}

#[test]
fn defaults_are_the_contracts() {
    let settings = load(&with("", ""), &[]).unwrap();
    assert_eq!(settings.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.server.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.server.public_base_url.as_str(), "https://m.example/");
    assert_eq!(settings.server.apps_dir, Path::new("apps.d"));
    assert_eq!(settings.server.secrets_dir, Path::new("/run/secrets/safelight"));
    assert_eq!(settings.server.address_policy, AddressPolicy::default());
    assert_eq!(settings.server.max_url_expiry, Duration::from_secs(900));
    assert_eq!(settings.records, RecordsUrl::Sqlite("./data/safelight.db".into()));
    assert_eq!(settings.keys.signing, [crate::domain::Secret::new(SIGN)]);
    assert_eq!(settings.limits.max_connections.get(), 10_000);
    assert_eq!(settings.limits.max_concurrent_requests.get(), 4096);
    assert_eq!(settings.limits.max_connections_per_ip.get(), 256);
    let ServerSettings { idle_timeout, drain_notice, drain_timeout, .. } = settings.server;
    assert_eq!([idle_timeout, drain_notice, drain_timeout].map(|time| time.as_secs()), [75, 2, 25]);
    let hour = Duration::from_secs(3600);
    let (interval, reconcile) = (hour / 12, Reconcile::Off);
    assert_eq!(settings.sweeper, SweeperSettings { interval, grace: hour, reconcile });
    assert!(!format!("{settings:?}").contains(SIGN), "secrets are not printed");
}

#[test]
fn tls_is_there_when_it_is_asked_for() {
    assert_eq!(load(&with("", ""), &[]).unwrap().tls, None);
    let file = with("", "[TLS]\nCertificateFile = 'c.pem'\nKeyFile = 'k.pem'");
    let of_variables =
        [("SAFELIGHT__TLS__CERTIFICATEFILE", "c.pem"), ("SAFELIGHT__TLS__KEYFILE", "k.pem")];
    let expected = TlsSettings { certificate_file: "c.pem".into(), key_file: "k.pem".into() };
    for settings in [load(&file, &[]), load(&with("", ""), &of_variables)] {
        assert_eq!(settings.unwrap().tls.as_ref(), Some(&expected));
    }
    let half = load(&with("", ""), &of_variables[..1]).unwrap_err();
    assert!(half[0].contains("TLS.KeyFile is missing"), "{half:?}");
    let missing = load(&with("", "[TLS]"), &[]).unwrap_err();
    assert_eq!(missing.len(), 2, "a section that is begun is meant: {missing:?}");
}

#[test]
fn grants_are_read_one_by_one() {
    let text = "[[Grants]]\nApp = 'shop'\nBucket = 'a'\n[[Grants]]\nApp = 'blog'\nBucket = 'b'\n\
                Endpoint = 'https://S3.example:443/'";
    let grants = load(&with("", text), &[]).unwrap().grants;
    let grant = |app: &str, bucket: &str, endpoint: Option<&str>| crate::domain::Grant {
        app: crate::domain::AppName::parse(app).unwrap(),
        bucket: bucket.to_owned(),
        endpoint: endpoint.map(str::to_owned),
    };
    let expected = [grant("shop", "a", None), grant("blog", "b", Some("https://s3.example"))];
    assert_eq!(grants, Grants::from_iter(expected));
    let errors = load(&with("", text), &[("SAFELIGHT__GRANTS__APP", "evil")]).unwrap_err();
    assert!(errors[0].contains("SAFELIGHT__GRANTS__APP names no setting"), "{errors:?}");
}

/// The sample shows every key; required ones and the secrets aside, with the default.
#[test]
fn the_sample_is_the_default() {
    let sample = include_str!("../../safelight.toml.sample");
    let settings = load(&sample.replace('…', MINT), &[]).unwrap();
    assert!(load(sample, &[]).unwrap_err()[0].contains("openssl"), "its secrets are nobody's");
    let mut default = load(&with("", ""), &[]).unwrap();
    default.server.public_base_url = settings.server.public_base_url.clone();
    assert_eq!(format!("{settings:?}"), format!("{default:?}"));
    // What a reader would be told about each section is what the sample has.
    for section in ["Server", "Records", "Keys", "Limits", "TLS", "Sweeper", "Events"] {
        for key in known_keys(section) {
            assert!(sample.contains(&key), "the sample lacks {section}.{key}");
        }
    }
}

/// The keys of a section, from what an author of an unknown key is told.
fn known_keys(section: &str) -> Vec<String> {
    let errors = load(&format!("[{section}]\nNonsense = 1"), &[]).unwrap_err();
    let told = errors.into_iter().find(|error| error.contains("Nonsense")).unwrap();
    let (_, list) = told.split_once("known here: ").unwrap();
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, expected) in [
        (
            with("Lisen = '0.0.0.0:1'", ""),
            "F:2: unknown key \"Lisen\" in [Server]; did you mean \"Listen\"?",
        ),
        (
            with("Listen = '8080'", ""),
            "F:2: Server.Listen: write an IP address and a port, such as \"0.0.0.0:8080\"",
        ),
        (
            with("TrustedProxies = ['10.0.0.1/8']", ""),
            "F:2: Server.TrustedProxies: this is an address in a network; did you mean \"10.0.0.0/8\"?",
        ),
        (
            with("AllowedUpstreamNetworks = ['10.0.0.1/8']", ""),
            "F:2: Server.AllowedUpstreamNetworks: this is an address in a network; did you mean \"10.0.0.0/8\"?",
        ),
        (
            with("AllowedUpstreamNetworks = ['127.0.0.0/8']", ""),
            "F:2: Server.AllowedUpstreamNetworks: loopback is allowed with AllowLoopbackUpstreams = true, not here",
        ),
        (
            with("MaxURLExpiry = '8d'", ""),
            "F:2: Server.MaxURLExpiry: write whole seconds, from \"1s\" to \"7d\"",
        ),
        (
            with("MaxURLExpiry = '1500ms'", ""),
            "F:2: Server.MaxURLExpiry: write whole seconds, from \"1s\" to \"7d\"",
        ),
        (
            with("", "[Records]\nURL = 'postgres://u:p@h/d'"),
            "F:8: Records.URL = \"postgres://…\" is not available in this version; choose another",
        ),
        (
            with("", "[Records]\nURL = 'sqlite://x'"),
            "F:8: Records.URL: write the path after \"sqlite:\" without slashes in between, such as \
             \"sqlite:./data/safelight.db\" or \"sqlite:/var/lib/safelight/safelight.db\"",
        ),
        (
            with("", "[Limits]\nURL = 'redis://h'"),
            "F:8: Limits.URL = \"redis://…\" is not available in this version; choose another",
        ),
        (
            with("", "[Sweeper]\nInterval = '99ms'"),
            "F:8: Sweeper.Interval: write a time from \"100ms\" to \"1d\"",
        ),
        (with("", "[Sweeper]\nGrace = '8d'"), "F:8: Sweeper.Grace: write a time of at most \"7d\""),
        (
            with("", "[Sweeper]\nReconcile = 'on'"),
            "F:8: Sweeper.Reconcile: write \"off\", \"report\" or \"adopt\"",
        ),
        (
            with("", "[Limits]\nMaxConnectionsPerIP = 0"),
            "F:8: Limits.MaxConnectionsPerIP: write a number from 1 to 10000000",
        ),
        (
            with("IdleTimeout = '0s'", ""),
            "F:2: Server.IdleTimeout: write a time from \"1s\" to \"1d\"",
        ),
        (with("DrainTimeout = '2h'", ""), "F:2: Server.DrainTimeout: write a time up to \"1h\""),
        (
            with("", "[Limits]\nMaxConnections = 0"),
            "F:8: Limits.MaxConnections: write a number from 1 to 10000000",
        ),
        (
            with("", "[TLS]\nCertificateFile = 'c'"),
            "F:7: TLS.KeyFile is missing: the PEM file of the certificate's private key",
        ),
        (
            with("H2C = true", "[TLS]\nCertificateFile = 'c'\nKeyFile = 'k'"),
            "F:7: Server.H2C is about a listener without TLS, and this one has it; remove H2C: with \
             TLS, clients choose HTTP/2 by ALPN",
        ),
        (
            with("", "[Tracing]"),
            "F:7: Tracing.OTLPEndpoint is missing: the URL of the collector, or \"\" for none",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://c.test'\nSampleRatio = 1.5"),
            "F:9: Tracing.SampleRatio: write a number from 0 to 1, such as 0.01",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'http://c.test:4317'"),
            "F:8: Tracing.OTLPEndpoint: 4317 is the port of OTLP over gRPC; spans are sent over \
             HTTP, for which collectors have port 4318",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://c.test/v1/traces'"),
            "F:8: Tracing.OTLPEndpoint: write it without /v1/traces, which is added",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://user:hunter2@c.test'"),
            "F:8: Tracing.OTLPEndpoint: the URL must not hold a user name or a password: see Headers",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'http://c.test'\nHeaders = ['X-Key: hunter2']"),
            "F:8: Tracing.Headers would go over the network in plain text; write an https: URL",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://c.test'\nHeaders = ['hunter2']"),
            "F:9: Tracing.Headers: write a header as \"Name: value\"",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://c.test'\nHeaders = ['Host: hunter2']"),
            "F:9: Tracing.Headers: host is set by the gateway",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = 'https://c.test'\nHeaders = ['X-Key: hunter2é']"),
            "F:9: Tracing.Headers: the value for x-key is empty, or is not in visible ASCII",
        ),
        (
            with("", "[Tracing]\nOTLPEndpoint = ''\nHeadersFile = 'h'"),
            "F:9: Tracing.HeadersFile: h: cannot be read: No such file or directory (os error 2)",
        ),
        (
            with("", "[[Grants]]\nApp = 'x'"),
            "F:7: Grants.Bucket is missing: the bucket that they are for",
        ),
        (
            with("", "[[Grants]]\nApp = 'x'\nBucket = 'b'\nBuckets = 'b'"),
            "F:10: unknown key \"Buckets\" in [[Grants]]; did you mean \"Bucket\"?",
        ),
        (
            with("", "[[Grants]]\nApp = 'x'\nBucket = 'b'\nEndpoint = 'http://169.254.169.254'"),
            "F:10: Grants.Endpoint: 169.254.169.254 is a cloud's metadata address, which is never \
             allowed",
        ),
        (with("", "[Grants]\nApp = 'x'"), "F:7: Grants is a list of sections; write [[Grants]]"),
        (
            with("", "[Cache]\nSize = '1KiB'"),
            "F:8: Cache.Size: write \"0B\" for none, or a size from \"1MiB\" to \"1TiB\"",
        ),
        (with("", "[Server.TLS]"), "F:7: unknown section [Server.TLS]; known here: "),
        (with("", "[Sever]"), "F:7: unknown section [Sever]; did you mean [Server]?"),
        (with("", "[Keys]"), "F:7: this is not TOML: duplicate key"),
    ] {
        let errors = load(&text, &[]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(expected), "{errors:?} for\n{text}");
    }
}

#[test]
fn nothing_at_all_names_all_that_is_required() {
    let errors = load_path(None, &[]).unwrap_err();
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "settings: Server.PublicBaseURL is missing: where the world finds this gateway, such as \"https://media.example.com\"",
            "settings: Keys.MintSecrets is missing: one or more secrets (or MintSecretsFile, a file with one in a line); make one with: openssl rand -hex 32",
            "settings: Keys.SigningSecrets is missing: one or more secrets (or SigningSecretsFile, a file with one in a line); make one with: openssl rand -hex 32",
        ]
    );
}

#[test]
fn the_environment_is_enough() {
    let secrets = |secret| format!("['{secret}']");
    let env = [
        ("SAFELIGHT__SERVER__PUBLICBASEURL", "https://m.example"),
        ("safelight__Server__Listen", "127.0.0.1:1"),
        ("SAFELIGHT__SERVER__ALLOWEDUPSTREAMNETWORKS", "['10.0.0.0/8']"),
        ("SAFELIGHT__SERVER__ALLOWLOOPBACKUPSTREAMS", "true"),
        ("SAFELIGHT__LIMITS__MAXCONNECTIONS", "7"),
        ("SAFELIGHT__KEYS__MINTSECRETS", &secrets(MINT)),
        ("SAFELIGHT__KEYS__SIGNINGSECRETS", &secrets(SIGN)),
        ("SAFELIGHT_CONFIG", "ignored here"),
        ("SAFELIGHT_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let settings = load_path(None, &env).unwrap();
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:1");
    assert!(settings.server.address_policy.allow_loopback);
    assert_eq!(settings.limits.max_connections.get(), 7);
}

#[test]
fn strange_variables_are_refused_by_name() {
    for (name, value, expected) in [
        (
            "SAFELIGHT__SERVER__LISTN",
            "x",
            "environment: SAFELIGHT__SERVER__LISTN names no setting; did you mean SAFELIGHT__SERVER__LISTEN?",
        ),
        (
            "SAFELIGHT__QUITE__ELSEWHERE",
            "x",
            "environment: SAFELIGHT__QUITE__ELSEWHERE names no setting; such variables have the form SAFELIGHT__SECTION__KEY",
        ),
        (
            "SAFELIGHT__X",
            "x",
            "environment: SAFELIGHT__X names no setting; such variables have the form SAFELIGHT__SECTION__KEY",
        ),
        (
            "SAFELIGHT__TRACING__OTLPENDPOINT",
            "x",
            "environment: SAFELIGHT__TRACING__OTLPENDPOINT: Tracing.OTLPEndpoint: this is not a URL (relative URL without a base); write it like \"http://127.0.0.1:4318\"",
        ),
        (
            "SAFELIGHT__SERVER__TRUSTEDPROXIES",
            "['10.0.0.0']",
            "environment: SAFELIGHT__SERVER__TRUSTEDPROXIES: Server.TrustedProxies: write a network such as \"10.0.0.0/8\"",
        ),
        (
            "SAFELIGHT__RECORDS__URL",
            "postgres://u:hunter2@h/d",
            "environment: SAFELIGHT__RECORDS__URL: Records.URL = \"postgres://…\" is not available in this version; choose another",
        ),
        (
            "SAFELIGHT__SERVER__LISTEN",
            "8080",
            "environment: SAFELIGHT__SERVER__LISTEN: Server.Listen: write an IP address and a port, such as \"0.0.0.0:8080\"",
        ),
        (
            "SAFELIGHT__KEYS__SIGNINGSECRETS",
            "hunter2hunter2hunter2hunter2hunter2",
            "environment: SAFELIGHT__KEYS__SIGNINGSECRETS: Keys.SigningSecrets: expected a list of strings such as [\"…\"], found a string",
        ),
    ] {
        assert_eq!(load(&with("", ""), &[(name, value)]).unwrap_err(), [expected], "{name}");
    }
}

#[test]
fn secrets_come_from_files_too_and_are_never_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mint");
    let text = format!(
        "[Server]\nPublicBaseURL = 'https://m.example'\n[Keys]\nSigningSecrets = ['{SIGN}']\nMintSecretsFile = '{}'",
        file.display()
    );
    let told = |text: &str| {
        load(text, &[]).unwrap_err().join("\n").replace(&file.display().to_string(), "M")
    };

    assert!(told(&text).starts_with("F:5: Keys.MintSecretsFile: M: cannot be read"));
    std::fs::write(&file, format!("{MINT}\n\n{MINT}2\r\n")).unwrap();
    assert!(load(&text, &[]).is_ok());
    let both = format!("{text}\nMintSecrets = ['{MINT}']");
    assert_eq!(
        told(&both),
        "F:5: Keys.MintSecrets and Keys.MintSecretsFile are both set; remove one of the two"
    );
    std::fs::write(&file, format!("{MINT}\nhunter2\n")).unwrap();
    assert_eq!(
        told(&text),
        "F:5: Keys.MintSecretsFile: M:2: a secret has 7 bytes, and at least 32 are needed; make one with: openssl rand -hex 32"
    );
    std::fs::write(&file, "\n").unwrap();
    assert_eq!(
        told(&text),
        "F:5: Keys.MintSecretsFile: M is empty; make one with: openssl rand -hex 32"
    );
    let empty = with("", "").replace(&format!("['{SIGN}']"), "[]");
    assert!(told(&empty).contains("Keys.SigningSecrets: the list is empty; make one with"));
}

/// The settings with these lines after all others.
fn with_events(events: &str) -> Result<EventsSettings, Vec<String>> {
    load(&format!("{}\n{events}", with("", "")), &[]).map(|settings| settings.events)
}

const QUEUE: &str = "https://sqs.eu-central-1.amazonaws.com/123456789012/media-events";

#[test]
fn without_events_nobody_tells() {
    for nothing in ["", "[Events]", "[Events]\nSQSQueueURL = ''", "[Events.Push]"] {
        let events = with_events(nothing).unwrap();
        assert!(events.sqs.is_none() && events.pubsub.is_none() && events.webhook.is_none());
    }
}

#[test]
fn a_queue_says_where_it_is() {
    let sqs = |text: &str| with_events(&format!("[Events]\n{text}")).unwrap().sqs.unwrap();
    let amazon = sqs(&format!("SQSQueueURL = '{QUEUE}'"));
    assert_eq!(amazon.queue_url.as_str(), QUEUE);
    assert_eq!(amazon.region, "eu-central-1");
    assert_eq!(amazon.endpoint.as_str(), "https://sqs.eu-central-1.amazonaws.com/");
    assert_eq!(amazon.visibility_timeout, Duration::from_secs(120));

    let other = sqs(&format!(
        "SQSQueueURL = '{QUEUE}'\nSQSRegion = 'us-east-1'\n\
         SQSEndpoint = 'https://10.0.0.7:8443'\nSQSVisibilityTimeout = '30s'"
    ));
    assert_eq!(other.region, "us-east-1");
    assert_eq!(other.endpoint.as_str(), "https://10.0.0.7:8443/", "the operator's own network");
    assert_eq!(other.visibility_timeout, Duration::from_secs(30));
    assert_eq!(other.queue_url.as_str(), QUEUE);
}

#[test]
fn who_pushes() {
    let events = with_events(
        "[Events]\nPush = { PubSub = { Audience = 'us', ServiceAccount = 'a@b.example' }, \
         Webhook = { Secret = '0123456789abcdef0123456789abcdef' } }",
    )
    .unwrap();
    let pubsub = events.pubsub.unwrap();
    assert_eq!((pubsub.audience.as_str(), pubsub.service_account.as_str()), ("us", "a@b.example"));
    assert_eq!(pubsub.jwks_url.as_str(), "https://www.googleapis.com/oauth2/v3/certs");
    assert_eq!(events.webhook.as_ref().unwrap().secrets.len(), 1);
    assert!(!format!("{:?}", events.webhook).contains("0123456789abcdef"), "a secret is printed");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{MINT}\n\n{SIGN}\n")).unwrap();
    let filed = format!("[Events.Push.Webhook]\nSecretFile = '{}'", file.path().display());
    assert_eq!(with_events(&filed).unwrap().webhook.unwrap().secrets.len(), 2, "for a rotation");
}

#[test]
fn the_environment_reaches_sections_in_sections() {
    let variables = [
        ("SAFELIGHT__EVENTS__SQSQUEUEURL", QUEUE),
        ("SAFELIGHT__EVENTS__PUSH__WEBHOOK__SECRET", MINT),
        ("safelight__events__push__pubsub__audience", "us"),
        ("SAFELIGHT__EVENTS__PUSH__PUBSUB__SERVICEACCOUNT", "a@b.example"),
    ];
    let events = load(&with("", ""), &variables).unwrap().events;
    assert_eq!(events.sqs.unwrap().queue_url.as_str(), QUEUE);
    assert_eq!(events.pubsub.unwrap().audience, "us");
    assert_eq!(events.webhook.unwrap().secrets.len(), 1);
    let alone = [("SAFELIGHT__EVENTS__PUSH__PUBSUB__AUDIENCE", "us")];
    assert!(load(&with("", ""), &alone).unwrap_err()[0].contains("ServiceAccount is missing"));
    let unknown = [("SAFELIGHT__EVENTS__PUSH__MAIL__TO", "us")];
    let errors = load(&with("", ""), &unknown).unwrap_err();
    assert!(errors[0].contains("SAFELIGHT__EVENTS__PUSH__MAIL__TO"), "{errors:?}");
}

#[test]
fn wrong_events_are_told() {
    let local = "http://127.0.0.1:1/1/queue";
    for (text, expected) in [
        ("[Events]\nSQSRegion = 'eu-central-1'".to_owned(), "there is no Events.SQSQueueURL"),
        ("[Events]\nSQSVisibilityTimeout = '1m'".to_owned(), "there is no Events.SQSQueueURL"),
        (format!("[Events]\nSQSQueueURL = '{local}'"), "Events.SQSQueueURL"),
        ("[Events]\nSQSQueueURL = 'https://sqs.example/1/q'".to_owned(), "SQSRegion is missing"),
        ("[Events]\nSQSQueueURL = 'https://sqs.example'".to_owned(), "the whole URL of the queue"),
        ("[Events]\nSQSQueueURL = 'https://a:b@sqs.example/1/q'".to_owned(), "user name"),
        (format!("[Events]\nSQSQueueURL = '{QUEUE}'\nSQSEndpoint = 'https://h/x'"), "a path"),
        (format!("[Events]\nSQSQueueURL = '{QUEUE}'\nSQSRegion = 'x/'"), "write a region"),
        (format!("[Events]\nSQSQueueURL = '{QUEUE}'\nSQSVisibilityTimeout = '13h'"), "\"12h\""),
        (format!("[Events]\nSQSQueueURL = '{QUEUE}'\nSQSVisibilityTimeout = '1ms'"), "\"1s\""),
        ("[Events.Push.PubSub]".to_owned(), "Audience is missing"),
        ("[Events.Push.PubSub]\nAudience = 'x'".to_owned(), "ServiceAccount is missing"),
        (
            "[Events.Push.PubSub]\nAudience = 'x'\nServiceAccount = 'me'".to_owned(),
            "e-mail address",
        ),
        ("[Events.Push.Webhook]".to_owned(), "Secret is missing"),
        ("[Events.Push.Webhook]\nSecret = 'short'".to_owned(), "at least 32"),
        ("[Events.Push.Webhook]\nSecretFile = '/nowhere/x'".to_owned(), "/nowhere/x"),
        (
            format!("[Events.Push.Webhook]\nSecret = '{MINT}'\nSecretFile = '/nowhere/x'"),
            "both set",
        ),
        ("[Events.Push.Mail]\nTo = 'x'".to_owned(), "unknown section"),
    ] {
        let errors = with_events(&text).unwrap_err();
        assert!(errors.iter().any(|error| error.contains(expected)), "{errors:?} for {text}");
    }
}

#[test]
fn the_collector_of_spans() {
    let collector = |more: &str, env: &[(&str, &str)]| load(&with("", more), env).unwrap().tracing;
    for none in
        ["", "[Tracing]\nOTLPEndpoint = ''", "[Tracing]\nOTLPEndpoint = ''\nSampleRatio = 0.5"]
    {
        assert_eq!(collector(none, &[]), None, "{none}");
    }
    for (written, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://otel-collector:4318/", "http://otel-collector:4318/v1/traces"),
        ("https://c.test/otlp/", "https://c.test/otlp/v1/traces"),
    ] {
        let by_file = collector(&format!("[Tracing]\nOTLPEndpoint = '{written}'"), &[]).unwrap();
        assert_eq!(by_file.url.as_str(), url);
        assert_eq!(by_file.sample_ratio, SampleRatio::ALL);
        assert_eq!((by_file.service_name.as_str(), by_file.headers.len()), ("safelight", 0));
        let by_variable = collector("", &[("SAFELIGHT__TRACING__OTLPENDPOINT", written)]);
        assert_eq!(by_variable, Some(by_file));
    }
    let all = "[Tracing]\nOTLPEndpoint = 'http://[::1]:1'\nSampleRatio = 0.25\n\
               ServiceName = 'media'\nHeaders = ['Authorization: Bearer a b', 'x-team:media']";
    let all = collector(all, &[]).unwrap();
    assert_eq!(Some(all.sample_ratio), SampleRatio::new(0.25));
    let headers =
        all.headers.iter().map(|(name, value)| (name.as_str(), value.expose_str().unwrap()));
    let expected = [("authorization", "Bearer a b"), ("x-team", "media")];
    assert_eq!(headers.collect::<Vec<_>>(), expected);
}
