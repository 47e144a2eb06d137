//! A real Prometheus with the shipped scrape configuration and rules, at other addresses and quicker
//! than a person needs it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::harness::admin::{AdminAddress, EnvoyAdmin};
use crate::harness::bootstrap::read_yaml;
use crate::harness::eventually::eventually;
use crate::harness::held_port::free_port;
use crate::harness::{artifacts, envoy};

/// The shipped configuration, by its path in the checkout.
const SHIPPED: &str = "envoy/prometheus/prometheus.yaml";
/// How often it scrapes, and computes the rules.
const INTERVAL: &str = "500ms";

/// One value of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct PrometheusSample {
    /// Its labels, the metric's name among them as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// The value at the time of the query.
    pub value: f64,
}

/// A running Prometheus; it ends when it's dropped, and shows its log where that happens by a failing
/// test.
#[derive(Debug)]
pub struct PrometheusProcess {
    process: Child,
    at: SocketAddr,
    dir: TempDir,
}

impl PrometheusProcess {
    /// Starts it with the shipped files, to scrape these Envoys and this controller, and waits until it
    /// serves.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub async fn start(envoys: &[SocketAddr], controller: Option<SocketAddr>) -> Self {
        let dir =
            tempfile::Builder::new().prefix("canary-prometheus-").tempdir().expect("a folder");
        let jobs = [("envoy", envoys.to_vec()), ("canaryctl", Vec::from_iter(controller))];
        fs::write(dir.path().join("prometheus.yaml"), configuration(&jobs).to_string())
            .expect("the configuration can be written");
        let at = free_port();
        let prometheus = Self { process: spawn(dir.path(), at), at, dir };
        prometheus.is_ready().await;
        prometheus
    }

    /// The base URL of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The values of a query now.
    ///
    /// # Errors
    /// What Prometheus says of a query that it doesn't take.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub async fn query(&self, promql: &str) -> Result<Vec<PrometheusSample>, String> {
        let path = format!("/api/v1/query?query={}", utf8_percent_encode(promql, NON_ALPHANUMERIC));
        let (_, body) = self.client().get(&path).await.expect("Prometheus answers");
        let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(samples(&answer["data"])),
            _ => Err(answer["error"].as_str().unwrap_or("no answer of its query API").to_owned()),
        }
    }

    /// Waits until a query has values, and gives them.
    ///
    /// # Panics
    /// When it never has, or is refused.
    pub async fn values(&self, promql: &str) -> Vec<PrometheusSample> {
        let probe =
            async || self.query(promql).await.unwrap_or_else(|error| panic!("{promql}: {error}"));
        eventually(&format!("values of {promql}"), probe, |values| !values.is_empty()).await
    }

    /// Kills it, as a crash would. Its port stays its own.
    ///
    /// # Panics
    /// When it can't be killed.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("Prometheus can be killed");
    }

    /// Starts it again, with what it had stored.
    ///
    /// # Panics
    /// When it doesn't come up.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.at);
        self.is_ready().await;
    }

    async fn is_ready(&self) {
        let probe = async || self.client().get("/-/ready").await.map(|(status, _)| status);
        let ready = eventually("Prometheus is ready", probe, |status| *status == Ok(200)).await;
        assert_eq!(ready, Ok(200));
    }

    /// As for an admin: one connection a request, so a restart isn't a special case.
    fn client(&self) -> EnvoyAdmin {
        EnvoyAdmin::new(AdminAddress::Tcp(self.at))
    }
}

impl Drop for PrometheusProcess {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.dir.path().join("log");
            eprintln!("--- the end of Prometheus' log\n{}\n---", envoy::tail(&log));
        }
    }
}

/// The shipped configuration with other targets and intervals.
fn configuration(jobs: &[(&str, Vec<SocketAddr>)]) -> Value {
    let shipped = artifacts::root().join(SHIPPED);
    let mut document = read_yaml(&shipped);
    for field in ["scrape_interval", "evaluation_interval"] {
        document["global"][field] = INTERVAL.into();
    }
    for file in document["rule_files"].as_array_mut().expect("a list of rule files") {
        *file = json!(shipped.with_file_name(file.as_str().expect("a file's name")));
    }
    for job in document["scrape_configs"].as_array_mut().expect("a list of jobs") {
        let of_job = jobs.iter().find(|(name, _)| job["job_name"] == *name);
        let (_, targets) = of_job.unwrap_or_else(|| panic!("an unknown job: {job}"));
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        job["static_configs"] = json!([{ "targets": targets }]);
    }
    document
}

/// As Envoy is started: the kernel kills it when the thread that started it ends.
fn spawn(dir: &Path, at: SocketAddr) -> Child {
    let log = File::create(dir.join("log")).expect("a log file");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(artifacts::prometheus());
    let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
    command.arg(option("config.file", &dir.join("prometheus.yaml").display()));
    command.arg(option("storage.tsdb.path", &dir.join("data").display()));
    command.arg(option("web.listen-address", &at)).arg("--log.level=warn");
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log file")).stderr(log);
    command.kill_on_drop(true).spawn().expect("setpriv (util-linux) starts Prometheus")
}

/// The values of a vector or a scalar.
fn samples(data: &Value) -> Vec<PrometheusSample> {
    let number = |sample: &Value| sample[1].as_str().and_then(|text| text.parse().ok());
    let value = |sample: &Value| number(sample).unwrap_or_else(|| panic!("no number: {sample}"));
    if data["resultType"] == "scalar" {
        return vec![PrometheusSample { labels: BTreeMap::new(), value: value(&data["result"]) }];
    }
    let vector = data["result"].as_array().unwrap_or_else(|| panic!("no vector: {data}"));
    let labels = |metric: &Value| serde_json::from_value(metric.clone()).expect("labels are text");
    let sample = |one: &Value| PrometheusSample {
        labels: labels(&one["metric"]),
        value: value(&one["value"]),
    };
    vector.iter().map(sample).collect()
}
