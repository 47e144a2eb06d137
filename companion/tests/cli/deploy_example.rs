//! The example of a deploy command for Kubernetes, with a stand-in for kubectl. Whether a cluster does what it
//! is asked for needs a cluster.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/kubernetes").join(file)
}

/// Runs the script for a role, with a kubectl that notes its arguments and ends with `code`: the script's
/// exit code, and what kubectl was asked for.
fn deploy(role: &str, code: i32) -> (i32, Vec<String>) {
    let dir = TempDir::new().unwrap();
    let kubectl = dir.path().join("kubectl");
    let text =
        format!("#!/bin/sh\necho \"$*\" >>'{}'\nexit {code}\n", dir.path().join("asked").display());
    std::fs::write(&kubectl, text).unwrap();
    std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut script = Command::new(shipped("deploy"));
    script.env_clear().env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()));
    script.envs([("CANARY_ROLLOUT", "scorer"), ("CANARY_ROLE", role), ("CANARY_VERSION", "3.3")]);
    let code = script.output().unwrap().status.code().unwrap();
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap_or_default();
    (code, asked.lines().map(str::to_owned).collect())
}

#[test]
fn each_role_has_its_deployment() {
    for (role, deployment) in [("stable", "scorer-v1"), ("canary", "scorer-v2")] {
        let (code, asked) = deploy(role, 0);
        let set = format!(
            "--namespace default set image deployment/{deployment} scorer=registry.example.com/scorer:3.3"
        );
        let wait =
            format!("--namespace default rollout status deployment/{deployment} --timeout=9m");
        assert_eq!((code, asked), (0, vec![set, wait]));
    }
}

#[test]
fn what_kubectl_refuses_fails_the_deployment() {
    let (code, asked) = deploy("canary", 1);
    assert_eq!((code, asked.len()), (1, 1), "and it isn't waited for");
    assert_eq!(deploy("other", 0), (2, vec![]));
}

/// The account may change the Deployments that the script names, and the patch is for the Deployment that
/// `render istio` prints.
#[test]
fn the_account_fits_the_script_and_the_manifests() {
    let read = |file: &Path| -> Vec<Value> {
        serde_saphyr::from_multiple(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    let of = |documents: &[Value], kind: &str, name: &str| {
        let is = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
        documents.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}")).clone()
    };
    let deployer = read(&shipped("deployer.yaml"));
    let names = of(&deployer, "Role", "canary-deployer")["rules"][0]["resourceNames"].clone();
    assert_eq!(names, serde_json::json!(["scorer-v1", "scorer-v2"]));
    let rendered = read(&shipped("../istio/canary.yaml"));
    for name in names.as_array().unwrap() {
        of(&rendered, "Deployment", name.as_str().unwrap());
    }
    let (patch, patched) =
        (of(&deployer, "Deployment", "canaryctl"), of(&rendered, "Deployment", "canaryctl"));
    assert_eq!(patch["metadata"], patched["metadata"]);
    let pod = "/spec/template/spec/containers/0/name";
    assert_eq!(patch.pointer(pod), patched.pointer(pod));
}
