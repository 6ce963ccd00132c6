//! Releases, a repository that offers them, and a disk that holds the older ones.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use twinhull_layout::table::Partition;
use twinhull_layout::{Arch, Product, RootHash, Slot, Table, Version, partition};
use twinhull_payload::{MakeOptions, Source};
use twinhull_trust::{
    ChannelDocument, FetchError, Fetcher, Hex32, Keyring, PayloadRef, ReleaseDocument, Repository as Editor, RootImage,
    Setup, UkiImage,
};
use twinhull_updater::host::Running;
use twinhull_updater::install::{MaxFetch, Repository};
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder};
use uuid::Uuid;

pub(crate) const ARCH: Arch = Arch::host();
const MIB: u64 = 1024 * 1024;
/// The EFI system partition: large enough for FAT16.
pub(crate) const ESP: u64 = 9 * MIB;
/// Slots of 4 MiB and a table at each end.
pub(crate) const DISK: u64 = 24 * MIB;
const ROOT: u64 = 4 * MIB;
const VERITY: u64 = MIB;

pub(crate) fn product() -> Product {
    "twinhull-server".parse().unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Bytes without any pattern, the same for the same seed (splitmix64).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// One release: root, hash tree and kernel image.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) version: Version,
    pub(crate) root: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    pub(crate) hash: RootHash,
    pub(crate) salt: [u8; 32],
    pub(crate) kernel: Vec<u8>,
}

impl Image {
    pub(crate) fn new(text: &str, root: Vec<u8>, seed: u8) -> Self {
        let salt = [seed; 32];
        let mut builder = TreeBuilder::new((root.len() / BLOCK_SIZE) as u64, Salt::from(salt)).unwrap();
        std::io::Write::write_all(&mut builder, &root).unwrap();
        let tree = builder.finish().unwrap();
        let hash = *tree.root_hash();
        Self {
            version: version(text),
            root,
            tree: tree.as_bytes().to_vec(),
            hash,
            salt,
            kernel: crate::host::kernel(&hash, seed),
        }
    }

    pub(crate) fn running(&self) -> Running {
        Running {
            product: product(),
            version: self.version.clone(),
            root_hash: self.hash,
            arch: ARCH,
        }
    }

    pub(crate) fn entry(&self) -> String {
        format!("{}_{}.efi", product(), self.version)
    }

    pub(crate) fn fresh_entry(&self) -> String {
        format!("{}_{}+3-0.efi", product(), self.version)
    }
}

/// Three releases, each a bit different from the one before.
pub(crate) fn images() -> [Image; 3] {
    let blocks = |count: usize| count * BLOCK_SIZE;
    let first = noise(9, blocks(500));
    let mut second = first.clone();
    second[blocks(100)..blocks(120)].copy_from_slice(&noise(10, blocks(20)));
    let mut third = second.clone();
    third.splice(blocks(30)..blocks(33), noise(11, blocks(70)));
    third[blocks(300)..blocks(310)].fill(0);
    [
        Image::new("0.9.0", first, 9),
        Image::new("1.0.0", second, 10),
        Image::new("1.1.0", third, 11),
    ]
}

/// The partition table of a disk with slots for a root of `root` bytes and a tree of `verity`, and the size of that disk. [`DISK`], unless
/// they ask for more.
pub(crate) fn table(root: u64, verity: u64) -> (Table, u64) {
    let fits = |least: u64, bytes: u64| least.max(bytes.next_multiple_of(MIB));
    let (root, verity) = (fits(ROOT, root), fits(VERITY, verity));
    let size = DISK + 2 * (root - ROOT + verity - VERITY);
    let sizes = [
        (partition::ESP, ESP),
        (partition::root(ARCH), root),
        (partition::root_verity(ARCH), verity),
        (partition::root_verity_signature(ARCH), MIB),
        (partition::root(ARCH), root),
        (partition::root_verity(ARCH), verity),
        (partition::root_verity_signature(ARCH), MIB),
        (partition::STATE, MIB),
    ];
    let mut start = MIB;
    let partitions = sizes
        .into_iter()
        .enumerate()
        .map(|(index, (kind, size))| {
            let made = Partition {
                number: u32::try_from(index).unwrap() + 1,
                kind,
                id: Uuid::from_u128(index as u128 + 1),
                start,
                size,
                attributes: 0,
                label: partition::EMPTY_LABEL.to_owned(),
            };
            start += size;
            made
        })
        .collect();
    (Table::create(size, 512, Uuid::from_u128(77), partitions).unwrap(), size)
}

/// The disk of a host that runs `active` from slot A and has `other` in slot B.
pub(crate) fn disk(active: &Image, other: Option<&Image>) -> Vec<u8> {
    let (mut table, size) = table(active.root.len() as u64, active.tree.len() as u64);
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    for (slot, image) in [(Slot::A, Some(active)), (Slot::B, other)] {
        let Some(image) = image else { continue };
        table.assign(slot, &image.version, &image.hash);
        let place = table.slot(slot, ARCH).unwrap();
        put(&mut bytes, place.root.start, &image.root);
        put(&mut bytes, place.verity.start, &image.tree);
    }
    for stage in table.write_stages().unwrap() {
        for write in stage.writes {
            put(&mut bytes, write.offset, &write.bytes);
        }
    }
    bytes
}

pub(crate) fn put(disk: &mut [u8], offset: u64, bytes: &[u8]) {
    let offset = usize::try_from(offset).unwrap();
    disk[offset..offset + bytes.len()].copy_from_slice(bytes);
}

/// A release in the repository: its document, and the payloads it names.
pub(crate) fn release(new: &Image, base: Option<&Image>) -> (ReleaseDocument, BTreeMap<String, Vec<u8>>) {
    let mut files = BTreeMap::new();
    let mut pair = |new: &dyn Source, base: Option<(&dyn Source, Hex32)>, salt| {
        let mut refs = vec![payload(new, None, salt, &mut files)];
        refs.extend(base.map(|(base, name)| payload(new, Some((base, name)), salt, &mut files)));
        refs
    };
    let root_base = base.map(|base| (&base.root as &dyn Source, Hex32::from(*base.hash.as_bytes())));
    let kernel_base = base.map(|base| (&base.kernel as &dyn Source, Hex32::sha256_of(&base.kernel)));
    let document = ReleaseDocument {
        product: product(),
        version: new.version.clone(),
        arch: ARCH,
        root: RootImage {
            size: new.root.len() as u64,
            root_hash: new.hash,
            salt: Hex32::from(new.salt),
            verity_size: new.tree.len() as u64,
            signature: None,
            payloads: pair(&new.root, root_base, Salt::from(new.salt)),
        },
        uki: UkiImage {
            size: new.kernel.len() as u64,
            sha256: Hex32::sha256_of(&new.kernel),
            payloads: pair(&new.kernel, kernel_base, Salt::ZERO),
        },
        minimum_from: None,
        packages: Vec::new(),
        created: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    (document, files)
}

pub(crate) fn payload(
    new: &dyn Source,
    base: Option<(&dyn Source, Hex32)>,
    salt: Salt,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> PayloadRef {
    let options = MakeOptions {
        level: 1,
        threads: 1,
        salt,
        scratch: None,
    };
    let mut bytes = Vec::new();
    let source = base.as_ref().map(|(base, _)| *base);
    let made = twinhull_payload::make(new, source, &options, &mut bytes, &mut |_, _| {}).unwrap();
    let path = format!("payloads/{}.thp", made.header_sha256);
    files.insert(path.clone(), bytes);
    let mut map = Vec::new();
    let map_sha256 = Hex32::from(twinhull_payload::make_block_map(new, &mut map).unwrap().0);
    let payload = PayloadRef {
        path,
        size: made.size,
        header_size: made.header_size,
        header_sha256: Hex32::from(made.header_sha256.0),
        map_sha256: base.is_none().then_some(map_sha256),
        base: base.map(|(_, name)| name),
    };
    if let Some(path) = payload.map_path() {
        files.insert(path, map);
    }
    payload
}

/// A repository in memory, with as much damage as a test wants.
#[derive(Clone, Default)]
pub(crate) struct Files {
    pub(crate) content: BTreeMap<String, Vec<u8>>,
    /// Every download ends after this many bytes.
    pub(crate) cut_after: Option<usize>,
    /// What one release may cost.
    pub(crate) max_fetch: MaxFetch,
    /// What was opened, in order.
    pub(crate) opened: Vec<(String, u64)>,
}

impl Files {
    pub(crate) fn new(content: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }
}

impl Fetcher for Files {
    fn fetch(&mut self, path: &str, _max: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        self.open(path, 0)
    }
}

impl Repository for Files {
    fn open(&mut self, path: &str, from: u64) -> Result<Box<dyn Read + '_>, FetchError> {
        self.opened.push((path.to_owned(), from));
        let bytes = self.content.get(path).ok_or(FetchError::NotFound)?;
        let from = usize::try_from(from).unwrap();
        let end = self.cut_after.map_or(bytes.len(), |cut| bytes.len().min(from + cut));
        Ok(Box::new(Cursor::new(&bytes[from..end])))
    }

    fn max_fetch(&self) -> MaxFetch {
        self.max_fetch
    }
}

/// All files below `path`, as a repository in memory.
pub(crate) fn folder(path: &Path) -> Files {
    let mut content = BTreeMap::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let found = entry.unwrap().path();
            if found.is_dir() {
                waiting.push(found);
            } else {
                let name = found.strip_prefix(path).unwrap().display().to_string();
                content.insert(name, std::fs::read(found).unwrap());
            }
        }
    }
    Files::new(content)
}

/// A signed repository in a folder.
pub(crate) struct Signed {
    pub(crate) folder: PathBuf,
    keys: PathBuf,
}

impl Signed {
    pub(crate) fn new(folder: &Path) -> Self {
        let (repository, keys) = (folder.join("repository"), folder.join("keys"));
        Editor::init(&repository, &keys, &Setup::default()).unwrap();
        Self {
            folder: repository,
            keys,
        }
    }

    pub(crate) fn editor(&self) -> Editor {
        Editor::open(&self.folder, &Keyring::load(&self.keys).unwrap()).unwrap()
    }

    pub(crate) fn publish(&self, release: &ReleaseDocument, files: &BTreeMap<String, Vec<u8>>) {
        for (path, bytes) in files {
            std::fs::write(self.folder.join(path), bytes).unwrap();
        }
        let mut editor = self.editor();
        editor.add_release(release).unwrap();
        editor.commit().unwrap();
        self.offer(&release.version);
    }

    pub(crate) fn offer(&self, version: &Version) {
        let mut channel = ChannelDocument::new(product(), "stable");
        channel.releases.insert(ARCH, version.clone());
        self.set_channel(&channel);
    }

    pub(crate) fn set_channel(&self, channel: &ChannelDocument) {
        let mut editor = self.editor();
        editor.set_channel(channel).unwrap();
        editor.commit().unwrap();
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        std::fs::read(self.editor().trusted_root()).unwrap()
    }
}
