//! How often one address may ask: a token bucket for each, in a table of bounded size.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many addresses are remembered in each of the table's two halves.
const REMEMBERED: usize = 16 * 1024;

/// How many requests an address may make: `burst` at once, and one more every `1 / per_second`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// What comes back each second.
    pub per_second: f64,
    /// The most that can be saved up.
    pub burst: f64,
}

/// The buckets of all addresses.
pub(super) struct RateLimit {
    rate: Rate,
    table: Mutex<Table>,
}

/// When the younger half is full it becomes the older one, and what was in the older one is forgotten. So the table is
/// bounded, the busiest stay in it, and nothing ever has to be searched for what to throw away.
#[derive(Default)]
struct Table {
    young: HashMap<IpAddr, Bucket>,
    old: HashMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl RateLimit {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            table: Mutex::default(),
        }
    }

    /// Takes one from the bucket of `address`.
    ///
    /// # Errors
    /// How long to wait when it is empty.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.change(address, now, |bucket| {
            if bucket.left < 1.0 {
                return Err(Duration::from_secs_f64((1.0 - bucket.left) / self.rate.per_second));
            }
            bucket.left -= 1.0;
            Ok(())
        })
    }

    /// Whether the bucket of `address` is empty, without taking anything.
    pub(super) fn is_empty(&self, address: IpAddr, now: Instant) -> bool {
        self.change(address, now, |bucket| bucket.left < 1.0)
    }

    fn change<T>(&self, address: IpAddr, now: Instant, with: impl FnOnce(&mut Bucket) -> T) -> T {
        let key = network(address);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let known = table.young.remove(&key).or_else(|| table.old.remove(&key));
        let mut bucket = known.unwrap_or(Bucket {
            left: self.rate.burst,
            at: now,
        });
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate.per_second;
        bucket.left = (bucket.left + gained).min(self.rate.burst);
        bucket.at = now;
        let result = with(&mut bucket);
        if table.young.len() >= REMEMBERED {
            table.old = std::mem::take(&mut table.young);
        }
        table.young.insert(key, bucket);
        result
    }
}

/// Whoever has one IPv6 address usually has the 2^64 beside it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 2.0,
        burst: 3.0,
    };

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(n).into()
    }

    #[test]
    fn burst_then_one_at_a_time() {
        let limit = RateLimit::new(RATE);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limit.take(address(1), start), Ok(()));
        }
        assert_eq!(limit.take(address(1), start), Err(Duration::from_millis(500)));
        assert!(limit.is_empty(address(1), start));
        assert_eq!(limit.take(address(2), start), Ok(()), "others have their own");
        let later = start + Duration::from_millis(600);
        assert_eq!(limit.take(address(1), later), Ok(()));
        assert!(limit.take(address(1), later).is_err());
    }

    #[test]
    fn table_is_bounded_and_keeps_the_busy_ones() {
        let limit = RateLimit::new(RATE);
        let start = Instant::now();
        while limit.take(address(1), start).is_ok() {}
        for n in 2..200_000 {
            let _ = limit.take(address(n), start);
            if n % 1000 == 0 {
                assert!(limit.is_empty(address(1), start), "forgotten after {n}");
            }
        }
        let table = limit.table.lock().unwrap();
        assert!(table.young.len() + table.old.len() <= 2 * REMEMBERED);
    }

    #[test]
    fn neighbours_of_one_ipv6_network_share_a_bucket() {
        let limit = RateLimit::new(RATE);
        let start = Instant::now();
        for n in 0..3 {
            assert!(limit.take(format!("2001:db8::{n}").parse().unwrap(), start).is_ok());
        }
        assert!(limit.take("2001:db8::9".parse().unwrap(), start).is_err());
        assert!(limit.take("2001:db8:0:1::9".parse().unwrap(), start).is_ok());
    }
}
