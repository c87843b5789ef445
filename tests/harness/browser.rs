//! A real headless Chromium, driven over WebDriver (W3C) by this harness' own HTTP.
use super::Connection;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// More than any page has places to stop at.
const TABS_MAX: usize = 60;

pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    pub(crate) fn open() -> Self {
        let profile = tempfile::Builder::new().prefix("paas-browser-").tempdir().expect("make a folder");
        let started = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = started.expect("start chromedriver: is chromium-driver installed? run tests/install");
        let mut said = BufReader::new(driver.stdout.take().expect("standard output is piped")).lines();
        let port = said.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.strip_prefix("ChromeDriver was started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        // What it says later is of no interest, but it must not run into a closed pipe.
        std::thread::spawn(move || said.map_while(Result::ok).for_each(drop));
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("chromedriver says its port")));
        let folder = format!("--user-data-dir={}", profile.path().display());
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", &folder];
        let capabilities = json!({ "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        }});
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let made = browser.call("POST", "/session", &json!({ "capabilities": capabilities }));
        made["sessionId"].as_str().expect("a session has an id").clone_into(&mut browser.session);
        browser
    }

    pub(crate) fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    pub(crate) fn url(&self) -> String {
        self.ask("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page; `return` gives its value.
    pub(crate) fn script(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of everything that a selector finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let quoted = Value::from(selector).to_string();
        let script = format!("return [...document.querySelectorAll({quoted})].map((e) => e.innerText).join('\\n')");
        self.script(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until what a selector finds says `text`, without a reload.
    #[track_caller]
    pub(crate) fn waits_for(&self, selector: &str, text: &str) {
        let begun = Instant::now();
        while !self.text(selector).contains(text) {
            assert!(
                begun.elapsed() < PATIENCE,
                "`{selector}` at {} should have said `{text}`, but the page says:\n{}",
                self.url(),
                self.text("body")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found[ELEMENT].as_str().unwrap_or_else(|| panic!("no `{selector}` at {}", self.url()));
        self.ask("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Goes to the element that says `text` by the Tab key alone, and presses Enter.
    #[track_caller]
    pub(crate) fn tab_to_and_enter(&self, text: &str) {
        for _ in 0..TABS_MAX {
            self.press("\u{e004}");
            if self.script("return document.activeElement.innerText") == text {
                self.press("\u{e007}");
                return;
            }
        }
        panic!("the Tab key never comes to `{text}` at {}", self.url());
    }

    fn press(&self, key: &str) {
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        self.ask("POST", "/actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": strokes }] }));
    }

    /// Makes the window `width` CSS pixels wide.
    pub(crate) fn set_width(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        let order = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.ask("POST", "/goog/cdp/execute", &order);
    }

    /// Whether the page is wider than its window.
    pub(crate) fn overflows(&self) -> bool {
        self.script("return document.documentElement.scrollWidth > document.documentElement.clientWidth") == true
    }

    /// What the browser complained of since the last time it was asked: errors of scripts, of loading, of the page's policy.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        log.as_array().into_iter().flatten().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut connection = Connection::open(self.address, "127.0.0.1").expect("connect to chromedriver");
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        connection.send(method, path, &["Content-Type: application/json"], bytes.as_bytes()).expect("ask chromedriver");
        let response = connection.answer().expect("hear from chromedriver");
        let mut answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        assert!(response.status == 200, "{method} {path}: {}", response.text());
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty()
            && let Ok(mut connection) = Connection::open(self.address, "127.0.0.1")
            && connection.send("DELETE", &format!("/session/{}", self.session), &[], b"").is_ok()
        {
            // It answers once the browser has gone.
            let _ = connection.answer();
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
