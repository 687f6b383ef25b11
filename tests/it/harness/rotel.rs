//! Rotel: a collector of spans that others have written, which hands on what it has understood.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use super::collector::Collector;
use super::peers::{free_address, listens_in_time, started, until_input_ends};

/// A loaded machine takes seconds where an idle one takes a moment.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running collector, which hands everything on to another. It ends with this value.
pub struct Rotel {
    url: String,
    /// Its standard input is the life line of the server.
    _process: Child,
}

impl Rotel {
    /// Starts one that hands on to this collector.
    ///
    /// # Panics
    /// If Rotel is not installed, or does not start.
    pub async fn before(collector: &Collector) -> Self {
        started("rotel", async || Self::start(collector.url()).await).await
    }

    /// Where it takes spans.
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn start(next: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let log = dir.join("log");
        let (address, grpc) = (free_address(), free_address());
        let mut process = until_input_ends(&program(), &dir, &log)
            .args(["start", "--otlp-http-endpoint", &address.to_string()])
            .args(["--otlp-grpc-endpoint", &grpc.to_string(), "--exporter", "otlp"])
            .args(["--otlp-exporter-protocol", "http", "--otlp-exporter-endpoint", next])
            .spawn()
            .expect("sh starts");
        if listens_in_time(&mut process, address, START_LIMIT).await {
            return Some(Self { url: format!("http://{address}"), _process: process });
        }
        eprintln!("{}", std::fs::read_to_string(&log).unwrap_or_default());
        None
    }
}

/// It lies in the package, under the name of a version of Python.
fn program() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let program = |version: &Path| version.join("site-packages/rotel/rotel-agent");
    versions
        .map(|version| program(&version.path()))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!(
                "these tests need rotel, and there is none under {}: run tests/peers",
                lib.display()
            )
        })
}
