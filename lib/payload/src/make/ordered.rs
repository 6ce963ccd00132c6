//! Work in parallel, results in order, a bounded number of them waiting.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};

/// Results, beyond one a thread, that may wait for an earlier one.
const AHEAD: usize = 3;

struct Tickets {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    next: usize,
    limit: usize,
    stopped: bool,
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece to work on; none when all are given out or work stopped.
    fn take(&self, count: usize) -> Option<usize> {
        let waiting = |state: &mut State| !state.stopped && state.next < count && state.next >= state.limit;
        let mut state = self
            .changed
            .wait_while(self.lock(), waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopped || state.next >= count {
            return None;
        }
        state.next += 1;
        Some(state.next - 1)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Wakes the others when its thread ends, so that a panic in one is not waited for by the rest.
struct StopIfPanicking<'a>(&'a Tickets);

impl Drop for StopIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.update(|state| state.stopped = true);
        }
    }
}

/// Runs `work` for 0 to `count` in `threads` threads and hands the results to `take` in order, in the calling thread.
///
/// # Errors
/// The first by order, of `work` or of `take`; no further work is begun.
pub(super) fn run<T: Send, E: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E>,
) -> Result<(), E> {
    let ahead = threads + AHEAD;
    let tickets = Tickets {
        state: Mutex::new(State {
            next: 0,
            limit: ahead,
            stopped: false,
        }),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        for _ in 0..threads.min(count) {
            let (sender, tickets, work) = (sender.clone(), &tickets, &work);
            scope.spawn(move || {
                let _guard = StopIfPanicking(tickets);
                while let Some(index) = tickets.take(count) {
                    if sender.send((index, work(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut expected = 0;
        for (index, result) in results {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&expected) {
                if let Err(error) = result.and_then(|result| take(expected, result)) {
                    tickets.update(|state| state.stopped = true);
                    return Err(error);
                }
                expected += 1;
                tickets.update(|state| state.limit = expected + ahead);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 7] {
            let mut seen = Vec::new();
            let work = |index: usize| {
                // Later pieces are done sooner.
                (0..(50 - index) * 1000).for_each(|step| _ = std::hint::black_box(step));
                Ok::<_, ()>(index * 2)
            };
            run(threads, 50, work, |index, result| {
                seen.push((index, result));
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..50).map(|index| (index, index * 2)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_by_order_ends_the_work() {
        let work = |index| if index % 10 == 7 { Err(index) } else { Ok(()) };
        let mut taken = 0;
        let result = run(4, 1000, work, |_, ()| {
            taken += 1;
            Ok(())
        });
        assert_eq!((result, taken), (Err(7), 7));
        assert_eq!(
            run(4, 1000, Ok, |index, _: usize| if index == 3 {
                Err(index)
            } else {
                Ok(())
            }),
            Err(3)
        );
    }
}
