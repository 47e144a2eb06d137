//! A Wasm filter as an OCI image: the bytes of an image layout. The same module gives the same bytes.
//!
//! Istio's agent accepts two variants ("Wasm Artifact Image Specification", github.com/solo-io/wasm,
//! spec/spec.md and spec-compat.md; Istio reads them in pkg/wasm/imagefetcher.go):
//!
//! - [`ImageVariant::Artifact`]: exactly two layers, a description and the unchanged module, with
//!   media types of their own. It is the smaller one, for registries that accept such layers.
//! - [`ImageVariant::Compat`]: one ordinary layer, a gzipped tar with `plugin.wasm`. It works with
//!   every registry, and with tools that know container images only.
//!
//! The layout is the one of the OCI image specification (image-layout.md, 1.0.0).

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// How the image holds the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageVariant {
    /// Two layers: the description and the module.
    Artifact,
    /// One layer: a gzipped tar of both.
    Compat,
}

/// An image layout, ready to be written to a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The SHA-256 digest of the image's manifest, in hex. A WasmPlugin's `sha256` field takes it.
    pub digest: String,
    /// The layout's files, by path below the directory.
    pub files: BTreeMap<String, Vec<u8>>,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
const WASM_CONTENT: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// The layer that the compat variant's tar holds beside the module, and the artifact's first one.
const DESCRIPTION: &str = "runtime-config.json";

/// A layer: its bytes, and the digest of what they unpack to.
struct Layer {
    media_type: &'static str,
    title: Option<&'static str>,
    bytes: Vec<u8>,
    unpacked: String,
}

impl Layer {
    /// A layer that isn't compressed.
    fn plain(media_type: &'static str, title: &'static str, bytes: Vec<u8>) -> Self {
        let unpacked = digest(&bytes);
        Self { media_type, title: Some(title), bytes, unpacked }
    }
}

/// Packs a module. Tools find the image in the layout by `tag`.
///
/// # Errors
/// If the bytes are not a Wasm module, or if the archiver fails.
pub fn pack(module: &[u8], tag: &str, variant: ImageVariant) -> io::Result<Image> {
    // Version 1 of the core specification. A component has another version, and no proxy loads it.
    if !module.starts_with(b"\0asm\x01\0\0\0") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a Wasm module: it must begin with \\0asm and version 1",
        ));
    }
    let layers = match variant {
        ImageVariant::Artifact => vec![
            Layer::plain(WASM_CONFIG, DESCRIPTION, description()),
            Layer::plain(WASM_CONTENT, "plugin.wasm", module.to_vec()),
        ],
        ImageVariant::Compat => vec![archive(module)?],
    };
    let mut blobs = Blobs::default();
    let unpacked: Vec<&String> = layers.iter().map(|layer| &layer.unpacked).collect();
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": unpacked},
    });
    let config = blobs.put(CONFIG, config.to_string().into_bytes());
    let layers: Vec<Value> = layers.into_iter().map(|layer| blobs.layer(layer)).collect();
    let mut manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    if let (ImageVariant::Compat, Some(fields)) = (variant, manifest.as_object_mut()) {
        let variant = json!({"module.wasm.image/variant": "compat"});
        fields.insert("annotations".to_owned(), variant);
    }
    let manifest = blobs.put(MANIFEST, manifest.to_string().into_bytes());
    Ok(blobs.layout(manifest, tag))
}

/// Describes the module to tools that don't run it.
fn description() -> Vec<u8> {
    let description = json!({"type": "envoy_proxy", "abiVersions": ["v0.2.1"], "config": {"root_ids": ["canary"]}});
    description.to_string().into_bytes()
}

/// The compat variant's layer. Owners, times and order are fixed, so the bytes are, too.
fn archive(module: &[u8]) -> io::Result<Layer> {
    let mut tar = tar::Builder::new(Vec::new());
    let description = description();
    for (name, bytes) in [("plugin.wasm", module), (DESCRIPTION, &description)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, name, bytes)?;
    }
    let tar = tar.into_inner()?;
    let unpacked = digest(&tar);
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&tar)?;
    Ok(Layer { media_type: TAR_GZIP, title: None, bytes: gzip.finish()?, unpacked })
}

/// The layout's blobs, by digest.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds a blob and returns its descriptor.
    fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        self.0.insert(digest, bytes);
        descriptor
    }

    fn layer(&mut self, layer: Layer) -> Value {
        let mut descriptor = self.put(layer.media_type, layer.bytes);
        if let (Some(title), Some(fields)) = (layer.title, descriptor.as_object_mut()) {
            let title = json!({"org.opencontainers.image.title": title});
            fields.insert("annotations".to_owned(), title);
        }
        descriptor
    }

    fn layout(self, mut manifest: Value, tag: &str) -> Image {
        let digest = manifest.get("digest").and_then(Value::as_str).unwrap_or_default();
        let digest = hex_of(digest).to_owned();
        if let Some(fields) = manifest.as_object_mut() {
            let name = json!({"org.opencontainers.image.ref.name": tag});
            fields.insert("annotations".to_owned(), name);
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]});
        let path = |digest: &str| format!("blobs/sha256/{}", hex_of(digest));
        let mut files: BTreeMap<String, Vec<u8>> =
            self.0.into_iter().map(|(digest, bytes)| (path(&digest), bytes)).collect();
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        files.insert("oci-layout".to_owned(), layout.to_string().into_bytes());
        files.insert("index.json".to_owned(), index.to_string().into_bytes());
        Image { digest, files }
    }
}

/// The digest of `bytes` in the form that descriptors use: `sha256:` and hex.
fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn hex_of(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}
