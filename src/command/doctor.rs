//! `safelight doctor`: whether the bucket and the CDN of an app do what the app needs, and what to
//! change if not.

mod table;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::apps::{AppConfig, parse_origin};
use crate::doctor::{CorsConfiguration, Examination, Row, Verdict};
use crate::gateway::{Configuration, Prepared};
use crate::storage::StorageKind;

use super::configuration::{Loaded, load, report};
use super::serve::Signals;
use super::{ConfigArgs, EX_CONFIG, block_on};

/// What a process says that was interrupted, as shells count it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Which app, for which pages.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The app: the name of its file in `Server.AppsDir`, without `.toml`.
    #[arg(long, value_name = "NAME")]
    app: String,
    #[command(flatten)]
    config: ConfigArgs,
    /// A page's origin to try, such as `https://www.example.com`; by default those of the app's
    /// `[CORS] AllowedOrigins`.
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin)]
    origin: Option<String>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A table, and the CORS configuration.
    Text,
    /// One JSON object.
    Json,
}

/// What was found, and where.
#[derive(Serialize)]
struct Findings<'a> {
    app: &'a str,
    /// As `Storage.Kind` has it: what form `cors` is in.
    provider: &'static str,
    bucket: &'a str,
    #[serde(rename = "keyPrefix")]
    key_prefix: &'a str,
    #[serde(skip)]
    endpoint: Option<&'a str>,
    checks: &'a [Row],
    cors: Option<CorsConfiguration>,
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let loaded = match load(args.config.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            report(&errors);
            return ExitCode::from(EX_CONFIG);
        }
    };
    let Some(app) = loaded.apps.iter().find(|app| app.name.as_str() == args.app).cloned() else {
        let names: Vec<_> = loaded.apps.iter().map(|app| app.name.as_str()).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let folder = loaded.settings.server.apps_dir.display();
        eprintln!("there is no app {:?}; {folder} has {known}", args.app);
        return ExitCode::from(EX_CONFIG);
    };
    block_on(examine(args, loaded, &app))
}

async fn examine(args: &DoctorArgs, loaded: Loaded, config: &AppConfig) -> ExitCode {
    let (settings, apps) = (loaded.settings, vec![config.clone()]);
    let configuration = Configuration { settings, apps, embedded: None, files: None };
    let Prepared { apps, client, .. } = match configuration.prepare().await {
        Ok(prepared) => prepared,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            return ExitCode::from(EX_CONFIG);
        }
    };
    let app = &apps.get(&args.app).expect("it was built");
    let bucket = &config.storage.bucket;
    let prepared = Examination::new(app, &client, bucket, args.origin.clone());
    let (mut examination, mut signals) = match (prepared, Signals::listen()) {
        (Ok(examination), Ok(signals)) => (examination, signals),
        (Err(error), _) => return cannot(&error),
        (_, Err(error)) => return cannot(&error),
    };
    let checks = tokio::select! {
        checks = examination.run() => Some(checks),
        () = signals.next() => None,
    };
    let Some(checks) = checks else {
        eprintln!("interrupted; deleting the probe");
        if let Err(error) = examination.clean_up().await {
            eprintln!("{error}");
        }
        return ExitCode::from(INTERRUPTED);
    };
    let (provider, endpoint) = match &config.storage.kind {
        StorageKind::S3(access) => ("s3", access.endpoint.as_ref().map(url::Url::as_str)),
        StorageKind::Gcs(_) => ("gcs", None),
        StorageKind::Embedded => ("embedded", None),
    };
    let findings = Findings {
        app: &args.app,
        provider,
        bucket,
        key_prefix: config.storage.key_prefix.as_str(),
        endpoint,
        checks: &checks,
        cors: examination.cors_configuration(),
    };
    print!("{}", findings.print(args.format));
    let failed = checks.iter().any(|row| row.verdict == Verdict::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn cannot(error: &str) -> ExitCode {
    eprintln!("cannot begin: {error}");
    ExitCode::FAILURE
}

impl Findings<'_> {
    fn print(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => json(self) + "\n",
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data can be written as JSON")
}
