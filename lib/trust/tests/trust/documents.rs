//! Documents that are signed by the right key and are still not what they should be.

use proptest::prelude::*;
use serde_json::{Value, json};
use twinhull_layout::Arch;
use twinhull_trust::{ChannelDocument, Client, MAX_DOCUMENT_BYTES, ReleaseDocument, TrustError};

use crate::world::{World, release_document, version};

const RELEASE: &str = "releases/demo/x86_64/1.0.0.json";
const CHANNEL: &str = "channels/demo/stable.json";

fn with_target(role: &str, name: &str, bytes: &[u8]) -> Result<(), TrustError> {
    let mut world = World::with_release();
    world.add_target(role, name, bytes);
    world.advance(&[role]);
    world.turn().map(drop)
}

fn edited(document: &[u8], edit: impl Fn(&mut Value)) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(document).unwrap();
    edit(&mut value);
    value.to_string().into_bytes()
}

fn release_bytes() -> Vec<u8> {
    release_document("1.0.0", Arch::X86_64).to_bytes().unwrap()
}

#[test]
fn release_of_another_architecture_is_refused() {
    let bytes = release_document("1.0.0", Arch::Aarch64).to_bytes().unwrap();
    match with_target("releases", RELEASE, &bytes) {
        Err(TrustError::WrongArchitecture {
            expected: Arch::X86_64,
            found: Arch::Aarch64,
            name,
        }) => {
            assert_eq!(name, RELEASE);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn release_of_another_version_is_refused() {
    let bytes = release_document("0.9.0", Arch::X86_64).to_bytes().unwrap();
    match with_target("releases", RELEASE, &bytes) {
        Err(TrustError::WrongVersion { expected, found, .. }) => {
            assert_eq!((expected, found), (version("1.0.0"), version("0.9.0")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn release_and_channel_of_another_product_are_refused() {
    let bytes = edited(&release_bytes(), |release| release["product"] = json!("other"));
    assert!(matches!(
        with_target("releases", RELEASE, &bytes),
        Err(TrustError::WrongProduct { .. })
    ));
    let channel = json!({"format": 1, "product": "other", "channel": "stable", "releases": {}, "halted": false});
    let refused = with_target("channels", CHANNEL, channel.to_string().as_bytes());
    assert!(matches!(refused, Err(TrustError::WrongProduct { .. })));
}

#[test]
fn channel_of_another_name_is_refused() {
    let channel = json!({"format": 1, "product": "demo", "channel": "beta", "releases": {}, "halted": false});
    let refused = with_target("channels", CHANNEL, channel.to_string().as_bytes());
    assert!(matches!(refused, Err(TrustError::WrongChannel { .. })));
}

#[test]
fn values_out_of_their_bounds_are_refused() {
    let edits: [fn(&mut Value); 16] = [
        |release| release["root"]["size"] = json!(0),
        |release| release["root"]["size"] = json!(4097),
        |release| release["root"]["size"] = json!(u64::MAX - 4095),
        |release| release["root"]["verity_size"] = json!(0),
        |release| release["root"]["root_hash"] = json!("00"),
        |release| release["root"]["salt"] = json!("AA".repeat(32)),
        |release| release["uki"]["size"] = json!(1_u64 << 31),
        |release| release["uki"]["size"] = json!(-1),
        |release| release["root"]["payloads"][0]["path"] = json!("payloads/../metadata/x"),
        |release| release["root"]["payloads"][0]["path"] = json!("/payloads/x"),
        |release| release["root"]["payloads"][0]["path"] = json!("https://elsewhere/x"),
        |release| release["root"]["payloads"][0]["header_size"] = json!(0),
        |release| release["uki"]["payloads"][0]["header_size"] = json!(1 << 21),
        |release| release["version"] = json!("1.0.0-rc1"),
        |release| release["format"] = json!(2),
        |release| drop(release.as_object_mut().unwrap().remove("format")),
    ];
    for (number, edit) in edits.iter().enumerate() {
        let refused = with_target("releases", RELEASE, &edited(&release_bytes(), edit));
        assert!(
            matches!(refused, Err(TrustError::Document { .. })),
            "{number}: {refused:?}"
        );
    }
}

#[test]
fn release_that_is_not_json_or_too_long_is_refused() {
    assert!(matches!(
        with_target("releases", RELEASE, b"MZ"),
        Err(TrustError::Document { .. })
    ));
    let long = vec![b' '; usize::try_from(MAX_DOCUMENT_BYTES).unwrap() + 1];
    assert!(matches!(
        with_target("releases", RELEASE, &long),
        Err(TrustError::TooLong { .. })
    ));
}

#[test]
fn unknown_fields_are_ignored() {
    let bytes = edited(&release_bytes(), |release| {
        release["news"] = json!("of a later version");
    });
    with_target("releases", RELEASE, &bytes).unwrap();
}

#[test]
fn channel_or_release_that_is_not_there_is_named() {
    let mut world = World::new();
    match world.turn() {
        Err(TrustError::NoSuchTarget { name }) => assert_eq!(name, CHANNEL),
        other => panic!("{other:?}"),
    }
    world.offer("7.0.0");
    world.advance(&["channels"]);
    match world.turn() {
        Err(TrustError::NoSuchTarget { name }) => assert_eq!(name, "releases/demo/x86_64/7.0.0.json"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn document_round_trips() {
    let made = release_document("1.0.0", Arch::X86_64);
    let bytes = made.to_bytes().unwrap();
    let read = ReleaseDocument::from_bytes(&bytes, RELEASE, &made.product, made.arch, &made.version).unwrap();
    assert_eq!(read, made);
    assert_eq!(read.to_bytes().unwrap(), bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let demo = crate::world::product();
        let _ = ReleaseDocument::from_bytes(&bytes, RELEASE, &demo, Arch::X86_64, &version("1.0.0"));
        let _ = ChannelDocument::from_bytes(&bytes, CHANNEL, &demo, "stable");
        prop_assert!(Client::open(std::path::Path::new("/dev/null/none"), &bytes).is_err());
    }

    #[test]
    fn any_json_is_read_or_refused(
        field in "format|product|arch|version|root|uki|payloads|packages|size|created",
        value in "\\{\\}|\\[\\]|null|-1|[0-9]{1,20}|\"[a-z0-9.]{0,8}\"|1e9",
    ) {
        let whole = String::from_utf8(release_bytes()).unwrap();
        let at = whole.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
        let text = format!("{}{value},\"rest\":{}", &whole[..at], &whole[at..]);
        let read = ReleaseDocument::from_bytes(
            text.as_bytes(), RELEASE, &crate::world::product(), Arch::X86_64, &version("1.0.0"));
        if let Ok(read) = read {
            prop_assert!(read.to_bytes().is_ok());
        }
    }
}
