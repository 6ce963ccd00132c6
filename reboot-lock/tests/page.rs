//! The page as a browser gets it, and as it shows it: a real Chromium, driven over `WebDriver`.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Server, eventually, token_file};

fn with_administration(folder: &tempfile::TempDir) -> (Server, &'static str) {
    let (file, token) = token_file(folder.path());
    let arguments = [
        "--group",
        "default=2",
        "--group",
        "edge=1",
        "--admin-listen",
        "127.0.0.1:0",
        "--admin-token-file",
        file.to_str().unwrap(),
    ];
    (Server::start(folder.path(), &arguments), token)
}

fn administration(server: &Server) -> support::Http {
    let address = server.administration[0].strip_prefix("http://").unwrap();
    support::Http::connect(address.parse().unwrap()).unwrap()
}

#[test]
fn page_is_whole_without_scripts_and_strict_about_them() {
    let folder = tempfile::tempdir().unwrap();
    let (server, _) = with_administration(&folder);
    assert_eq!(server.take("default", "host-a").status, 200);
    let page = server.connect().send("GET", "/", &[], b"").unwrap();
    assert_eq!(page.status, 200);
    assert!(
        page.head.contains("content-security-policy: default-src 'none';"),
        "{}",
        page.head
    );
    assert!(!page.head.contains("unsafe-inline"));
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("host-a") && text.contains("1 of 2 slots held"), "{text}");
    assert!(!text.contains("<form"), "the page for everybody has no forms");
    for (path, kind) in [
        ("/page/style.css", "text/css"),
        ("/page/live.js", "text/javascript"),
        ("/page/icon.svg", "image/svg+xml"),
        ("/metrics", "text/plain; version=0.0.4"),
    ] {
        let answer = server.connect().send("GET", path, &[], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.connect().send("GET", path, &[], b"").unwrap().status, 200);
    }
}

#[test]
fn forms_are_obeyed_only_with_session_key_and_from_the_page_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = with_administration(&folder);
    assert_eq!(server.take("edge", "dead").status, 200);
    let post = |path: &str, headers: &[&str], form: &str| {
        administration(&server)
            .send("POST", path, headers, form.as_bytes())
            .unwrap()
    };
    let page = administration(&server).send("GET", "/", &[], b"").unwrap();
    assert!(
        !String::from_utf8(page.body).unwrap().contains("dead"),
        "shown without a log-in"
    );
    assert_eq!(post("/page/login", &[], "operator=alice&token=wrong").status, 401);
    assert_eq!(
        post("/page/login", &[], &format!("operator=&token={token}")).status,
        400
    );
    let foreign = "sec-fetch-site: cross-site";
    let login = format!("operator=alice&token={token}");
    assert_eq!(post("/page/login", &[foreign], &login).status, 401);

    let answer = post("/page/login", &[], &login);
    assert_eq!(answer.status, 303);
    let cookie = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(
        cookie.contains("httponly") && cookie.contains("samesite=strict"),
        "{cookie}"
    );
    let cookie = format!("cookie: other=1; {}", cookie.split(';').next().unwrap());
    let page = administration(&server).send("GET", "/", &[&cookie], b"").unwrap();
    let page = String::from_utf8(page.body).unwrap();
    let key = page
        .split("name=\"key\" value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();

    let form = format!("key={key}&group=edge&id=dead&reason=disk+died");
    let keyless = "key=0&group=edge&id=dead&reason=disk+died";
    let unreasoned = format!("key={key}&group=edge&id=dead&reason=+");
    for (headers, form, status) in [
        (&[][..], form.as_str(), 401),
        (&["cookie: twinhull-lock=0"], &form, 401),
        (&[&cookie], keyless, 401),
        (&[&cookie, foreign], &form, 401),
        (&[&cookie, "sec-fetch-site: same-site"], &form, 401),
        (&[&cookie], &unreasoned, 400),
    ] {
        assert_eq!(
            post("/page/release", headers, form).status,
            status,
            "{headers:?} {form}"
        );
        assert_eq!(server.holders("edge"), ["dead"], "{headers:?} {form}");
    }
    // A cookie is no credential for programs: other sites can make a browser send those.
    let body = br#"{"group":"edge","id":"dead","reason":"x"}"#;
    let answer = administration(&server)
        .send("POST", "/v1/admin/release", &[&cookie], body)
        .unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(
        post("/page/release", &[&cookie, "sec-fetch-site: same-origin"], &form).status,
        200
    );
    assert!(server.holders("edge").is_empty());
    let by = server.status()["history"][0]["by"].as_str().unwrap().to_owned();
    assert_eq!(by, "alice (admin token from 127.0.0.1)");
    assert_eq!(post("/page/logout", &[&cookie], &format!("key={key}")).status, 303);
    assert_eq!(post("/page/release", &[&cookie], &form).status, 401);
}

#[test]
fn guessing_the_token_becomes_slow() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = with_administration(&folder);
    let mut statuses = Vec::new();
    for n in 0..25 {
        let header = format!("authorization: Bearer guess-{n}-0123456789");
        let answer = administration(&server)
            .send("GET", "/v1/status", &[&header], b"")
            .unwrap();
        statuses.push(answer.status);
    }
    assert_eq!((statuses[0], statuses[24]), (401, 429), "{statuses:?}");
    // Not even the right one helps then; hosts are not affected.
    let header = format!("authorization: Bearer {token}");
    let answer = administration(&server)
        .send("GET", "/v1/status", &[&header], b"")
        .unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!(server.take("edge", "a").status, 200);
}

/// Chromium behind its driver.
struct Browser {
    driver: Child,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    session: String,
    profile: tempfile::TempDir,
    // Kept open: a driver whose output nobody takes ends.
    _said: std::io::Lines<BufReader<ChildStdout>>,
}

impl Browser {
    fn start(width: u32, height: u32) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is missing: install the packages chromium and chromium-driver");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .by_ref()
            .map(Result::unwrap)
            // It says first which port it was asked for: any, which is 0.
            .find_map(|line| {
                line.rsplit_once("started successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .unwrap();
        let profile = tempfile::tempdir().unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut browser = Self {
            driver,
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_mins(2))
                .build()
                .unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            session: format!("http://127.0.0.1:{port}/session"),
            profile,
            _said: lines,
        };
        let folder = browser.profile.path().display();
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={folder}"),
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = browser.send("", &capabilities);
        let id = answer["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {answer}"));
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn send(&self, path: &str, body: &Value) -> Value {
        let request = self
            .client
            .post(format!("{}{path}", self.session))
            .body(body.to_string());
        self.runtime.block_on(async {
            let answer = request.send().await.unwrap().bytes().await.unwrap();
            serde_json::from_slice::<Value>(&answer).unwrap()["value"].take()
        })
    }

    fn open(&self, url: &str) {
        self.send("/url", &json!({"url": url}));
    }

    /// What `script` returns.
    fn run(&self, script: &str) -> Value {
        self.send("/execute/sync", &json!({"script": script, "args": []}))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap().to_owned()
    }

    /// What the browser complained about: scripts that failed, content that the policy refused.
    fn complaints(&self) -> Vec<Value> {
        let log = self.send("/se/log", &json!({"type": "browser"}));
        log.as_array().unwrap().clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self
            .runtime
            .block_on(async { self.client.delete(&self.session).send().await });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[test]
fn chromium_shows_changes_without_reload_and_releases_by_form() {
    let folder = tempfile::tempdir().unwrap();
    let (server, token) = with_administration(&folder);
    let browser = Browser::start(1200, 900);
    browser.open(&server.url());
    assert!(browser.text().contains("0 of 2 slots held"), "{}", browser.text());
    eventually(|| browser.run("return document.getElementById('live').textContent") == "live");
    browser.run("window.untouched = true");
    assert_eq!(server.take("default", "host-<b>7</b>").status, 200);
    eventually(|| browser.text().contains("1 of 2 slots held"));
    assert!(browser.text().contains("host-<b>7</b>"));
    assert_eq!(browser.run("return window.untouched"), true, "the page was loaded anew");
    assert_eq!(server.release("default", "host-<b>7</b>").status, 200);
    eventually(|| browser.text().contains("0 of 2 slots held"));
    assert_eq!(browser.complaints(), Vec::<Value>::new());

    // A phone: nothing sticks out to the side.
    assert_eq!(server.take("default", &"long-name-".repeat(20)).status, 200);
    browser.send("/window/rect", &json!({"width": 500, "height": 900}));
    browser.open(&server.url());
    let wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wide, 0);

    assert_eq!(server.take("edge", "dead").status, 200);
    browser.open(&server.administration[0]);
    browser.run(&format!(
        "document.querySelector('[name=operator]').value = 'alice';\
         document.querySelector('[name=token]').value = '{token}';\
         document.querySelector('.login').requestSubmit()"
    ));
    // The page may be a second older than the host; then it comes live.
    eventually(|| browser.text().contains("Log out") && browser.text().contains("dead"));
    browser.run(
        "const form = [...document.querySelectorAll('details form')].find(form => form.elements.id?.value === 'dead');\
         form.closest('details').open = true;\
         form.elements.reason.value = 'disk died';\
         form.requestSubmit(form.querySelector('button'))",
    );
    eventually(|| browser.text().contains("slot of dead released"));
    assert!(server.holders("edge").is_empty());
    assert!(browser.text().contains("disk died"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}
