//! The examples for Kubernetes: a deploy command, with a stand-in for kubectl, and `serve` beside Envoy. Whether a
//! cluster does what it is asked for needs a cluster.

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

fn read(file: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[track_caller]
fn of(documents: &[Value], kind: &str, name: &str) -> Value {
    let is = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    documents.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}")).clone()
}

/// The account may change the Deployments that the script names, and the patch is for the Deployment that
/// `render istio` prints.
#[test]
fn the_account_fits_the_script_and_the_manifests() {
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

/// What `serve` is told to read and write is mounted, from what the file defines, into the Pod that there is.
#[test]
fn serve_finds_its_folder_and_its_journals() {
    let (serve, edge) = (read(&shipped("serve.yaml")), read(&shipped("edge.yaml")));
    let (patch, patched) =
        (of(&serve, "Deployment", "canary-edge"), of(&edge, "Deployment", "canary-edge"));
    let pod = &patch["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let beside = patched["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let there = beside.iter().find(|one| one["name"] == container["name"]).unwrap();
    assert_eq!(there["env"][0]["name"], "CANARYCTL_ENVOYS", "it is told where Envoy's admin is");
    let args: Vec<&str> =
        container["args"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let [verb, folder, state, journals] = args[..] else { panic!("{args:?}") };
    assert_eq!((verb, state), ("serve", "--state"));
    let volume = |path: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == path).unwrap();
        assert!(mount.get("subPath").is_none(), "what is mounted by subPath never changes");
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|one| one["name"] == mount["name"]).unwrap().clone()
    };
    let files = volume(folder)["configMap"]["name"].as_str().unwrap().to_owned();
    let claim = volume(journals)["persistentVolumeClaim"]["claimName"].as_str().unwrap().to_owned();
    of(&serve, "PersistentVolumeClaim", &claim);
    of(&serve, "ServiceAccount", pod["serviceAccountName"].as_str().unwrap());
    // One controller at a time, for all the traffic that there is.
    assert_eq!(
        (&patch["spec"]["replicas"], &patch["spec"]["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
    let dir = TempDir::new().unwrap();
    let files = of(&serve, "ConfigMap", &files)["data"].as_object().unwrap().clone();
    assert!(!files.is_empty());
    for (name, text) in &files {
        assert!(name.ends_with(".yaml"), "serve reads no {name}");
        let path = dir.path().join(name);
        std::fs::write(&path, text.as_str().unwrap()).unwrap();
        let linted =
            super::run(&mut super::command(&["lint", "-f", path.to_str().unwrap()])).exits(0);
        assert!(!linted.stdout.contains("warning"), "{linted:?}");
    }
}
