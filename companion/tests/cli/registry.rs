//! A model registry that speaks as much of MLflow's REST API as canaryctl needs, with the answers of MLflow
//! 3.17.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fake::runtime;

/// What the registry knows of its one model, `scorer`.
#[derive(Default)]
pub(crate) struct Registry {
    /// The versions that there are, each with its tags.
    pub(crate) versions: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) aliases: BTreeMap<String, String>,
    /// Whether everything is answered with 503.
    pub(crate) down: bool,
    /// The `authorization` of each request.
    pub(crate) credentials: Vec<Option<String>>,
}

type Shared = Arc<Mutex<Registry>>;

/// A registry that is running; it stops when it is dropped.
pub(crate) struct FakeRegistry {
    pub(crate) url: String,
    registry: Shared,
    server: JoinHandle<()>,
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeRegistry {
    /// The versions 1 to 4, of which 1 is champion.
    pub(crate) fn start() -> Self {
        let listener = runtime().block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Shared::default();
        let api = "/api/2.0/mlflow";
        let app = Router::new()
            .route(&format!("{api}/registered-models/alias"), get(alias).post(set_alias))
            .route(&format!("{api}/model-versions/get-download-uri"), get(download_uri))
            .route(&format!("{api}/model-versions/set-tag"), post(set_tag))
            .with_state(Arc::clone(&shared));
        let server = runtime().spawn(async { axum::serve(listener, app).await.unwrap() });
        let fake = Self { url, registry: shared, server };
        fake.get().versions = (1..5).map(|one| (one.to_string(), BTreeMap::new())).collect();
        fake.set("champion", "1");
        fake
    }

    /// The registry, to change and to look at.
    pub(crate) fn get(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap()
    }

    /// Sets an alias, as an operator does.
    pub(crate) fn set(&self, alias: &str, version: &str) {
        self.get().aliases.insert(alias.to_owned(), version.to_owned());
    }

    /// The version that has an alias.
    pub(crate) fn alias(&self, alias: &str) -> Option<String> {
        self.get().aliases.get(alias).cloned()
    }

    /// The value of a version's tag.
    pub(crate) fn tag(&self, version: &str, tag: &str) -> Option<String> {
        self.get().versions[version].get(tag).cloned()
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error_code": code, "message": message}))).into_response()
}

/// The registry for a request about a model, or the answer that refuses it.
fn asked<'r>(
    registry: &'r Shared,
    headers: &HeaderMap,
    model: &str,
) -> Result<MutexGuard<'r, Registry>, Box<Response>> {
    let mut found = registry.lock().unwrap();
    let sent = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    found.credentials.push(sent);
    if found.down {
        let down = (StatusCode::SERVICE_UNAVAILABLE, "down for a moment");
        return Err(Box::new(down.into_response()));
    }
    if model != "scorer" {
        let message = format!("Registered Model with name={model} not found");
        let refused = error(StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", &message);
        return Err(Box::new(refused));
    }
    Ok(found)
}

fn no_version(version: &str) -> Response {
    let message = format!("Model Version (name=scorer, version={version}) not found");
    error(StatusCode::NOT_FOUND, "RESOURCE_DOES_NOT_EXIST", &message)
}

type Parameters = Query<BTreeMap<String, String>>;

async fn alias(
    State(registry): State<Shared>,
    headers: HeaderMap,
    Query(query): Parameters,
) -> Response {
    let registry = match asked(&registry, &headers, &query["name"]) {
        Ok(registry) => registry,
        Err(refused) => return *refused,
    };
    match registry.aliases.get(&query["alias"]) {
        Some(version) => {
            Json(json!({"model_version": {"name": "scorer", "version": version}})).into_response()
        }
        None => {
            let message = format!("Registered model alias {} not found.", query["alias"]);
            error(StatusCode::BAD_REQUEST, "INVALID_PARAMETER_VALUE", &message)
        }
    }
}

async fn download_uri(
    State(registry): State<Shared>,
    headers: HeaderMap,
    Query(query): Parameters,
) -> Response {
    let version = &query["version"];
    match asked(&registry, &headers, &query["name"]) {
        Ok(registry) if registry.versions.contains_key(version) => {
            Json(json!({"artifact_uri": format!("s3://models/scorer/{version}")})).into_response()
        }
        Ok(_) => no_version(version),
        Err(refused) => *refused,
    }
}

async fn set_alias(
    State(registry): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    match asked(&registry, &headers, &text("name")) {
        Ok(mut registry) if registry.versions.contains_key(&text("version")) => {
            registry.aliases.insert(text("alias"), text("version"));
            Json(json!({})).into_response()
        }
        Ok(_) => no_version(&text("version")),
        Err(refused) => *refused,
    }
}

async fn set_tag(
    State(registry): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    let mut registry = match asked(&registry, &headers, &text("name")) {
        Ok(registry) => registry,
        Err(refused) => return *refused,
    };
    match registry.versions.get_mut(&text("version")) {
        Some(tags) => {
            tags.insert(text("key"), text("value"));
            Json(json!({})).into_response()
        }
        None => no_version(&text("version")),
    }
}
