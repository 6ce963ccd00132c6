//! Who is let in, over real TLS: certificates, tokens, the rate of an address.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use support::{Server, run};

const TOKEN: &str = "web-token-0123456789";

/// An authority, the server's certificate and those of clients, in a folder.
struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        Self {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `name`, and its key; both in PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn install_server(&self) {
        let (certificate, key) = self.issue("localhost");
        std::fs::write(self.folder.join("server.pem"), certificate).unwrap();
        std::fs::write(self.folder.join("server.key"), key).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn configure(folder: &Path, pki: &Pki) -> String {
    pki.install_server();
    let token = folder.join("web.token");
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut text = String::new();
    let (certificate, key, ca) = (pki.path("server.pem"), pki.path("server.key"), pki.path("ca.pem"));
    write!(
        text,
        "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\nclient_ca = \"{ca}\"\n\
         [access.web]\ntoken_files = [\"{}\"]\n\
         [access.edge]\ncertificates = [\"{{id}}.hosts.example.org\"]\n\
         [groups.web]\nslots = 5\n[groups.edge]\nslots = 5\n[groups.forgotten]\nslots = 5\n",
        token.display()
    )
    .unwrap();
    let config = folder.join("lock.toml");
    std::fs::write(&config, text).unwrap();
    config.display().to_string()
}

/// Asks for a slot over TLS; the status and the kind.
fn take(
    server: &Server,
    pki: &Pki,
    group: &str,
    id: &str,
    token: Option<&str>,
    identity: Option<&(String, String)>,
) -> Result<(u16, String), reqwest::Error> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ca = reqwest::Certificate::from_pem(&std::fs::read(pki.path("ca.pem")).unwrap()).unwrap();
    let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]);
    if let Some((certificate, key)) = identity {
        let identity = reqwest::Identity::from_pem(format!("{key}{certificate}").as_bytes()).unwrap();
        client = client.identity(identity);
    }
    let mut request = client
        .build()
        .unwrap()
        .post(format!("https://localhost:{}/v1/pre-reboot", server.address.port()))
        .header("fleet-lock-protocol", "true")
        .body(support::body(group, id));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    runtime.block_on(async {
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await?).unwrap();
        Ok((status, body["kind"].as_str().unwrap().to_owned()))
    })
}

#[test]
fn group_admits_its_own_hosts_only() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "pki");
    let config = configure(folder.path(), &pki);
    let server = Server::start(folder.path(), &["--config", &config]);
    let own = pki.issue("host-1.hosts.example.org");
    let ask = |group, id, token, identity| take(&server, &pki, group, id, token, identity).unwrap().0;
    // The right token, a wrong one, none.
    assert_eq!(ask("web", "a", Some(TOKEN), None), 200);
    assert_eq!(ask("web", "b", Some("web-token-0123456788"), None), 401);
    assert_eq!(ask("web", "b", None, None), 401);
    // The token of another group, and a group without rules beside others that have some.
    assert_eq!(ask("edge", "host-1", Some(TOKEN), None), 401);
    assert_eq!(ask("forgotten", "a", Some(TOKEN), Some(&own)), 401);
    // A certificate speaks for its own host, and for no other.
    assert_eq!(ask("edge", "host-1", None, Some(&own)), 200);
    assert_eq!(ask("edge", "host-2", None, Some(&own)), 401);
    // One that another authority signed does not get as far as asking.
    let foreign = Pki::new(folder.path(), "foreign").issue("host-2.hosts.example.org");
    take(&server, &pki, "edge", "host-2", None, Some(&foreign)).unwrap_err();

    let url = format!("https://localhost:{}/", server.address.port());
    let ca = pki.path("ca.pem");
    let output = run(&["history", "--url", &url, "--ca", &ca]);
    let history = String::from_utf8(output.stdout).unwrap();
    assert!(
        history.contains("127.0.0.1 (certificate host-1.hosts.example.org)"),
        "{history}"
    );
    assert!(history.contains("127.0.0.1 (token of web)"), "{history}");
    assert!(!history.contains(TOKEN));
    // Without the authority the server is not trusted, and nothing is sent to it.
    assert_eq!(run(&["history", "--url", &url]).status.code(), Some(1));
}

#[test]
fn renewed_certificate_and_token_are_taken_at_reload() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "pki");
    let config = configure(folder.path(), &pki);
    let server = Server::start(folder.path(), &["--config", &config]);
    assert_eq!(take(&server, &pki, "web", "a", Some(TOKEN), None).unwrap().0, 200);
    std::fs::write(folder.path().join("web.token"), "another-token-9876543210").unwrap();
    pki.install_server();
    let other = Some("another-token-9876543210");
    server.signal("HUP");
    support::eventually(|| take(&server, &pki, "web", "b", other, None).unwrap().0 == 200);
    assert_eq!(take(&server, &pki, "web", "c", Some(TOKEN), None).unwrap().0, 401);
}

#[test]
fn plain_http_on_a_tls_port_and_silent_handshakes_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::new(folder.path(), "pki");
    let config = configure(folder.path(), &pki);
    let server = Server::start(folder.path(), &["--config", &config]);
    let mut plain = server.connect();
    plain.write(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let answer = plain.read_to_close().unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let silent: Vec<_> = (0..100).map(|_| server.connect()).collect();
    assert_eq!(take(&server, &pki, "web", "a", Some(TOKEN), None).unwrap().0, 200);
    drop(silent);
}
