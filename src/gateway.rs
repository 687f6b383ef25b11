//! The composition root: settings and app files in, a running gateway out. Every way to run it —
//! `serve`, `dev`, the tests — goes through [`Gateway::start`].

mod building;
mod certified;
mod events;
mod listening;
mod reloading;
mod samples;
mod traced;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::actions::Services;
use crate::actions::known::Known;
use crate::actions::reconcile::Remedy;
use crate::apps::{AppConfig, AppFiles, LiveApps, Reloader};
use crate::background::sweeper::{Pages, Schedule, Sweeper};
use crate::http::FrontDoor;
use crate::http::admin::{AdminDoor, Readiness};
use crate::identity::{ReadSignatures, UploadTokens};
use crate::memory::MemoryCache;
use crate::metrics::Metrics;
use crate::records::{Records, SqliteRecords};
use crate::server::tls::Certificates;
use crate::server::{ShutdownTrigger, shutdown};
use crate::settings::{Reconcile, RecordsUrl, Settings};
use crate::storage::{GcsProcessCredentials, ProcessCredentials, S3Access};
use crate::upstream::Client;
use crate::zero_copy::MemoryFiles;

use building::Builder;
use certified::Certified;
use events::Handlers;
use reloading::Reloading;

pub use building::app_files;

/// How often the memory of rate limits is tidied.
const SWEEP_LIMITS_EVERY: Duration = Duration::from_secs(60);

/// What a gateway is started with.
pub struct Configuration {
    /// The settings of the process.
    pub settings: Settings,
    /// The apps.
    pub apps: Vec<AppConfig>,
    /// How to get at the embedded store, in a process that has one.
    pub embedded: Option<S3Access>,
    /// Where the files of the apps are, if they may change while the gateway runs.
    pub files: Option<AppFiles>,
}

/// What a gateway is made of before it listens anywhere.
pub struct Prepared {
    /// The settings of the process.
    pub settings: Settings,
    /// The live apps.
    pub apps: Arc<LiveApps>,
    /// The client of every upstream.
    pub client: Client,
    /// What everything is counted in.
    pub metrics: Arc<Metrics>,
    /// What the apps were made of.
    configs: Vec<AppConfig>,
    files: Option<AppFiles>,
    builder: Builder,
    /// What the public listener proves itself with, where it does.
    certified: Option<Certified>,
}

/// A running gateway.
pub struct Gateway {
    /// Where it listens for the world.
    pub address: SocketAddr,
    /// Where it listens for the operator.
    pub admin_address: SocketAddr,
    readiness: Readiness,
    records: Arc<dyn Records>,
    public: Running,
    admin: Running,
    /// What takes events from a queue.
    consumer: Option<Running>,
    /// What sends spans to their collector.
    exporter: Option<Running>,
    sweeper: Running,
    /// What keeps the apps as their files say, and what asks it to read them now.
    reloading: Option<Running>,
    reload_wanted: Arc<Notify>,
    limits_sweeper: JoinHandle<()>,
    follower: JoinHandle<()>,
    certificates: Option<(Arc<Certificates>, JoinHandle<()>)>,
}

/// A task and what ends it.
struct Running {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl Configuration {
    /// Builds the apps and what they share. Only the process's own credentials are asked for, where
    /// an app uses them.
    ///
    /// # Errors
    /// A text for each app that cannot be built.
    pub async fn prepare(self) -> Result<Prepared, Vec<String>> {
        let told = |error| vec![error];
        let mut builder = self.builder()?;
        let uses_aws = self.apps.iter().any(AppConfig::uses_aws_process_credentials)
            || self.settings.events.uses_process_credentials();
        if uses_aws {
            builder.find_aws_credentials().await.map_err(told)?;
        }
        if self.apps.iter().any(AppConfig::uses_google_process_credentials) {
            builder.find_google_credentials().await.map_err(told)?;
        }
        self.build(builder)
    }

    /// Builds the same and throws it away, and asks nothing of anybody: what only shows then is
    /// found here too.
    ///
    /// # Errors
    /// A text for each app that cannot be built.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn check(self) -> Result<(), Vec<String>> {
        let mut builder = self.builder()?;
        builder.process = Some(ProcessCredentials::none());
        builder.google = Some(GcsProcessCredentials::none());
        self.build(builder).map(drop)
    }

    fn builder(&self) -> Result<Builder, Vec<String>> {
        Builder::new(&self.settings, self.embedded.clone()).map_err(|error| vec![error])
    }

    fn build(self, builder: Builder) -> Result<Prepared, Vec<String>> {
        let Self { settings, apps: configs, files, .. } = self;
        let certified = settings.tls.as_ref().map(Certified::load).transpose();
        let (apps, certified) = match (builder.build(&configs), certified) {
            (Ok(apps), Ok(certified)) => (Arc::new(LiveApps::fixed(apps)), certified),
            (apps, certified) => {
                let errors = apps.err().into_iter().flatten().chain(certified.err());
                return Err(errors.collect());
            }
        };
        let (client, metrics) = (builder.client.clone(), Arc::clone(&builder.metrics));
        apps.count_in(&metrics);
        Ok(Prepared { settings, apps, client, metrics, configs, files, builder, certified })
    }
}

impl Gateway {
    /// Starts a gateway and returns when it listens.
    ///
    /// # Errors
    /// A text for the operator: which address is taken, which app cannot be built, why the record
    /// store does not open.
    pub async fn start(configuration: Configuration) -> Result<Self, String> {
        let prepared = configuration.prepare().await.map_err(|errors| errors.join("\n"))?;
        let Prepared { settings, apps, metrics, client, configs, files, builder, certified } =
            prepared;
        let (process, loop_token) = (builder.process.clone(), builder.loop_token.clone());
        metrics.tell_build();
        let listener = bind(settings.server.listen, "Server.Listen").await?;
        let admin_listener = bind(settings.server.admin_listen, "Server.AdminListen").await?;
        let (address, admin_address) = (local_address(&listener)?, local_address(&admin_listener)?);

        let (tracing, exporter) = traced::start(&settings, &metrics)?;
        let records = traced::records(open_records(&settings.records, &metrics).await?, &tracing);
        let mut services = services(&settings, Arc::clone(&records), &metrics).await?;
        services.memory = open_memory(&settings, &apps, &metrics);
        let reload_wanted = Arc::new(Notify::new());
        let reloader = files.map(|files| {
            let has_memory = services.memory.is_some();
            Reloader::new(files, Arc::clone(&apps), configs, Arc::clone(&metrics), has_memory)
        });
        let reloading = match reloader {
            Some(it) => Some(Reloading::begin(it, builder, Arc::clone(&reload_wanted)).await),
            None => None,
        };
        let known = Arc::clone(&services.known);
        let handlers = Handlers { apps: &apps, services: &services, metrics: &metrics };
        let push = events::open_push(&settings.events, &client, &handlers)?;
        let drain = settings.server.drain_timeout;
        let consumer = events::start_consumer(&settings.events, process, &handlers, drain)?;
        let (schedule, of_sweeper) = (schedule(&settings), services.clone());
        let sweeper = Sweeper::new(Arc::clone(&apps), of_sweeper, Arc::clone(&metrics), schedule);
        let (readiness, limits) = (Readiness::default(), settings.limits);
        let certificates = certified.map(|certified| certified.serve(&metrics));
        let protocols = certified::protocols(certificates.as_ref(), settings.server.h2c)?;
        let public = FrontDoor::new(
            Arc::clone(&apps),
            services,
            Arc::clone(&metrics),
            loop_token,
            limits.max_concurrent_requests.get(),
        )
        .with_trusted_proxies(settings.server.trusted_proxies.clone())
        .with_tracing(tracing)
        .with_push(push);
        let admin = AdminDoor {
            apps: Arc::clone(&apps),
            metrics: Arc::clone(&metrics),
            sample: samples::sampler(Arc::clone(&apps), Arc::clone(&records), &metrics),
            readiness: readiness.clone(),
        };
        let public_listening = listening::public(listener, protocols, &settings.server, limits);
        let admin_listening = listening::admin(admin_listener, &settings.server);
        let gateway = Self {
            address,
            admin_address,
            records,
            public: listening::open_public(public_listening, &metrics, public),
            admin: listening::open_admin(admin_listening, &metrics, admin),
            consumer,
            exporter,
            sweeper: spawn_sweeper(sweeper),
            reloading: reloading.map(Reloading::spawn),
            reload_wanted,
            limits_sweeper: tokio::spawn(sweep_limits(apps)),
            follower: tokio::spawn(async move { known.follow().await }),
            certificates: certificates.map(|certificates| {
                (Arc::clone(&certificates), tokio::spawn(certificates.follow()))
            }),
            readiness,
        };
        gateway.readiness.set(true);
        Ok(gateway)
    }

    /// Has the files of the apps and the certificate read now, whether or not they seem to have
    /// changed, and says in the log what is wrong with them. Returns at once.
    pub fn reload(&self) {
        self.reload_wanted.notify_one();
        if let Some((certificates, _)) = &self.certificates {
            let certificates = Arc::clone(certificates);
            // What is wrong with it is logged and counted there, and the old one is served on.
            tokio::task::spawn_blocking(move || certificates.reload());
        }
    }

    /// Stops in order: says that it is not ready, gives load balancers `notice` to see that, stops
    /// accepting, lets requests finish, commits the records.
    pub async fn stop(self, notice: Duration) {
        self.readiness.set(false);
        tokio::time::sleep(notice).await;
        if let Some(reloading) = self.reloading {
            reloading.stop().await;
        }
        self.sweeper.stop().await;
        let consumer = async {
            if let Some(consumer) = self.consumer {
                consumer.stop().await;
            }
        };
        tokio::join!(self.public.stop(), consumer);
        self.limits_sweeper.abort();
        self.follower.abort();
        if let Some((_, follower)) = &self.certificates {
            follower.abort();
        }
        self.records.close().await;
        if let Some(exporter) = self.exporter {
            exporter.stop().await;
        }
        // Last, so that the end can be watched.
        self.admin.stop().await;
    }
}

impl Running {
    async fn stop(self) {
        self.trigger.pull();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a task ended badly");
        }
    }
}

/// What the actions on uploads share.
///
/// # Errors
/// A text for the operator.
pub async fn services(
    settings: &Settings,
    records: Arc<dyn Records>,
    metrics: &Arc<Metrics>,
) -> Result<Services, String> {
    let known = Known::load(Arc::clone(&records), Arc::clone(metrics)).await;
    Ok(Services {
        records,
        known: Arc::new(known.map_err(|error| format!("reading the deleted keys: {error}"))?),
        memory: None,
        mint_secrets: settings.keys.mint.clone(),
        tokens: UploadTokens::new(settings.keys.signing.clone())
            .ok_or("Keys.SigningSecrets is empty")?,
        read_signatures: ReadSignatures::new(settings.keys.signing.clone())
            .ok_or("Keys.SigningSecrets is empty")?,
        grace: settings.sweeper.grace,
    })
}

/// How often the sweeper runs, and what it does besides.
const fn schedule(settings: &Settings) -> Schedule {
    Schedule {
        interval: settings.sweeper.interval,
        reconcile: remedy(settings.sweeper.reconcile),
        pages: Pages::Few,
    }
}

/// What the setting asks the sweeper to do about what differs.
#[must_use]
pub const fn remedy(reconcile: Reconcile) -> Option<Remedy> {
    match reconcile {
        Reconcile::Off => None,
        Reconcile::Report => Some(Remedy::Report),
        Reconcile::Adopt => Some(Remedy::Adopt),
    }
}

async fn open_records(
    url: &RecordsUrl,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Records>, String> {
    let RecordsUrl::Sqlite(path) = url.clone();
    let group_size = metrics.records_group_size.with_label_values(&["sqlite"]);
    let commit = metrics.records_commit.with_label_values(&["sqlite"]);
    let observe = move |records: usize, took: Duration| {
        #[allow(clippy::cast_precision_loss)] // a group has hundreds of records
        group_size.observe(records as f64);
        commit.observe(took.as_secs_f64());
    };
    let opened = tokio::task::spawn_blocking(move || SqliteRecords::open_observed(&path, observe));
    let records = opened.await.map_err(|error| error.to_string())?;
    records.map(|records| Arc::new(records) as Arc<dyn Records>).map_err(|e| e.to_string())
}

/// The memory cache, and the metrics of the apps that use it.
fn open_memory(
    settings: &Settings,
    apps: &LiveApps,
    metrics: &Arc<Metrics>,
) -> Option<Arc<MemoryCache>> {
    if settings.cache_size == 0 {
        return None;
    }
    for app in apps.snapshot().iter().filter(|app| app.memory_cache_max_object > 0) {
        app.metrics.touch_memory();
    }
    let memory = MemoryCache::new(settings.cache_size, metrics);
    Some(Arc::new(match settings.tls {
        None => memory.with_files(MemoryFiles::new()),
        // What is encrypted here has to be in the process.
        Some(_) => memory,
    }))
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} ({key}): {error}"))
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn spawn_sweeper(sweeper: Sweeper) -> Running {
    let (trigger, stop) = shutdown();
    Running { trigger, task: tokio::spawn(sweeper.run_until(stop.wait())) }
}

/// Forgets owners whose quota is full again, away from the workers that serve.
async fn sweep_limits(apps: Arc<LiveApps>) {
    let mut ticks = tokio::time::interval(SWEEP_LIMITS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let apps = apps.snapshot();
        let swept = tokio::task::spawn_blocking(move || {
            for app in apps.iter() {
                app.sweep_limits();
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "sweeping the rate limits failed");
        }
    }
}
