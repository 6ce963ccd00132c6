//! The device-mapper control device (`linux/dm-ioctl.h`).
//!
//! The only unsafe code of this program: the calls take a structure whose true length is a field of it, which no
//! safe interface describes.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use nix::{ioctl_readwrite, libc::c_int};

const CONTROL: &str = "/dev/mapper/control";
const DM: u8 = 0xfd;

/// Interface version spoken here; the kernel refuses another major number.
const VERSION: [u32; 3] = [4, 0, 0];

const READ_ONLY: u32 = 1 << 0;

/// Longest parameter line, with its NUL. A verity line takes under 300 bytes.
const PARAMETERS: usize = 1024;

/// `struct dm_ioctl`.
#[repr(C)]
pub(super) struct DmIoctl {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

/// `struct dm_target_spec`.
#[repr(C)]
struct DmTargetSpec {
    sector_start: u64,
    length: u64,
    status: i32,
    next: u32,
    target_type: [u8; 16],
}

/// What a call passes: the header, then one target with its parameters.
#[repr(C)]
struct Request {
    header: DmIoctl,
    target: DmTargetSpec,
    parameters: [u8; PARAMETERS],
}

// The kernel's sizes; that of the header is part of the numbers of the calls.
const HEADER_SIZE: u32 = 312;
const REQUEST_SIZE: u32 = 312 + 40 + 1024;
const _: () = assert!(size_of::<DmIoctl>() == HEADER_SIZE as usize && size_of::<Request>() == REQUEST_SIZE as usize);

ioctl_readwrite!(dm_version, DM, 0, DmIoctl);
ioctl_readwrite!(dm_dev_create, DM, 3, DmIoctl);
ioctl_readwrite!(dm_dev_remove, DM, 4, DmIoctl);
ioctl_readwrite!(dm_dev_suspend, DM, 6, DmIoctl);
ioctl_readwrite!(dm_table_load, DM, 9, DmIoctl);

type Call = unsafe fn(c_int, *mut DmIoctl) -> nix::Result<c_int>;

/// A table with one line, over the whole device.
pub(super) struct Target<'a> {
    /// Which kind of target.
    pub(super) kind: &'a str,
    /// Length in sectors of 512 bytes.
    pub(super) sectors: u64,
    /// Its parameters, at most 1023 bytes.
    pub(super) parameters: &'a str,
}

/// A device that was made.
pub(super) struct Device {
    /// The number in its name `dm-N`.
    pub(super) minor: u64,
}

/// The open control device.
pub(super) struct DeviceMapper(File);

impl DeviceMapper {
    /// Opens it and agrees on the version.
    pub(super) fn open() -> io::Result<Self> {
        let mapper = Self(OpenOptions::new().read(true).write(true).open(CONTROL)?);
        mapper.call(dm_version, Request::new("", "")?)?;
        Ok(mapper)
    }

    /// Makes the read-only device `name` and starts it; takes it away again when it does not start.
    pub(super) fn activate(&self, name: &str, uuid: &str, target: &Target) -> io::Result<Device> {
        let mut create = Request::new(name, uuid)?;
        create.header.flags = READ_ONLY;
        let made = self.call(dm_dev_create, create)?;
        let started = self.load_and_resume(name, target);
        if started.is_err() {
            // The first error is the one to tell.
            let _ = Request::new(name, "").map(|request| self.call(dm_dev_remove, request));
        }
        started.map(|()| Device {
            minor: minor(made.header.dev),
        })
    }

    fn load_and_resume(&self, name: &str, target: &Target) -> io::Result<()> {
        self.call(dm_table_load, Request::with_table(name, target)?)?;
        // Suspend without its flag is resume.
        self.call(dm_dev_suspend, Request::new(name, "")?)?;
        Ok(())
    }

    fn call(&self, call: Call, mut request: Request) -> io::Result<Request> {
        // SAFETY: the pointer is to the whole request, initialised and alive through the call; its header says
        // how long it is, and the kernel reads and writes no further (`copy_params` in dm-ioctl.c).
        unsafe { call(self.0.as_raw_fd(), (&raw mut request).cast())? };
        Ok(request)
    }
}

impl Request {
    fn new(name: &str, uuid: &str) -> io::Result<Self> {
        Ok(Self {
            header: DmIoctl {
                version: VERSION,
                data_size: REQUEST_SIZE,
                data_start: HEADER_SIZE,
                target_count: 0,
                open_count: 0,
                flags: 0,
                event_nr: 0,
                padding: 0,
                dev: 0,
                name: padded(name)?,
                uuid: padded(uuid)?,
                data: [0; 7],
            },
            target: DmTargetSpec {
                sector_start: 0,
                length: 0,
                status: 0,
                next: 0,
                target_type: [0; 16],
            },
            parameters: [0; PARAMETERS],
        })
    }

    fn with_table(name: &str, target: &Target) -> io::Result<Self> {
        let mut request = Self::new(name, "")?;
        request.header.flags = READ_ONLY;
        request.header.target_count = 1;
        request.target.length = target.sectors;
        request.target.next = REQUEST_SIZE - HEADER_SIZE;
        request.target.target_type = padded(target.kind)?;
        request.parameters = padded(target.parameters)?;
        Ok(request)
    }
}

/// `text` with at least one NUL behind it.
fn padded<const N: usize>(text: &str) -> io::Result<[u8; N]> {
    let mut field = [0; N];
    match field.get_mut(..text.len()) {
        Some(room) if text.len() < N => room.copy_from_slice(text.as_bytes()),
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{text}` is too long for device-mapper"),
            ));
        }
    }
    Ok(field)
}

/// The minor number in the kernel's encoding of a device number (`new_encode_dev`).
fn minor(dev: u64) -> u64 {
    (dev & 0xff) | ((dev >> 12) & 0xf_ff00)
}

#[cfg(test)]
mod tests {
    use super::{minor, padded};

    #[test]
    fn field_keeps_its_nul() {
        assert_eq!(padded::<4>("abc").unwrap(), *b"abc\0");
        assert!(padded::<4>("abcd").is_err());
    }

    #[test]
    fn minor_above_255_is_decoded() {
        assert_eq!(minor(0xfd03), 3);
        assert_eq!(minor(0x10_fd03), 0x103);
    }
}
