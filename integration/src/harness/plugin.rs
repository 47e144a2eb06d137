//! The filter's ECDS resource: the shipped one with another configuration.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::artifacts;
use crate::harness::bootstrap::read_yaml;

/// The filter as Envoy loads it, as read from `envoy/ecds.yaml`.
#[derive(Clone, Debug)]
pub struct FilterPlugin {
    document: Value,
    configuration: Value,
}

impl FilterPlugin {
    /// The shipped one.
    ///
    /// # Panics
    /// When `envoy/ecds.yaml` isn't what it should be.
    #[must_use]
    pub fn shipped() -> Self {
        let mut document = read_yaml(&artifacts::root().join("envoy/ecds.yaml"));
        let text = wasm(&mut document)["configuration"]["value"]
            .as_str()
            .expect("the configuration is text")
            .to_owned();
        let configuration = serde_json::from_str(&text).expect("the configuration is JSON");
        Self { document, configuration }
    }

    /// One of another origin.
    pub(crate) fn from_document(document: Value, configuration: Value) -> Self {
        Self { document, configuration }
    }

    /// The filter's own configuration.
    pub fn configuration(&mut self) -> &mut Value {
        &mut self.configuration
    }

    /// The resource's `config`: root id, VM, failure policy.
    pub fn wasm(&mut self) -> &mut Value {
        wasm(&mut self.document)
    }

    /// The module that the shipped file runs, by its path in the checkout.
    ///
    /// # Panics
    /// When it names none.
    #[must_use]
    pub fn shipped_code(&mut self) -> String {
        let code = &self.wasm()["vm_config"]["code"]["local"]["filename"];
        code.as_str().expect("the module's file").to_owned()
    }

    /// The module to run.
    pub fn code(&mut self, module: &Path) {
        self.wasm()["vm_config"]["code"]["local"]["filename"] = json!(module);
    }

    /// The resources as ECDS delivers them.
    pub(crate) fn resources(&self) -> Value {
        let mut document = self.document.clone();
        wasm(&mut document)["configuration"]["value"] = self.configuration.to_string().into();
        document
    }

    /// The filter's own part of that, as a listener has it.
    pub(crate) fn typed_config(&self) -> Value {
        self.resources()["resources"][0]["typed_config"].clone()
    }
}

fn wasm(document: &mut Value) -> &mut Value {
    &mut document["resources"][0]["typed_config"]["config"]
}
