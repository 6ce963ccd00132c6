//! The binary as a user meets it, as far as it goes without QEMU.

use std::process::{Command, Output};

fn twinhull_qemu(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twinhull-qemu"))
        .args(arguments)
        .output()
        .expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn guests_can_reach_nothing_but_loopback() {
    let output = twinhull_qemu(&["network"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout(&output), "lo\n");
}

#[test]
fn every_scenario_is_listed_with_what_it_shows() {
    let text = stdout(&twinhull_qemu(&["list"]));
    for name in [
        "verified",
        "update",
        "refused",
        "falls_back_sick",
        "falls_back_hang",
        "waits_its_turn",
        "gates",
    ] {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.len() > name.len() + 20, "{line}");
    }
}

#[test]
fn missing_artefacts_are_no_failed_test_but_an_unfit_place() {
    let work = tempfile::tempdir().unwrap();
    let output = twinhull_qemu(&["prove", "update", "--work", work.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        error.contains("twinhull-server_1.0.0_x86_64.json: is missing"),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(work.path()).unwrap().count(),
        0,
        "something was left behind"
    );
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let output = twinhull_qemu(&["prove", "updat", "--work", "/"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("waits_its_turn"));
}

#[test]
fn a_scenario_file_is_checked_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("boots.toml");
    let text = "about = \"it boots\"\n[machine.host]\n[[step]]\ndo = \"boot\"\n";
    std::fs::write(&file, text).unwrap();
    let good = twinhull_qemu(&["check", file.to_str().unwrap()]);
    assert!(good.status.success() && stdout(&good).ends_with("boots.toml: it boots\n"));
    std::fs::write(&file, format!("{text}withn = 3\n")).unwrap();
    let work = folder.path().join("work");
    let image = folder.path().join("disk.raw");
    std::fs::write(&image, b"").unwrap();
    let words = [
        "test",
        image.to_str().unwrap(),
        file.to_str().unwrap(),
        "--work",
        work.to_str().unwrap(),
    ];
    let bad = twinhull_qemu(&words);
    let error = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(bad.status.code() == Some(2) && !work.exists());
    assert!(error.contains("boots.toml:5: unknown key `withn`"), "{error}");
}

#[test]
fn what_makes_no_sense_is_wrong_usage_and_no_failed_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (image, own, none) = (at("disk.raw"), at("own.toml"), at("none.toml"));
    std::fs::write(&image, b"").unwrap();
    let text = |machine: &str| format!("about = \"x\"\n[machine.host]\n{machine}[[step]]\ndo = \"boot\"\n");
    std::fs::write(&own, text("image = \"disk.raw\"\n")).unwrap();
    std::fs::write(&none, text("")).unwrap();
    for (words, why) in [
        (vec![image.clone()], "no scenario file"),
        (
            vec![image.clone(), own.clone()],
            "no machine of these scenarios would have it",
        ),
        (vec![none.clone()], "machine host of none.toml has no `image`"),
        (vec![at("no.raw"), none.clone()], "cannot find the image"),
        (vec![none.clone(), image.clone()], "an image comes first"),
        (
            vec![image.clone(), none.clone(), none.clone()],
            "two scenarios are called none",
        ),
    ] {
        let work = at("work");
        let mut all = vec!["test", "--work", &work];
        all.extend(words.iter().map(String::as_str));
        let output = twinhull_qemu(&all);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {error}");
        assert!(error.contains(why), "{words:?}: {error}");
    }
}

#[test]
fn reason_of_an_error_is_told_once() {
    let error = twinhull_qemu(&["check", "/no-such-folder/a.toml"]).stderr;
    let error = String::from_utf8_lossy(&error).into_owned();
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
}
