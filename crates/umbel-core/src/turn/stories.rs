//! The machine's life in stories.

use super::testing::{Env, failed, run};
use crate::job::JobState;
use crate::outcome::FailureKind;

#[test]
fn a_job_is_spread_worked_off_and_ends() {
    let mut env = Env::new();
    env.worker("a", 4);
    env.worker("b", 4);
    let job = env.submit_range(100_000);
    assert_eq!(
        env.open_len("a"),
        4,
        "one for each slot until it is measured"
    );
    assert_eq!(env.open_len("b"), 4);
    env.work_off();
    assert_eq!(env.state(job), JobState::Succeeded);
    assert_eq!(env.counts(job).succeeded, 100_000);
    assert_eq!(env.view(job).usage.attempts, 100_000);
    assert!(env.disk.leases.is_empty(), "no lease is left on disk");
    assert_eq!(env.disk.ended.len(), 100_000);
    assert_eq!(env.ignored, []);
}

#[test]
fn what_fails_runs_again_after_its_backoff_until_attempts_are_used_up() {
    let mut env = Env::new();
    env.worker("a", 1);
    let job = env.submit_range(1);
    for attempt in 1..=3 {
        assert_eq!(env.state(job), JobState::Running);
        let (lease, indices) = env.open("a").remove(0);
        assert_eq!(env.workers["a"].held[&lease].head.attempt, attempt);
        assert_eq!(indices, run(0..1));
        let attempts = vec![failed(0, FailureKind::Function)];
        env.report("a", lease, (run(0..0), attempts), 10);
        env.advance(1_000);
    }
    let view = env.view(job);
    assert_eq!(view.status.state, JobState::Failed);
    assert_eq!(view.counts.failed, 1);
    assert_eq!(view.usage.attempts, 3);
}
