//! Web hooks over https: who signs for them is up to the system's certificates, or to `SSL_CERT_FILE`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A web server with a certificate of an authority of its own; it answers 200 to everything.
struct Secure {
    url: String,
    /// The authority's certificate, as PEM.
    authority: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Secure {
    fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = Arc::new(config(own.der().clone(), key));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/hook", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, heard) = (Arc::clone(&config), Arc::clone(&heard));
                std::thread::spawn(move || answer(stream, config, &heard));
            }
        });
        Self { url, authority, asked }
    }
}

fn config(own: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder.with_no_client_auth().with_single_cert(vec![own], key).unwrap()
}

/// One request, whose body is JSON; a client that doesn't trust the certificate hangs up.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, heard: &Mutex<Vec<String>>) {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    while !text.ends_with('}') {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => text += std::str::from_utf8(&buffer[..read]).unwrap(),
            _ => return,
        }
    }
    heard.lock().unwrap().push(text);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

#[test]
fn gates_and_notifications_over_https() {
    let (place, envoy, web) = (Place::new(), busy(0), Secure::start());
    let mut rollout = quick(&[&envoy]);
    rollout["gates"] = json!([{"before": "promotion", "url": web.url, "timeout": "2s"}]);
    rollout["notify"] = json!([{"on": ["completed"], "url": web.url}]);
    let file = place.file(&rollout);
    let mut distrusts = Controller::start(&place, &file, &[]);
    let held = distrusts.line("holds it: ");
    assert!(held.contains("certificate"), "it says what is wrong: {held}");
    distrusts.kill();
    assert!(web.asked.lock().unwrap().is_empty(), "nothing was told to a stranger");

    let authority = place.folder.path().join("authority.pem");
    std::fs::write(&authority, &web.authority).unwrap();
    let trust = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let mut trusts = Controller::spawn_with(&place, &file, &[], &trust);
    trusts.hears("lets it pass");
    assert_eq!(trusts.ends(), 0, "{:#?}", trusts.said);
    let asked = web.asked.lock().unwrap();
    assert!(asked.iter().any(|asked| asked.contains("\"topic\":\"completed\"")), "{asked:#?}");
}

/// A proxy that is spoken to over https, for an address that isn't.
#[test]
fn a_proxy_over_https_is_used_for_plain_addresses() {
    let (place, envoy, proxy) = (Place::new(), busy(0), Secure::start());
    let mut rollout = quick(&[&envoy]);
    let gate = "http://gate.example/ok";
    rollout["gates"] = json!([{"before": "promotion", "url": gate, "timeout": "2s"}]);
    let authority = place.folder.path().join("authority.pem");
    std::fs::write(&authority, &proxy.authority).unwrap();
    let address = proxy.url.trim_end_matches("/hook");
    let set = [("HTTP_PROXY", address), ("SSL_CERT_FILE", authority.to_str().unwrap())];
    let mut controller = Controller::spawn_with(&place, &place.file(&rollout), &[], &set);
    controller.hears("lets it pass");
    let asked = proxy.asked.lock().unwrap();
    assert!(
        asked.iter().all(|asked| asked.starts_with("POST http://gate.example/ok ")),
        "{asked:#?}"
    );
}
