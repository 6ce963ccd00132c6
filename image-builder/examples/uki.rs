//! Makes the kernel image of a tree of unpacked packages, as a build does, and nothing else: `cargo xtask bench payload` compares
//! those of two releases.
//!
//! `cargo run -p twinhull --example uki -- DEFINITION ARCH TREE KERNEL INIT ROOT OUT`
//!
//! TREE holds the modules, indexed, and systemd's stub; ROOT is the image whose root hash the command line names.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use twinhull::definition::Definition;
use twinhull::initramfs;
use twinhull::tree::Tree;
use twinhull_layout::Arch;
use twinhull_uki::Uki;
use twinhull_verity::{BLOCK_SIZE, Salt, TreeBuilder};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let [definition, arch, tree, kernel, init, root, out] = words[..] else {
        return Err("usage: uki DEFINITION ARCH TREE KERNEL INIT ROOT OUT".into());
    };
    let arch: Arch = arch.parse()?;
    let definition = Definition::read(Path::new(definition), arch)?;
    let path = Path::new(tree);
    let modules = path.join("usr/lib/modules");
    let mut releases = fs::read_dir(&modules).map_err(|error| format!("{}: {error}", modules.display()))?;
    let release = releases.next().ok_or("the tree has no kernel modules")??.file_name();
    let tree = Tree {
        path: path.to_owned(),
        kernel: release.to_string_lossy().into_owned(),
        os_release: String::from_utf8(read(&path.join("usr/lib/os-release"))?)?,
        packages: Vec::new(),
    };
    let initramfs = initramfs::run(&definition, &tree, Path::new(init))?;
    let stub = format!("usr/lib/systemd/boot/efi/linux{}.efi.stub", arch.efi());
    let uki = Uki {
        stub: &read(&path.join(stub))?,
        kernel: &read(Path::new(kernel))?,
        initrd: &initramfs.bytes,
        cmdline: &format!("roothash={} ro {}", root_hash(Path::new(root))?, definition.cmdline),
        os_release: &tree.os_release,
        uname: &tree.kernel,
        sbat: None,
    };
    let image = uki.assemble()?;
    println!(
        "{}: {} bytes, of it {} kernel and {} initramfs with {} modules",
        tree.kernel,
        image.len(),
        uki.kernel.len(),
        uki.initrd.len(),
        initramfs.modules
    );
    Ok(fs::write(out, image)?)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The root hash of the file system in `image`.
fn root_hash(image: &Path) -> Result<String, Box<dyn Error>> {
    let mut image = File::open(image)?;
    let blocks = image.metadata()?.len() / BLOCK_SIZE as u64;
    let mut tree = TreeBuilder::new(blocks, Salt::from([0; 32]))?;
    io::copy(&mut image, &mut tree)?;
    Ok(tree.finish()?.root_hash().to_string())
}
