//! The registry's client against a real MLflow server. `./scripts/test --mlflow` installs one and names its
//! programs' folder in MLFLOW_BIN; plain `./scripts/test` doesn't run this.

use serde_json::Map;

use super::*;
use crate::fake::runtime;
use crate::until;

/// A real MLflow server on sqlite; its process group is killed when it is dropped.
struct MlflowServer {
    child: Child,
    url: String,
    _folder: TempDir,
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl MlflowServer {
    fn start(programs: &str) -> Self {
        use std::os::unix::process::CommandExt;
        // An error says that another test has done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let free = crate::free_port();
        let store = format!("sqlite:///{}", folder.path().join("mlflow.db").display());
        let artifacts = folder.path().join("artifacts");
        let mut command = Command::new(format!("{programs}/mlflow"));
        command.args(["server", "--host", "127.0.0.1", "--workers", "1", "--port"]);
        command.arg(free.port().to_string()).args(["--backend-store-uri", &store]);
        command.arg("--artifacts-destination").arg(artifacts);
        command.env("MLFLOW_DISABLE_TELEMETRY", "true").process_group(0);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = quiet.spawn().unwrap();
        let server = Self { child, url: format!("http://{free}"), _folder: folder };
        // It loads for several seconds.
        let end = Instant::now() + 2 * patience();
        while server.ask("GET", "registered-models/search", &json!({})).is_none() {
            assert!(Instant::now() < end, "MLflow's server doesn't answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        server
    }

    /// The answer of the REST API; `None` if there is no good one.
    fn ask(&self, method: &str, path: &str, fields: &Value) -> Option<Value> {
        let url = format!("{}/api/2.0/mlflow/{path}", self.url);
        let asked = async {
            let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
            let request = match method {
                "GET" => {
                    let mut url = reqwest::Url::parse(&url).unwrap();
                    let fields: &Map<String, Value> = fields.as_object().unwrap();
                    let pairs = fields.iter().map(|(name, value)| (name, value.as_str().unwrap()));
                    url.query_pairs_mut().extend_pairs(pairs);
                    http.get(url)
                }
                _ => http
                    .post(&url)
                    .header("content-type", "application/json")
                    .body(fields.to_string()),
            };
            let answer = request.send().await.ok()?.error_for_status().ok()?;
            serde_json::from_slice(&answer.bytes().await.ok()?).ok()
        };
        runtime().block_on(asked)
    }

    /// Registers another version of the model.
    fn register(&self) {
        let version = json!({"name": "scorer", "source": "s3://models/scorer"});
        self.ask("POST", "model-versions/create", &version).unwrap();
    }

    fn set(&self, alias: &str, version: &str) {
        let fields = json!({"name": "scorer", "alias": alias, "version": version});
        self.ask("POST", "registered-models/alias", &fields).unwrap();
    }

    fn alias(&self, alias: &str) -> Option<String> {
        let fields = json!({"name": "scorer", "alias": alias});
        let found = self.ask("GET", "registered-models/alias", &fields)?;
        Some(found["model_version"]["version"].as_str()?.to_owned())
    }

    fn tag(&self, version: &str, tag: &str) -> Option<String> {
        let fields = json!({"name": "scorer", "version": version});
        let found = self.ask("GET", "model-versions/get", &fields)?;
        let tags = found["model_version"]["tags"].as_array()?.clone();
        let found = tags.iter().find(|one| one["key"] == tag)?;
        Some(found["value"].as_str()?.to_owned())
    }
}

#[test]
#[ignore = "needs MLflow, which `./scripts/test --mlflow` installs"]
fn releases_from_a_real_mlflow_registry() {
    let programs = std::env::var("MLFLOW_BIN");
    let programs = programs.expect("MLFLOW_BIN is not set; run ./scripts/test --mlflow");
    let (place, envoy) = (Place::new(), busy(&["one"]));
    let mlflow = MlflowServer::start(&programs);
    let mut rollout = quick("one", &[&envoy]);
    rollout["registry"] = json!({"mlflow": {"uri": mlflow.url, "model": "scorer", "poll": "1s"}});
    rollout["deploy"] = json!({"command": ["./deploy"], "minRequests": 50});
    let note = "#!/bin/sh\necho \"$CANARY_ROLE $CANARY_VERSION $CANARY_SOURCE $CANARY_ARTIFACT\" >>asked\n";
    let deploy = place.files().join("deploy");
    std::fs::write(&deploy, note).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&deploy, std::fs::Permissions::from_mode(0o755)).unwrap();
    place.file("one.yaml", &rollout);
    let mut server = Server::start(&place, &[]);
    // No model yet, then a model without aliases, then everything.
    let said = |status: &Value| status["waits_for"].as_str().unwrap_or_default().to_owned();
    let no_model = "Registered Model with name=scorer not found";
    server.comes_to("one", |status| said(status).contains(no_model));
    mlflow.ask("POST", "registered-models/create", &json!({"name": "scorer"})).unwrap();
    server.comes_to("one", |status| !said(status).contains(no_model));
    (0..3).for_each(|_| mlflow.register());
    mlflow.set("champion", "1");
    mlflow.set("challenger", "2");
    server.hears("one: Healthy");
    until("the champion", || mlflow.alias("champion").as_deref() == Some("2"));
    for (tag, value) in [("rollout", "one"), ("outcome", "healthy")] {
        assert_eq!(mlflow.tag("2", &format!("canary.{tag}")).as_deref(), Some(value));
    }
    let asked = std::fs::read_to_string(place.files().join("asked")).unwrap();
    let called = |role: &str| format!("{role} 2 models:/scorer/2 s3://models/scorer\n");
    assert_eq!(asked, called("canary") + &called("stable"));
    // The next one fails: it is rolled back, tagged, and not champion.
    envoy.envoy().others.get_mut("one").unwrap().canary_fails = 30;
    mlflow.set("challenger", "3");
    until("the tag", || mlflow.tag("3", "canary.outcome").as_deref() == Some("degraded"));
    for tag in ["reason", "ended_at"] {
        let value = mlflow.tag("3", &format!("canary.{tag}"));
        assert!(value.is_some_and(|value| !value.is_empty()), "{tag}");
    }
    assert_eq!(mlflow.alias("champion").as_deref(), Some("2"));
}
