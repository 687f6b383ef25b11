//! `safelight dev`: everything on this machine, without an account anywhere.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::dev::folder::{BUCKET, DataFolder};
use crate::dev::walkthrough::{self, Addresses};
use crate::dev::{DevCdn, DevStore, DevStoreOptions};
use crate::domain::{Secret, Source};
use crate::gateway::{Configuration, Gateway};
use crate::log;
use crate::server::{ShutdownTrigger, shutdown};
use crate::storage::{AccessKey, Provider, S3Access, S3Config, S3Credentials, S3Store, S3Timeouts};
use crate::upstream::{AddressPolicy, Client};

use super::configuration::{load_overridden, report};
use super::reloading::Hangups;
use super::serve::{Signals, until_stopped};
use super::{EX_CONFIG, block_on, take_all_descriptors};

/// The key pair of the embedded store. It listens on loopback addresses, and is no secret.
const ACCESS_KEY_ID: &str = "SAFELIGHTDEV";
const SECRET_ACCESS_KEY: &str = "safelight-dev-is-not-a-secret";
const REGION: &str = "us-east-1";

/// Where it runs.
#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Where data and configuration are kept; made if it does not exist.
    #[arg(long, default_value = "safelight-data", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Where the gateway listens.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where its admin listener is.
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// Where the embedded store listens; a loopback address.
    #[arg(long, default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    store_listen: SocketAddr,
    /// Where the CDN listens; a loopback address.
    #[arg(long, default_value = "127.0.0.1:9080", value_name = "ADDRESS")]
    cdn_listen: SocketAddr,
}

pub(super) fn run(args: &DevArgs) -> ExitCode {
    log::to_terminal();
    take_all_descriptors();
    block_on(async {
        match Dev::start(args).await {
            Ok(dev) => dev.until_stopped().await,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(EX_CONFIG)
            }
        }
    })
}

/// Everything that runs.
struct Dev {
    gateway: Gateway,
    upstreams: Vec<(ShutdownTrigger, JoinHandle<()>)>,
    signals: Signals,
    hangups: Hangups,
}

impl Dev {
    async fn start(args: &DevArgs) -> Result<Self, String> {
        let signals = Signals::listen()?;
        for (flag, address) in
            [("--store-listen", args.store_listen), ("--cdn-listen", args.cdn_listen)]
        {
            if !address.ip().is_loopback() {
                return Err(format!("{flag} must be a loopback address, such as 127.0.0.1:9000"));
            }
        }
        let store_listener = bind(args.store_listen, "--store-listen").await?;
        let cdn_listener = bind(args.cdn_listen, "--cdn-listen").await?;
        let store = local(&store_listener)?;
        let cdn = local(&cdn_listener)?;
        let folder = DataFolder::open(&args.data_dir, cdn)
            .map_err(|error| format!("{}: {error}", args.data_dir.display()))?;
        let access = access(store)?;

        let upstreams =
            vec![start_store(&folder, store_listener).await?, start_cdn(&access, cdn_listener)?];
        if !folder.demo_reads_from(cdn).map_err(|error| error.to_string())? {
            let file = folder.demo_file();
            tracing::warn!("the CDN is http://{cdn}, but {} names another", file.display());
        }
        let loaded =
            load_overridden(Some(&folder.settings_file()), &overrides(args)).map_err(|errors| {
                report(&errors);
                "the data folder's configuration is bad".to_owned()
            })?;
        let hangups =
            Hangups::listen(loaded.running(Some(folder.settings_file()), overrides(args)))?;
        let (files, embedded) = (Some(loaded.files()), Some(access));
        let configuration =
            Configuration { settings: loaded.settings, apps: loaded.apps, embedded, files };
        let gateway = Gateway::start(configuration).await?;
        let (address, admin) = (gateway.address, gateway.admin_address);
        let addresses = Addresses { gateway: address, admin, store, cdn };
        println!("{}", walkthrough::text(&addresses, &folder.photo()));
        Ok(Self { gateway, upstreams, signals, hangups })
    }

    async fn until_stopped(self) -> ExitCode {
        let code = until_stopped(self.gateway, self.signals, self.hangups, Duration::ZERO).await;
        // The CDN first: it holds connections to the store.
        for (trigger, task) in self.upstreams.into_iter().rev() {
            trigger.pull();
            if let Err(error) = task.await {
                tracing::error!(%error, "an embedded server ended badly");
            }
        }
        code
    }
}

/// The command line overrides the folder's settings, as the environment would.
fn overrides(args: &DevArgs) -> Vec<(String, String)> {
    let port = args.listen.port();
    let host = match args.listen.ip() {
        ip if ip.is_loopback() => args.listen.to_string(),
        // It listens for others as well; on this machine it is still found here.
        _ => format!("127.0.0.1:{port}"),
    };
    [
        ("SAFELIGHT__SERVER__LISTEN", args.listen.to_string()),
        ("SAFELIGHT__SERVER__ADMINLISTEN", args.admin_listen.to_string()),
        ("SAFELIGHT__SERVER__PUBLICBASEURL", format!("http://{host}")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn access_key() -> AccessKey {
    AccessKey {
        access_key_id: ACCESS_KEY_ID.into(),
        secret_access_key: Secret::new(SECRET_ACCESS_KEY),
        session_token: None,
    }
}

fn access(store: SocketAddr) -> Result<S3Access, String> {
    let endpoint = format!("http://{store}").parse().map_err(|e| format!("{store}: {e}"))?;
    Ok(S3Access {
        provider: Provider::Other,
        region: REGION.into(),
        endpoint: Some(endpoint),
        path_style: true,
        key: Some(access_key()),
    })
}

async fn start_store(
    folder: &DataFolder,
    listener: TcpListener,
) -> Result<(ShutdownTrigger, JoinHandle<()>), String> {
    let options = DevStoreOptions {
        access_key: ACCESS_KEY_ID.into(),
        secret_key: Secret::new(SECRET_ACCESS_KEY),
        buckets: vec![BUCKET.into()],
        cors_origins: vec!["*".into()],
    };
    let dir = folder.store();
    let opened = tokio::task::spawn_blocking(move || DevStore::open(&dir, options)).await;
    let store = opened.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(spawn(|stop| store.serve(listener, stop)))
}

/// The CDN reads from the store as a distribution with an origin access identity does: signed.
fn start_cdn(
    access: &S3Access,
    listener: TcpListener,
) -> Result<(ShutdownTrigger, JoinHandle<()>), String> {
    let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
    let config = S3Config {
        bucket: BUCKET.into(),
        provider: access.provider,
        region: access.region.clone(),
        endpoint: access.endpoint.clone(),
        path_style: true,
        credentials: S3Credentials::Key(access_key()),
        source: Source::Embedded,
        timeouts: S3Timeouts::default(),
    };
    let origin = S3Store::new(config, Client::new(policy)?)?;
    let cdn = DevCdn::new(Arc::new(origin));
    Ok(spawn(|stop| cdn.serve(listener, stop)))
}

/// Runs a server until its trigger is pulled.
fn spawn<F>(
    serve: impl FnOnce(futures_util::future::BoxFuture<'static, ()>) -> F,
) -> (ShutdownTrigger, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (trigger, stop) = shutdown();
    let task = tokio::spawn(serve(Box::pin(stop.wait())));
    (trigger, task)
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; choose another with {flag}"))
}

fn local(listener: &TcpListener) -> Result<SocketAddr, String> {
    listener.local_addr().map_err(|error| error.to_string())
}
