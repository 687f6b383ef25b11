//! `safelight sweep`: one run of the sweeper in the foreground, or a look at what it would do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, ValueEnum};

use crate::actions::Services;
use crate::actions::reconcile::Remedy;
use crate::actions::sweep::preview;
use crate::apps::App;
use crate::background::sweeper::{AppReport, Failing, Pages, Schedule, Sweeper};
use crate::domain::UploadId;
use crate::gateway::{Configuration, Prepared, remedy, services};
use crate::log;
use crate::records::{Records, RecordsError, SqliteRecords};
use crate::settings::{Reconcile, RecordsUrl};

use super::configuration::{Loaded, load, report};
use super::{ConfigArgs, EX_CONFIG, EX_UNAVAILABLE, block_on};

/// How many uploads of each app a dry run looks at.
const MOST_PREVIEWED: usize = 10_000;

/// After so many failures of its storage a dry run leaves an app alone.
const MOST_FAILURES: u32 = 3;

/// What to do, and whether really.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Change nothing: only say what would be done. Works beside a running gateway.
    #[arg(long)]
    dry_run: bool,
    /// Compare all of each app's bucket with the records as well, whatever `Sweeper.Reconcile` says.
    #[arg(long, value_enum)]
    reconcile: Option<ReconcileArg>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReconcileArg {
    /// Say which uploaded objects have no record, or one that does not know of them.
    Report,
    /// Record them, where the app's policy lets them pass. Deletes nothing.
    Adopt,
}

pub(super) fn run(args: &SweepArgs) -> ExitCode {
    let loaded = match load(args.config.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            report(&errors);
            return ExitCode::from(EX_CONFIG);
        }
    };
    log::to_terminal();
    block_on(sweep(args, loaded))
}

async fn sweep(args: &SweepArgs, loaded: Loaded) -> ExitCode {
    let configuration =
        Configuration { settings: loaded.settings, apps: loaded.apps, embedded: None, files: None };
    let prepared = match configuration.prepare().await {
        Ok(prepared) => prepared,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            return ExitCode::from(EX_CONFIG);
        }
    };
    let RecordsUrl::Sqlite(path) = prepared.settings.records.clone();
    let records: Arc<dyn Records> = match open(path, args.dry_run).await {
        Ok(records) => Arc::new(records),
        Err(RecordsError::InUse(error)) => {
            eprintln!(
                "{error}\nA gateway that runs sweeps by itself, every Sweeper.Interval. What it would \
                 do next, --dry-run says beside it."
            );
            return ExitCode::from(EX_UNAVAILABLE);
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EX_UNAVAILABLE);
        }
    };
    let opened = services(&prepared.settings, Arc::clone(&records), &prepared.metrics).await;
    let services = match opened {
        Ok(services) => services,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let succeeded = match args.dry_run {
        true => dry_run(args, prepared, services).await,
        false => real_run(args, prepared, services).await,
    };
    records.close().await;
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn open(path: PathBuf, for_reading: bool) -> Result<SqliteRecords, RecordsError> {
    let open = move || match for_reading {
        true => SqliteRecords::open_for_reading(&path),
        false => SqliteRecords::open(&path),
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|error| Err(RecordsError::Unavailable(error.to_string())))
}

/// Does everything that is due; says whether nothing failed.
async fn real_run(args: &SweepArgs, prepared: Prepared, services: Services) -> bool {
    let reconcile = match args.reconcile {
        Some(ReconcileArg::Report) => Some(Remedy::Report),
        Some(ReconcileArg::Adopt) => Some(Remedy::Adopt),
        None => remedy(prepared.settings.sweeper.reconcile),
    };
    let sweeper = sweeper(prepared, services, reconcile);
    let mut done = Done::default();
    let (mut forgotten, mut succeeded) = (0, true);
    loop {
        let report = sweeper.run().await;
        done.add(&report.apps);
        forgotten += report.claims_forgotten.unwrap_or_default();
        succeeded &= !report.has_failed();
        if report.is_whole() {
            done.print("nothing was due");
            if forgotten > 0 {
                println!("{forgotten} expired idempotency keys were forgotten");
            }
            return succeeded;
        }
    }
}

/// Says what is due and what would be done; says whether everything could be looked at.
async fn dry_run(args: &SweepArgs, prepared: Prepared, services: Services) -> bool {
    let mut rows = Vec::new();
    let mut succeeded = true;
    let due = match services.records.due(SystemTime::now(), MOST_PREVIEWED).await {
        Ok(due) => due,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    for app in prepared.apps.snapshot().iter() {
        let Some(due) = due.get(&app.name) else { continue };
        succeeded &= preview_app(app, &services, &due.uploads, &mut rows).await;
    }
    print_table(["APP", "UPLOAD", "STATE", "WOULD"], &rows, "nothing is due");
    let is_set = prepared.settings.sweeper.reconcile != Reconcile::Off;
    if args.reconcile.is_some() || is_set {
        // To list and to tell changes nothing.
        let reports = sweeper(prepared, services, Some(Remedy::Report)).compare().await;
        succeeded &= !reports.iter().any(|report| report.has_comparison_failed);
        let mut done = Done::default();
        done.add(&reports);
        println!();
        done.print("buckets and records agree");
    }
    succeeded
}

fn sweeper(prepared: Prepared, services: Services, reconcile: Option<Remedy>) -> Sweeper {
    let interval = prepared.settings.sweeper.interval;
    let schedule = Schedule { interval, reconcile, pages: Pages::All };
    Sweeper::new(prepared.apps, services, prepared.metrics, schedule)
}

async fn preview_app(
    app: &App,
    services: &Services,
    due: &[UploadId],
    rows: &mut Vec<[String; 4]>,
) -> bool {
    if due.len() >= MOST_PREVIEWED {
        eprintln!("app {}: more is due than the first {MOST_PREVIEWED}", app.name);
    }
    let due = match services.records.still_due(&app.name, due, SystemTime::now()).await {
        Ok(due) => due,
        Err(error) => {
            eprintln!("app {}: {error}", app.name);
            return false;
        }
    };
    let mut failures = 0;
    for record in due {
        let would = match preview(app, services, &record, SystemTime::now()).await {
            Ok(plan) => plan.label(),
            // The cause is in the log.
            Err(_) => {
                failures += 1;
                "? (storage failed)"
            }
        };
        let (id, state) = (record.key.id().to_string(), record.state.as_str().to_owned());
        rows.push([app.name.to_string(), id, state, would.to_owned()]);
        if failures == MOST_FAILURES {
            eprintln!("app {}: the rest is not looked at, because storage fails", app.name);
            break;
        }
    }
    failures == 0
}

/// What was done, by app and outcome.
#[derive(Default)]
struct Done(BTreeMap<(String, &'static str), u64>);

impl Done {
    fn add(&mut self, reports: &[AppReport]) {
        for report in reports {
            let looks = report.looks.iter().map(|(outcome, count)| (outcome.label(), count));
            let found = report.discrepancies.iter().map(|(found, count)| (found.label(), count));
            for (label, count) in looks.chain(found) {
                *self.0.entry((report.app.to_string(), label)).or_default() += count;
            }
            match report.stopped_by {
                Some(Failing::Storage) => eprintln!("app {}: its storage fails", report.app),
                Some(Failing::Records) => eprintln!("app {}: the records fail", report.app),
                None => {}
            }
            if report.has_comparison_failed {
                eprintln!("app {}: its bucket cannot be compared", report.app);
            }
        }
    }

    fn print(&self, nothing: &str) {
        let row = |((app, what), count): (&(String, &str), &u64)| {
            [app.clone(), (*what).to_owned(), count.to_string()]
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        print_table(["APP", "OUTCOME", "UPLOADS"], &rows, nothing);
    }
}

/// Prints rows in columns, or says that there is none.
fn print_table<const N: usize>(titles: [&str; N], rows: &[[String; N]], nothing: &str) {
    if rows.is_empty() {
        println!("{nothing}");
        return;
    }
    let mut widths = titles.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        println!("{}", line.trim_end());
    };
    line(titles.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
}
