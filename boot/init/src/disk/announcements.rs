//! The kernel's announcements of devices.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

/// The kernel's own multicast group; the other is udev's.
const KERNEL_GROUP: u32 = 1;

/// An announcement is at most 2 KiB of variables and a header (`UEVENT_BUFFER_SIZE`).
const MESSAGE: usize = 4096;

/// A subscription.
pub(super) struct Announcements(OwnedFd);

impl Announcements {
    /// From now on.
    pub(super) fn subscribe() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            flags,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        Ok(Self(socket))
    }

    /// Returns at the next announcement, or after `limit`. What was announced does not matter: the caller
    /// looks at everything, since announcements may be lost.
    pub(super) fn wait(&self, limit: Duration) {
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait is a short one.
        let _ = poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], limit);
        let mut message = [0; MESSAGE];
        // Ends when the queue is empty, and at an overflow, which is answered by looking.
        while recv(self.0.as_raw_fd(), &mut message, MsgFlags::empty()).is_ok() {}
    }
}
