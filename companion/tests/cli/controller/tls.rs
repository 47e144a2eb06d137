//! Web hooks over https: who signs for them is up to the system's certificates, or to `SSL_CERT_FILE`.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// A host that is reached through a tunnel alone.
const BEYOND: &str = "hooks.example";

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
        let names = ["127.0.0.1", BEYOND].map(str::to_owned);
        let params = CertificateParams::new(names.to_vec()).unwrap();
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

    /// Writes its authority's certificate into a file, and says which.
    fn write_authority(&self, place: &Place) -> String {
        let file = place.folder.path().join("authority.pem");
        std::fs::write(&file, &self.authority).unwrap();
        file.to_str().unwrap().to_owned()
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

    let authority = web.write_authority(&place);
    let trust = [("SSL_CERT_FILE", &*authority)];
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
    let authority = proxy.write_authority(&place);
    let address = proxy.url.trim_end_matches("/hook");
    let set = [("HTTP_PROXY", address), ("SSL_CERT_FILE", &*authority)];
    let mut controller = Controller::spawn_with(&place, &place.file(&rollout), &[], &set);
    controller.hears("lets it pass");
    let asked = proxy.asked.lock().unwrap();
    assert!(
        asked.iter().all(|asked| asked.starts_with("POST http://gate.example/ok ")),
        "{asked:#?}"
    );
}

/// A proxy that opens a tunnel to one server, whatever host it is asked for, and notes what it was asked.
struct TunnelProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TunnelProxy {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || tunnel(stream, to, &heard));
            }
        });
        Self { address, asked }
    }
}

/// Reads the request for a tunnel, grants it, and passes on what either side sends.
fn tunnel(mut client: TcpStream, to: SocketAddr, heard: &Mutex<Vec<String>>) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    heard.lock().unwrap().push(String::from_utf8(head).unwrap());
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let server = TcpStream::connect(to).ok()?;
    let (mut up, mut down) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut up, &mut down);
        let _ = down.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut &server, &mut client);
    let _ = client.shutdown(Shutdown::Write);
    Some(())
}

/// The proxy sees which host is asked, and nothing of what is said.
#[test]
fn https_goes_through_a_proxys_tunnel() {
    let (place, envoy, web) = (Place::new(), busy(0), Secure::start());
    let at = web.url.trim_start_matches("https://").trim_end_matches("/hook");
    let proxy = TunnelProxy::start(at.parse().unwrap());
    let mut rollout = quick(&[&envoy]);
    let gate = format!("https://{BEYOND}/hook?token=s3cret");
    rollout["gates"] = json!([{"before": "promotion", "url": gate, "timeout": "2s"}]);
    let authority = web.write_authority(&place);
    let address = format!("http://ann:hunter2@{}", proxy.address);
    let set = [("HTTPS_PROXY", &*address), ("SSL_CERT_FILE", &*authority)];
    let mut controller = Controller::spawn_with(&place, &place.file(&rollout), &[], &set);
    controller.hears("lets it pass");
    assert_eq!(controller.ends(), 0, "{:#?}", controller.said);
    let heard = web.asked.lock().unwrap();
    assert!(heard.iter().any(|asked| asked.starts_with("POST /hook?token=s3cret ")), "{heard:#?}");
    let asked = proxy.asked.lock().unwrap();
    let is_tunnel = |asked: &String| {
        let lower = asked.to_lowercase();
        lower.starts_with(&format!("connect {BEYOND}:443 http/1.1\r\n"))
            && asked.contains("Basic YW5uOmh1bnRlcjI=")
            && !asked.contains("s3cret")
    };
    assert!(!asked.is_empty() && asked.iter().all(is_tunnel), "{asked:#?}");
    assert!(!controller.said("hunter2"), "{:#?}", controller.said);
}
