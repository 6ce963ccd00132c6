//! Our trees beside those of `veritysetup`, which needs neither root nor device-mapper for files.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use twinhull_verity::{BLOCK_SIZE, Salt, Superblock, TreeBuilder};

const SIZES_IN_BLOCKS: [u64; 7] = [1, 2, 127, 128, 129, 1500, 16_385];

/// Searched here too, since `/usr/sbin` is not on every user's path.
fn veritysetup() -> Option<&'static Path> {
    ["/usr/sbin/veritysetup", "/sbin/veritysetup", "/usr/bin/veritysetup"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
}

fn image(blocks: u64) -> Vec<u8> {
    let mut state = blocks.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut data = Vec::new();
    for _ in 0..blocks * BLOCK_SIZE as u64 / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        data.extend_from_slice(&state.to_le_bytes());
    }
    data
}

#[test]
fn veritysetup_writes_the_same_bytes_and_verifies_ours() {
    let Some(tool) = veritysetup() else {
        assert!(
            std::env::var_os("TWINHULL_TESTS_SKIP_NOTHING").is_none(),
            "veritysetup (package cryptsetup-bin) is not installed: `cargo xtask setup` does that"
        );
        println!("skipped: veritysetup (package cryptsetup-bin) is not installed");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for (number, blocks) in SIZES_IN_BLOCKS.into_iter().enumerate() {
        let salt = Salt::from([17 + u8::try_from(number).unwrap(); 32]);
        let data = image(blocks);
        let mut builder = TreeBuilder::new(blocks, salt).unwrap();
        builder.write_all(&data).unwrap();
        let tree = builder.finish().unwrap();

        let data_path = dir.path().join("data");
        let ours = dir.path().join("ours");
        let theirs = dir.path().join("theirs");
        std::fs::write(&data_path, &data).unwrap();
        std::fs::write(&ours, tree.as_bytes()).unwrap();
        std::fs::write(&theirs, b"").unwrap();

        let uuid = hex::encode(Superblock::new(blocks, salt).uuid);
        let uuid = format!(
            "{}-{}-{}-{}-{}",
            &uuid[..8],
            &uuid[8..12],
            &uuid[12..16],
            &uuid[16..20],
            &uuid[20..]
        );
        let format = Command::new(tool)
            .args(["format", "--salt", &salt.to_string(), "--uuid", &uuid])
            .args([&data_path, &theirs])
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&format.stdout).into_owned();
        assert!(
            format.status.success(),
            "{report}{}",
            String::from_utf8_lossy(&format.stderr)
        );
        let root = report
            .lines()
            .find_map(|line| line.strip_prefix("Root hash:"))
            .unwrap()
            .trim();
        assert_eq!(root, tree.root_hash().to_string(), "{blocks} blocks");
        assert!(
            std::fs::read(&theirs).unwrap() == tree.as_bytes(),
            "hash partition differs for {blocks} blocks"
        );

        let verify = Command::new(tool)
            .arg("verify")
            .args([&data_path, &ours])
            .arg(tree.root_hash().to_string())
            .output()
            .unwrap();
        assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
    }
}
