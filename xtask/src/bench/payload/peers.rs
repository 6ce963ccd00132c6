//! The other tools: each makes what a host would fetch, and turns it back into the new image.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Files, quiet};
use crate::measure::{self, Usage};

/// What one tool needed.
pub(super) struct Cost {
    /// Bytes that a host fetches.
    pub(super) bytes: u64,
    pub(super) make: Usage,
    /// None where the tool cannot apply it on its own.
    pub(super) apply: Option<Usage>,
}

/// A tool that carries images.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Our bytes divided by its bytes should be at most this.
    pub(super) goal: Option<f64>,
    measure: fn(&Files) -> Result<Cost>,
}

impl Peer {
    pub(super) fn run(&self, files: &Files) -> Result<Cost> {
        (self.measure)(files)
    }
}

const fn peer(name: &'static str, goal: Option<f64>, measure: fn(&Files) -> Result<Cost>) -> Peer {
    Peer { name, goal, measure }
}

/// All of them, the slow one last.
pub(super) const ALL: &[Peer] = &[
    peer("zstd --patch-from -3", None, |files| zstd(files, "-3")),
    peer("casync", Some(0.20), casync),
    peer("RAUC block-hash-index", Some(0.20), rauc),
    peer("zchunk", None, zchunk),
    peer("xdelta3 -9 -S lzma", None, xdelta3),
    peer("zstd --patch-from -19", Some(0.70), |files| zstd(files, "-19")),
];

fn zstd(files: &Files, level: &str) -> Result<Cost> {
    let folder = files.fresh("zstd")?;
    let (patch, output) = (folder.join("patch"), folder.join("output"));
    let from = format!("--patch-from={}", files.old.display());
    let mut command = quiet("zstd");
    let make = measure::run(
        command
            .args(["-q", "-f", level, &from])
            .arg(&files.new)
            .arg("-o")
            .arg(&patch),
    )?;
    let mut command = quiet("zstd");
    let back = command.args(["-q", "-f", "-d", "--long=31", &from]);
    let apply = measure::run(back.arg(&patch).arg("-o").arg(&output))?;
    files.compare("zstd", &output)?;
    Ok(Cost {
        bytes: Files::size(&patch)?,
        make,
        apply: Some(apply),
    })
}

/// The whole image, compressed as well as zstd does with a window of 128 MiB.
pub(super) fn whole(files: &Files) -> Result<Cost> {
    let folder = files.fresh("zstd")?;
    let packed = folder.join("packed");
    let mut command = quiet("zstd");
    let make = measure::run(
        command
            .args(["-q", "-f", "-19", "--long=27"])
            .arg(&files.new)
            .arg("-o")
            .arg(&packed),
    )?;
    Ok(Cost {
        bytes: Files::size(&packed)?,
        make,
        apply: None,
    })
}

fn xdelta3(files: &Files) -> Result<Cost> {
    let folder = files.fresh("xdelta3")?;
    let (patch, output) = (folder.join("patch"), folder.join("output"));
    // Its window over the old image: all of it.
    let window = Files::size(&files.old)?.next_power_of_two().to_string();
    let mut command = quiet("xdelta3");
    let options = ["-e", "-f", "-q", "-9", "-S", "lzma", "-B", &window, "-s"];
    let make = measure::run(command.args(options).arg(&files.old).arg(&files.new).arg(&patch))?;
    let mut command = quiet("xdelta3");
    let options = ["-d", "-f", "-q", "-B", &window, "-s"];
    let apply = measure::run(command.args(options).arg(&files.old).arg(&patch).arg(&output))?;
    files.compare("xdelta3", &output)?;
    Ok(Cost {
        bytes: Files::size(&patch)?,
        make,
        apply: Some(apply),
    })
}

/// A host fetches the index and the chunks that the old image has none of.
fn casync(files: &Files) -> Result<Cost> {
    let folder = files.fresh("casync")?;
    let output = folder.join("output");
    let store = |name: &str| format!("--store={}", folder.join(name).with_extension("castr").display());
    let index = |name: &str| folder.join(name).with_extension("caibx");
    let pack = |name: &str, image: &Path| {
        let mut command = quiet("casync");
        measure::run(command.args(["make", &store(name)]).arg(index(name)).arg(image))
    };
    let make = pack("new", &files.new)?;
    pack("old", &files.old)?;
    let old = chunks(&folder.join("old.castr"))?;
    let new = chunks(&folder.join("new.castr"))?;
    // Chunks are named by their content.
    let missing = new.difference(&old).map(|(_, size)| size).sum::<u64>();
    let bytes = missing + Files::size(&index("new"))?;
    let mut command = quiet("casync");
    let seed = format!("--seed={}", files.old.display());
    let apply = measure::run(
        command
            .args(["extract", &store("new"), &seed])
            .arg(index("new"))
            .arg(&output),
    )?;
    files.compare("casync", &output)?;
    Ok(Cost {
        bytes,
        make,
        apply: Some(apply),
    })
}

/// The files of a store, by name, with their sizes.
fn chunks(store: &Path) -> Result<HashSet<(String, u64)>> {
    let mut found = HashSet::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        let listing = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in listing {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert((entry.file_name().to_string_lossy().into_owned(), about.len()));
            }
        }
    }
    Ok(found)
}

/// Its own tool says how much of the new file an old one saves.
fn zchunk(files: &Files) -> Result<Cost> {
    let folder = files.fresh("zchunk")?;
    let pack = |name: &str, image: &Path| {
        let packed = folder.join(name);
        let usage = measure::run(quiet("zck").arg("-o").arg(&packed).arg(image))?;
        Ok::<_, anyhow::Error>((packed, usage))
    };
    let (old, _) = pack("old.zck", &files.old)?;
    let (new, make) = pack("new.zck", &files.new)?;
    let said = Command::new("zck_delta_size")
        .args([&old, &new])
        .output()
        .context("cannot start zck_delta_size")?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let bytes = said
        .split_whitespace()
        .nth(2)
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("zck_delta_size said {said:?}"))?;
    // It only fetches over HTTP; what it would have then is unpacked and compared.
    let mut command = quiet("unzck");
    measure::run(command.current_dir(&folder).arg(&new))?;
    files.compare("zchunk", &folder.join("new"))?;
    Ok(Cost {
        bytes,
        make,
        apply: None,
    })
}

/// Bytes of a hash in a block hash index, and of the chunk that it is of.
const INDEX_ENTRY: usize = 32;
const INDEX_CHUNK: u64 = 4096;

/// The index, and every chunk that the old index has none of, packed beside each other as a bundle packs them: less than any host
/// fetches, since in the bundle they share their blocks with others. Installing needs a service, a slot and a network block
/// device.
fn rauc(files: &Files) -> Result<Cost> {
    let folder = files.fresh("rauc")?;
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut command = quiet("openssl");
    let request = "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=bench".split(' ');
    let errors = File::create(folder.join("openssl.log"))?;
    let command = command
        .args(request)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    measure::run(command.stderr(errors))?;
    let bundle = |name: &str, image: &Path| {
        let content = files.fresh(&format!("rauc/{name}"))?;
        let copy = content.join("root.img");
        fs::copy(image, &copy).context("cannot copy an image")?;
        // It takes whole chunks only.
        set_size(&copy, Files::size(image)?.next_multiple_of(INDEX_CHUNK))?;
        fs::write(content.join("manifest.raucm"), MANIFEST).context("cannot write a manifest")?;
        let mut command = quiet("rauc");
        command
            .arg("bundle")
            .arg("--cert")
            .arg(&certificate)
            .arg("--key")
            .arg(&key);
        let usage = measure::run(command.arg(&content).arg(folder.join(name).with_extension("raucb")))?;
        Ok::<_, anyhow::Error>((content.join("root.img.block-hash-index"), usage))
    };
    let (old, _) = bundle("old", &files.old)?;
    let (index, make) = bundle("new", &files.new)?;
    let held: HashSet<[u8; INDEX_ENTRY]> = entries(&old)?.into_iter().collect();
    let missing = folder.join("missing");
    let mut image = File::open(&files.new)?;
    let mut out = BufWriter::new(File::create(&missing)?);
    let mut sent = held;
    for (number, entry) in (0..).zip(entries(&index)?) {
        if sent.insert(entry) {
            image.seek(SeekFrom::Start(number * INDEX_CHUNK))?;
            std::io::copy(&mut (&mut image).take(INDEX_CHUNK), &mut out)?;
        }
    }
    out.flush()?;
    drop(out);
    let packed = folder.join("missing.squashfs");
    let mut command = quiet("mksquashfs");
    measure::run(
        command
            .arg(&missing)
            .arg(&packed)
            .args(["-noappend", "-quiet", "-no-progress"]),
    )?;
    let back = folder.join("back");
    let mut command = quiet("rauc");
    command.arg("extract").arg("--keyring").arg(&certificate);
    measure::run(command.arg(folder.join("new.raucb")).arg(&back))?;
    let back = back.join("root.img");
    set_size(&back, Files::size(&files.new)?)?;
    files.compare("rauc", &back)?;
    Ok(Cost {
        bytes: Files::size(&packed)? + Files::size(&index)?,
        make,
        apply: None,
    })
}

fn set_size(file: &Path, size: u64) -> Result<()> {
    let resized = File::options()
        .write(true)
        .open(file)
        .and_then(|file| file.set_len(size));
    resized.with_context(|| format!("cannot set the size of {}", file.display()))
}

const MANIFEST: &str = "[update]\ncompatible=bench\nversion=1\n[bundle]\nformat=verity\n[image.rootfs]\nfilename=root.img\nadaptive=block-hash-index\n";

fn entries(index: &PathBuf) -> Result<Vec<[u8; INDEX_ENTRY]>> {
    let mut bytes = Vec::new();
    let file = File::open(index).with_context(|| format!("rauc made no {}", index.display()))?;
    BufReader::new(file).read_to_end(&mut bytes)?;
    ensure!(bytes.len() % INDEX_ENTRY == 0, "{} is cut", index.display());
    let (entries, _) = bytes.as_chunks::<INDEX_ENTRY>();
    Ok(entries.to_vec())
}
