//! Controls a real browser over the DevTools protocol.

use super::{PATIENCE, wait_for};
use base64::Engine;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// A page in a headless Chromium, which is stopped on drop.
pub struct Page {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    sent: u64,
    /// All events that the page has reported.
    pub events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Opens an empty page in this browser.
    pub fn open(mut chromium: Command) -> Self {
        let profile = tempfile::tempdir().unwrap();
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
        chromium.args(["--no-first-run", "--disable-background-networking", "--disable-sync"]);
        chromium.args(["--disable-component-update", "--remote-debugging-port=0"]);
        chromium.arg(format!("--user-data-dir={}", profile.path().display()));
        chromium.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = chromium.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines
            .find_map(|line| line.ok()?.strip_prefix("DevTools listening on ").map(str::to_owned))
            .expect("the browser listens");
        // Read the rest of its output, so that its pipe does not get full.
        std::thread::spawn(move || lines.for_each(drop));
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(&url, stream).unwrap();
        let (session, events) = (String::new(), Vec::new());
        let mut page = Self { child, socket, session, sent: 0, events, _profile: profile };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attach);
        page.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page
    }

    /// Calls a method and returns its result.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let mut request = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            request["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(request.to_string())).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let message = self.socket.read().unwrap();
            let Ok(text) = message.to_text() else { continue };
            let Ok(message) = serde_json::from_str::<Value>(text) else { continue };
            if message["id"] == self.sent {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
        panic!("no answer to {method}");
    }

    /// Loads a URL.
    pub fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{gone}");
    }

    /// Evaluates an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    pub fn wait_until(&mut self, expression: &str) {
        wait_for(expression, || {
            let found = self.value(expression) == json!(true);
            // Leave the processor to the page.
            std::thread::sleep(Duration::from_millis(20));
            found.then_some(())
        });
    }

    /// Sets the size in pixels and the colour scheme.
    pub fn resize(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Saves a screenshot of the whole page as PNG.
    pub fn draw(&mut self, to: &Path) {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let drawn = self.call("Page.captureScreenshot", whole);
        let data = drawn["data"].as_str().unwrap();
        let png = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        std::fs::write(to, png).unwrap();
    }

    /// Messages and exceptions on the page's console.
    pub fn complaints(&self) -> Vec<&Value> {
        let is_complaint = |event: &&Value| {
            let method = event["method"].as_str().unwrap_or_default();
            matches!(method, "Runtime.consoleAPICalled" | "Runtime.exceptionThrown")
                || method == "Log.entryAdded"
        };
        self.events.iter().filter(is_complaint).collect()
    }

    /// The URLs that the page has requested.
    pub fn requests(&self) -> Vec<&str> {
        let requests = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        requests.filter_map(|event| event["params"]["request"]["url"].as_str()).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
