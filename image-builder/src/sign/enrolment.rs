//! The variables that put Secure Boot keys into firmware, signed so that firmware takes them.
//!
//! Specification: UEFI 2.10, section 8.2.2 (`EFI_VARIABLE_AUTHENTICATION_2`) and section 32.4.1 (`EFI_SIGNATURE_LIST`).

use der::Encode;
use jiff::Timestamp;
use jiff::tz::Offset;
use uuid::{Uuid, uuid};

use super::cms::{DATA, Statement, encoding};
use super::{Certificate, Identity};
use crate::error::Result;

/// `EFI_CERT_X509_GUID`.
const X509: Uuid = uuid!("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");
/// `EFI_GLOBAL_VARIABLE`, the vendor of PK and KEK.
const GLOBAL: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, the vendor of db.
const DATABASE: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// `EFI_CERT_TYPE_PKCS7_GUID`.
const PKCS7: Uuid = uuid!("4aafd29d-68df-49ee-8aa9-347d375665a7");

/// Non-volatile, for boot services and at run time, authenticated by time.
const ATTRIBUTES: u32 = 0x27;

/// `WIN_CERTIFICATE_UEFI_GUID` before the signature: length, revision, type and GUID.
const CERTIFICATE_HEADER: u32 = 24;
const REVISION_2: u16 = 0x0200;
const TYPE_EFI_GUID: u16 = 0x0EF1;

/// A variable that holds keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The platform key, which may change KEK.
    PlatformKey,
    /// The key exchange key, which may change db.
    KeyExchangeKey,
    /// The signers of programs that may start.
    Database,
}

impl Variable {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlatformKey => "PK",
            Self::KeyExchangeKey => "KEK",
            Self::Database => "db",
        }
    }

    const fn vendor(self) -> Uuid {
        match self {
            Self::PlatformKey | Self::KeyExchangeKey => GLOBAL,
            Self::Database => DATABASE,
        }
    }
}

/// The file that enrols `certificate` in `variable`, as systemd-boot reads it: signed by `signer`, in the name of `owner`.
///
/// # Errors
/// The key cannot sign.
pub fn file(
    variable: Variable,
    certificate: &Certificate,
    owner: Uuid,
    signer: &Identity,
    time: Timestamp,
) -> Result<Vec<u8>> {
    let list = signature_list(certificate, owner);
    let time = efi_time(time);
    let mut message: Vec<u8> = variable.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
    message.extend(variable.vendor().to_bytes_le());
    message.extend(ATTRIBUTES.to_le_bytes());
    message.extend(time);
    message.extend(&list);
    let statement = Statement {
        content_type: DATA,
        content: None,
        attributes: None,
        signer: &signer.certificate,
        with_certificate: true,
    };
    // Firmware wants the signed data alone, without its type in front.
    let data = statement.signed(signer.sign(&message)?)?.to_der().map_err(encoding)?;
    let length = u32::try_from(data.len())
        .unwrap_or(u32::MAX)
        .saturating_add(CERTIFICATE_HEADER);
    let mut file = time.to_vec();
    file.extend(length.to_le_bytes());
    file.extend(REVISION_2.to_le_bytes());
    file.extend(TYPE_EFI_GUID.to_le_bytes());
    file.extend(PKCS7.to_bytes_le());
    file.extend(data);
    file.extend(list);
    Ok(file)
}

fn signature_list(certificate: &Certificate, owner: Uuid) -> Vec<u8> {
    let size = u32::try_from(certificate.der().len())
        .unwrap_or(u32::MAX)
        .saturating_add(16);
    let mut list = X509.to_bytes_le().to_vec();
    for number in [size.saturating_add(28), 0, size] {
        list.extend(number.to_le_bytes());
    }
    list.extend(owner.to_bytes_le());
    list.extend(certificate.der());
    list
}

/// `EFI_TIME` in UTC, with everything below a second zero, as section 8.2.2 asks.
fn efi_time(time: Timestamp) -> [u8; 16] {
    let at = Offset::UTC.to_datetime(time);
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&at.year().unsigned_abs().to_le_bytes());
    for (place, value) in [
        (2, at.month()),
        (3, at.day()),
        (4, at.hour()),
        (5, at.minute()),
        (6, at.second()),
    ] {
        bytes[place] = value.unsigned_abs();
    }
    bytes
}
