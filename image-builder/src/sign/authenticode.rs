//! Signed EFI programs, as UEFI Secure Boot verifies them.
//!
//! Specification: Microsoft, "Windows Authenticode Portable Executable Signature Format", "Authenticode-Specific Structures".

use cms::signed_data::SignedAttributes;
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode, Tag, Tagged};
use sha2::{Digest, Sha256};
use twinhull_uki::UkiError;
use x509_cert::attr::Attribute;

use super::cms::{CONTENT_TYPE, MESSAGE_DIGEST, Statement, encoding, signer, unwrapped, wrapped};
use super::{Certificate, Identity};
use crate::error::{Error, Result};

const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");

/// The content of `SpcIndirectDataContent` up to the hash: a PE image whose file name is the empty one that firmware ignores,
/// and the algorithm sha256.
const BEFORE_HASH: [u8; 44] = [
    0x30, 0x17, 0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f, 0x30, 0x09, 0x03, 0x01, 0x00,
    0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
    0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
];

/// Signs the EFI program `pe`; a signature it has is replaced.
///
/// # Errors
/// It is no EFI program; the key cannot sign.
pub fn sign(pe: &[u8], identity: &Identity) -> Result<Vec<u8>> {
    let plain = twinhull_uki::without_signatures(pe).map_err(|error| unfit(&error))?;
    let digest = twinhull_uki::authenticode_digest(&plain).map_err(|error| unfit(&error))?;
    let content = [&BEFORE_HASH[..], &digest].concat();
    let attributes = attributes(&content)?;
    let signature = identity.sign(&attributes.to_der().map_err(encoding)?)?;
    let statement = Statement {
        content_type: INDIRECT_DATA,
        content: Some(Any::new(Tag::Sequence, content).map_err(encoding)?),
        attributes: Some(attributes),
        signer: &identity.certificate,
        with_certificate: true,
    };
    twinhull_uki::attach_signature(&plain, &wrapped(&statement.signed(signature)?)?).map_err(|error| unfit(&error))
}

/// Whose signature the EFI program carries; nothing when it has none.
///
/// # Errors
/// It is no EFI program, or has a signature that does not hold.
pub fn signed_by(pe: &[u8]) -> Result<Option<Certificate>> {
    let signatures = twinhull_uki::signatures(pe).map_err(|error| unfit(&error))?;
    let Some(first) = signatures.first() else {
        return Ok(None);
    };
    let wrong = |what: &str| Error::Content(format!("the signature of the EFI program does not hold: {what}"));
    let data = unwrapped(first)?;
    let (info, certificate) = signer(&data)?;
    let certificate = certificate.ok_or_else(|| wrong("the signer's certificate is missing"))?;
    let content = data
        .encap_content_info
        .econtent
        .as_ref()
        .filter(|content| content.tag() == Tag::Sequence)
        .ok_or_else(|| wrong("it is empty"))?;
    let digest = twinhull_uki::authenticode_digest(pe).map_err(|error| unfit(&error))?;
    if content.value() != [&BEFORE_HASH[..], &digest].concat() {
        return Err(wrong("the program was changed after it was signed"));
    }
    let attributes = info.signed_attrs.as_ref().ok_or_else(|| wrong("it says nothing"))?;
    let said = attributes.iter().find(|attribute| attribute.oid == MESSAGE_DIGEST);
    let said = said.and_then(|attribute| attribute.values.get(0)?.decode_as::<OctetString>().ok());
    if said.is_none_or(|said| said.as_bytes() != Sha256::digest(content.value()).as_slice()) {
        return Err(wrong("it speaks of other content"));
    }
    let message = attributes.to_der().map_err(encoding)?;
    if !certificate.verifies(&message, info.signature.as_bytes()) {
        return Err(wrong("it was not made with the key of its certificate"));
    }
    Ok(Some(certificate))
}

fn attributes(content: &[u8]) -> Result<SignedAttributes> {
    let one = |oid, value: Any| -> der::Result<Attribute> {
        Ok(Attribute {
            oid,
            values: SetOfVec::try_from(vec![value])?,
        })
    };
    let kind = Any::from_der(&INDIRECT_DATA.to_der().map_err(encoding)?).map_err(encoding)?;
    let digest = Any::new(Tag::OctetString, Sha256::digest(content).to_vec()).map_err(encoding)?;
    let both = [one(CONTENT_TYPE, kind), one(MESSAGE_DIGEST, digest)];
    let both = both.into_iter().collect::<der::Result<Vec<_>>>().map_err(encoding)?;
    SetOfVec::try_from(both).map_err(encoding)
}

fn unfit(error: &UkiError) -> Error {
    Error::Content(format!("cannot sign or verify an EFI program: {error}"))
}
