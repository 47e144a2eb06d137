//! The images as Istio's agent takes them: a reader of its own, by the rules of pkg/wasm/imagefetcher.go,
//! that trusts nothing that the writer says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and its helpers stand outside of test functions"
)]

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wasm_image::{Image, ImageVariant, pack};

const MEDIA_TYPE: &str = "mediaType";

/// A module as far as anybody looks at it here: its head, and bytes that compress and bytes that don't.
fn module() -> Vec<u8> {
    let noise = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    b"\0asm\x01\0\0\0".iter().copied().chain([0; 5_000]).chain(noise).collect()
}

/// A blob that a descriptor names, with its digest and size held against the bytes.
fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let bytes = &files[&format!("blobs/sha256/{digest}")];
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, digest, "the blob is what it is called");
    assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64), "{descriptor}");
    bytes
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The manifest that the layout's index names.
fn manifest(image: &Image) -> Value {
    assert_eq!(image.files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index = json(&image.files["index.json"]);
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], "0.1.0");
    assert_eq!(descriptor[MEDIA_TYPE], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(descriptor["digest"], format!("sha256:{}", image.digest));
    json(blob(&image.files, descriptor))
}

/// What the agent does: not Docker's manifest, so first a gzipped tar as the last layer, and else two
/// layers of which one is the module.
fn fetch(image: &Image) -> Result<Vec<u8>, String> {
    let manifest = manifest(image);
    assert_ne!(manifest[MEDIA_TYPE], "application/vnd.docker.distribution.manifest.v2+json");
    let layers = manifest["layers"].as_array().unwrap();
    // go-containerregistry takes a layer with the configuration's digest for the configuration.
    assert!(layers.iter().all(|layer| layer["digest"] != manifest["config"]["digest"]));
    let last = layers.last().ok_or("no layer")?;
    if last[MEDIA_TYPE] == "application/vnd.oci.image.layer.v1.tar+gzip" {
        return plugin(blob(&image.files, last));
    }
    if layers.len() != 2 {
        return Err(format!("{} layers", layers.len()));
    }
    let is_module =
        |layer: &&Value| layer[MEDIA_TYPE] == "application/vnd.module.wasm.content.layer.v1+wasm";
    let layer = layers.iter().find(is_module).ok_or("no layer is the module")?;
    Ok(blob(&image.files, layer).to_vec())
}

/// `plugin.wasm` out of a gzipped tar, read block by block (POSIX ustar).
fn plugin(layer: &[u8]) -> Result<Vec<u8>, String> {
    let tar = unzipped(layer);
    let mut rest = tar.as_slice();
    while rest.len() >= 512 && rest[0] != 0 {
        let text = |from: usize, to: usize| {
            let field = rest[from..to].split(|byte| matches!(byte, 0 | b' ')).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        assert_eq!(&rest[257..262], b"ustar");
        let size = usize::from_str_radix(&text(124, 136), 8).unwrap();
        if text(0, 100).rsplit('/').next() == Some("plugin.wasm") {
            return Ok(rest[512..512 + size].to_vec());
        }
        rest = &rest[512 + size.div_ceil(512) * 512..];
    }
    Err("no plugin.wasm in the archive".to_owned())
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut unzipped = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unzipped).unwrap();
    unzipped
}

#[test]
fn the_module_comes_out_as_it_went_in() {
    for variant in [ImageVariant::Artifact, ImageVariant::Compat] {
        let image = pack(&module(), "0.1.0", variant).unwrap();
        assert!(fetch(&image) == Ok(module()), "{variant:?}");
    }
}

#[test]
fn the_artifact_has_its_two_layers_and_nothing_else() {
    let image = pack(&module(), "0.1.0", ImageVariant::Artifact).unwrap();
    let manifest = manifest(&image);
    let types: Vec<&str> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer[MEDIA_TYPE].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "application/vnd.module.wasm.config.v1+json",
            "application/vnd.module.wasm.content.layer.v1+wasm"
        ]
    );
    let description = json(blob(&image.files, &manifest["layers"][0]));
    assert_eq!(description["type"], "envoy_proxy");
    // The manifest, the configuration and the two layers; the index and the mark of a layout.
    assert_eq!(image.files.len(), 6, "{:?}", image.files.keys());
}

#[test]
fn the_compat_image_is_an_ordinary_image() {
    let image = pack(&module(), "0.1.0", ImageVariant::Compat).unwrap();
    let manifest = manifest(&image);
    assert_eq!(manifest["annotations"]["module.wasm.image/variant"], "compat");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["config"][MEDIA_TYPE], "application/vnd.oci.image.config.v1+json");
    let config = json(blob(&image.files, &manifest["config"]));
    let tar = unzipped(blob(&image.files, &manifest["layers"][0]));
    let unpacked: String = Sha256::digest(&tar).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{unpacked}"));
}

#[test]
fn the_same_module_makes_the_same_bytes() {
    for variant in [ImageVariant::Artifact, ImageVariant::Compat] {
        let pack = |module: &[u8]| pack(module, "0.1.0", variant).unwrap();
        assert!(pack(&module()) == pack(&module()));
        let mut other = module();
        other[100] ^= 1;
        assert_ne!(pack(&module()).digest, pack(&other).digest);
    }
}

/// No clock and no owner's name is in it, so two machines make the same.
#[test]
fn the_bytes_are_pinned() {
    let digest = |variant| pack(&module(), "0.1.0", variant).unwrap().digest;
    assert_eq!(
        digest(ImageVariant::Artifact),
        "537ab0ad8f01d9dd8ebfa0f960e302fbb58a18045107af1902ac9ff8cc9fc944"
    );
    assert_eq!(
        digest(ImageVariant::Compat),
        "265eac4b8ac5b2b693e366012ba5b693fbb90b5a70d2d660c56a935f18ca895d"
    );
}

#[test]
fn what_is_no_module_is_no_image() {
    assert!(pack(b"#!/bin/sh", "0.1.0", ImageVariant::Artifact).is_err());
    assert!(pack(b"\0asm\x0d\0\x01\0", "0.1.0", ImageVariant::Compat).is_err(), "a component");
}
