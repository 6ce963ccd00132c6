//! The agent's state folder below the page cache, as POSIX promises it and no better: content is on the medium after a flush of
//! the file, names after a flush of their folder, and until then each may or may not be, in any combination.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use twinhull_durable::record::Change;

/// What a power cut left: folders have no content.
pub(super) type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Of so many names that were not flushed, every combination.
const MOST_NAMES: usize = 6;

/// What stands behind a name.
#[derive(Clone)]
enum Node {
    Folder,
    File {
        now: Vec<u8>,
        /// What was flushed last.
        durable: Vec<u8>,
    },
}

/// A change to names that was not flushed.
#[derive(Clone)]
enum Naming {
    Put(PathBuf, usize),
    Move(PathBuf, PathBuf, usize),
    Drop(PathBuf),
}

impl Naming {
    fn folder(&self) -> &Path {
        let (Self::Put(path, _) | Self::Move(_, path, _) | Self::Drop(path)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Put(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Move(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Self::Drop(path) => drop(names.remove(path)),
        }
    }
}

/// What becomes of content that was not flushed.
#[derive(Clone, Copy)]
enum Content {
    Lost,
    Half,
    Garbage,
    Whole,
}

#[derive(Clone, Default)]
pub(super) struct Folder {
    nodes: Vec<Node>,
    now: BTreeMap<PathBuf, usize>,
    durable: BTreeMap<PathBuf, usize>,
    pending: Vec<Naming>,
}

impl Folder {
    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.now);
        self.pending.push(naming);
    }

    pub(super) fn step(&mut self, change: &Change) {
        match change {
            Change::Create(path) | Change::CreateDirectory(path) => {
                self.nodes.push(if matches!(change, Change::Create(_)) {
                    Node::File {
                        now: Vec::new(),
                        durable: Vec::new(),
                    }
                } else {
                    Node::Folder
                });
                self.name(Naming::Put(path.clone(), self.nodes.len() - 1));
            }
            Change::Write(path, bytes) => {
                let Node::File { now, .. } = &mut self.nodes[self.now[path]] else {
                    panic!("{} is a folder", path.display())
                };
                now.extend_from_slice(bytes);
            }
            Change::Flush(path) => {
                if let Node::File { now, durable } = &mut self.nodes[self.now[path]] {
                    durable.clone_from(now);
                }
            }
            Change::Rename(from, to) => self.name(Naming::Move(from.clone(), to.clone(), self.now[from])),
            Change::Remove(path) => self.name(Naming::Drop(path.clone())),
            Change::FlushDirectory(folder) => {
                let (flushed, kept) = std::mem::take(&mut self.pending)
                    .into_iter()
                    .partition(|naming| naming.folder() == folder);
                self.pending = kept;
                let flushed: Vec<Naming> = flushed;
                for naming in flushed {
                    naming.apply(&mut self.durable);
                }
            }
        }
    }

    /// Whether a power cut loses nothing.
    pub(super) fn is_durable(&self) -> bool {
        self.pending.is_empty() && self.now.values().all(|node| !self.is_dirty(*node))
    }

    fn is_dirty(&self, node: usize) -> bool {
        matches!(&self.nodes[node], Node::File { now, durable } if now != durable)
    }

    /// What a power cut leaves for certain.
    pub(super) fn durable(&self) -> Files {
        self.files(&self.durable, Content::Lost)
    }

    /// All that a power cut may leave now.
    pub(super) fn cuts(&self, each: &mut dyn FnMut(Files)) {
        let dirty = (0..self.nodes.len()).any(|node| self.is_dirty(node));
        // With more names than that something is wrong already: those before them are all lost.
        let free = &self.pending[self.pending.len().saturating_sub(MOST_NAMES)..];
        for mask in 0..1_u32 << free.len() {
            let mut names = self.durable.clone();
            for (index, naming) in free.iter().enumerate() {
                if mask >> index & 1 == 1 {
                    naming.apply(&mut names);
                }
            }
            each(self.files(&names, Content::Lost));
            if dirty {
                for content in [Content::Half, Content::Garbage, Content::Whole] {
                    each(self.files(&names, content));
                }
            }
        }
    }

    fn files(&self, names: &BTreeMap<PathBuf, usize>, content: Content) -> Files {
        let one = |node: usize| match &self.nodes[node] {
            Node::Folder => None,
            Node::File { now, durable } if now == durable => Some(now.clone()),
            Node::File { now, durable } => Some(match content {
                Content::Lost => durable.clone(),
                Content::Half => now[..now.len() / 2].to_vec(),
                Content::Garbage => vec![0; now.len()],
                Content::Whole => now.clone(),
            }),
        };
        let mut files = Files::new();
        for (path, node) in names {
            // A folder that is not there takes its content along; parents come before what is in them.
            let parent = path.parent().unwrap();
            if parent.as_os_str().is_empty() || files.contains_key(parent) {
                files.insert(path.clone(), one(*node));
            }
        }
        files
    }
}

/// Puts `files` into the empty folder `at`.
pub(super) fn write(files: &Files, at: &Path) {
    for (path, content) in files {
        let path = at.join(path);
        match content {
            None => std::fs::create_dir(path).unwrap(),
            Some(bytes) => std::fs::write(path, bytes).unwrap(),
        }
    }
}
