//! A secret key on a PKCS #11 token: a smart card, a hardware module, or softhsm2.

use std::fmt;
use std::fs;
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::error::{Doing, Error, Result};

/// A key on a token, with an open session.
pub struct Token {
    session: Session,
    key: ObjectHandle,
    label: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What a PKCS #11 URI (RFC 7512) says of a key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uri {
    token: Option<String>,
    object: Option<String>,
    module: Option<String>,
    pin_file: Option<String>,
}

impl Uri {
    fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::Usage(format!(
                "{what} in a PKCS #11 URI; it is to read \
                 pkcs11:token=TOKEN;object=LABEL?module-path=/PATH/OF/MODULE.so&pin-source=file:/PATH/OF/PIN"
            ))
        };
        let rest = text
            .strip_prefix("pkcs11:")
            .ok_or_else(|| wrong("no `pkcs11:`".into()))?;
        let mut uri = Self::default();
        for part in rest.split([';', '?', '&']).filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| wrong(format!("no value of `{part}`")))?;
            let value = unescape(value).ok_or_else(|| wrong(format!("a bad escape in `{name}`")))?;
            match name {
                "token" => uri.token = Some(value),
                "object" => uri.object = Some(value),
                "module-path" => uri.module = Some(value),
                "pin-source" => uri.pin_file = Some(value.strip_prefix("file:").unwrap_or(&value).to_owned()),
                "type" => {}
                // A PIN in the URI would be in every log that shows the file.
                "pin-value" => return Err(wrong("`pin-value`, where `pin-source` belongs,".into())),
                other => return Err(wrong(format!("the unknown attribute `{other}`"))),
            }
        }
        Ok(uri)
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' {
            let digits = more.get(..2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8(bytes).ok()
}

impl Token {
    /// Opens the key that `uri` names.
    ///
    /// # Errors
    /// The URI is malformed; module, token or key are not there; the PIN is wrong.
    pub(crate) fn open(uri: &str) -> Result<Self> {
        let uri = Uri::parse(uri)?;
        let missing = |name: &str| Error::Usage(format!("the PKCS #11 URI names no `{name}`"));
        let module = uri.module.ok_or_else(|| missing("module-path"))?;
        let label = uri.object.ok_or_else(|| missing("object"))?;
        let wanted = uri.token.ok_or_else(|| missing("token"))?;
        let failed = |doing: &'static str| move |error| Error::Content(format!("cannot {doing}: {error}"));
        let context = Pkcs11::new(&module).map_err(failed("load the PKCS #11 module"))?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another key on the same module has done it.
            Ok(()) | Err(cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed("start the PKCS #11 module")(error)),
        }
        let slots = context.get_slots_with_token().map_err(failed("list the tokens"))?;
        let slot = slots
            .into_iter()
            .find(|slot| {
                context
                    .get_token_info(*slot)
                    .is_ok_and(|info| info.label().trim_end() == wanted)
            })
            .ok_or_else(|| Error::Usage(format!("there is no token \"{wanted}\" behind {module}")))?;
        let session = context
            .open_ro_session(slot)
            .map_err(failed("open a session with the token"))?;
        if let Some(path) = uri.pin_file {
            let path = Path::new(&path);
            let pin = fs::read_to_string(path).doing("read the PIN in", path)?;
            let pin = AuthPin::from(pin.trim().to_owned());
            match session.login(UserType::User, Some(&pin)) {
                Ok(()) | Err(cryptoki::error::Error::Pkcs11(cryptoki::error::RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) => return Err(failed("log in to the token")(error)),
            }
        }
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Label(label.clone().into_bytes()),
        ];
        let found = session
            .find_objects(&template)
            .map_err(failed("look for the key on the token"))?;
        let [key] = found[..] else {
            return Err(Error::Usage(format!(
                "token \"{wanted}\" has {} secret keys labelled \"{label}\"; exactly one is needed",
                found.len()
            )));
        };
        Ok(Self { session, key, label })
    }

    /// Signs the sha256 of `message`.
    ///
    /// # Errors
    /// The token refuses.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.session
            .sign(&Mechanism::Sha256RsaPkcs, self.key, message)
            .map_err(|error| refused(&error))
    }

    /// Signs `message` with ed25519 (RFC 8032, pure).
    ///
    /// # Errors
    /// The token refuses, or the key is of another kind.
    pub(crate) fn sign_ed25519(&self, message: &[u8]) -> Result<[u8; 64]> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        let signature = self
            .session
            .sign(&mechanism, self.key, message)
            .map_err(|error| refused(&error))?;
        signature
            .try_into()
            .map_err(|_| Error::Content("the token makes no signature of 64 bytes: its key is not ed25519".into()))
    }

    /// The public half of an ed25519 key: the object of the same label (PKCS #11 3.0 section 2.3.5, `CKA_EC_POINT`).
    ///
    /// # Errors
    /// There is none, or it is of another kind.
    pub(crate) fn public_ed25519(&self) -> Result<[u8; 32]> {
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(self.label.clone().into_bytes()),
        ];
        let found = self.session.find_objects(&template).map_err(|error| refused(&error))?;
        let wrong = || {
            Error::Usage(format!(
                "the token has no one public ed25519 key labelled \"{}\"",
                self.label
            ))
        };
        let [key] = found[..] else { return Err(wrong()) };
        let attributes = self
            .session
            .get_attributes(key, &[AttributeType::EcPoint])
            .map_err(|error| refused(&error))?;
        let [Attribute::EcPoint(point)] = &attributes[..] else {
            return Err(wrong());
        };
        // Some tokens wrap the point as a DER octet string, some do not.
        let point = point.strip_prefix(&[0x04, 32]).unwrap_or(point);
        point.try_into().map_err(|_| wrong())
    }
}

fn refused(error: &cryptoki::error::Error) -> Error {
    Error::Content(format!("the token refuses: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_names_token_key_module_and_pin() {
        let uri = Uri::parse("pkcs11:token=my%20token;object=db;type=private?module-path=/m.so&pin-source=file:/pin");
        let uri = uri.unwrap();
        assert_eq!(uri.token.as_deref(), Some("my token"));
        assert_eq!(uri.object.as_deref(), Some("db"));
        assert_eq!(uri.module.as_deref(), Some("/m.so"));
        assert_eq!(uri.pin_file.as_deref(), Some("/pin"));
    }

    #[test]
    fn pins_and_unknown_words_in_a_uri_are_refused() {
        for text in [
            "file:/x",
            "pkcs11:token=a?pin-value=1234",
            "pkcs11:tokken=a",
            "pkcs11:object=%zz",
        ] {
            let said = Uri::parse(text).unwrap_err().to_string();
            assert!(said.contains("it is to read") && !said.contains("1234"), "{said}");
        }
    }
}
