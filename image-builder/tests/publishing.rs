//! From the files of a build to a release that a host accepts.

#![allow(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use sha2::{Digest, Sha256};
use twinhull::build::manifest::{Manifest, Package, RootImage, UkiImage};
use twinhull::progress::Progress;
use twinhull::publish::{self, Options};
use twinhull::repository;
use twinhull_layout::{Arch, Product, Version};
use twinhull_trust::{Client, FetchError, Fetcher, Keyring, Repository, SystemClock};
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder};

/// A repository that is a folder.
struct Folder(PathBuf);

impl Fetcher for Folder {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        match fs::File::open(self.0.join(path)) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FetchError::NotFound),
            Err(error) => Err(FetchError::Other(error.to_string())),
        }
    }
}

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        repository::init(&world.path("site"), &world.path("keys")).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files of a build whose images are made of `seed`; alike for seeds that are near.
    fn build(&self, version: &str, seed: u8) -> PathBuf {
        let mut root: Vec<u8> = (0..256 * BLOCK_SIZE)
            .map(|index| u8::try_from((index * index / 7) % 251).unwrap())
            .collect();
        root[5000] = seed;
        let uki = [b"uki".to_vec(), vec![seed; 5000]].concat();
        let salt = Salt::from([seed; 32]);
        let mut tree = TreeBuilder::new(256, salt).unwrap();
        io::Write::write_all(&mut tree, &root).unwrap();
        let tree = tree.finish().unwrap();
        let manifest = Manifest {
            product: "p".parse().unwrap(),
            version: version.parse().unwrap(),
            arch: Arch::X86_64,
            time: 1_700_000_000,
            root: RootImage {
                size: root.len() as u64,
                root_hash: *tree.root_hash(),
                salt: salt.to_string(),
                verity_size: tree.as_bytes().len() as u64,
                signature: None,
            },
            uki: UkiImage {
                size: uki.len() as u64,
                sha256: hex::encode(Sha256::digest(&uki)),
            },
            packages: vec![Package {
                name: "a".into(),
                version: "1".into(),
            }],
        };
        let path = self.path(&format!("{}.json", manifest.name()));
        fs::write(path.with_file_name(format!("{}.root", manifest.name())), root).unwrap();
        fs::write(path.with_file_name(format!("{}.efi", manifest.name())), uki).unwrap();
        fs::write(&path, manifest.to_json().unwrap()).unwrap();
        path
    }

    fn options(&self, manifest: &Path) -> Options {
        Options {
            manifest: manifest.to_owned(),
            repository: self.path("site"),
            keys: self.path("keys"),
            channel: Some("stable".into()),
            minimum_from: None,
            bases: Vec::new(),
            builds: None,
            best: 0,
            level: 3,
        }
    }

    fn publish(&self, manifest: &Path, bases: &[&Path]) -> twinhull::Result<publish::Published> {
        let options = Options {
            bases: bases.iter().map(|path| (*path).to_owned()).collect(),
            ..self.options(manifest)
        };
        publish::run(&options, &Progress::plain())
    }

    /// Chooses the bases itself among all builds; only the last gets the best.
    fn publish_from_builds(&self, manifest: &Path) -> publish::Published {
        let options = Options {
            builds: manifest.parent().map(Path::to_owned),
            best: 1,
            level: 9,
            ..self.options(manifest)
        };
        publish::run(&options, &Progress::plain()).unwrap()
    }

    fn error(&self, manifest: &Path, bases: &[&Path]) -> String {
        self.publish(manifest, bases).unwrap_err().to_string()
    }
}

#[test]
fn bases_are_the_last_build_and_what_a_channel_offers() {
    let world = World::new();
    let builds: Vec<PathBuf> = (0..4_u8)
        .map(|build| world.build(&format!("1.{build}.0"), build))
        .collect();
    // Hosts of the channel have 1.1.0; nobody was ever offered 1.0.0 or 1.2.0.
    world.publish(&builds[1], &[]).unwrap();
    let published = world.publish_from_builds(&builds[3]);
    let roots: Vec<&str> = published
        .payloads
        .iter()
        .map(|(what, _)| what.as_str())
        .filter(|what| what.starts_with("root"))
        .collect();
    assert_eq!(roots, ["root", "root from 1.2.0", "root from 1.1.0"]);
}

#[test]
fn host_finds_the_release_with_full_and_delta_payloads() {
    let world = World::new();
    let (old, new) = (world.build("1.0.0", 1), world.build("1.1.0", 2));
    world.publish(&old, &[]).unwrap();
    world.publish(&new, &[&old]).unwrap();

    let root = fs::read(world.path("site/metadata/root.json")).unwrap();
    let mut client = Client::open(&world.path("host"), &root).unwrap();
    let mut site = Folder(world.path("site"));
    client.refresh(&mut site, &SystemClock).unwrap();
    let product: Product = "p".parse().unwrap();
    let channel = client.channel(&mut site, &SystemClock, &product, "stable").unwrap();
    let offered: &Version = &channel.releases[&Arch::X86_64];
    assert_eq!(offered.to_string(), "1.1.0");
    let release = client
        .release(&mut site, &SystemClock, &product, Arch::X86_64, offered)
        .unwrap();
    let old = Manifest::read(&old).unwrap();
    let bases: Vec<Option<String>> = release
        .root
        .payloads
        .iter()
        .map(|payload| payload.base.map(|base| base.to_string()))
        .collect();
    assert_eq!(bases, [None, Some(old.root.root_hash.to_string())]);
    for payload in release.root.payloads.iter().chain(&release.uki.payloads) {
        assert_eq!(
            fs::metadata(world.path("site").join(&payload.path)).unwrap().len(),
            payload.size
        );
    }
}

#[test]
fn release_that_waits_for_signatures_brings_its_channel_with_it() {
    let world = World::new();
    world.publish(&world.build("1.0.0", 1), &[]).unwrap();
    let (site, online) = (world.path("site"), world.path("online"));
    fs::create_dir(&online).unwrap();
    for role in ["channels", "snapshot", "timestamp"] {
        let file = format!("{role}-1.json");
        fs::copy(world.path("keys").join(&file), online.join(&file)).unwrap();
    }
    let options = Options {
        keys: online.clone(),
        ..world.options(&world.build("1.1.0", 2))
    };
    let published = publish::run(&options, &Progress::plain()).unwrap();
    assert_eq!(
        (published.waiting.len(), published.channel.as_deref()),
        (1, Some("stable"))
    );
    let run = |arguments: &[&str], keys: &Path| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_twinhull"))
            .args(arguments)
            .arg(&site)
            .args([Path::new("--keys"), keys])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = run(&["repo", "refresh", "--repo"], &online);
    assert!(
        said.ends_with("pending channel stable of p: 1.1.0 for x86_64, when that is published\n"),
        "{said}"
    );
    assert_eq!(offered(&site).unwrap(), "1.0.0");
    run(&["repo", "sign", "--repo"], &world.path("keys"));
    let said = run(&["repo", "refresh", "--repo"], &online);
    assert!(!said.contains("pending"), "{said}");
    assert_eq!(offered(&site).unwrap(), "1.1.0");
}

#[test]
fn published_release_says_what_it_can_be_reached_from_and_since_when_it_is_offered() {
    let world = World::new();
    let options = Options {
        minimum_from: Some("0.9.0".parse().unwrap()),
        ..world.options(&world.build("1.0.0", 1))
    };
    publish::run(&options, &Progress::plain()).unwrap();
    let repository = Repository::open(&world.path("site"), &Keyring::default()).unwrap();
    let product: Product = "p".parse().unwrap();
    let version: Version = "1.0.0".parse().unwrap();
    let release = repository.release(&product, Arch::X86_64, &version).unwrap().unwrap();
    assert_eq!(release.minimum_from, options.minimum_from);
    let channel = repository.channel(&product, "stable").unwrap().unwrap();
    assert!(channel.since.is_some_and(|since| since > release.created));
}

#[test]
fn release_for_everybody_ends_the_rollout_before_it_but_no_halt() {
    let world = World::new();
    world.publish(&world.build("1.0.0", 1), &[]).unwrap();
    let keys = Keyring::load(&world.path("keys")).unwrap();
    let mut repository = Repository::open(&world.path("site"), &keys).unwrap();
    let product: Product = "p".parse().unwrap();
    let mut channel = repository.channel(&product, "stable").unwrap().unwrap();
    channel.rollout = twinhull_rollout::preset("slow");
    channel.halt(Some("look first".to_owned()), channel.since.unwrap());
    repository.set_channel(&channel).unwrap();
    repository.commit().unwrap();
    world.publish(&world.build("1.1.0", 2), &[]).unwrap();
    let repository = Repository::open(&world.path("site"), &Keyring::default()).unwrap();
    let channel = repository.channel(&product, "stable").unwrap().unwrap();
    assert_eq!(channel.releases[&Arch::X86_64].to_string(), "1.1.0");
    assert_eq!((channel.rollout, channel.halted), (None, true));
}

/// What a host that has never been here finds: the release offered, with all of its payloads.
fn offered(site: &Path) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let said = |error: twinhull_trust::TrustError| error.to_string();
    let root = fs::read(site.join("metadata/1.root.json")).unwrap();
    let mut client = Client::open(home.path(), &root).map_err(said)?;
    let mut folder = Folder(site.to_owned());
    let product: Product = "p".parse().unwrap();
    client.refresh(&mut folder, &SystemClock).map_err(said)?;
    let channel = client
        .channel(&mut folder, &SystemClock, &product, "stable")
        .map_err(said)?;
    let version = &channel.releases[&Arch::X86_64];
    let release = client
        .release(&mut folder, &SystemClock, &product, Arch::X86_64, version)
        .map_err(said)?;
    for payload in release.root.payloads.iter().chain(&release.uki.payloads) {
        let there = fs::read(site.join(&payload.path)).map_err(|error| format!("{}: {error}", payload.path))?;
        if there.len() as u64 != payload.size {
            return Err(format!("{} has {} bytes", payload.path, there.len()));
        }
    }
    Ok(version.to_string())
}

#[test]
fn publishing_killed_at_any_moment_leaves_a_whole_repository_and_readers_never_notice() {
    const KILLS: u32 = 16;
    let world = World::new();
    let (site, keys) = (world.path("site"), world.path("keys"));
    let start = |manifest: &Path| {
        std::process::Command::new(env!("CARGO_BIN_EXE_twinhull"))
            .args(["publish", "--level", "3", "--channel", "stable", "--repo"])
            .args([&site, Path::new("--keys"), &keys, manifest])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let first = world.build("1.0.0", 0);
    let begun = Instant::now();
    assert!(start(&first).wait().unwrap().success());
    let whole = begun.elapsed();

    let done = AtomicBool::new(false);
    let (reads, killed) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::Relaxed) {
                offered(&site).unwrap_or_else(|why| panic!("read {reads}: {why}"));
                reads += 1;
            }
            reads
        });
        let mut killed = 0;
        for kill in 1..=KILLS {
            let version = format!("1.0.{kill}");
            let manifest = world.build(&version, u8::try_from(kill).unwrap());
            let mut publisher = start(&manifest);
            // Spread over the whole of it; where exactly is up to the machine.
            thread::sleep(whole * kill / KILLS);
            let _ = publisher.kill();
            killed += u32::from(!publisher.wait().unwrap().success());
            assert!(offered(&site).is_ok());
            assert!(
                start(&manifest).wait().unwrap().success(),
                "made again after kill {kill}"
            );
            assert_eq!(offered(&site).unwrap(), version);
            if reader.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        (reader.join().unwrap(), killed)
    });
    assert!(killed >= KILLS / 4, "only {killed} of {KILLS} were killed in time");
    assert!(reads > KILLS, "{reads} reads");
}

#[test]
fn publishing_again_changes_nothing() {
    let world = World::new();
    let build = world.build("1.0.0", 1);
    assert!(world.publish(&build, &[]).unwrap().changed);
    let before = fs::read(world.path("site/metadata/timestamp.json")).unwrap();
    assert!(!world.publish(&build, &[]).unwrap().changed);
    assert_eq!(fs::read(world.path("site/metadata/timestamp.json")).unwrap(), before);
}

#[test]
fn other_content_under_a_published_version_is_refused() {
    let world = World::new();
    let build = world.build("1.0.0", 1);
    world.publish(&build, &[]).unwrap();
    let again = world.build("1.0.0", 2);
    assert!(
        world.error(&again, &[]).starts_with("adding the release: "),
        "{}",
        world.error(&again, &[])
    );
}

#[test]
fn files_that_changed_after_the_build_are_refused_and_nothing_is_left() {
    let world = World::new();
    let build = world.build("1.0.0", 1);
    let root = build.with_extension("").with_file_name("p_1.0.0_x86_64.root");
    let mut bytes = fs::read(&root).unwrap();
    bytes[77] ^= 1;
    fs::write(&root, bytes).unwrap();
    assert!(
        world
            .error(&build, &[])
            .contains("p_1.0.0_x86_64.root is not what the manifest"),
        "{}",
        world.error(&build, &[])
    );
    assert_eq!(fs::read_dir(world.path("site/payloads")).unwrap().count(), 0);
}

#[test]
fn base_must_be_an_older_release() {
    let world = World::new();
    let (old, new) = (world.build("1.0.0", 1), world.build("1.1.0", 2));
    assert!(world.error(&old, &[&new]).contains("no older"));
    assert!(world.error(&old, &[&old]).contains("no older"));
}
