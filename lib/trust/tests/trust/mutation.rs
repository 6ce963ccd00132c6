//! Every field of every signed file, changed: nothing is accepted.

use serde_json::{Value, json};

use crate::world::World;

/// What a value is replaced by: another of its type, another type, nothing.
fn replacements(value: &Value) -> Vec<Option<Value>> {
    let other = match value {
        Value::Null => json!(1),
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => json!(number.as_u64().unwrap_or_default() + 1),
        Value::String(text) => json!(format!("{text}0")),
        Value::Array(items) => {
            let mut more = items.clone();
            more.push(items.first().cloned().unwrap_or(json!("new")));
            json!(more)
        }
        Value::Object(object) => {
            let mut more = object.clone();
            more.insert("new".to_owned(), json!({}));
            json!(more)
        }
    };
    vec![Some(other), Some(json!([[]])), None]
}

/// All pointers into `value`, itself excluded.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    let mut visit = |key: &str, child: &Value| {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        pointers(child, &pointer, out);
        out.push(pointer);
    };
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| visit(&index.to_string(), item)),
        Value::Object(object) => object.iter().for_each(|(key, item)| visit(key, item)),
        _ => {}
    }
}

fn replace(file: &Value, pointer: &str, by: Option<Value>) -> Option<Vec<u8>> {
    let mut file = file.clone();
    if let Some(value) = by {
        *file.pointer_mut(pointer)? = value;
        return Some(file.to_string().into_bytes());
    }
    let (parent, key) = pointer.rsplit_once('/')?;
    match file.pointer_mut(parent)? {
        Value::Object(object) => drop(object.remove(&key.replace("~1", "/").replace("~0", "~"))?),
        Value::Array(items) => drop(items.remove(key.parse().ok()?)),
        _ => return None,
    }
    Some(file.to_string().into_bytes())
}

/// A world in which every kind of file is used in a turn, a second root included.
fn complete() -> World {
    let mut world = World::with_release();
    world.advance_root(&[]);
    world
}

fn mutate_all(path: &str) {
    let mut original = complete();
    let expected = original.turn().unwrap();
    assert!(
        original.server.requests.iter().any(|asked| asked == path),
        "{path} is not used"
    );

    let file: Value = serde_json::from_slice(&original.server.files[path]).unwrap();
    let mut fields = Vec::new();
    pointers(&file, "", &mut fields);
    assert!(fields.len() > 4);
    for field in fields {
        for by in replacements(file.pointer(&field).unwrap()) {
            let Some(bytes) = replace(&file, &field, by.clone()) else {
                continue;
            };
            let mut world = complete();
            world.put(path, bytes);
            if let Ok(accepted) = world.turn() {
                // A signature more changes nothing that is signed; then everything must be as it was.
                assert!(
                    field.starts_with("/signatures"),
                    "{path} {field} -> {by:?} was accepted"
                );
                assert_eq!(accepted, expected, "{path} {field}");
            }
        }
    }
}

#[test]
fn of_the_root() {
    mutate_all("metadata/2.root.json");
}

#[test]
fn of_the_timestamp() {
    mutate_all("metadata/timestamp.json");
}

#[test]
fn of_the_snapshot() {
    mutate_all("metadata/2.snapshot.json");
}

#[test]
fn of_the_targets() {
    mutate_all("metadata/1.targets.json");
}

#[test]
fn of_the_releases() {
    mutate_all("metadata/2.releases.json");
}

#[test]
fn of_the_channels() {
    mutate_all("metadata/2.channels.json");
}

fn document(prefix: &str) -> String {
    complete()
        .server
        .files
        .into_keys()
        .find(|path| path.starts_with(prefix))
        .unwrap()
}

#[test]
fn of_the_release_document() {
    mutate_all(&document("targets/releases/"));
}

#[test]
fn of_the_channel_document() {
    mutate_all(&document("targets/channels/"));
}

#[test]
fn every_flipped_bit_of_unlisted_files_is_refused_or_changes_nothing() {
    // Roots and the timestamp are bound by signatures alone; all other files by hashes too.
    for path in ["metadata/2.root.json", "metadata/timestamp.json"] {
        let expected = complete().turn().unwrap();
        let length = complete().server.files[path].len();
        for position in 0..length {
            let mut world = complete();
            world.server.files.get_mut(path).unwrap()[position] ^= 1 << (position % 8);
            if let Ok(accepted) = world.turn() {
                assert_eq!(accepted, expected, "{path} at {position}");
                let kept = std::fs::read(world.home_file("timestamp.json")).unwrap();
                let kept: Value = serde_json::from_slice(&kept).unwrap();
                assert_eq!(kept["signed"], world.roles["timestamp"], "{path} at {position}");
            }
        }
    }
}
