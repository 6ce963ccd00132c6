//! Keys and signatures, as this crate and others' programs see them.

#![allow(clippy::unwrap_used)]

mod program;
mod skip;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::program;
use tempfile::TempDir;
use twinhull::keys::{self, BuildKeys};
use twinhull::sign::verity::Signature;
use twinhull::sign::{Certificate, Identity, authenticode};
use twinhull_layout::RootHash;

/// A folder of keys, made once for each test: making RSA keys takes a moment.
fn keys() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    keys::init(&keys, "Example Ltd").unwrap();
    (folder, keys)
}

fn run(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Option<(bool, String)> {
    let mut command = Command::new(program);
    command.args(arguments.iter().map(AsRef::as_ref));
    let Ok(output) = command.output() else {
        skip::skip(format!("no {program} here"));
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn secrets_are_for_their_owner_alone_and_nothing_is_made_twice() {
    let (_folder, keys) = keys();
    assert_eq!(mode(&keys), 0o700);
    for name in [
        "PK.key",
        "KEK.key",
        "db.key",
        "verity.key",
        "root-1.json",
        "releases-1.json",
    ] {
        assert_eq!(mode(&keys.join(name)), 0o600, "{name}");
    }
    let before = fs::read(keys.join("db.key")).unwrap();
    // As after taking the offline keys away.
    for name in ["PK.key", "KEK.key"] {
        fs::remove_file(keys.join(name)).unwrap();
    }
    let again = keys::init(&keys, "Example Ltd").unwrap();
    assert!(again.keys.is_empty());
    assert_eq!(fs::read(keys.join("db.key")).unwrap(), before);
    assert_eq!(BuildKeys::open(&keys, None).unwrap().enrolment.len(), 3);
}

#[test]
fn program_is_signed_the_same_every_time_and_a_changed_one_is_noticed() {
    let (_folder, keys) = keys();
    let database = Identity::open(&keys, "db").unwrap().unwrap();
    let signed = authenticode::sign(&program(), &database).unwrap();
    assert_eq!(authenticode::sign(&signed, &database).unwrap(), signed);
    assert_eq!(
        authenticode::signed_by(&signed).unwrap().unwrap().subject(),
        "CN=Example Ltd db"
    );
    assert!(authenticode::signed_by(&program()).unwrap().is_none());
    let mut spoiled = signed;
    spoiled[0x410] ^= 1;
    let said = authenticode::signed_by(&spoiled).unwrap_err().to_string();
    assert!(said.contains("changed after it was signed"), "{said}");
}

#[test]
fn sbverify_takes_our_signature_and_only_with_our_certificate() {
    let (folder, keys) = keys();
    let database = Identity::open(&keys, "db").unwrap().unwrap();
    let path = folder.path().join("signed.efi");
    fs::write(&path, authenticode::sign(&program(), &database).unwrap()).unwrap();
    let Some((good, said)) = run("sbverify", &[&"--cert", &keys.join("db.crt"), &path]) else {
        return;
    };
    assert!(
        good && said.contains("Signature verification OK") && !said.contains("warning"),
        "{said}"
    );
    let (good, said) = run("sbverify", &[&"--cert", &keys.join("KEK.crt"), &path]).unwrap();
    assert!(!good, "{said}");
}

#[test]
fn openssl_takes_our_signed_root_hash() {
    let (folder, keys) = keys();
    let verity = Identity::open(&keys, "verity").unwrap().unwrap();
    let hash = RootHash::from([0xab; 32]);
    let signature = Signature::sign(&hash, &verity).unwrap();
    signature
        .verify(&Certificate::read(&keys.join("verity.crt")).unwrap())
        .unwrap();
    assert!(
        signature
            .verify(&Certificate::read(&keys.join("db.crt")).unwrap())
            .is_err()
    );
    let mut padded = signature.to_text().unwrap().into_bytes();
    padded.resize(4096, 0);
    assert_eq!(Signature::parse(&padded).unwrap().unwrap(), signature);

    let (content, p7s) = (folder.path().join("hash"), folder.path().join("p7s"));
    fs::write(&content, hash.to_string()).unwrap();
    let value = serde_json::to_value(&signature).unwrap();
    let der = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        value["signature"].as_str().unwrap(),
    );
    fs::write(&p7s, der.unwrap()).unwrap();
    let certificate = keys.join("verity.crt");
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 13] = [
        &"smime",
        &"-verify",
        &"-binary",
        &"-inform",
        &"DER",
        &"-in",
        &p7s,
        &"-content",
        &content,
        &"-certfile",
        &certificate,
        &"-noverify",
        &"-nointern",
    ];
    let Some((good, said)) = run("openssl", &arguments) else {
        return;
    };
    assert!(good, "{said}");
    fs::write(&content, "other").unwrap();
    assert!(!run("openssl", &arguments).unwrap().0);
}

#[test]
fn key_of_another_certificate_is_refused() {
    let (_folder, keys) = keys();
    fs::copy(keys.join("KEK.key"), keys.join("db.key")).unwrap();
    let said = BuildKeys::open(&keys, None).unwrap_err().to_string();
    assert!(said.contains("not the one of its certificate"), "{said}");
}

#[test]
fn keys_are_not_made_in_a_folder_that_others_can_enter() {
    let folder = tempfile::tempdir().unwrap();
    for shared in [0o755, 0o710, 0o704] {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(shared)).unwrap();
        let said = keys::init(folder.path(), "Example").unwrap_err().to_string();
        assert!(said.contains("chmod 0700"), "{said}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    keys::init(folder.path(), "Example").unwrap();
}

#[test]
fn half_of_the_enrolment_files_is_refused() {
    let (_folder, keys) = keys();
    fs::remove_file(keys.join("enrol/KEK.auth")).unwrap();
    let said = BuildKeys::open(&keys, None).unwrap_err().to_string();
    assert!(said.contains("only some of"), "{said}");
}

#[test]
fn key_on_a_token_signs_the_same_bytes_as_in_a_file() {
    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    let (folder, keys) = keys();
    if !Path::new(MODULE).exists() {
        skip::skip("no softhsm2 here");
        return;
    }
    let in_file = authenticode::sign(&program(), &Identity::open(&keys, "db").unwrap().unwrap()).unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let configuration = folder.path().join("softhsm2.conf");
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    let pin = folder.path().join("pin");
    fs::write(&pin, "4711\n").unwrap();
    let softhsm = |arguments: &[&str]| {
        let output = Command::new("softhsm2-util")
            .env("SOFTHSM2_CONF", &configuration)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    softhsm(&[
        "--init-token",
        "--free",
        "--label",
        "build keys",
        "--pin",
        "4711",
        "--so-pin",
        "1234",
    ]);
    let secret = keys.join("db.key");
    let secret = secret.to_str().unwrap();
    softhsm(&[
        "--import",
        secret,
        "--token",
        "build keys",
        "--label",
        "db",
        "--id",
        "01",
        "--pin",
        "4711",
    ]);
    fs::remove_file(secret).unwrap();
    fs::write(
        keys.join("db.uri"),
        format!(
            "pkcs11:token=build%20keys;object=db;type=private?module-path={MODULE}&pin-source=file:{}\n",
            pin.display()
        ),
    )
    .unwrap();
    // The module reads its environment, and a test must not change its own: so the whole program runs.
    let target = folder.path().join("signed.efi");
    let source = folder.path().join("plain.efi");
    fs::write(&source, program()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_twinhull"))
        .env("SOFTHSM2_CONF", &configuration)
        .args(["keys", "sign", "--keys"])
        .arg(&keys)
        .arg(&source)
        .arg(&target)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(target).unwrap(), in_file);
}

#[test]
fn what_is_signed_elsewhere_is_the_same_to_the_byte() {
    let (folder, keys) = keys();
    let hash = RootHash::from([0xcd; 32]);
    let direct = BuildKeys::open(&keys, None).unwrap();
    let direct = (
        authenticode::sign(&program(), &direct.database).unwrap(),
        Signature::sign(&hash, &direct.verity).unwrap(),
    );
    let offline = folder.path().join("offline");
    fs::create_dir(&offline).unwrap();
    for name in ["db", "verity"] {
        let secret = format!("{name}.key");
        fs::rename(keys.join(&secret), offline.join(&secret)).unwrap();
        fs::copy(keys.join(format!("{name}.crt")), offline.join(format!("{name}.crt"))).unwrap();
    }
    let said = BuildKeys::open(&keys, None).unwrap_err().to_string();
    assert!(said.contains("--signatures"), "{said}");

    let signatures = folder.path().join("signatures");
    let public = BuildKeys::open(&keys, Some(&signatures)).unwrap();
    // `twinhull check` opens them as well, and leaves nothing behind.
    assert!(!signatures.exists());
    let mut commands = Vec::new();
    for error in [
        authenticode::sign(&program(), &public.database).unwrap_err(),
        Signature::sign(&hash, &public.verity).unwrap_err(),
    ] {
        let said = error.to_string();
        let command = said.lines().find(|line| line.contains("openssl dgst")).unwrap();
        commands.push(command.replace("-sign ", &format!("-sign {}/", offline.display())));
    }
    // One as a person would, one as this program does.
    let Some((good, said)) = run("sh", &[&"-c", &commands[0]]) else {
        return;
    };
    assert!(good, "{said}");
    let (made, left) = keys::sign_pending(&offline, &signatures).unwrap();
    assert_eq!((made.len(), left.len()), (1, 0));
    assert_eq!(authenticode::sign(&program(), &public.database).unwrap(), direct.0);
    assert_eq!(Signature::sign(&hash, &public.verity).unwrap(), direct.1);
}

#[test]
fn signature_of_another_key_or_of_other_content_is_never_attached() {
    let (folder, keys) = keys();
    let signatures = folder.path().join("signatures");
    fs::remove_file(keys.join("db.key")).unwrap();
    let public = BuildKeys::open(&keys, Some(&signatures)).unwrap();
    authenticode::sign(&program(), &public.database).unwrap_err();
    // Made with the key of root hashes, under the name of the other.
    let verity = Identity::open(&keys, "verity").unwrap().unwrap();
    let (message, role) = twinhull::sign::elsewhere::pending(&signatures).unwrap().remove(0);
    assert_eq!(role, "db");
    twinhull::sign::elsewhere::sign(&message, &verity).unwrap();
    let said = authenticode::sign(&program(), &public.database)
        .unwrap_err()
        .to_string();
    assert!(said.contains("not the one of its certificate"), "{said}");
    // A message that is no message of a build is not signed.
    fs::write(signatures.join("..-00.tbs"), "x").unwrap();
    assert!(keys::sign_pending(&keys, &signatures).is_err());
}
