//! canaryctl, one for all rollouts of the gateway: in a pod of its own over all the gateway's pods, or
//! beside the one gateway.

use serde_json::{Map, Value, json};

use super::{ADMIN_PORT, CONTROL_PORT, ControllerLocation, Istio, Section, object, with_spec};

/// The user that canaryctl's image runs as.
const USER: u32 = 65532;
/// The name of the controller's Deployment, container and volume claim.
const CONTROLLER: &str = "canaryctl";
/// The ConfigMap that is the watched folder, and where it is mounted.
const FILES: &str = "canaryctl-rollouts";
const FOLDER: &str = "/etc/canaryctl/rollouts";
const STATE: &str = "/var/lib/canaryctl";
/// The headless service that stands for all the gateway's pods.
const CONTROL: &str = "canary-control";
/// Storage for one rollout's journal, in MiB.
const JOURNAL_MIB: usize = 256;

pub(super) fn section(istio: &Istio) -> Section {
    let shared = [rollout_files(istio), journals(istio)];
    let (about, rest): (&'static [&'static str], Vec<Value>) = match istio.options.controller {
        ControllerLocation::Pods => (
            &[
                "canaryctl over all the gateway's pods: the headless service's name stands for every one of them.",
                "It serves every rollout file of the ConfigMap; `canaryctl start NAME` starts a release.",
                "Whoever reaches the control port sets the weight; the NetworkPolicy lets only canaryctl in, if the",
                "cluster's network enforces such policies. It needs no rights in Kubernetes.",
            ],
            vec![headless(istio), policy(istio), deployment(istio)],
        ),
        ControllerLocation::Sidecar => (
            &[
                "canaryctl beside the gateway, on the admin's loopback port: nothing is opened to the network.",
                "It serves every rollout file of the ConfigMap; `canaryctl start NAME` starts a release. Use one",
                "gateway pod only, because each canaryctl would judge only its own pod's traffic. It needs no rights in",
                "Kubernetes. (To add it to a gateway that you have, copy the container and the volumes.)",
            ],
            vec![gateway(istio)],
        ),
    };
    Section { about, documents: shared.into_iter().chain(rest).collect() }
}

/// The folder that the controller watches: one file for each rollout.
fn rollout_files(istio: &Istio) -> Value {
    let file = |rollout: &str| format!("{rollout}.yaml");
    let files = istio.rollouts.iter().map(|one| (file(&one.rollout.name), json!(one.file)));
    let mut map = object("v1", "ConfigMap", FILES, istio.namespace());
    if let Some(fields) = map.as_object_mut() {
        fields.insert("data".to_owned(), Value::Object(files.collect::<Map<String, Value>>()));
    }
    map
}

/// The volume for the journals, from which the controller continues after a restart.
fn journals(istio: &Istio) -> Value {
    let storage = format!("{}Mi", JOURNAL_MIB * istio.rollouts.len());
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage}},
    });
    with_spec(object("v1", "PersistentVolumeClaim", CONTROLLER, istio.namespace()), spec)
}

fn headless(istio: &Istio) -> Value {
    let spec = json!({
        "clusterIP": "None",
        "selector": istio.gateway_labels(),
        "ports": [{"name": "http", "port": CONTROL_PORT, "targetPort": CONTROL_PORT}],
    });
    with_spec(object("v1", "Service", CONTROL, istio.namespace()), spec)
}

/// Every port of the gateway stays open, except that only canaryctl reaches the control port.
fn policy(istio: &Istio) -> Value {
    let open = |protocol: &str, from: u16, to: u16| json!({"protocol": protocol, "port": from, "endPort": to});
    let spec = json!({
        "podSelector": {"matchLabels": istio.gateway_labels()},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [
                open("TCP", 1, CONTROL_PORT - 1),
                open("TCP", CONTROL_PORT + 1, u16::MAX),
                open("UDP", 1, u16::MAX),
            ]},
            {
                "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": CONTROLLER}}}],
                "ports": [{"protocol": "TCP", "port": CONTROL_PORT}],
            },
        ],
    });
    with_spec(object("networking.k8s.io/v1", "NetworkPolicy", CONTROL, istio.namespace()), spec)
}

fn deployment(istio: &Istio) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": CONTROLLER,
        // Its connections to the pods are plain HTTP, one to each pod.
        "sidecar.istio.io/inject": "false",
    });
    let envoy = format!("http://{CONTROL}.{}.svc:{CONTROL_PORT}", istio.namespace());
    let spec = json!({
        "replicas": 1,
        // Never two at once: they would compete for the journals.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app.kubernetes.io/name": CONTROLLER}},
        "template": {"metadata": {"labels": labels}, "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"fsGroup": USER},
            "containers": [container(istio, &envoy)],
            "volumes": volumes(),
        }},
    });
    with_spec(object("apps/v1", "Deployment", CONTROLLER, istio.namespace()), spec)
}

fn gateway(istio: &Istio) -> Value {
    let mut labels = istio.gateway_labels();
    if let Some(fields) = labels.as_object_mut() {
        fields.insert("sidecar.istio.io/inject".to_owned(), json!("true"));
    }
    let envoy = format!("http://127.0.0.1:{ADMIN_PORT}");
    let spec = json!({
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": istio.gateway_labels()},
        "template": {
            "metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}},
            "spec": {
                "securityContext": {"fsGroup": USER},
                // `auto`: Istio's injection completes the gateway's container.
                "containers": [{"name": "istio-proxy", "image": "auto"}, container(istio, &envoy)],
                "volumes": volumes(),
            },
        },
    });
    with_spec(object("apps/v1", "Deployment", &istio.options.gateway.1, istio.namespace()), spec)
}

/// The controller's container, for the Envoys at this URL.
fn container(istio: &Istio, envoy: &str) -> Value {
    json!({
        "name": CONTROLLER,
        "image": istio.options.images.canaryctl,
        "args": ["serve", FOLDER, "--state", STATE, "--envoy", envoy],
        // For an operator who calls canaryctl in this container.
        "env": [{"name": "CANARYCTL_ENVOYS", "value": envoy}],
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "volumeMounts": [
            // A directory: a `subPath` mount would never change.
            {"name": "rollouts", "mountPath": FOLDER, "readOnly": true},
            {"name": "journals", "mountPath": STATE},
        ],
    })
}

fn volumes() -> Value {
    json!([
        {"name": "rollouts", "configMap": {"name": FILES}},
        {"name": "journals", "persistentVolumeClaim": {"claimName": CONTROLLER}},
    ])
}
