//! PKCS #7 structures (RFC 2315, read and written as CMS, RFC 5652) with one signer.

use cms::cert::{CertificateChoices, IssuerAndSerialNumber};
use cms::content_info::{CmsVersion, ContentInfo};
use cms::signed_data::{
    CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier, SignerInfo, SignerInfos,
};
use der::asn1::{Any, ObjectIdentifier, OctetString, SetOfVec};
use der::{Decode, Encode};
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::Certificate;
use crate::error::{Error, Result};

pub(super) const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
pub(super) const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
pub(super) const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// What one signer says.
pub(super) struct Statement<'a> {
    /// The type of the content.
    pub(super) content_type: ObjectIdentifier,
    /// The content, if it is inside.
    pub(super) content: Option<Any>,
    /// What is signed in the place of the content.
    pub(super) attributes: Option<SignedAttributes>,
    /// Who signs.
    pub(super) signer: &'a Certificate,
    /// Whether the certificate is inside.
    pub(super) with_certificate: bool,
}

impl Statement<'_> {
    /// The structure with `signature`.
    pub(super) fn signed(self, signature: Vec<u8>) -> Result<SignedData> {
        let signer = self.signer.parsed();
        let info = SignerInfo {
            version: CmsVersion::V1,
            sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
                issuer: signer.tbs_certificate.issuer.clone(),
                serial_number: signer.tbs_certificate.serial_number.clone(),
            }),
            digest_alg: algorithm(SHA256),
            signed_attrs: self.attributes,
            signature_algorithm: algorithm(RSA),
            signature: OctetString::new(signature).map_err(encoding)?,
            unsigned_attrs: None,
        };
        let certificates = self
            .with_certificate
            .then(|| SetOfVec::try_from(vec![CertificateChoices::Certificate(signer.clone())]).map(CertificateSet))
            .transpose()
            .map_err(encoding)?;
        Ok(SignedData {
            // PKCS #7 knows no other version, and firmware reads PKCS #7.
            version: CmsVersion::V1,
            digest_algorithms: SetOfVec::try_from(vec![algorithm(SHA256)]).map_err(encoding)?,
            encap_content_info: EncapsulatedContentInfo {
                econtent_type: self.content_type,
                econtent: self.content,
            },
            certificates,
            crls: None,
            signer_infos: SignerInfos(SetOfVec::try_from(vec![info]).map_err(encoding)?),
        })
    }
}

/// The structure with its type in front, as files have it.
pub(super) fn wrapped(data: &SignedData) -> Result<Vec<u8>> {
    let content = Any::encode_from(data).map_err(encoding)?;
    let info = ContentInfo {
        content_type: SIGNED_DATA,
        content,
    };
    info.to_der().map_err(encoding)
}

/// Reads what [`wrapped`] or another program wrote.
pub(super) fn unwrapped(bytes: &[u8]) -> Result<SignedData> {
    // Some writers leave padding behind the structure.
    let mut reader = der::SliceReader::new(bytes).map_err(reading)?;
    let info = ContentInfo::decode(&mut reader).map_err(reading)?;
    if info.content_type != SIGNED_DATA {
        return Err(Error::Content("a signature is no PKCS #7 signed data".into()));
    }
    info.content.decode_as().map_err(reading)
}

/// The one signer of `data`, and the certificate in it that its name and number speak of.
pub(super) fn signer(data: &SignedData) -> Result<(&SignerInfo, Option<Certificate>)> {
    let [info] = data.signer_infos.0.as_slice() else {
        return Err(Error::Content("a signature has none or several signers".into()));
    };
    let SignerIdentifier::IssuerAndSerialNumber(wanted) = &info.sid else {
        return Err(Error::Content("a signer is not named by issuer and number".into()));
    };
    let found = data
        .certificates
        .iter()
        .flat_map(|set| set.0.iter())
        .find_map(|choice| match choice {
            CertificateChoices::Certificate(certificate)
                if certificate.tbs_certificate.issuer == wanted.issuer
                    && certificate.tbs_certificate.serial_number == wanted.serial_number =>
            {
                Some(certificate.clone())
            }
            _ => None,
        });
    Ok((info, found.map(Certificate::new).transpose()?))
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: Some(Any::null()),
    }
}

pub(super) fn encoding(error: der::Error) -> Error {
    Error::Content(format!("a signature cannot be encoded: {error}"))
}

fn reading(error: der::Error) -> Error {
    Error::Content(format!("a signature cannot be read: {error}"))
}
