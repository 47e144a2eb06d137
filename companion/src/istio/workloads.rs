//! The services and their versions.

use serde_json::{Value, json};

use super::{Destination, Istio, Section, Subset, object, with_spec};

/// One service of the rollouts. Several rollouts may be of the same one.
pub(super) struct DeployedService<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    /// Its host name in full.
    pub(super) host: &'a str,
    /// Its ports, each once.
    pub(super) ports: Vec<u16>,
    /// The subsets that the rollouts use, each once.
    pub(super) subsets: Vec<&'a Subset>,
}

/// The services, in the order of the rollouts.
pub(super) fn services(istio: &Istio) -> Vec<DeployedService<'_>> {
    let mut services: Vec<DeployedService<'_>> = Vec::new();
    for destination in istio.rollouts.iter().map(|one| &one.destination) {
        match services.iter_mut().find(|service| service.host == destination.host) {
            Some(service) => service.add(destination),
            None => {
                let Destination { service: name, namespace, host, .. } = destination;
                let (ports, subsets) = (Vec::new(), Vec::new());
                let mut service = DeployedService { name, namespace, host, ports, subsets };
                service.add(destination);
                services.push(service);
            }
        }
    }
    services
}

impl<'a> DeployedService<'a> {
    fn add(&mut self, destination: &'a Destination) {
        if !self.ports.contains(&destination.port) {
            self.ports.push(destination.port);
        }
        for (_, subset) in destination.subsets() {
            if !self.subsets.contains(&subset) {
                self.subsets.push(subset);
            }
        }
    }

    /// A port's name: `http`, or `http-8080` if there are several.
    fn port_name(&self, port: u16) -> String {
        if self.ports.len() == 1 { "http".to_owned() } else { format!("http-{port}") }
    }

    fn service(&self) -> Value {
        let port = |port: &u16| json!({"name": self.port_name(*port), "port": port, "targetPort": port, "appProtocol": "http"});
        let ports: Vec<Value> = self.ports.iter().map(port).collect();
        let spec = json!({"selector": {"app": self.name}, "ports": ports});
        with_spec(object("v1", "Service", self.name, self.namespace), spec)
    }

    fn deployment(&self, subset: &Subset, image: &str) -> Value {
        let labels = json!({"app": self.name, "version": subset.version});
        let name = format!("{}-{}", self.name, subset.name);
        let port = |port: &u16| json!({"name": self.port_name(*port), "containerPort": port});
        let ports: Vec<Value> = self.ports.iter().map(port).collect();
        let probed = self.ports.first().map(|port| self.port_name(*port));
        let spec = json!({
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{
                    "name": self.name,
                    "image": image,
                    "ports": ports,
                    "readinessProbe": {"tcpSocket": {"port": probed}},
                }]},
            },
        });
        with_spec(object("apps/v1", "Deployment", &name, self.namespace), spec)
    }
}

pub(super) fn section(istio: &Istio) -> Section {
    let mut documents = Vec::new();
    for service in services(istio) {
        documents.push(service.service());
        let mut versions: Vec<&str> = Vec::new();
        for subset in &service.subsets {
            // Two subsets of one version are the same pods.
            if versions.contains(&subset.version.as_str()) {
                continue;
            }
            versions.push(&subset.version);
            documents.push(service.deployment(subset, &image(istio, &service, subset)));
        }
    }
    Section {
        about: &[
            "The service and its versions, which have different labels `version`. Leave out what you have: what",
            "matters are the labels, and that Istio knows the port to be HTTP.",
        ],
        documents,
    }
}

/// The image that the command line names, or an example registry's.
fn image(istio: &Istio, service: &DeployedService<'_>, subset: &Subset) -> String {
    let images = &istio.options.images;
    let is_stable = istio.rollouts.iter().any(|one| one.destination.stable == *subset);
    let given = if is_stable { &images.stable } else { &images.canary };
    let example = || format!("registry.example.com/{}:{}", service.name, subset.version);
    given.clone().unwrap_or_else(example)
}
