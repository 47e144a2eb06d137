use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode as Status;
use axum::response::IntoResponse;

use super::*;

/// A request as the registry got it: method with path and query, and the authorization.
type Asked = (String, Option<String>);

/// A registry that gives one answer to everything.
struct OneAnswer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl OneAnswer {
    async fn start(status: u16, body: &'static str, header: (&'static str, &'static str)) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        let answer = move |request: Request| {
            let authorization = request.headers().get("authorization");
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            seen.lock()
                .unwrap()
                .push((format!("{} {}", request.method(), request.uri()), authorization));
            let status = Status::from_u16(status).unwrap();
            async move { (status, [header], body).into_response() }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { address, asked }
    }

    async fn plain(status: u16, body: &'static str) -> Self {
        Self::start(status, body, ("content-type", "application/json")).await
    }

    fn client(&self) -> MlflowClient {
        client(&format!("http://{}/base/", self.address))
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn client(uri: &str) -> MlflowClient {
    let registry = MlflowRegistry {
        uri: uri.to_owned(),
        model: "my scorer".to_owned(),
        candidate: "challenger".to_owned(),
        champion: "champion".to_owned(),
        poll: Duration::from_secs(5),
    };
    MlflowClient::new(registry).unwrap()
}

/// As MLflow 3.17 answers.
const NO_SUCH_ALIAS: &str = r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias challenger not found."}"#;
const NO_SUCH_MODEL: &str = r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model with name=my scorer not found"}"#;

#[tokio::test]
async fn aliases_are_versions_or_missing() {
    let registry =
        OneAnswer::plain(200, r#"{"model_version": {"name": "scorer", "version": "12"}}"#).await;
    let twelve = Some("12".to_owned());
    let both = Aliases { candidate: twelve.clone(), champion: twelve };
    assert_eq!(registry.client().aliases().await, Ok(both));
    let path = "GET /base/api/2.0/mlflow/registered-models/alias?name=my+scorer&alias=";
    let paths: Vec<String> = registry.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [format!("{path}challenger"), format!("{path}champion")]);
    let registry = OneAnswer::plain(400, NO_SUCH_ALIAS).await;
    assert_eq!(registry.client().aliases().await, Ok(Aliases::default()));
}

#[tokio::test]
async fn a_missing_model_is_no_missing_alias() {
    let registry = OneAnswer::plain(404, NO_SUCH_MODEL).await;
    let error = registry.client().aliases().await.unwrap_err();
    let RegistryError::Refused(why) = &error else { panic!("{error:?}") };
    assert!(
        why.ends_with("404 Not Found: Registered Model with name=my scorer not found"),
        "{why}"
    );
    assert!(why.starts_with(&format!("registry http://{}/base/: ", registry.address)), "{why}");
}

#[tokio::test]
async fn what_may_work_later_is_no_refusal() {
    for (status, body) in [
        (500, "{}"),
        (401, "You are not authenticated."),
        (403, r#"{"error_code": "PERMISSION_DENIED", "message": "no"}"#),
        (404, "<html>a proxy</html>"),
        (400, "<html>a proxy</html>"),
        (200, "<html>hello</html>"),
        (200, "{}"),
    ] {
        let registry = OneAnswer::plain(status, body).await;
        let error = registry.client().aliases().await.unwrap_err();
        assert!(matches!(error, RegistryError::Unavailable(_)), "{status} {body}: {error:?}");
    }
    let nobody = client("http://127.0.0.1:1").aliases().await.unwrap_err();
    assert!(nobody.why().starts_with("registry http://127.0.0.1:1: "), "{nobody:?}");
}

/// Wherever a redirect leads, the credentials don't.
#[tokio::test]
async fn redirects_are_not_followed() {
    let header = ("location", "http://127.0.0.1:1/elsewhere");
    let registry = OneAnswer::start(307, "", header).await;
    let error = registry.client().set_champion("3").await.unwrap_err();
    assert!(error.why().contains("redirects are not followed"), "{error:?}");
    assert_eq!(registry.asked().len(), 1);
}

#[tokio::test]
async fn results_are_written() {
    let registry = OneAnswer::plain(200, r#"{"artifact_uri": "s3://models/3"}"#).await;
    let client = registry.client();
    assert_eq!(client.set_tag("3", "canary.outcome", "healthy").await, Ok(()));
    assert_eq!(client.set_champion("3").await, Ok(()));
    assert_eq!(client.download_uri("3").await, Ok("s3://models/3".to_owned()));
    let paths: Vec<String> = registry.asked().into_iter().map(|(path, _)| path).collect();
    let api = "/base/api/2.0/mlflow";
    assert_eq!(
        paths,
        [
            format!("POST {api}/model-versions/set-tag"),
            format!("POST {api}/registered-models/alias"),
            format!("GET {api}/model-versions/get-download-uri?name=my+scorer&version=3"),
        ]
    );
}
