//! A real Prometheus that scrapes a gateway, with the rules of `dashboards/`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::Value;
use url::Url;

use super::gateway::eventually;
use super::peers::{free_address, listens_in_time, started, until_input_ends};
use super::plain_client::Plain;

/// A loaded machine takes its time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the scrapes are called; the alerts expect it.
pub const JOB: &str = "safelight";

/// A running Prometheus.
pub struct Prometheus {
    base: String,
    /// Its standard input is the life line of the server.
    _process: Child,
}

/// One element of what an expression gave: its labels, and its value.
#[derive(Debug)]
pub struct Sample {
    pub labels: Value,
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }
}

/// The folder of dashboards and rules.
pub fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards")
}

/// A program of Debian's package: that of the system, or what `tests/peers` unpacked.
///
/// # Panics
/// If there is neither.
pub fn program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/prometheus");
    let places = [Path::new("/"), &unpacked].map(|root| root.join("usr/bin").join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("these tests need {name} of Prometheus: run tests/peers"))
}

/// Runs `promtool`, which must be content.
#[track_caller]
pub fn promtool(arguments: &[&str], files: &[PathBuf]) {
    assert!(!files.is_empty(), "{arguments:?} of nothing");
    let output = Command::new(program("promtool")).args(arguments).args(files).output().unwrap();
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{}", said.concat());
}

/// Has `promtool` look at metrics in text form: names, units, help texts.
#[track_caller]
pub fn lint(metrics: &str) {
    let mut tool = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = tool.stdin.take().expect("it was asked for");
    input.write_all(metrics.as_bytes()).expect("promtool reads");
    drop(input);
    let output = tool.wait_with_output().expect("the process is ours");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

impl Prometheus {
    /// One that scrapes this address (`http://host:port`) every second.
    ///
    /// # Panics
    /// If Prometheus is not installed, or does not start.
    pub async fn watching(admin: &str) -> Self {
        let target = admin.strip_prefix("http://").expect("a URL without a path");
        let started = started("Prometheus", async || Self::start(target).await).await;
        // It listens before it has read its data.
        eventually("Prometheus is ready", async || {
            let ready =
                Plain::new(Method::GET, format!("{}/-/ready", started.base)).attempt().await;
            ready.filter(|answer| answer.status == 200)
        })
        .await;
        started.until_scraped().await;
        started
    }

    async fn start(target: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory").keep();
        let (config, log) = (dir.join("prometheus.yml"), dir.join("log"));
        let rules = dashboards().join("rules/*.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: {JOB}, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        fs::write(&config, text).expect("the configuration is written");
        let address = free_address();
        let mut process = until_input_ends(&program("prometheus"), &dir, &log)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .spawn()
            .expect("sh starts");
        if listens_in_time(&mut process, address, START_LIMIT).await {
            return Some(Self { base: format!("http://{address}"), _process: process });
        }
        eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
        None
    }

    /// Waits until what the gateway counted so far is there, and was there when the rules were
    /// evaluated.
    pub async fn until_scraped(&self) {
        // The first that comes may have begun before; and a rule that stands on another one takes a
        // turn more.
        let scrapes = format!("count_over_time(up{{job=\"{JOB}\"}}[1h]) and up == 1");
        let before = self.number(&scrapes).await.unwrap_or(0.0);
        eventually("two scrapes", async || {
            self.number(&scrapes).await.filter(|now| *now >= before + 2.0)
        })
        .await;
        for turn in ["an evaluation of the rules", "another", "and another"] {
            let before = self.evaluations().await;
            eventually(turn, async || {
                let now = self.evaluations().await;
                before.iter().zip(&now).all(|(before, now)| now > before).then_some(())
            })
            .await;
        }
    }

    /// When each group of rules was last evaluated.
    async fn evaluations(&self) -> Vec<String> {
        let groups = self.get("/api/v1/rules").await.expect("the rules are told");
        let groups = groups["groups"].as_array().expect("a list").iter();
        groups.map(|group| group["lastEvaluation"].as_str().expect("a time").to_owned()).collect()
    }

    /// The only value of an expression.
    async fn number(&self, expression: &str) -> Option<f64> {
        self.query(expression).await.expect(expression).first().map(|sample| sample.value)
    }

    /// Evaluates an expression.
    ///
    /// # Errors
    /// What Prometheus said.
    pub async fn query(&self, expression: &str) -> Result<Vec<Sample>, String> {
        let mut url = Url::parse(&self.base).expect("a URL");
        url.set_path("/api/v1/query");
        url.query_pairs_mut().append_pair("query", expression);
        let data = self.get(&url[url::Position::BeforePath..]).await?;
        if data["resultType"] == "scalar" {
            return Ok(vec![Sample { labels: Value::Null, value: value_of(&data["result"]) }]);
        }
        let samples = data["result"].as_array().expect("a vector").iter();
        Ok(samples
            .map(|sample| Sample {
                labels: sample["metric"].clone(),
                value: value_of(&sample["value"]),
            })
            .collect())
    }

    /// Every rule, as Prometheus has it.
    pub async fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules").await.expect("the rules are told");
        let groups = data["groups"].as_array().expect("a list").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("a list").clone()).collect()
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = Plain::new(Method::GET, format!("{}{path}", self.base)).send().await;
        let mut document = answer.json();
        match document["status"] == "success" {
            true => Ok(document["data"].take()),
            false => Err(document["error"].to_string()),
        }
    }
}

/// The second of a pair of time and value.
fn value_of(pair: &Value) -> f64 {
    pair[1].as_str().expect("values are texts").parse().expect("and numbers")
}
