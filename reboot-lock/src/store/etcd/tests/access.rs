//! Encryption, certificates and passwords, as etcd itself checks them.

use std::path::{Path, PathBuf};

use etcd_client::{Permission, PermissionType};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::super::super::contract;
use super::member::Member;
use super::*;

/// An authority, and a certificate of it for the member and for clients, as files.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("ca.pem", params.self_signed(&authority).unwrap().pem());
        let issuer = Issuer::new(params, authority);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        write("leaf.pem", leaf.signed_by(&key, &issuer).unwrap().pem());
        write("leaf.key", key.serialize_pem());
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn member(&self, further: &[&str]) -> Member {
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (ca, certificate, key) = (text("ca.pem"), text("leaf.pem"), text("leaf.key"));
        let secure = [
            "--cert-file",
            &certificate,
            "--key-file",
            &key,
            "--trusted-ca-file",
            &ca,
        ];
        Member::start_with("https", &[&secure, further].concat())
    }
}

/// What a store says that gets no answer.
async fn refused(config: &EtcdConfig) -> String {
    match Etcd::connect(config).await {
        Err(error) => error.to_string(),
        Ok(store) => store.groups().await.unwrap_err().to_string(),
    }
}

#[tokio::test]
async fn store_over_tls_shows_its_certificate_and_checks_the_member_s() {
    let pki = Pki::new();
    let member = pki.member(&["--client-cert-auth"]);
    let config = EtcdConfig {
        ca: Some(pki.path("ca.pem")),
        certificate: Some(pki.path("leaf.pem")),
        key: Some(pki.path("leaf.key")),
        ..member.config()
    };
    contract::check(Member::store_with(&config).await.as_ref()).await;

    let without = EtcdConfig {
        certificate: None,
        key: None,
        ..config.clone()
    };
    refused(&without).await;
    let foreign = EtcdConfig {
        ca: Some(Pki::new().path("ca.pem")),
        ..config.clone()
    };
    refused(&foreign).await;
    let missing = EtcdConfig {
        ca: Some("/nowhere/ca.pem".into()),
        ..config
    };
    assert!(
        refused(&missing)
            .await
            .contains("cannot read /nowhere/ca.pem (store.etcd.ca)")
    );
}

/// Lets only users in: `root`, and `lock`, who may do what the lock needs and no more.
async fn ask_for_users(client: &Client) {
    let mut auth = client.auth_client();
    auth.user_add("root", "root", None).await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.user_add("lock", "secret", None).await.unwrap();
    auth.role_add("lock").await.unwrap();
    let keys = Permission::new(PermissionType::Readwrite, default_prefix()).with_prefix();
    auth.role_grant_permission("lock", keys).await.unwrap();
    auth.user_grant_role("lock", "lock").await.unwrap();
    auth.auth_enable().await.unwrap();
}

fn as_user(member: &Member, password_file: &Path) -> EtcdConfig {
    EtcdConfig {
        user: Some("lock".to_owned()),
        password_file: Some(password_file.to_owned()),
        ..member.config()
    }
}

#[tokio::test]
async fn store_logs_in_and_again_when_its_token_is_no_longer_good() {
    let member = Member::start_with("http", &["--bcrypt-cost", "4"]);
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    std::fs::write(&right, "secret\n").unwrap();
    std::fs::write(&wrong, "guess\n").unwrap();
    let open = member.store().await;
    ask_for_users(open.members.client()).await;

    let nobody = refused(&member.config()).await;
    assert!(nobody.contains("cannot read from etcd"), "{nobody}");
    let guess = refused(&as_user(&member, &wrong)).await;
    assert!(
        guess.contains("cannot connect to etcd") && !guess.contains("guess"),
        "{guess}"
    );

    let config = as_user(&member, &right);
    let store = Member::store_with(&config).await;
    contract::check(store.as_ref()).await;

    // etcd forgets all tokens.
    let options = ConnectOptions::new().with_user("root", "root");
    let root = Client::connect(&config.endpoints, Some(options)).await.unwrap();
    root.auth_client().auth_disable().await.unwrap();
    open.members.client().auth_client().auth_enable().await.unwrap();
    let group: GroupName = "later".parse().unwrap();
    let semaphore = Semaphore::default();
    store.swap(&group, Revision(0), &semaphore, &[]).await.unwrap();
    assert_eq!(store.load(&group).await.unwrap().semaphore, semaphore);
}
