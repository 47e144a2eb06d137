//! canaryctl: in a pod of its own over all the gateway's pods, or beside the one gateway.

use serde_json::{Value, json};

use super::{ADMIN_PORT, CONTROL_PORT, Istio, Section, Where, object, with_spec};

/// The user that canaryctl's image runs as.
const USER: u32 = 65532;
const STATE: &str = "/var/lib/canaryctl";
/// The headless service that stands for all the gateway's pods.
const CONTROL: &str = "canary-control";

pub(super) fn section(istio: &Istio) -> Section {
    let shared = [rollout_file(istio), journal(istio)];
    let (about, rest): (&'static [&'static str], Vec<Value>) = match istio.controller {
        Where::Pods => (
            &[
                "canaryctl over all the gateway's pods: the headless service's name stands for every one of them.",
                "Who reaches the control port sets the weight; the NetworkPolicy lets nobody but canaryctl, where the",
                "cluster's network enforces such policies. It needs no rights in Kubernetes.",
            ],
            vec![headless(istio), policy(istio), deployment(istio)],
        ),
        Where::Sidecar => (
            &[
                "canaryctl beside the gateway, on the admin's loopback port: nothing is opened to the network. One",
                "gateway pod alone, since each canaryctl would judge only its own pod's traffic. It needs no rights in",
                "Kubernetes. (To add it to a gateway that you have, take over the container and the volumes.)",
            ],
            vec![gateway(istio)],
        ),
    };
    Section { about, documents: shared.into_iter().chain(rest).collect() }
}

fn name(istio: &Istio) -> String {
    format!("canaryctl-{}", istio.object())
}

fn rollout_file(istio: &Istio) -> Value {
    let mut map = object("v1", "ConfigMap", &name(istio), &istio.gateway_namespace);
    if let Some(fields) = map.as_object_mut() {
        fields.insert("data".to_owned(), json!({"rollout.yaml": istio.file}));
    }
    map
}

/// Where every decision is kept: a restart goes on where it was.
fn journal(istio: &Istio) -> Value {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "256Mi"}},
    });
    with_spec(object("v1", "PersistentVolumeClaim", &name(istio), &istio.gateway_namespace), spec)
}

fn headless(istio: &Istio) -> Value {
    let spec = json!({
        "clusterIP": "None",
        "selector": istio.gateway_labels(),
        "ports": [{"name": "http", "port": CONTROL_PORT, "targetPort": CONTROL_PORT}],
    });
    with_spec(object("v1", "Service", CONTROL, &istio.gateway_namespace), spec)
}

/// All that the gateway serves stays open; the control port is canaryctl's.
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
                "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "canaryctl"}}}],
                "ports": [{"protocol": "TCP", "port": CONTROL_PORT}],
            },
        ],
    });
    with_spec(
        object("networking.k8s.io/v1", "NetworkPolicy", CONTROL, &istio.gateway_namespace),
        spec,
    )
}

fn deployment(istio: &Istio) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": "canaryctl",
        "app.kubernetes.io/instance": istio.object(),
        // Its connections to the pods are plain, and one to each.
        "sidecar.istio.io/inject": "false",
    });
    let host = format!("{CONTROL}.{}.svc", istio.gateway_namespace);
    let envoy = format!("http://{host}:{CONTROL_PORT}");
    let spec = json!({
        "replicas": 1,
        // Never two at once: they would fight over the journal.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {
            "app.kubernetes.io/name": "canaryctl", "app.kubernetes.io/instance": istio.object(),
        }},
        "template": {"metadata": {"labels": labels}, "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"fsGroup": USER},
            "containers": [container(istio, &envoy)],
            "volumes": volumes(istio),
        }},
    });
    with_spec(object("apps/v1", "Deployment", &name(istio), &istio.gateway_namespace), spec)
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
                // `auto`: Istio's injection fills the gateway in.
                "containers": [{"name": "istio-proxy", "image": "auto"}, container(istio, &envoy)],
                "volumes": volumes(istio),
            },
        },
    });
    with_spec(object("apps/v1", "Deployment", &istio.gateway, &istio.gateway_namespace), spec)
}

fn container(istio: &Istio, envoy: &str) -> Value {
    let journal = format!("{STATE}/{}.jsonl", istio.rollout.name);
    json!({
        "name": "canaryctl",
        "image": istio.images.canaryctl,
        // For who calls canaryctl in here by hand.
        "env": [{"name": "CANARYCTL_ENVOYS", "value": envoy}],
        "args": ["run", "/etc/canaryctl/rollout.yaml", "--stay", "--envoy", envoy, "--journal", journal],
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
            {"name": "rollout", "mountPath": "/etc/canaryctl", "readOnly": true},
            {"name": "journal", "mountPath": STATE},
        ],
    })
}

fn volumes(istio: &Istio) -> Value {
    json!([
        {"name": "rollout", "configMap": {"name": name(istio)}},
        {"name": "journal", "persistentVolumeClaim": {"claimName": name(istio)}},
    ])
}
