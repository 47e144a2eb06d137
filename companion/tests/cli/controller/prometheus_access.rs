//! Headers and credentials of Prometheus metrics: sent with each query, and shown nowhere.

use super::hooks::Web;
use super::interface::http;
use super::*;
use crate::until;

fn value(value: &str) -> String {
    format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#)
}

fn with_gpu(envoy: &Fake, prometheus: &Web, access: Value) -> Value {
    let mut rollout = patient(&[envoy]);
    let mut metric = json!({
        "name": "gpu", "kind": "prometheus", "address": prometheus.url, "query": "gpu",
        "failureCondition": "result > 0.9", "interval": "1s",
    });
    metric.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
    rollout["analysis"]["metrics"].as_array_mut().unwrap().push(metric);
    rollout
}

/// Everything that is shown of a rollout.
fn shown(place: &Place, file: &Path, controller: &Controller) -> Vec<String> {
    let get = |path: &str| http("GET", &format!("{}{path}", controller.url), &[]).1;
    let journal = place.journal();
    let journal = journal.to_str().unwrap();
    let said = |args: &[&str]| {
        let run = run(&mut command(args));
        format!("{}{}", run.stdout, run.stderr)
    };
    vec![
        std::fs::read_to_string(journal).unwrap(),
        get("/"),
        get("/rollouts/scorer"),
        get("/api/v1/rollouts"),
        get("/api/v1/rollouts/scorer"),
        get("/metrics"),
        controller.ctl(&["get", "rollout", "scorer", "-o", "json"]).exits(0).stdout,
        controller.ctl(&["get", "rollout", "scorer"]).exits(0).stdout,
        said(&["report", "scorer", "--journal", journal]),
        said(&["report", "scorer", "--journal", journal, "-o", "json"]),
        said(&["replay", journal, "-f", file.to_str().unwrap(), "-o", "json"]),
        said(&["lint", "-f", file.to_str().unwrap(), "-o", "json"]),
        controller.said.join("\n"),
    ]
}

#[test]
fn a_token_and_headers_are_sent_read_anew_and_appear_nowhere() {
    let (place, envoy, prometheus) = (Place::new(), busy(0), Web::start(200, &value("0.1")));
    let token = place.folder.path().join("token");
    std::fs::write(&token, "first-hunter2\n").unwrap();
    let access = json!({"headers": {"X-Scope-OrgID": "tenant-hunter2"}, "tokenFile": "token"});
    let file = place.file(&with_gpu(&envoy, &prometheus, access));
    let mut controller = Controller::start(&place, &file, &[]);
    controller.hears("paused");
    until("the first token", || prometheus.was_sent("authorization", "Bearer first-hunter2"));
    assert!(prometheus.was_sent("x-scope-orgid", "tenant-hunter2"));
    std::fs::write(&token, "second-hunter2").unwrap();
    until("the renewed token", || prometheus.was_sent("authorization", "Bearer second-hunter2"));
    // Whatever Prometheus repeats of them is taken out, also where a text is cut in the middle of one.
    prometheus.answers(403, &format!("{} second-hunter2 tenant-hunter2", "no ".repeat(30)));
    controller.hears("metric gpu can't be measured");
    prometheus.answers(200, &value("0.1"));
    controller.hears("metric gpu is measured again");
    std::fs::remove_file(&token).unwrap();
    let missing = controller.line("metric gpu can't be measured");
    let path = token.canonicalize().unwrap_or(token);
    let named = path.file_name().unwrap().to_str().unwrap();
    assert!(missing.contains("tokenFile") && missing.contains(named), "{missing}");
    assert!(missing.contains("No such file"), "{missing}");
    for text in shown(&place, &file, &controller) {
        for secret in ["hunter2", "-hunte", "tenant-"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    let file = place.records()[0]["file"].as_str().unwrap().to_owned();
    assert!(file.contains("redacted") && file.contains("tokenFile"), "{file}");
    // The journal's file is the same rollout: a controller that is started again goes on.
    controller.kill();
    let again = Controller::start(&place, &place.folder.path().join("rollout.yaml"), &[]);
    assert!(again.said("continuing"), "{:#?}", again.said);
}

#[test]
fn a_name_and_a_password_are_read_from_files() {
    let (place, envoy, prometheus) = (Place::new(), busy(0), Web::start(200, &value("0.1")));
    let write =
        |name: &str, text: &str| std::fs::write(place.folder.path().join(name), text).unwrap();
    write("user", "ann\n");
    write("password", "\n");
    let password = place.folder.path().join("password");
    let access = json!({"usernameFile": "user", "passwordFile": password.to_str().unwrap()});
    let file = place.file(&with_gpu(&envoy, &prometheus, access));
    let mut controller = Controller::start(&place, &file, &[]);
    let empty = controller.line("metric gpu can't be measured");
    assert!(empty.contains("passwordFile") && empty.contains("is empty"), "{empty}");
    write("password", "hunter2\n");
    controller.hears("metric gpu is measured again");
    assert!(prometheus.was_sent("authorization", "Basic YW5uOmh1bnRlcjI="));
    for text in shown(&place, &file, &controller) {
        assert!(!text.contains("hunter2") && !text.contains("YW5uOmh1bnRlcjI"), "{text}");
    }
}
