//! Blocking work beside an asynchronous network.
//!
//! An update is one long sequence of blocking steps, so it runs on a thread of its own; the network client is asynchronous, and
//! is driven by the main thread meanwhile.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime: one thread for the network and timers, one for blocking work.
///
/// # Errors
/// The operating system gives no threads or descriptors.
pub fn new() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
}

/// Runs `work` to its end on a thread of its own.
///
/// # Errors
/// The runtime cannot be made, or `work` panicked.
pub fn blocking<T: Send + 'static>(work: impl FnOnce(Handle) -> T + Send + 'static) -> io::Result<T> {
    let runtime = new()?;
    let handle = runtime.handle().clone();
    let done = runtime.block_on(runtime.spawn_blocking(move || work(handle)));
    runtime.shutdown_background();
    done.map_err(io::Error::other)
}
