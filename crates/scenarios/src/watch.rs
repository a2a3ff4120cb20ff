//! Work that takes long, and can be told to stop.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::Interrupt;

/// Between two looks at whether the user wants a stop, which take microseconds.
const LOOK: Duration = Duration::from_millis(50);

/// Does `work` and calls `cancel`, once, when the user wants it to stop, or when `timeout` has passed, which comes back
/// beside its result.
pub(crate) fn watched<T>(
    interrupt: &dyn Interrupt,
    timeout: Option<Duration>,
    cancel: impl Fn() + Send,
    work: impl FnOnce() -> T,
) -> (T, bool) {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let (over, ended) = channel::<()>();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            // Something is sent, or the sender is gone, when the work is done.
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
                let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if is_late || interrupt.is_requested() {
                    cancel();
                    return is_late;
                }
            }
            false
        });
        let result = work();
        drop(over);
        (result, watcher.join().unwrap_or(false))
    })
}

#[cfg(test)]
mod tests {
    use virtmark_load::Cancel;

    use super::*;

    struct Wish(bool);

    impl Interrupt for Wish {
        fn is_requested(&self) -> bool {
            self.0
        }

        fn wait(&self, timeout: Duration) -> bool {
            thread::sleep(timeout);
            self.0
        }
    }

    /// Works until it is told to stop, or for as long as `longest`, and says whether it was told.
    fn work(wish: &Wish, timeout: Option<Duration>, longest: Duration) -> (bool, bool) {
        let cancel = Cancel::new();
        watched(
            wish,
            timeout,
            || cancel.cancel(),
            || {
                let deadline = Instant::now() + longest;
                while !cancel.is_cancelled() && Instant::now() < deadline {
                    thread::sleep(Duration::from_millis(1));
                }
                cancel.is_cancelled()
            },
        )
    }

    #[test]
    fn work_is_told_to_stop_at_the_limit_and_by_the_user_and_only_the_limit_is_late() {
        let long = Duration::from_secs(60);
        assert_eq!(work(&Wish(false), Some(Duration::from_millis(10)), long), (true, true));
        assert_eq!(work(&Wish(true), Some(long), long), (true, false));
        assert_eq!(work(&Wish(true), None, long), (true, false));
        let started = Instant::now();
        assert_eq!(work(&Wish(false), Some(long), Duration::ZERO), (false, false));
        assert_eq!(work(&Wish(false), None, Duration::ZERO), (false, false));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
