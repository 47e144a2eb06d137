//! Chromium without a window, by way of chromedriver. Everything here waits until it is done.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thirtyfour::TypingData;
use thirtyfour::prelude::*;

use crate::fake::runtime;

const INSTALL: &str = "on Debian: apt-get install --no-install-recommends chromium chromium-driver; elsewhere set \
                       CHROMIUM and CHROMEDRIVER to programs of the same version";

/// The longest that a test waits for anything: 30 s, scaled by `CANARY_TEST_WAIT_FACTOR` as in other tests.
pub(crate) fn patience() -> Duration {
    let factor = std::env::var("CANARY_TEST_WAIT_FACTOR").ok();
    Duration::from_secs(30).mul_f64(factor.map_or(1.0, |factor| factor.parse().unwrap()))
}

/// Waits until something holds; `what` and the page are in the message if it doesn't.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + patience();
    while !holds() {
        assert!(Instant::now() < end, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A browser with one tab; it ends when it is dropped.
pub(crate) struct Browser {
    chromedriver: Child,
    driver: Option<WebDriver>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            let _ = runtime().block_on(driver.quit());
        }
        let _ = self.chromedriver.kill();
        let _ = self.chromedriver.wait();
    }
}

fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).unwrap_or_else(|| panic!("no {name} in PATH; {INSTALL}"))
}

/// A running chromedriver and its port. It takes a free port of IPv4 and then the same one of IPv6, and ends if that one is
/// taken, so it gets several tries.
fn start_chromedriver() -> (Child, u16) {
    let mut said = Vec::new();
    for _ in 0..5 {
        let mut chromedriver = Command::new(program("CHROMEDRIVER", "chromedriver"))
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(chromedriver.stdout.take().unwrap()).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            let port = line.split_once("successfully on port ");
            if let Some(Ok(port)) = port.map(|(_, port)| port.trim_end_matches('.').parse()) {
                std::thread::spawn(move || lines.for_each(drop));
                return (chromedriver, port);
            }
            said.push(line);
        }
        // It has closed its output, so it ends.
        let _ = chromedriver.wait();
    }
    panic!("chromedriver didn't start; {INSTALL}; it said: {said:#?}")
}

impl Browser {
    /// A browser with a window of a size.
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self::with(width, height, &[])
    }

    /// The same with more of Chromium's options.
    pub(crate) fn with(width: u32, height: u32, options: &[&str]) -> Self {
        let chromium = program("CHROMIUM", "chromium");
        let (chromedriver, port) = start_chromedriver();
        let mut browser = Self { chromedriver, driver: None };
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_binary(chromium.to_str().unwrap()).unwrap();
        let size = format!("--window-size={width},{height}");
        let always = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            &size,
        ];
        for option in always.iter().chain(options) {
            capabilities.add_arg(option).unwrap();
        }
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities);
        let driver = runtime().block_on(driver);
        browser.driver = Some(driver.unwrap_or_else(|error| panic!("{error}; {INSTALL}")));
        // The window is as large as asked for, whatever its frame takes.
        let size = serde_json::json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        browser.devtools("Emulation.setDeviceMetricsOverride", size);
        browser
    }

    fn driver(&self) -> &WebDriver {
        self.driver.as_ref().unwrap()
    }

    /// A command of Chromium's own protocol.
    pub(crate) fn devtools(&self, method: &str, parameters: Value) -> Value {
        runtime().block_on(self.driver().cdp().send_raw(method, parameters)).unwrap()
    }

    pub(crate) fn goto(&self, url: &str) {
        runtime().block_on(self.driver().goto(url)).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        runtime().block_on(self.driver().current_url()).unwrap().to_string()
    }

    /// What a script returns.
    #[track_caller]
    pub(crate) fn script<T: DeserializeOwned>(&self, script: &str) -> T {
        let returned =
            runtime().block_on(self.driver().execute(script, Vec::<Value>::new())).unwrap();
        returned.convert().unwrap()
    }

    /// The visible text of the first element that a selector finds; empty if there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        self.script(&format!("return document.querySelector({selector})?.innerText ?? ''"))
    }

    /// Whether a selector finds something that can be seen.
    pub(crate) fn shows(&self, selector: &str) -> bool {
        let selector = Value::from(selector);
        self.script(&format!(
            "return document.querySelector({selector})?.checkVisibility() ?? false"
        ))
    }

    /// Waits until an element's text contains something.
    #[track_caller]
    pub(crate) fn reads(&self, selector: &str, text: &str) {
        let (end, mut is) = (Instant::now() + patience(), String::new());
        while Instant::now() < end {
            is = self.text(selector);
            if is.contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "\"{selector}\" never read \"{text}\", at last: {is}\nthe page: {}",
            self.text("body")
        );
    }

    /// Waits until something can be seen.
    #[track_caller]
    pub(crate) fn comes(&self, selector: &str) {
        until(&format!("\"{selector}\" on {}", self.url()), || self.shows(selector));
    }

    /// Waits for an element and clicks it with the mouse.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.comes(selector);
        let click = async { self.driver().find(By::Css(selector)).await?.click().await };
        runtime().block_on(click).unwrap();
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: impl Into<TypingData>) {
        let chain = self.driver().action_chain().send_keys(keys);
        runtime().block_on(chain.perform()).unwrap();
    }

    /// The focused element's id.
    pub(crate) fn focused(&self) -> String {
        self.script("return document.activeElement?.id ?? ''")
    }

    /// Opens another tab and goes on there.
    pub(crate) fn new_tab(&self) {
        let open = async {
            let tab = self.driver().new_tab().await?;
            self.driver().switch_to_window(tab).await
        };
        runtime().block_on(open).unwrap();
    }

    /// Opens another window and goes on there.
    pub(crate) fn new_window(&self) {
        let open = async {
            let window = self.driver().new_window().await?;
            self.driver().switch_to_window(window).await
        };
        runtime().block_on(open).unwrap();
    }

    /// Goes on in the tab that was opened n-th, from 0.
    pub(crate) fn switch(&self, number: usize) {
        let switch = async {
            let tabs = self.driver().windows().await?;
            self.driver().switch_to_window(tabs[number].clone()).await
        };
        runtime().block_on(switch).unwrap();
    }

    /// The cookies that the page's scripts can't see, too.
    pub(crate) fn cookies(&self) -> Value {
        self.devtools("Network.getAllCookies", serde_json::json!({}))["cookies"].clone()
    }

    /// A picture of the window as WebP, which is a third of a PNG.
    pub(crate) fn screenshot(&self, path: &std::path::Path) {
        let format = serde_json::json!({"format": "webp", "quality": 75});
        let picture = self.devtools("Page.captureScreenshot", format);
        let bytes = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap());
        std::fs::write(path, bytes.unwrap()).unwrap();
    }
}
