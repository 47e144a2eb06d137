//! The service and its two versions.

use serde_json::{Value, json};

use super::{Istio, Section, Subset, object, with_spec};

pub(super) fn section(istio: &Istio) -> Section {
    let place = &istio.place;
    Section {
        about: &[
            "The service and its two versions, told apart by the label `version`. Leave out what you have already:",
            "what matters are the two labels, and that the port is known to be HTTP.",
        ],
        documents: vec![
            service(istio),
            deployment(istio, &place.stable, &istio.images.stable),
            deployment(istio, &place.canary, &istio.images.canary),
        ],
    }
}

fn service(istio: &Istio) -> Value {
    let place = &istio.place;
    let spec = json!({
        "selector": {"app": place.service},
        "ports": [{"name": "http", "port": place.port, "targetPort": place.port, "appProtocol": "http"}],
    });
    with_spec(object("v1", "Service", &place.service, &place.namespace), spec)
}

fn deployment(istio: &Istio, subset: &Subset, image: &str) -> Value {
    let place = &istio.place;
    let labels = json!({"app": place.service, "version": subset.version});
    let name = format!("{}-{}", place.service, subset.name);
    let spec = json!({
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": place.service,
                "image": image,
                "ports": [{"name": "http", "containerPort": place.port}],
                "readinessProbe": {"tcpSocket": {"port": "http"}},
            }]},
        },
    });
    with_spec(object("apps/v1", "Deployment", &name, &place.namespace), spec)
}
