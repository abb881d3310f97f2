//! A real headless Chromium, driven through WebDriver by ChromeDriver.
//!
//! <https://www.w3.org/TR/webdriver2/>, <https://chromedevtools.github.io/devtools-protocol/>

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::HttpConnector as _, orchestrator::HttpRequest, result::ConnectorError,
};
use aws_smithy_types::{base64, body::SdkBody, byte_stream::ByteStream};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One window with a profile of its own. Whatever it would ask of another machine ends at a proxy that is not there.
pub struct Browser {
    driver: Child,
    /// `http://127.0.0.1:…/session/…`
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver does not start ({error}); scripts/browser installs it")
            });
        let stdout = driver.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let port = lines
            .by_ref()
            .find_map(|line| {
                let (_, rest) = line.split_once("started successfully on port ")?;
                rest.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver says on which port it is");
        // Who writes into a full pipe waits for ever.
        thread::spawn(move || lines.for_each(drop));

        let profile = tempfile::tempdir().expect("a folder for the profile");
        let url = format!("http://127.0.0.1:{port}");
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--proxy-server=127.0.0.1:9",
                "--proxy-bypass-list=<-loopback>",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                format!("--user-data-dir={}", profile.path().display()),
            ]},
        }}});
        let made = called("POST", &format!("{url}/session"), &capabilities).await;
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        let browser = Self { session: format!("{url}/session/{id}"), driver, _profile: profile };
        // What the browser shows at first is no page of ours.
        browser.post("url", json!({"url": "about:blank"})).await;
        browser.requests().await;
        browser.complaints().await;
        browser
    }

    /// A window of so many CSS pixels, as a desktop or a telephone has it.
    pub async fn resize(&self, width: u32, height: u32, scale: f64, mobile: bool) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Shows as on a screen or on paper, in light or in dark.
    pub async fn media(&self, media: &str, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"media": media, "features": features});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    pub async fn open(&self, page: &Path) {
        let url = format!("file://{}", page.display());
        self.post("url", json!({"url": url})).await;
    }

    /// What the body of a function returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []})).await
    }

    /// Clicks in the middle of the first element that matches, as a mouse does.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("element/{element}/click"), json!({})).await;
    }

    /// Presses and releases a key on whatever has the focus: <https://www.w3.org/TR/webdriver2/#keyboard-actions>
    pub async fn press(&self, key: char) {
        let actions = json!({"actions": [{
            "type": "key", "id": "keyboard",
            "actions": [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}],
        }]});
        self.post("actions", actions).await;
    }

    /// A picture of what the window shows, or of the whole page, as PNG.
    pub async fn screenshot(&self, whole: bool) -> Vec<u8> {
        let mut options = json!({"format": "png"});
        if whole {
            let page = "const page = document.documentElement; return {x: 0, y: 0, width: page.clientWidth, height: page.scrollHeight, scale: 1}";
            options["clip"] = self.run(page).await;
            options["captureBeyondViewport"] = json!(true);
        }
        let shot = self.devtools("Page.captureScreenshot", options).await;
        decoded(&shot["data"])
    }

    /// The page on paper, as PDF.
    pub async fn printed(&self) -> Vec<u8> {
        let options = json!({"preferCSSPageSize": true, "printBackground": false});
        decoded(&self.devtools("Page.printToPDF", options).await["data"])
    }

    /// What the page said about itself, errors above all, since this was last asked.
    pub async fn complaints(&self) -> Vec<Value> {
        let entries = self.post("se/log", json!({"type": "browser"})).await;
        entries.as_array().cloned().unwrap_or_default()
    }

    /// The addresses that the page asked for since this was last asked, but those that its own policy kept it from.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({"type": "performance"})).await;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let events: Vec<Value> = entries
            .iter()
            .filter_map(|entry| serde_json::from_str(entry["message"].as_str()?).ok())
            .map(|event: Value| event["message"].clone())
            .collect();
        let of = |method: &str| {
            let own = events.iter().filter(move |event| event["method"] == method);
            own.map(|event| &event["params"]).collect::<Vec<_>>()
        };
        let failed = of("Network.loadingFailed");
        let is_kept_back = |request: &Value| {
            failed.iter().any(|one| {
                one["requestId"] == request["requestId"] && one["blockedReason"] == "csp"
            })
        };
        let asked = of("Network.requestWillBeSent").into_iter();
        let asked = asked.filter(|request| !is_kept_back(request));
        let asked = asked.map(|request| request["request"]["url"].as_str());
        let sockets = of("Network.webSocketCreated").into_iter();
        let sockets = sockets.map(|socket| socket["url"].as_str());
        asked.chain(sockets).map(|url| url.unwrap_or_default().to_owned()).collect()
    }

    async fn element(&self, selector: &str) -> String {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.post("element", query).await;
        let id = found.as_object().and_then(|found| found.values().next());
        let id = id.and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("there is no {selector}: {found}")).to_owned()
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("goog/cdp/execute", json!({"cmd": command, "params": params})).await
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        called("POST", &format!("{}/{command}", self.session), &body).await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killed alone, ChromeDriver would leave its browser behind.
        self.end();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Ends the session, and the browser with it. Nothing can be awaited where this is needed.
    fn end(&self) -> Option<()> {
        let (host, path) = self.session.strip_prefix("http://")?.split_once('/')?;
        let mut connection = TcpStream::connect(host).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(connection, "DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .ok()?;
        connection.read(&mut [0; 64]).ok().map(drop)
    }
}

fn decoded(base64: &Value) -> Vec<u8> {
    base64::decode(base64.as_str().expect("a picture")).expect("base64")
}

/// The value that WebDriver answers.
async fn called(method: &str, url: &str, body: &Value) -> Value {
    let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
    request.set_method(method).expect("a method");
    request.set_uri(url).expect("an address");
    request.headers_mut().insert("content-type", "application/json");
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let response = connector.call(request).await;
    let response = response.unwrap_or_else(|error: ConnectorError| panic!("{url}: {error:?}"));
    let is_success = response.status().is_success();
    let body = ByteStream::new(response.into_body()).collect().await.expect("a body").to_vec();
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(is_success, "{url}: {answer:#}");
    answer["value"].clone()
}
