//! A network namespace of one's own, holding nothing but a loopback interface.
//!
//! QEMU's user-mode network gives a guest whatever its host can reach, and maps the address 10.0.2.2 to the host's
//! loopback. In a namespace whose only interface is `lo`, the guest therefore reaches the servers of this process and
//! nothing outside: a test can neither leak requests nor depend on what the network happens to offer.
#![allow(unsafe_code)] // Interface flags are set by ioctl, for which there is no safe wrapper.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{getgid, getuid};

use crate::error::{Error, Result};

/// The two ioctls of `netdevice(7)`, apart because the macros make them public.
mod flags {
    #![allow(missing_docs, unreachable_pub)]
    use nix::libc;

    nix::ioctl_readwrite_bad!(get_interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);
}

/// Moves this process into a network namespace of its own and brings its loopback up.
///
/// To be called before any thread is started: a thread that exists already keeps the old network, and the kernel
/// refuses a new user namespace to a process with several threads. With the right to do so (root) only the network is
/// separated; otherwise a user namespace that maps the caller to itself gives that right.
pub fn enter() -> Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {}
        Err(Errno::EPERM) => enter_as_user()?,
        Err(errno) => return Err(failed("create a network namespace", errno.into())),
    }
    bring_loopback_up()
}

fn enter_as_user() -> Result<()> {
    let (user, group) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
        .map_err(|errno| failed("create a user and a network namespace", errno.into()))?;
    // The kernel takes a group map from an unprivileged process only once it has given up changing groups.
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{user} {user} 1")),
        ("/proc/self/gid_map", format!("{group} {group} 1")),
    ] {
        fs::write(file, text).map_err(|error| failed("map this user into its namespace", error))?;
    }
    Ok(())
}

fn bring_loopback_up() -> Result<()> {
    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| failed("open a control socket", errno.into()))?;
    // SAFETY: ifreq is plain data, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: both calls get a live descriptor and a complete ifreq whose name is terminated by the zeroes above; the
    // kernel fills the flags in the first and reads them in the second.
    unsafe {
        flags::get_interface_flags(control.as_raw_fd(), &raw mut request)
            .map_err(|errno| failed("read the flags of the loopback interface", errno.into()))?;
        request.ifr_ifru.ifru_flags |= libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
        flags::set_interface_flags(control.as_raw_fd(), &raw const request)
            .map_err(|errno| failed("bring the loopback interface up", errno.into()))?;
    }
    Ok(())
}

/// The names of the network interfaces that this process has.
pub fn interfaces() -> Result<Vec<String>> {
    let path = "/proc/self/net/dev";
    let text = fs::read_to_string(path).map_err(|source| Error::file("list the network interfaces", path, source))?;
    Ok(parse_interfaces(&text))
}

/// The names in the text of `/proc/net/dev`: two lines of heading, then one interface a line before a colon.
fn parse_interfaces(text: &str) -> Vec<String> {
    text.lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

fn failed(doing: &'static str, source: io::Error) -> Error {
    Error::Isolation { doing, source }
}

#[cfg(test)]
mod tests {
    use super::parse_interfaces;

    #[test]
    fn interfaces_are_read_without_the_headings() {
        let text = "Inter-|   Receive  | Transmit\n face |bytes | bytes\n    lo: 0 0\n  eth0: 12 1\n";
        assert_eq!(parse_interfaces(text), ["lo", "eth0"]);
    }
}
