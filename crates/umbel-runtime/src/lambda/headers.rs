//! What the headers of an invocation say.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::context::Context;

/// What stands for "no deadline" where a client needs one.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// An id that no other attempt has, not even another of the same number: a lease that was lost
/// may come back to the worker that had it.
pub(super) fn request_id(context: &Context<'_>) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let job: String = context
        .job_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    format!("{job}-{}-{}-{count}", context.index, context.attempt)
}

/// A trace of its own for each invocation, in the form that clients parse; not sampled.
pub(super) fn trace_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seconds = since_1970().as_secs();
    let process = std::process::id();
    format!("Root=1-{seconds:08x}-{process:08x}{count:016x};Parent={count:016x};Sampled=0")
}

/// The deadline as milliseconds since 1970.
pub(super) fn deadline_ms(deadline: Option<Instant>) -> u64 {
    let left = deadline.map_or(NO_DEADLINE, |at| {
        at.saturating_duration_since(Instant::now())
    });
    u64::try_from(since_1970().saturating_add(left).as_millis()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    // A clock before 1970 is no clock; clients then see a deadline that has passed.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::CancelFlag;
    use crate::context::testing::context;

    #[test]
    fn an_id_is_readable_and_never_the_same() {
        let cancel = CancelFlag::new();
        let odd = Context {
            job_id: "a/b c",
            ..context(&cancel)
        };
        let (one, other) = (request_id(&odd), request_id(&odd));
        assert!(one.starts_with("abc-7-1-"), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn a_deadline_is_told_as_a_moment() {
        let now = deadline_ms(Some(Instant::now()));
        let later = deadline_ms(Some(Instant::now() + Duration::from_secs(60)));
        assert!((59_000..61_000).contains(&(later - now)), "{now} {later}");
        assert!(deadline_ms(None) > later);
    }
}
