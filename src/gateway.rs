//! The composition root: settings and app files in, a running gateway out. Every way to run it —
//! `serve`, `dev`, the tests — goes through [`Gateway::start`].

mod events;
mod samples;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::actions::Services;
use crate::actions::known::Known;
use crate::actions::reconcile::Remedy;
use crate::apps::{App, AppConfig, Apps, Workshop};
use crate::background::sweeper::{Pages, Schedule, Sweeper};
use crate::http::FrontDoor;
use crate::http::admin::{AdminDoor, Readiness};
use crate::identity::{ReadSignatures, UploadTokens};
use crate::memory::MemoryCache;
use crate::metrics::Metrics;
use crate::records::{Records, SqliteRecords};
use crate::server::{Listening, Shutdown, ShutdownTrigger, serve, shutdown};
use crate::settings::{Reconcile, RecordsUrl, Settings};
use crate::storage::{GcsProcessCredentials, GcsSurroundings, ProcessCredentials, S3Access};
use crate::upstream::Client;

use events::Handlers;

/// How long requests have to finish once no more are accepted.
const DRAIN: Duration = Duration::from_secs(25);

/// How many admin connections may be open at once.
const MAX_ADMIN_CONNECTIONS: usize = 64;

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
}

/// What a gateway is made of before it listens anywhere.
pub struct Prepared {
    /// The settings of the process.
    pub settings: Settings,
    /// The live apps.
    pub apps: Arc<Apps>,
    /// The client of every upstream.
    pub client: Client,
    /// What everything is counted in.
    pub metrics: Arc<Metrics>,
    loop_token: HeaderValue,
    process: Option<ProcessCredentials>,
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
    sweeper: Running,
    limits_sweeper: JoinHandle<()>,
    follower: JoinHandle<()>,
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
        let uses_aws = self.apps.iter().any(AppConfig::uses_aws_process_credentials)
            || self.settings.events.uses_process_credentials();
        let process = match uses_aws {
            true => Some(ProcessCredentials::start().await.map_err(told)?),
            false => None,
        };
        let google = match self.apps.iter().any(AppConfig::uses_google_process_credentials) {
            true => {
                let surroundings = GcsSurroundings::from_environment().map_err(told)?;
                Some(GcsProcessCredentials::start(surroundings).await.map_err(told)?)
            }
            false => None,
        };
        self.build(process, google.as_ref())
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
        let (process, google) = (ProcessCredentials::none(), GcsProcessCredentials::none());
        self.build(Some(process), Some(&google)).map(drop)
    }

    fn build(
        self,
        process: Option<ProcessCredentials>,
        google: Option<&GcsProcessCredentials>,
    ) -> Result<Prepared, Vec<String>> {
        let Self { settings, apps, embedded } = self;
        let metrics = Metrics::new();
        let client = Client::new(settings.server.address_policy.clone()).map_err(|e| vec![e])?;
        let loop_token = loop_token(&settings);
        let given = Given { embedded: embedded.as_ref(), process: process.as_ref(), google };
        let apps = build_apps(apps, &settings, &metrics, &client, &loop_token, given)?;
        Ok(Prepared { settings, apps, client, metrics, loop_token, process })
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
        let Prepared { settings, apps, metrics, loop_token, client, process } = prepared;
        metrics.tell_build();
        let listener = bind(settings.server.listen, "Server.Listen").await?;
        let admin_listener = bind(settings.server.admin_listen, "Server.AdminListen").await?;
        let address = local_address(&listener)?;
        let admin_address = local_address(&admin_listener)?;

        let records = open_records(&settings.records, &metrics).await?;
        let mut services = services(&settings, Arc::clone(&records), &metrics).await?;
        services.memory = open_memory(settings.cache_size, &apps, &metrics);
        let known = Arc::clone(&services.known);
        let schedule = Schedule {
            interval: settings.sweeper.interval,
            reconcile: remedy(settings.sweeper.reconcile),
            pages: Pages::Few,
        };
        let handlers = Handlers { apps: &apps, services: &services, metrics: &metrics };
        let push = events::open_push(&settings.events, &client, &handlers)?;
        let consumer = events::start_consumer(&settings.events, process, &handlers)?;
        let sweeper =
            Sweeper::new(Arc::clone(&apps), services.clone(), Arc::clone(&metrics), schedule);
        let readiness = Readiness::default();
        let limits = settings.limits;
        let public = FrontDoor::new(
            Arc::clone(&apps),
            services,
            Arc::clone(&metrics),
            loop_token,
            limits.max_concurrent_requests.get(),
        )
        .with_trusted_proxies(settings.server.trusted_proxies)
        .with_push(push);
        let admin = AdminDoor {
            apps: Arc::clone(&apps),
            metrics: Arc::clone(&metrics),
            sample: samples::sampler(Arc::clone(&apps), Arc::clone(&records), &metrics),
            readiness: readiness.clone(),
        };
        let gateway = Self {
            address,
            admin_address,
            records,
            public: open_public(listener, limits.max_connections.get(), &metrics, public),
            admin: open_admin(admin_listener, &metrics, admin),
            consumer,
            sweeper: spawn_sweeper(sweeper),
            limits_sweeper: tokio::spawn(sweep_limits(apps)),
            follower: tokio::spawn(async move { known.follow().await }),
            readiness,
        };
        gateway.readiness.set(true);
        Ok(gateway)
    }

    /// Stops in order: says that it is not ready, gives load balancers `notice` to see that, stops
    /// accepting, lets requests finish, commits the records.
    pub async fn stop(self, notice: Duration) {
        self.readiness.set(false);
        tokio::time::sleep(notice).await;
        self.sweeper.stop().await;
        let consumer = async {
            if let Some(consumer) = self.consumer {
                consumer.stop().await;
            }
        };
        tokio::join!(self.public.stop(), consumer);
        self.limits_sweeper.abort();
        self.follower.abort();
        self.records.close().await;
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

/// The mark of this deployment: the same on all of its nodes, another one for another deployment
/// that may rightly stand behind it.
fn loop_token(settings: &Settings) -> HeaderValue {
    let digest = Sha256::digest(settings.server.public_base_url.as_str());
    let mark: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("safelight-{mark}")).expect("hexadecimal digits are ASCII")
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

/// What the setting asks the sweeper to do about what differs.
#[must_use]
pub const fn remedy(reconcile: Reconcile) -> Option<Remedy> {
    match reconcile {
        Reconcile::Off => None,
        Reconcile::Report => Some(Remedy::Report),
        Reconcile::Adopt => Some(Remedy::Adopt),
    }
}

/// What apps may be given to get at storage with, besides keys of their own.
struct Given<'a> {
    embedded: Option<&'a S3Access>,
    process: Option<&'a ProcessCredentials>,
    google: Option<&'a GcsProcessCredentials>,
}

fn build_apps(
    configs: Vec<AppConfig>,
    settings: &Settings,
    metrics: &Arc<Metrics>,
    client: &Client,
    loop_token: &HeaderValue,
    given: Given<'_>,
) -> Result<Arc<Apps>, Vec<String>> {
    let workshop = Workshop {
        client,
        metrics,
        public_base_url: &settings.server.public_base_url,
        loop_token,
        embedded: given.embedded,
        process: given.process,
        google: given.google,
        apps: configs.len(),
    };
    let (mut built, mut errors) = (Vec::new(), Vec::new());
    for config in configs {
        let name = config.name.clone();
        match App::build(config, &workshop) {
            Ok(app) => built.push(app),
            Err(error) => errors.push(format!("app {name}: {error}")),
        }
    }
    if errors.is_empty() { Ok(Arc::new(built.into_iter().collect())) } else { Err(errors) }
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
fn open_memory(size: u64, apps: &Apps, metrics: &Arc<Metrics>) -> Option<Arc<MemoryCache>> {
    if size == 0 {
        return None;
    }
    for app in apps.iter().filter(|app| app.memory_cache_max_object > 0) {
        app.metrics.touch_memory();
    }
    Some(Arc::new(MemoryCache::new(size, metrics)))
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} ({key}): {error}"))
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}

fn open_public(
    listener: TcpListener,
    max_connections: usize,
    metrics: &Arc<Metrics>,
    door: FrontDoor,
) -> Running {
    let door = Arc::new(door);
    let listening = Listening { listener, name: "public", max_connections, drain: DRAIN };
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, peer| {
            let door = Arc::clone(&door);
            async move { door.handle(request, peer).await }
        })
    })
}

fn open_admin(listener: TcpListener, metrics: &Arc<Metrics>, door: AdminDoor) -> Running {
    let door = Arc::new(door);
    let max_connections = MAX_ADMIN_CONNECTIONS;
    let listening = Listening { listener, name: "admin", max_connections, drain: DRAIN };
    spawn_listener(listening, metrics, move |listening, metrics, stop| {
        serve(listening, metrics, stop, move |request, _peer| {
            let answer = door.handle(&request);
            async move { answer }
        })
    })
}

fn spawn_listener<F>(
    listening: Listening,
    metrics: &Arc<Metrics>,
    run: impl FnOnce(Listening, Arc<Metrics>, Shutdown) -> F,
) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let (trigger, stop) = shutdown();
    let task = tokio::spawn(run(listening, Arc::clone(metrics), stop));
    Running { trigger, task }
}

fn spawn_sweeper(sweeper: Sweeper) -> Running {
    let (trigger, stop) = shutdown();
    Running { trigger, task: tokio::spawn(sweeper.run_until(stop.wait())) }
}

/// Forgets owners whose quota is full again, away from the workers that serve.
async fn sweep_limits(apps: Arc<Apps>) {
    let mut ticks = tokio::time::interval(SWEEP_LIMITS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let apps = Arc::clone(&apps);
        let swept = tokio::task::spawn_blocking(move || {
            for app in apps.iter() {
                app.owner_limit.sweep();
                app.upload_limit.sweep();
            }
        });
        if let Err(error) = swept.await {
            tracing::error!(%error, "sweeping the rate limits failed");
        }
    }
}
