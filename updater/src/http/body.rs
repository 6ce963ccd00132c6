//! The bytes of an answer, for blocking readers.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use reqwest::Response;
use tokio::runtime::Handle;

use super::chain;

/// Slower than this many bytes a second is as good as nothing.
const MINIMUM_RATE: u64 = 1024;

/// Reads the bytes of an answer. Gives up when none comes for a while, or too few.
#[derive(Debug)]
pub struct Body {
    response: Response,
    runtime: Handle,
    chunk: Vec<u8>,
    taken: usize,
    window: Duration,
    window_start: Instant,
    window_bytes: u64,
}

impl Body {
    /// The rate is measured over `window` each time.
    pub(super) fn new(response: Response, runtime: Handle, window: Duration) -> Self {
        Self {
            response,
            runtime,
            chunk: Vec::new(),
            taken: 0,
            window,
            window_start: Instant::now(),
            window_bytes: 0,
        }
    }

    /// The size of what comes, if the server says it.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Takes the next piece; false at the end.
    fn next(&mut self) -> io::Result<bool> {
        let next = self.runtime.block_on(self.response.chunk());
        let chunk = next.map_err(|error| {
            let kind = if error.is_timeout() {
                io::ErrorKind::TimedOut
            } else {
                io::ErrorKind::ConnectionAborted
            };
            io::Error::new(kind, chain(&error))
        })?;
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        self.chunk.clear();
        self.chunk.extend_from_slice(&chunk);
        self.taken = 0;
        self.window_bytes += chunk.len() as u64;
        let elapsed = self.window_start.elapsed();
        if elapsed >= self.window {
            if too_slow(self.window_bytes, elapsed) {
                let text = format!("the server sends less than {MINIMUM_RATE} bytes a second");
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            self.window_start = Instant::now();
            self.window_bytes = 0;
        }
        Ok(true)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() {
            if !self.next()? {
                return Ok(0);
            }
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

fn too_slow(bytes: u64, elapsed: Duration) -> bool {
    u128::from(bytes) * 1000 < elapsed.as_millis() * u128::from(MINIMUM_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drip_is_too_slow_and_a_modem_is_not() {
        let minute = Duration::from_mins(1);
        assert!(too_slow(60, minute));
        assert!(!too_slow(5_000 * 60, minute));
        assert!(!too_slow(0, Duration::ZERO));
    }
}
