//! `twinhull repo` and `twinhull channel` as they are run, and what a host sees of it.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

mod skip;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use twinhull_trust::{
    ChannelDocument, Client, FetchError, Fetcher, Keyring, ReleaseDocument, Repository, SystemClock, TrustError,
};

const ROLES: [&str; 6] = ["root", "targets", "releases", "channels", "snapshot", "timestamp"];

struct Folder(PathBuf);

impl Fetcher for Folder {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        match fs::File::open(self.0.join(path)) {
            Ok(file) => Ok(Box::new(file)),
            Err(_) => Err(FetchError::NotFound),
        }
    }
}

/// A repository made by the program, and one host.
struct World {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, PathBuf)>,
}

impl World {
    fn new(thresholds: &[&str]) -> Self {
        let world = Self::empty();
        world.done(&[&["repo", "init", "--repo", "SITE", "--keys", "KEYS"], thresholds].concat());
        world
    }

    fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program; SITE and KEYS stand for the folders.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let (site, keys) = (self.path("site"), self.path("keys"));
        let place = |argument: &&str| {
            argument
                .replace("SITE", site.to_str().unwrap())
                .replace("KEYS", keys.to_str().unwrap())
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinhull"));
        command.args(arguments.iter().map(place));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (success, said) = self.run(arguments);
        assert!(success, "{arguments:?}: {said}");
        said
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], because: &str) {
        let (success, said) = self.run(arguments);
        assert!(!success && said.contains(because), "{arguments:?}: {said}");
    }

    /// `twinhull channel WHAT …` of the product `p`.
    fn channel(&self, what: &str, more: &[&str]) -> (bool, String) {
        let start = ["channel", what, "--repo", "SITE", "--product", "p"];
        let keys: &[&str] = if what == "show" { &[] } else { &["--keys", "KEYS"] };
        self.run(&[&start, keys, more].concat())
    }

    fn offered(&self) -> ChannelDocument {
        let (success, said) = self.channel("show", &["stable", "--json"]);
        assert!(success, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn add_release(&self, version: &str) {
        let keys = Keyring::load(&self.path("keys")).unwrap();
        let mut repository = Repository::open(&self.path("site"), &keys).unwrap();
        repository.add_release(&Self::release(version)).unwrap();
        repository.commit().unwrap();
    }

    /// What `twinhull publish --channel stable` does once the payloads are made, where the offline keys are not.
    fn stage_release(&self, version: &str, keys: &Path) {
        let mut repository = Repository::open(&self.path("site"), &Keyring::load(keys).unwrap()).unwrap();
        let release = Self::release(version);
        repository.add_release(&release).unwrap();
        let mut channel = ChannelDocument::new(release.product.clone(), "stable");
        channel.releases.insert(release.arch, release.version.clone());
        repository.set_channel(&channel).unwrap();
        repository.stage().unwrap();
    }

    fn release(version: &str) -> ReleaseDocument {
        let payload =
            json!([{"path": "payloads/a.thp", "size": 1, "header_size": 1, "header_sha256": "00".repeat(32)}]);
        serde_json::from_value(json!({
            "product": "p", "version": version, "arch": "x86_64", "created": "2026-01-01T00:00:00Z", "packages": [],
            "root": {"size": 4096, "root_hash": "01".repeat(32), "salt": "02".repeat(32), "verity_size": 8192, "payloads": payload},
            "uki": {"size": 5, "sha256": "03".repeat(32), "payloads": payload},
        }))
        .unwrap()
    }

    fn refresh(&self) -> Result<u64, TrustError> {
        let root = fs::read(self.path("site/metadata/1.root.json")).unwrap();
        let mut client = Client::open(&self.path("host"), &root)?;
        let mut site = Folder(self.path("site"));
        let refreshed = client.refresh(&mut site, &SystemClock)?;
        // Through both delegations, too.
        for name in ["releases/p/x86_64/9.json", "channels/p/none.json"] {
            client.find(&mut site, &SystemClock, name)?;
        }
        Ok(refreshed.root)
    }

    /// The ids of a role's keys, as published.
    fn ids(&self, role: &str) -> Vec<String> {
        let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let root = read(&self.path("site/metadata/root.json"));
        let listed = |keys: &Value| keys["keyids"].as_array().unwrap().iter().map(text).collect();
        if let Some(keys) = root["signed"]["roles"].get(role) {
            return listed(keys);
        }
        let newest = (1..1000)
            .map(|number| self.path(&format!("site/metadata/{number}.targets.json")))
            .take_while(|path| path.exists())
            .last()
            .unwrap();
        let targets = read(&newest);
        let roles = targets["signed"]["delegations"]["roles"].as_array().unwrap();
        listed(roles.iter().find(|one| one["name"] == role).unwrap())
    }
}

/// The start of a command that gives `role` another key.
fn rotating(role: &str) -> [&str; 8] {
    ["repo", "rotate", "--repo", "SITE", "--keys", "KEYS", role, "--add"]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The commands that `docs/trust.md` gives for another key, as words.
fn documented() -> Vec<Vec<String>> {
    let text = include_str!("../../docs/trust.md");
    let section = text.split("### Replacing and revoking a key").nth(1).unwrap();
    let section = section.split("\n**").next().unwrap();
    let commands: Vec<Vec<String>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    twinhull "))
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect();
    assert_eq!(commands.len(), 3);
    commands
}

/// Follows the documentation for `role`.
fn rotate(world: &World, role: &str, old: &str, new_file: &str) {
    for command in documented() {
        let words: Vec<String> = command
            .iter()
            .map(|word| {
                word.replace("ROLE-2.json", new_file)
                    .replace("ROLE", role)
                    .replace("OLDID", old)
            })
            .collect();
        world.done(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn every_key_is_replaced_by_the_documented_commands() {
    let world = World::new(&[]);
    world.refresh().unwrap();
    for role in ROLES {
        let old = world.ids(role).remove(0);
        rotate(&world, role, &old, &format!("{role}-2.json"));
        fs::remove_file(world.path(&format!("keys/{role}-1.json"))).unwrap();
        assert!(!world.ids(role).contains(&old), "{role}");
        world.refresh().unwrap_or_else(|error| panic!("{role}: {error}"));
        world.done(&["repo", "refresh", "--repo", "SITE", "--keys", "KEYS"]);
        world.refresh().unwrap();
    }
}

#[test]
fn every_stolen_key_is_revoked_without_it_and_is_of_no_use_to_the_thief() {
    for role in ROLES {
        let world = World::new(&["--root", "2/3"]);
        world.refresh().unwrap();
        let thief = world.path("thief");
        fs::create_dir(&thief).unwrap();
        for other in ROLES {
            // The thief has all that is online, too, if only the old key still counted.
            let file = format!("{other}-1.json");
            if other == role || ["channels", "snapshot", "timestamp"].contains(&other) {
                fs::copy(world.path("keys").join(&file), thief.join(&file)).unwrap();
            }
        }
        let stolen = world.path(&format!("keys/{role}-1.json"));
        let read: Value = serde_json::from_slice(&fs::read(&stolen).unwrap()).unwrap();
        fs::remove_file(&stolen).unwrap();
        let old = world
            .ids(role)
            .into_iter()
            .find(|id| {
                let public = twinhull_trust::PublicKey {
                    role: role.to_owned(),
                    public: serde_json::from_value(read["public"].clone()).unwrap(),
                };
                public.id() == *id
            })
            .unwrap();
        // The number of the file that was taken away is free again.
        rotate(&world, role, &old, &format!("{role}-1.json"));
        world.refresh().unwrap_or_else(|error| panic!("{role}: {error}"));

        let keys = Keyring::load(&thief).unwrap();
        let mut repository = Repository::open(&world.path("site"), &keys).unwrap();
        repository.rotate(role, &twinhull_trust::KeyChange::default()).unwrap();
        assert!(repository.commit().is_err(), "{role}");
    }
}

#[test]
fn cron_renews_with_the_online_keys_alone() {
    let world = World::new(&["--root", "2/3", "--releases", "2/3"]);
    for role in ["root", "targets", "releases"] {
        for number in 1..=3 {
            let _ = fs::remove_file(world.path(&format!("keys/{role}-{number}.json")));
        }
    }
    let before = fs::read(world.path("site/metadata/timestamp.json")).unwrap();
    world.done(&["repo", "refresh", "--repo", "SITE", "--keys", "KEYS"]);
    assert_ne!(fs::read(world.path("site/metadata/timestamp.json")).unwrap(), before);
    world.refresh().unwrap();
    // What needs them says so and is left for those who hold them.
    let id = world.ids("timestamp").remove(0);
    world.done(&["repo", "new-key", "--keys", "KEYS", "timestamp"]);
    let rotate = rotating("timestamp");
    let said = world.done(&[&rotate[..], &["KEYS/timestamp-2.json", "--remove", &id]].concat());
    assert!(said.starts_with("pending root version 2: 0 of 2 signatures"), "{said}");
    world.refused(&["repo", "verify", "--repo", "SITE"], "2 missing");
}

/// The commands that `docs/trust.md` gives for several people: who, and the words.
fn for_several_people() -> Vec<(String, Vec<String>)> {
    let text = include_str!("../../docs/trust.md");
    let section = text.split("### Several people").nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once("$ "))
        .map(|(who, line)| (who.to_owned(), line.split(' ').map(str::to_owned).collect()))
        .collect()
}

#[test]
fn several_people_on_several_machines_publish_a_release_as_documented() {
    let world = World::new(&["--root", "2/3", "--targets", "2/3", "--releases", "2/3"]);
    world.refresh().unwrap();
    // Each has a folder with his keys and no more; nobody has all.
    for (folder, files) in [
        ("ONLINE", &["channels-1", "snapshot-1", "timestamp-1"]),
        ("ONE", &["root-1", "targets-1", "releases-1"]),
        ("TWO", &["root-2", "targets-2", "releases-2"]),
    ] {
        fs::create_dir(world.path(folder)).unwrap();
        for file in files {
            let name = format!("{file}.json");
            fs::rename(world.path("keys").join(&name), world.path(folder).join(&name)).unwrap();
        }
    }
    fs::remove_dir_all(world.path("keys")).unwrap();
    let commands = for_several_people();
    assert_eq!(commands.len(), 8);
    let mut fingerprints = Vec::new();
    let mut verified = Vec::new();
    for (who, words) in commands {
        let at = |name: &str| world.path(name).to_str().unwrap().to_owned();
        let words: Vec<String> = words
            .iter()
            .map(|word| match word.as_str() {
                "ONLINE" | "ONE" | "TWO" | "releases.json" => at(word),
                _ => word.clone(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["twinhull", "publish", ..] => world.stage_release("1.0.0", &world.path("ONLINE")),
            ["twinhull", "repo", "verify", ..] => verified.push(world.run(&words[1..])),
            ["twinhull", ..] => {
                let said = world.done(&words[1..]);
                if who != "server" {
                    assert!(said.starts_with("releases: 1 signatures added\n"), "{said}");
                    fingerprints.push(said.split("fingerprint ").nth(1).unwrap().trim().to_owned());
                }
            }
            ["cp", from, to] => {
                let place = |path: &str| path.replace("SITE", world.path("site").to_str().unwrap());
                fs::copy(place(from), place(to)).map(drop).unwrap();
            }
            _ => panic!("{words:?}"),
        }
    }
    let [(first, said), (last, _)] = &verified[..] else {
        panic!("{verified:?}")
    };
    assert!(
        !first && said.contains("0 of 2 signatures; 2 missing") && *last,
        "{verified:?}"
    );
    assert!(fingerprints.iter().all(|fingerprint| said.contains(fingerprint)) && fingerprints.len() == 2);
    world.refresh().unwrap();
    let offered = world.offered();
    assert_eq!(offered.releases.values().next().unwrap().to_string(), "1.0.0");
}

#[test]
fn channel_is_set_halted_resumed_and_shown() {
    let world = World::new(&[]);
    world.add_release("1.0.0");
    world.add_release("1.1.0");
    let (success, said) = world.channel("show", &["stable"]);
    assert!(!success && said.contains("`twinhull channel set` makes one"), "{said}");
    let (success, said) = world.channel("set", &["stable", "3.0.0"]);
    assert!(!success && said.contains("p 3.0.0 is not published"), "{said}");
    let (success, said) = world.channel("set", &["Not_One", "1.0.0"]);
    assert!(!success && said.contains("1 to 32 of a-z 0-9 -"), "{said}");

    assert!(world.channel("set", &["stable", "1.0.0"]).0);
    let (success, said) = world.channel("set", &["stable", "1.1.0", "--rollout", "canary", "--stone", "1.0.5"]);
    assert!(
        success && said.contains("p stable x86_64: 1.1.0, and 1.0.0 until then"),
        "{said}"
    );
    let offered = world.offered();
    assert_eq!(offered.rollout.as_ref().unwrap().name, "canary");
    assert_eq!(offered.stepping_stones.len(), 1);

    let (success, said) = world.channel("halt", &["stable", "--reason", "3 hosts rolled back"]);
    assert!(
        success && said.contains("halted since 20") && said.contains(": 3 hosts rolled back"),
        "{said}"
    );
    assert!(world.offered().halted);
    assert!(world.channel("resume", &["stable"]).0);
    let resumed = world.offered();
    assert!(!resumed.halted && resumed.since >= offered.since);

    // Waves of one's own, and what is wrong with them.
    fs::write(
        world.path("waves.toml"),
        "[[wave]]\nshare = \"10%\"\nstart = \"0s\"\n[[wave]]\nshare = \"90%\"\nstart = \"2d\"\npace = \"1d\"\n",
    )
    .unwrap();
    let waves = world.path("waves.toml");
    let (success, said) = world.channel("set", &["stable", "1.1.0", "--rollout", waves.to_str().unwrap()]);
    assert!(success, "{said}");
    assert_eq!(world.offered().rollout.unwrap().waves.len(), 2);
    fs::write(&waves, "[[wave]]\nshare = \"110%\"\n").unwrap();
    let (success, said) = world.channel("set", &["stable", "1.1.0", "--rollout", waves.to_str().unwrap()]);
    assert!(!success, "{said}");
    // A host can read all of it.
    world.refresh().unwrap();
}

#[test]
fn channels_need_no_offline_key_and_nothing_else_can_be_done_without_one() {
    let world = World::new(&[]);
    world.add_release("1.0.0");
    for role in ["root", "targets", "releases"] {
        fs::remove_file(world.path(&format!("keys/{role}-1.json"))).unwrap();
    }
    assert!(world.channel("set", &["stable", "1.0.0"]).0);
    fs::remove_file(world.path("keys/channels-1.json")).unwrap();
    let (success, said) = world.channel("halt", &["stable"]);
    assert!(
        !success && said.contains("role `channels` needs 1 of its keys"),
        "{said}"
    );
}

#[test]
fn keys_on_a_token_make_and_keep_a_repository() {
    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
    if !Path::new(MODULE).exists() {
        skip::skip("no softhsm2 here");
        return;
    }
    let mut world = World::empty();
    let configuration = world.path("softhsm2.conf");
    fs::create_dir(world.path("tokens")).unwrap();
    fs::create_dir(world.path("keys")).unwrap();
    let text = format!("directories.tokendir = {}\n", world.path("tokens").display());
    fs::write(&configuration, text).unwrap();
    fs::write(world.path("pin"), "4711\n").unwrap();
    world.environment.push(("SOFTHSM2_CONF", configuration.clone()));
    let tool = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .env("SOFTHSM2_CONF", &configuration)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    tool(
        "softhsm2-util",
        &[
            "--init-token",
            "--free",
            "--label",
            "safe",
            "--pin",
            "4711",
            "--so-pin",
            "1234",
        ],
    );
    let uri = |label: &str| {
        let pin = world.path("pin");
        format!(
            "pkcs11:token=safe;object={label}?module-path={MODULE}&pin-source=file:{}",
            pin.display()
        )
    };
    for (id, label) in [("01", "root"), ("02", "releases"), ("03", "spare")] {
        let pem = world.path(label);
        let pem = pem.to_str().unwrap();
        tool("openssl", &["genpkey", "-algorithm", "ed25519", "-out", pem]);
        let import = ["--token", "safe", "--label", label, "--id", id, "--pin", "4711"];
        tool("softhsm2-util", &[&["--import", pem][..], &import].concat());
        fs::remove_file(pem).unwrap();
    }
    for role in ["root", "releases"] {
        let said = world.done(&["repo", "new-key", "--keys", "KEYS", role, "--token", &uri(role)]);
        assert!(said.contains(&format!("{role}-1.json is key ")), "{said}");
    }
    world.done(&["repo", "init", "--repo", "SITE", "--keys", "KEYS"]);
    // No secret of these two is in the folder.
    for role in ["root", "releases"] {
        let file = fs::read_to_string(world.path(&format!("keys/{role}-1.json"))).unwrap();
        assert!(!file.contains("seed") && file.contains("pkcs11:"), "{file}");
    }
    world.refresh().unwrap();
    // The token signs a new root, and the key moves to another one on it.
    let old = world.ids("root").remove(0);
    world.done(&["repo", "new-key", "--keys", "KEYS", "root", "--token", &uri("spare")]);
    let rotate = rotating("root");
    world.done(&[&rotate[..], &["KEYS/root-2.json", "--remove", &old]].concat());
    assert_eq!(world.refresh().unwrap(), 2);
    world.refused(
        &["repo", "new-key", "--keys", "KEYS", "root", "--token", &uri("absent")],
        "has 0 secret keys labelled \"absent\"",
    );
    // A token that is away: what does not need it goes on, what does says why.
    fs::rename(world.path("tokens"), world.path("away")).unwrap();
    fs::create_dir(world.path("tokens")).unwrap();
    world.done(&["repo", "refresh", "--repo", "SITE", "--keys", "KEYS"]);
    world.done(&["repo", "new-key", "--keys", "KEYS", "timestamp"]);
    let rotate = rotating("timestamp");
    world.refused(
        &[&rotate[..], &["KEYS/timestamp-2.json"]].concat(),
        "there is no token \"safe\"",
    );
}
