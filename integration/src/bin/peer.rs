//! The other ends of the compose network: a version of the demo's service, or its clients.
//!
//! ```text
//! peer serve VERSION            answers on port 8080; what carries `x-fail: VERSION` gets a 503
//! peer call HOST:PORT RATE WHO  this many requests a second; a tenth of them carry `x-fail: WHO`
//! ```

// As in the harness: what can't go on says so and ends.
#![allow(clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use canary_integration::{Load, TestUpstream};
use tokio::net::lookup_host;

/// After this, the callee's name is looked up again, because a new container has a new address.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["serve", version] => serve(version).await,
        ["call", who, rate, fails] => {
            let rate = rate.parse().ok().filter(|rate| (1.0..=10_000.0).contains(rate));
            call(who, rate.expect("a rate of 1 to 10000 a second"), fails).await;
        }
        _ => {
            eprintln!("usage: peer serve VERSION | peer call HOST:PORT RATE WHO-FAILS");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

async fn serve(version: &str) {
    let at = SocketAddr::from(([0, 0, 0, 0], 8080));
    let server = TestUpstream::ok().fails_on_demand(version).at(at).start(version);
    println!("{} answers on {}", server.version(), server.at());
    std::future::pending::<()>().await;
}

/// Calls for ever. Every five seconds it says what came back.
async fn call(who: &str, rate: f64, fails: &str) {
    loop {
        let found = lookup_host(who).await.ok().and_then(|mut all| all.next());
        let Some(to) = found else {
            println!("{who} has no address yet");
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let traffic = Load::to(to, Load::ENDLESS).rate(rate).failing_a_tenth(fails).spawn();
        tokio::time::sleep(LOOK_UP_EVERY).await;
        let mut tally = traffic.stop().await;
        let broken = tally.broken.len();
        // While Envoy starts they are all alike.
        tally.broken.truncate(1);
        println!("{broken} broken, {tally:?}");
    }
}
