//! What must hold for every image, salt and chunking.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use proptest::prelude::*;
use twinhull_verity::{
    BLOCK_SIZE, BuildError, MAX_DATA_BLOCKS, Salt, Superblock, Tree, TreeBuilder, TreeWriter, VerifyError, leaf_hash,
    partition_size, verify,
};

fn image(blocks: u64, seed: u8) -> Vec<u8> {
    let size = usize::try_from(blocks).unwrap() * BLOCK_SIZE;
    (0..size)
        .map(|at| (at / 7 + at / BLOCK_SIZE * 31).to_le_bytes()[0] ^ seed)
        .collect()
}

fn build(data: &[u8], salt: Salt) -> Tree {
    let mut builder = TreeBuilder::new((data.len() / BLOCK_SIZE) as u64, salt).unwrap();
    builder.write_all(data).unwrap();
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn streamed_tree_equals_the_tree_in_memory(blocks in 1_u64..700, salt: [u8; 32], chunk in 1_usize..20_000) {
        let (data, salt) = (image(blocks, salt[0]), Salt::from(salt));
        let tree = build(&data, salt);
        let mut writer = TreeWriter::new(blocks, salt, Vec::new()).unwrap();
        for piece in data.chunks(chunk) {
            writer.write_all(piece).unwrap();
        }
        let (root, partition) = writer.finish().unwrap();
        prop_assert_eq!(&root, tree.root_hash());
        prop_assert_eq!(partition.len() as u64, partition_size(blocks));
        prop_assert!(partition == tree.as_bytes());
    }

    #[test]
    fn order_of_leaves_does_not_matter(blocks in 1_u64..400, step in 1_u64..400) {
        let (data, salt) = (image(blocks, 1), Salt::from([9; 32]));
        let mut builder = TreeBuilder::new(blocks, salt).unwrap();
        let mut order: Vec<u64> = (0..blocks).collect();
        order.sort_by_key(|index| (index * step) % blocks);
        for index in order {
            let at = usize::try_from(index).unwrap() * BLOCK_SIZE;
            builder.set_leaf(index, leaf_hash(&salt, &data[at..at + BLOCK_SIZE])).unwrap();
        }
        prop_assert!(builder.finish().unwrap() == build(&data, salt));
    }

    #[test]
    fn any_changed_bit_of_data_or_tree_is_found(blocks in 1_u64..300, at: prop::sample::Index, bit in 0_u8..8, in_tree: bool) {
        let (mut data, salt) = (image(blocks, 3), Salt::from([1; 32]));
        let tree = build(&data, salt);
        let mut partition = tree.as_bytes().to_vec();
        if in_tree && blocks > 1 {
            let at = BLOCK_SIZE + at.index(partition.len() - BLOCK_SIZE);
            partition[at] ^= 1 << bit;
        } else {
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
        }
        prop_assert!(verify(&mut &data[..], &mut &partition[..], tree.root_hash()).is_err());
    }

    #[test]
    fn a_cut_partition_or_image_is_an_error(blocks in 1_u64..300, at: prop::sample::Index, cut_tree: bool) {
        let (data, salt) = (image(blocks, 3), Salt::from([1; 32]));
        let tree = build(&data, salt);
        let (mut data, mut hash) = (&data[..], tree.as_bytes());
        let cut = if cut_tree { &mut hash } else { &mut data };
        *cut = &cut[..at.index(cut.len())];
        prop_assert!(verify(&mut data, &mut hash, tree.root_hash()).is_err());
    }

    #[test]
    fn random_superblocks_never_panic_nor_allocate_by_their_word(noise: Vec<u8>, fields: [u8; 512], count: u64) {
        let mut bytes = Superblock::new(count, Salt::from([3; 32])).to_bytes();
        prop_assert_eq!(Superblock::parse(&bytes).is_ok(), (1..=MAX_DATA_BLOCKS).contains(&count));
        let _ = verify(&mut &noise[..], &mut &bytes[..], &[0; 32].into());
        bytes.copy_from_slice(&fields);
        prop_assert!(Superblock::parse(&bytes).is_err());
        prop_assert!(Superblock::parse(&noise).is_err());
    }

    #[test]
    fn a_tree_verifies_beside_longer_data(blocks in 1_u64..300, rest in 0_usize..9000) {
        let (mut data, salt) = (image(blocks, 3), Salt::from([1; 32]));
        let tree = build(&data, salt);
        data.extend(vec![0xee; rest]);
        let superblock = verify(&mut &data[..], &mut tree.as_bytes(), tree.root_hash()).unwrap();
        prop_assert_eq!(superblock.data_blocks, blocks);
    }
}

#[test]
fn missing_surplus_and_cut_blocks_are_errors() {
    let salt = Salt::from([0; 32]);
    let block = [0; BLOCK_SIZE];
    let mut builder = TreeBuilder::new(3, salt).unwrap();
    builder.push_block(&block).unwrap();
    builder.set_leaf(2, leaf_hash(&salt, &block)).unwrap();
    assert!(matches!(
        builder.finish(),
        Err(BuildError::Incomplete {
            data_blocks: 3,
            missing: 1
        })
    ));

    let mut writer = TreeWriter::new(1, salt, Vec::new()).unwrap();
    writer.push_block(&block).unwrap();
    assert!(matches!(
        writer.push_block(&block),
        Err(BuildError::TooMuch { index: 1, .. })
    ));

    let mut writer = TreeWriter::new(1, salt, Vec::new()).unwrap();
    writer.write_all(&block).unwrap();
    writer.write_all(b"x").unwrap();
    assert!(writer.finish().is_err());
}

#[test]
fn the_error_names_the_damaged_place() {
    let (mut data, salt) = (image(200, 0), Salt::from([1; 32]));
    let tree = build(&data, salt);
    data[150 * BLOCK_SIZE + 17] ^= 1;
    let error = verify(&mut &data[..], &mut tree.as_bytes(), tree.root_hash()).unwrap_err();
    assert!(matches!(error, VerifyError::DataBlock { index: 150 }), "{error}");

    let data = image(200, 0);
    let mut partition = tree.as_bytes().to_vec();
    partition[3 * BLOCK_SIZE + 5] ^= 1;
    let error = verify(&mut &data[..], &mut &partition[..], tree.root_hash()).unwrap_err();
    assert!(
        matches!(error, VerifyError::HashBlock { level: 0, index: 1 }),
        "{error}"
    );

    let other = build(&image(200, 5), salt);
    let error = verify(&mut &data[..], &mut tree.as_bytes(), other.root_hash()).unwrap_err();
    assert!(matches!(error, VerifyError::Root { .. }), "{error}");
}
