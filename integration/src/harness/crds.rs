//! Holds manifests against the schemas of CustomResourceDefinitions, as a Kubernetes API server does:
//! wrong types, missing and unknown fields. (A server drops unknown fields; here they are faults, for
//! what is dropped was meant.) Rules in CEL, `x-kubernetes-validations`, are not evaluated.

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// The schemas of one file, by API version and kind.
pub struct Crds(Vec<(String, String, Validator)>);

/// What came of checking a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// What is wrong with it, each with its path; nothing: it is right.
    Against(Vec<String>),
    /// There is no schema for its kind.
    Unknown,
}

impl Crds {
    /// Reads the CustomResourceDefinitions in a text of YAML documents.
    ///
    /// # Errors
    /// What is wrong with the text, or with a schema in it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut schemas = Vec::new();
        let documents = documents(text)?;
        // kubectl prints several objects as one `List`.
        let all = documents.iter().flat_map(|one| {
            one["items"].as_array().map_or_else(|| vec![one], |items| items.iter().collect())
        });
        let definitions = all.filter(|one| one["kind"] == "CustomResourceDefinition");
        for spec in definitions.map(|one| &one["spec"]) {
            let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (group, kind) = (words(&spec["group"]), words(&spec["names"]["kind"]));
            for version in spec["versions"].as_array().into_iter().flatten() {
                let api = format!("{group}/{}", words(&version["name"]));
                let schema = root(&version["schema"]["openAPIV3Schema"]);
                let validator = jsonschema::options().with_draft(Draft::Draft4).build(&schema);
                let validator = validator.map_err(|error| format!("{api} {kind}: {error}"))?;
                schemas.push((api, kind.clone(), validator));
            }
        }
        if schemas.is_empty() {
            return Err("there is no CustomResourceDefinition in it".to_owned());
        }
        Ok(Self(schemas))
    }

    /// Checks a manifest against its kind's definition.
    #[must_use]
    pub fn check(&self, manifest: &Value) -> Checked {
        let is = |(api, kind, _): &&(String, String, Validator)| {
            manifest["apiVersion"] == *api && manifest["kind"] == *kind
        };
        let Some((_, _, validator)) = self.0.iter().find(is) else {
            return Checked::Unknown;
        };
        let faults = validator.iter_errors(manifest);
        Checked::Against(
            faults.map(|fault| format!("{}: {fault}", fault.instance_path())).collect(),
        )
    }
}

/// The documents in a text, without empty ones.
///
/// # Errors
/// When it isn't YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let read: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    Ok(read.into_iter().filter(|document| !document.is_null()).collect())
}

/// The schema of a whole object: what every object has, and what its definition says.
fn root(schema: &Value) -> Value {
    let mut schema = structural(schema);
    let fields = &mut schema["properties"];
    for (name, of) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        fields[name] = json!({"type": of});
    }
    schema
}

/// A structural schema in the words of JSON Schema: an object has the listed fields and no
/// others, unless it says to keep what is unknown. What is below `oneOf`, `anyOf`, `allOf` and
/// `not` adds conditions and no fields, so it stays as it is.
fn structural(schema: &Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let mut strict: Map<String, Value> = fields.clone();
    if let Some(properties) = fields.get("properties").and_then(Value::as_object) {
        let each = properties.iter().map(|(name, of)| (name.clone(), structural(of)));
        strict.insert("properties".to_owned(), each.collect());
        let keeps = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        if !keeps && !fields.contains_key("additionalProperties") {
            strict.insert("additionalProperties".to_owned(), json!(false));
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(of) = fields.get(inner) {
            strict.insert(inner.to_owned(), structural(of));
        }
    }
    if fields.get("nullable") == Some(&json!(true))
        && let Some(of) = fields.get("type")
    {
        strict.insert("type".to_owned(), json!([of, "null"]));
    }
    Value::Object(strict)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRD: &str = "
kind: CustomResourceDefinition
spec:
  group: example.com
  names: {kind: Thing}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [url]
            oneOf: [{required: [a]}, {required: [b]}]
            properties:
              url: {type: string, minLength: 1}
              a: {type: array, items: {type: object, properties: {n: {type: integer, maximum: 9}}}}
              b: {type: integer, nullable: true, format: int32}
              any: {type: object, x-kubernetes-preserve-unknown-fields: true}
              labels: {type: object, additionalProperties: {type: string}}
";

    fn faults(spec: Value) -> Vec<String> {
        let manifest = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec});
        match Crds::read(CRD).unwrap().check(&manifest) {
            Checked::Against(faults) => faults,
            Checked::Unknown => panic!("unknown"),
        }
    }

    #[test]
    fn what_fits_has_no_faults() {
        let none = Vec::<String>::new();
        assert_eq!(faults(json!({"url": "x", "a": [{"n": 9}], "labels": {"k": "v"}})), none);
        assert_eq!(faults(json!({"url": "x", "b": null, "any": {"x": [{"y": 1}]}})), none);
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_path() {
        for (spec, path) in [
            (json!({"url": "x", "b": 1, "ulr": "y"}), "/spec: "),
            (json!({"url": "x", "a": [{"m": 1}]}), "/spec/a/0: "),
            (json!({"url": "x", "a": [{"n": 10}]}), "/spec/a/0/n: "),
            (json!({"url": 1, "b": 1}), "/spec/url: "),
            (json!({"b": 1}), "/spec: "),
            (json!({"url": "x"}), "/spec: "),
            (json!({"url": "x", "b": 1, "labels": {"k": 1}}), "/spec/labels/k: "),
        ] {
            let found = faults(spec.clone());
            assert!(found.iter().any(|fault| fault.starts_with(path)), "{spec}: {found:?}");
        }
    }

    #[test]
    fn a_kind_without_a_schema_is_not_said_to_be_right() {
        let crds = Crds::read(CRD).unwrap();
        let service = json!({"apiVersion": "v1", "kind": "Service"});
        assert_eq!(crds.check(&service), Checked::Unknown);
        assert!(Crds::read("kind: Service").is_err());
    }
}
