//! canaryctl, one for each rollout: in pods of their own over all the gateway's pods, or beside the one
//! gateway.

use serde_json::{Value, json};

use super::{
    ADMIN_PORT, CONTROL_PORT, ControllerLocation, DeployedRollout, Istio, Section, object,
    with_spec,
};

/// The user that canaryctl's image runs as.
const USER: u32 = 65532;
const STATE: &str = "/var/lib/canaryctl";
/// The headless service that stands for all the gateway's pods.
const CONTROL: &str = "canary-control";

/// The port of a controller's page and API, on loopback. In a gateway's pod, each further controller has
/// the next one.
const LISTEN_PORT: u16 = 8411;

pub(super) fn section(istio: &Istio) -> Section {
    let shared =
        istio.rollouts.iter().flat_map(|one| [rollout_file(istio, one), journal(istio, one)]);
    let (about, rest): (&'static [&'static str], Vec<Value>) = match istio.options.controller {
        ControllerLocation::Pods => {
            let common = [headless(istio), policy(istio)];
            let deployments = istio.rollouts.iter().map(|one| deployment(istio, one));
            (
                &[
                    "canaryctl over all the gateway's pods: the headless service's name stands for every one of them.",
                    "Whoever reaches the control port sets the weight; the NetworkPolicy lets only canaryctl in, if the",
                    "cluster's network enforces such policies. It needs no rights in Kubernetes.",
                ],
                common.into_iter().chain(deployments).collect(),
            )
        }
        ControllerLocation::Sidecar => (
            &[
                "canaryctl beside the gateway, on the admin's loopback port: nothing is opened to the network. Use one",
                "gateway pod only, because each canaryctl would judge only its own pod's traffic. It needs no rights in",
                "Kubernetes. (To add it to a gateway that you have, copy the container and the volumes.)",
            ],
            vec![gateway(istio)],
        ),
    };
    Section { about, documents: shared.chain(rest).collect() }
}

fn name(one: &DeployedRollout) -> String {
    format!("canaryctl-{}", one.object)
}

fn rollout_file(istio: &Istio, one: &DeployedRollout) -> Value {
    let mut map = object("v1", "ConfigMap", &name(one), istio.namespace());
    if let Some(fields) = map.as_object_mut() {
        fields.insert("data".to_owned(), json!({"rollout.yaml": one.file}));
    }
    map
}

/// The volume for the journal, from which the controller continues after a restart.
fn journal(istio: &Istio, one: &DeployedRollout) -> Value {
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "256Mi"}},
    });
    with_spec(object("v1", "PersistentVolumeClaim", &name(one), istio.namespace()), spec)
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
                "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "canaryctl"}}}],
                "ports": [{"protocol": "TCP", "port": CONTROL_PORT}],
            },
        ],
    });
    with_spec(object("networking.k8s.io/v1", "NetworkPolicy", CONTROL, istio.namespace()), spec)
}

fn deployment(istio: &Istio, one: &DeployedRollout) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": "canaryctl",
        "app.kubernetes.io/instance": one.object,
        // Its connections to the pods are plain HTTP, one to each pod.
        "sidecar.istio.io/inject": "false",
    });
    let host = format!("{CONTROL}.{}.svc", istio.namespace());
    let envoy = format!("http://{host}:{CONTROL_PORT}");
    let spec = json!({
        "replicas": 1,
        // Never two at once: they would compete for the journal.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {
            "app.kubernetes.io/name": "canaryctl", "app.kubernetes.io/instance": one.object,
        }},
        "template": {"metadata": {"labels": labels}, "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"fsGroup": USER},
            "containers": [Container::alone(&envoy).document(istio, one)],
            "volumes": Container::alone(&envoy).volumes(one),
        }},
    });
    with_spec(object("apps/v1", "Deployment", &name(one), istio.namespace()), spec)
}

fn gateway(istio: &Istio) -> Value {
    let mut labels = istio.gateway_labels();
    if let Some(fields) = labels.as_object_mut() {
        fields.insert("sidecar.istio.io/inject".to_owned(), json!("true"));
    }
    let envoy = format!("http://127.0.0.1:{ADMIN_PORT}");
    // `auto`: Istio's injection completes the gateway's container.
    let mut containers = vec![json!({"name": "istio-proxy", "image": "auto"})];
    let mut volumes = Vec::new();
    for (at, one) in (0..).zip(&istio.rollouts) {
        let container = Container { envoy: &envoy, number: at };
        containers.push(container.document(istio, one));
        volumes.extend(container.volumes(one));
    }
    let spec = json!({
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": istio.gateway_labels()},
        "template": {
            "metadata": {"labels": labels, "annotations": {"inject.istio.io/templates": "gateway"}},
            "spec": {
                "securityContext": {"fsGroup": USER},
                "containers": containers,
                "volumes": volumes,
            },
        },
    });
    with_spec(object("apps/v1", "Deployment", &istio.options.gateway.1, istio.namespace()), spec)
}

/// How one controller's container differs from another's in the same pod.
struct Container<'a> {
    /// The URL of the Envoys.
    envoy: &'a str,
    /// Which of the pod's controllers it is, from 0.
    number: u16,
}

impl<'a> Container<'a> {
    /// The only controller of its pod.
    fn alone(envoy: &'a str) -> Self {
        Self { envoy, number: 0 }
    }

    /// What the names of the container and of its volumes end with.
    fn suffix(&self) -> String {
        if self.number == 0 { String::new() } else { format!("-{}", self.number + 1) }
    }

    fn document(&self, istio: &Istio, one: &DeployedRollout) -> Value {
        let (envoy, suffix) = (self.envoy, self.suffix());
        let journal = format!("{STATE}/{}.jsonl", one.rollout.name);
        let mut arguments = json!([
            "run",
            "/etc/canaryctl/rollout.yaml",
            "--stay",
            "--envoy",
            envoy,
            "--journal",
            journal,
        ]);
        // For an operator who calls canaryctl in this container.
        let mut environment = vec![json!({"name": "CANARYCTL_ENVOYS", "value": envoy})];
        if let (true, Some(list)) = (self.number > 0, arguments.as_array_mut()) {
            let port = LISTEN_PORT + self.number;
            list.extend([json!("--listen"), json!(format!("127.0.0.1:{port}"))]);
            let controller = format!("http://127.0.0.1:{port}");
            environment.push(json!({"name": "CANARYCTL_CONTROLLER", "value": controller}));
        }
        json!({
            "name": format!("canaryctl{suffix}"),
            "image": istio.options.images.canaryctl,
            "env": environment,
            "args": arguments,
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
                {"name": format!("rollout{suffix}"), "mountPath": "/etc/canaryctl", "readOnly": true},
                {"name": format!("journal{suffix}"), "mountPath": STATE},
            ],
        })
    }

    fn volumes(&self, one: &DeployedRollout) -> Vec<Value> {
        let suffix = self.suffix();
        vec![
            json!({"name": format!("rollout{suffix}"), "configMap": {"name": name(one)}}),
            json!({"name": format!("journal{suffix}"), "persistentVolumeClaim": {"claimName": name(one)}}),
        ]
    }
}
