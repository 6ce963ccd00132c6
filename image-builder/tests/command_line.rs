//! What a user meets at the command line.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod skip;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use skip::skip;

fn twinhull(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinhull"))
        .args(args)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The definition that is shipped.
fn server() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/server.toml")
}

#[test]
fn shipped_definitions_are_read() {
    for role in ["minimal", "server", "node", "control"] {
        for arch in [twinhull_layout::Arch::X86_64, twinhull_layout::Arch::Aarch64] {
            let path = server().with_file_name(format!("{role}.toml"));
            let definition = twinhull::definition::Definition::read(&path, arch).unwrap();
            assert_eq!(definition.product.as_str(), format!("twinhull-{role}"));
            assert!(definition.kernel_package(arch).is_ok());
        }
    }
}

#[test]
fn page_about_the_definition_file_is_what_the_code_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/definition.md");
    let written = std::fs::read_to_string(&page).unwrap();
    assert!(
        written == twinhull::definition::reference::markdown(),
        "docs/definition.md is out of date: cargo run -p twinhull --example image-builder-docs -- target/dist/image-builder"
    );
}

#[test]
fn help_fits_a_screen_and_shows_an_example() {
    for args in [&["--help"][..], &["build", "--help"], &["publish", "--help"]] {
        let output = twinhull(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && text.lines().count() <= 40,
            "{args:?}: {text}"
        );
    }
    assert!(String::from_utf8_lossy(&twinhull(&["--help"]).stdout).contains("Example:\n"));
}

#[test]
fn unknown_key_stops_a_build_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("my.toml");
    std::fs::write(&definition, "product = \"mine\"\n[disc]\n").unwrap();
    let output = folder.path().join("out");
    let build = twinhull(&[
        "build",
        definition.to_str().unwrap(),
        "--version",
        "1.0.0",
        "--trust-root",
        "/nowhere",
        "--init",
        "/nowhere",
        "--output",
        output.to_str().unwrap(),
    ]);
    assert!(!build.status.success());
    let said = said(&build);
    assert!(
        said.contains("my.toml:2: unknown key `disc`; did you mean `disk`?"),
        "{said}"
    );
    assert!(!output.exists());
}

#[test]
fn check_finds_all_problems_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("my.toml");
    std::fs::write(
        &definition,
        "product = \"mine\"\n[packages]\nfiles = [\"a.deb\", \"b.deb\"]\n[kernel]\npackage = { x86_64 = \"linux-image-amd64\" }\n",
    )
    .unwrap();
    for name in ["a.deb", "b.deb"] {
        std::fs::write(folder.path().join(name), "no package").unwrap();
    }
    let cache = folder.path().join("cache");
    let definition = definition.to_str().unwrap();
    let check = twinhull(&[
        "check",
        definition,
        "--arch",
        "x86_64",
        "--offline",
        "--cache",
        cache.to_str().unwrap(),
    ]);
    let said = said(&check);
    if said.contains("not installed:") {
        skip("the tools of a build are not here");
        return;
    }
    assert!(!check.status.success());
    assert!(
        said.contains("a.deb is no package") && said.contains("b.deb is no package"),
        "{said}"
    );
}

#[test]
fn publishing_without_a_repository_says_what_is_missing_once() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("x.json");
    let output = twinhull(&[
        "publish",
        manifest.to_str().unwrap(),
        "--repo",
        "/nowhere",
        "--keys",
        "/nowhere",
    ]);
    let said = said(&output);
    assert!(!output.status.success());
    assert_eq!(said.matches("No such file").count(), 1, "{said}");
    assert!(said.contains("x.json"), "{said}");
}

/// An archive on loopback that has nothing.
fn empty_archive() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    format!("http://{address}/debian")
}

#[test]
fn nothing_is_in_order_when_the_archives_gave_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let definition = folder.path().join("my.toml");
    std::fs::write(
        &definition,
        "product = \"mine\"\n[distribution]\nsuite = \"trixi\"\n[packages]\ninstall = [\"podmann\"]\n[kernel]\npackage = { x86_64 = \"linux-image-amd64\" }\n",
    )
    .unwrap();
    let mirror = empty_archive();
    let cache = folder.path().join("cache");
    let mut check = Command::new(env!("CARGO_BIN_EXE_twinhull"));
    check
        .arg("check")
        .arg(&definition)
        .args(["--arch", "x86_64", "--mirror", &mirror]);
    check.args(["--security-mirror", &mirror]).arg("--cache").arg(&cache);
    // Loopback is asked itself.
    let online = check
        .env("http_proxy", "")
        .env("no_proxy", "127.0.0.1")
        .output()
        .unwrap();
    let said = said(&online);
    if said.contains("not installed:") {
        skip("the tools of a build are not here");
        return;
    }
    assert!(!online.status.success() && online.stdout.is_empty(), "{online:?}");
    assert!(
        said.contains("the archives did not say which packages there are"),
        "{said}"
    );
    assert!(said.contains("--offline"), "{said}");
    let offline = check.arg("--offline").output().unwrap();
    let text = String::from_utf8_lossy(&offline.stdout).into_owned();
    assert!(
        offline.status.success() && text.contains("was not looked up"),
        "{offline:?}"
    );
}

#[test]
fn check_looks_at_what_a_build_would_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("my.toml"),
        "product = \"mine\"\n[kernel]\npackage = { aarch64 = \"linux-image-arm64\" }\n",
    )
    .unwrap();
    std::fs::create_dir(path("keys")).unwrap();
    std::fs::write(path("root.json"), "{}").unwrap();
    // Whatever processor this is, it is no static program for the other.
    let arguments = [
        "check",
        &path("my.toml"),
        "--arch",
        "aarch64",
        "--offline",
        "--cache",
        &path("cache"),
    ];
    let given = [
        "--init",
        "/proc/self/exe",
        "--trust-root",
        &path("root.json"),
        "--keys",
        &path("keys"),
    ];
    let output = twinhull(&[&arguments[..], &given[..]].concat());
    let said = said(&output);
    if said.contains("not installed:") {
        skip("the tools of a build are not here");
        return;
    }
    assert!(!output.status.success());
    for wanted in [
        "--init /proc/self/exe cannot be the init of this image",
        "root.json is not metadata/root.json of a release repository",
        "has neither db.key nor db.uri",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}
