//! Images made to reach files of the build host. Each case is one attack: its layers, the lowest first. Whatever the build makes
//! of them, a folder outside of the tree stays as it was, and nothing of it is in the tree.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::LAYERS;
use super::tests::Layout;

/// What an archive holds. `OUT` in a name or a target stands for the folder outside.
enum Member {
    Folder(&'static str),
    File(&'static str),
    Link(&'static str, &'static str),
    Hard(&'static str, &'static str),
}

use Member::{File, Folder, Hard, Link};

impl Member {
    /// The member as an archive has it: a header of 512 bytes (POSIX.1-1988, ustar), with a byte of content for a file.
    fn bytes(&self, outside: &str) -> Vec<u8> {
        let (name, target, kind, size) = match self {
            Folder(name) => (name, &"", b'5', 0),
            File(name) => (name, &"", b'0', 1),
            Link(name, target) => (name, target, b'2', 0),
            Hard(name, target) => (name, target, b'1', 0),
        };
        let mut header = vec![0; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, &name.replace("OUT", outside));
        put(100, "0000777\0");
        put(108, "0000000\0");
        put(116, "0000000\0");
        put(124, &format!("{size:011o}\0"));
        put(136, "00000000000\0");
        put(148, "        ");
        put(157, &target.replace("OUT", outside));
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header.extend(vec![b'!'; size * 512]);
        header
    }
}

struct Attack {
    name: &'static str,
    layers: &'static [&'static [Member]],
}

const ATTACKS: [Attack; 19] = [
    Attack {
        name: "a file through a link of an earlier layer",
        layers: &[&[Link("way", "OUT")], &[File("way/new")]],
    },
    Attack {
        name: "a file through a link, in a folder with the end of a line in its name",
        layers: &[&[Folder("q\nr"), Link("q\nr/way", "OUT")], &[File("q\nr/way/new")]],
    },
    Attack {
        name: "a file through a link whose name has what an escape looks like",
        layers: &[&[Link("a\\nb", "OUT")], &[File("a\\nb/new")]],
    },
    Attack {
        name: "a file through a link to a link",
        layers: &[&[Link("far", "OUT"), Link("way", "far")], &[File("way/new")]],
    },
    Attack {
        name: "a file through a link in the same layer",
        layers: &[&[Link("way", "OUT"), File("way/new")]],
    },
    Attack {
        name: "a file through a link that climbs",
        layers: &[&[Link("way", "../outside")], &[File("way/new")]],
    },
    Attack {
        name: "a file in a folder that is not there, through a link",
        layers: &[&[Link("way", "OUT")], &[File("way/a/b/new")]],
    },
    Attack {
        name: "a hard link to a file, through a link",
        layers: &[&[Link("way", "OUT")], &[Hard("x", "way/precious")]],
    },
    Attack {
        name: "a hard link to a file, through a link that climbs",
        layers: &[&[Link("way", "../outside")], &[Hard("x", "way/precious")]],
    },
    Attack {
        name: "a hard link to a link, and a file in its place",
        layers: &[&[Link("way", "OUT/precious")], &[Hard("x", "way")], &[File("x")]],
    },
    Attack {
        name: "a hard link with an absolute target",
        layers: &[&[Hard("x", "OUT/precious")]],
    },
    Attack {
        name: "a hard link with a target that climbs",
        layers: &[&[Hard("x", "../outside/precious")]],
    },
    Attack {
        name: "a name that climbs",
        layers: &[&[File("../outside/new")]],
    },
    Attack {
        name: "a name that climbs out of a folder of the layer",
        layers: &[&[Folder("a"), File("a/../../outside/new")]],
    },
    Attack {
        name: "an absolute name",
        layers: &[&[File("OUT/new")]],
    },
    Attack {
        name: "a link that a folder takes the place of",
        layers: &[&[Link("way", "OUT")], &[Folder("way"), File("way/new")]],
    },
    Attack {
        name: "the mode of a folder, through a link",
        layers: &[&[Link("way", "OUT")], &[Folder("way/"), Folder("way/below")]],
    },
    Attack {
        name: "a file removed through a link",
        layers: &[&[Link("way", "OUT")], &[File("way/.wh.precious")]],
    },
    Attack {
        name: "a folder emptied through a link",
        layers: &[&[Link("way", "OUT")], &[File("way/.wh..wh..opq")]],
    },
];

/// The names below `folder`, each with what it is.
fn listing(folder: &Path) -> Vec<(String, u32, u64, u64)> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let name = path.to_string_lossy().into_owned();
        // Of a file, a further hard link counts too.
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        found.push((name, meta.mode(), links, meta.ino()));
    }
    found.sort();
    found
}

#[test]
fn no_layer_reaches_the_host() {
    for Attack { name, layers } in &ATTACKS {
        let mut layout = Layout::new();
        let outside = layout.path().with_file_name("outside");
        fs::create_dir_all(outside.join("below")).unwrap();
        fs::write(outside.join("precious"), "secret").unwrap();
        fs::set_permissions(outside.join("below"), fs::Permissions::from_mode(0o700)).unwrap();
        let before = listing(&outside);
        let text = outside.to_str().unwrap().to_owned();
        for members in *layers {
            let mut archive: Vec<u8> = members.iter().flat_map(|member| member.bytes(&text)).collect();
            archive.extend([0; 1024]);
            let layer = layout.add(LAYERS[0], &archive);
            layout.layers.push(layer);
        }
        let outcome = layout.unpacked();
        assert_eq!(listing(&outside), before, "{name}: {outcome:?}");
        for (path, ..) in listing(&outside.with_file_name("tree")) {
            let path = Path::new(&path);
            if path.symlink_metadata().unwrap().is_file() {
                assert_ne!(fs::read(path).unwrap(), b"secret", "{name}: {outcome:?}");
            }
        }
        println!("{name}: {outcome:?}");
    }
}

#[test]
fn names_with_an_end_of_a_line_are_removed_as_others_are() {
    let mut layout = Layout::new();
    for members in [
        &[Folder("q\nr"), File("q\nr/x"), File("q\nr/y")][..],
        &[File("q\nr/.wh.x")],
    ] {
        let mut archive: Vec<u8> = members.iter().flat_map(|member| member.bytes("")).collect();
        archive.extend([0; 1024]);
        let layer = layout.add(LAYERS[0], &archive);
        layout.layers.push(layer);
    }
    let tree = layout.unpacked().unwrap();
    assert!(!tree.join("q\nr/x").exists() && tree.join("q\nr/y").exists());
}
