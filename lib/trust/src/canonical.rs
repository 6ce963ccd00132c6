//! Canonical JSON, the form over which TUF signatures are made (TUF 1.0.x section 4.2; the "OLPC" form): no white space,
//! keys in the order of their UTF-8 bytes, only `"` and `\` escaped, integers only.
//!
//! Files are stored and sent as they are; only the *signed* part is brought into this form, and only to sign or verify.

use serde_json::Value;

/// The value cannot be signed: canonical JSON has no fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number with a fraction has no canonical form")]
pub struct NoCanonicalForm;

/// The canonical bytes of `value`.
///
/// # Errors
/// A number in it is not a 64-bit integer.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, NoCanonicalForm> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), NoCanonicalForm> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::Number(_) => return Err(NoCanonicalForm),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_list(b'[', b']', items, out, write)?,
        Value::Object(object) => {
            // Sorted here: whether the map is sorted already depends on a feature that any other crate may turn on.
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_bytes());
            write_list(b'{', b'}', &entries, out, |(key, value), out| {
                write_text(key, out);
                out.push(b':');
                write(value, out)
            })?;
        }
    }
    Ok(())
}

fn write_list<T>(
    open: u8,
    close: u8,
    items: &[T],
    out: &mut Vec<u8>,
    item: impl Fn(&T, &mut Vec<u8>) -> Result<(), NoCanonicalForm>,
) -> Result<(), NoCanonicalForm> {
    out.push(open);
    for (position, value) in items.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        item(value, out)?;
    }
    out.push(close);
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Control characters stand unescaped in this form, so it is not JSON that could be read back.
            "[^\\x00-\\x1f]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[^\\x00-\\x1f]{0,4}", inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn different_values_have_different_forms(one in any_value(), two in any_value()) {
            let (first, second) = (to_vec(&one).unwrap(), to_vec(&two).unwrap());
            prop_assert_eq!(&crate::json::parse(&first).unwrap(), &one);
            prop_assert_eq!(first == second, one == two);
        }
    }

    #[test]
    fn keys_are_sorted_by_bytes_and_only_two_characters_escaped() {
        let value =
            json!({"b": [1, {"z": null, "Z": false}], "a": "q\"\\\n\u{e9}", "ab": -7, "\u{ffff}": 0, "\u{10000}": 1});
        assert_eq!(
            String::from_utf8(to_vec(&value).unwrap()).unwrap(),
            "{\"a\":\"q\\\"\\\\\n\u{e9}\",\"ab\":-7,\"b\":[1,{\"Z\":false,\"z\":null}],\"\u{ffff}\":0,\"\u{10000}\":1}"
        );
    }

    #[test]
    fn fractions_have_no_canonical_form() {
        assert_eq!(to_vec(&json!([1.5])), Err(NoCanonicalForm));
    }
}
