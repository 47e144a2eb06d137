//! How the filter's configuration reaches a running Envoy: by ECDS, as shipped, or within the
//! listener by LDS. Either way a file is moved into a directory that Envoy watches.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::ConfigMap;
use crate::harness::bootstrap::{Bootstrap, named};
use crate::harness::plugin::FilterPlugin;

/// By which of Envoy's discovery services.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// The filter's configuration comes by ECDS.
    Ecds,
    /// The filter's configuration comes with the listener.
    Lds,
    /// The extension's own, from a ConfigMap.
    ConfigMap,
}

/// The filter's resource and where it is put.
#[derive(Debug)]
pub(crate) struct ConfigDelivery {
    /// What is delivered next.
    pub(crate) plugin: FilterPlugin,
    file: PathBuf,
    /// The listener around it, where it's delivered in one.
    listener: Option<Value>,
    config_map: Option<ConfigMap>,
}

impl ConfigDelivery {
    /// Points a bootstrap at a file below this directory, and puts the first version there.
    pub(crate) fn begin(
        by: By,
        dir: &Path,
        bootstrap: &mut Bootstrap,
        plugin: FilterPlugin,
    ) -> Self {
        let watched = dir.join("xds");
        fs::create_dir(&watched).expect("a directory to watch");
        let file = watched.join("resources.json");
        let listener = match by {
            By::Ecds | By::ConfigMap => {
                bootstrap.filter_from(&file);
                None
            }
            By::Lds => Some(bootstrap.listeners_from(&file)),
        };
        let config_map = matches!(by, By::ConfigMap).then(|| ConfigMap::mount(&watched, &[]));
        let delivery = Self { plugin, file, listener, config_map };
        delivery.push();
        delivery
    }

    /// Puts the resource as it is now where Envoy looks for it.
    pub(crate) fn push(&self) {
        let Some(mut listener) = self.listener.clone() else {
            return self.push_text(&format!("{:#}", self.plugin.resources()));
        };
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        *named(&mut manager["http_filters"], "canary") =
            json!({"name": "canary", "typed_config": self.plugin.typed_config()});
        self.push_text(&format!("{:#}", json!({"resources": [listener]})));
    }

    /// Puts any text there: written beside the watched directory and moved in, since Envoy acts on
    /// the move.
    pub(crate) fn push_text(&self, text: &str) {
        if let Some(config_map) = &self.config_map {
            return config_map.apply(&[("resources.json", text)]);
        }
        let draft = self.file.parent().expect("a file has a directory").with_extension("draft");
        fs::write(&draft, text).expect("the file can be written");
        fs::rename(&draft, &self.file).expect("the file can be moved into place");
    }
}
