//! Ended jobs go when they are old, or when there is too much in the store.

use super::step::{Out, forget};
use crate::change::Change;
use crate::command::{Command, Note, Swept};
use crate::id::JobId;
use crate::limit;
use crate::tables::Tables;

/// When something is due to go, milliseconds since 1970.
pub(crate) fn next(t: &Tables) -> Option<u64> {
    let ended = t.jobs.first_ended().filter(|_| t.config.keep_ms > 0);
    let ended = ended.map(|(ended_ms, _)| ended_ms.saturating_add(t.config.keep_ms));
    [ended, t.requests.next()].into_iter().flatten().min()
}

/// Forgets what was kept for its time, some of it each turn.
pub(crate) fn by_age(t: &mut Tables, out: &mut Out) {
    let wall_ms = t.clock.wall_ms();
    for _ in 0..limit::TURN_SWEPT_MAX {
        let Some(request_id) = t.requests.pop_due(wall_ms) else {
            break;
        };
        out.push(Command::Persist(Change::RequestForgotten(request_id)));
    }
    if t.config.keep_ms > 0 {
        let mut left = limit::TURN_SWEPT_MAX;
        while left > 0
            && let Some((ended_ms, id)) = t.jobs.first_ended()
            && ended_ms.saturating_add(t.config.keep_ms) <= wall_ms
        {
            sweep(t, out, id, Swept::Age);
            left -= 1;
        }
    }
    t.marks.more |= next(t).is_some_and(|due| due <= wall_ms);
}

/// Forgets the job that ended first when there is more in the store than should be kept. One at
/// a time: how much it frees is seen when it is gone from the disk, and then this is told again.
pub(crate) fn by_size(t: &mut Tables, out: &mut Out, live_bytes: u64) {
    if t.config.keep_bytes == 0 || live_bytes <= t.config.keep_bytes {
        return;
    }
    if let Some((_, id)) = t.jobs.first_ended() {
        sweep(t, out, id, Swept::Size);
    }
}

fn sweep(t: &mut Tables, out: &mut Out, job: JobId, why: Swept) {
    forget::forget(t, out, job);
    out.push(Command::Note(Note::JobSwept { job, why }));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Env;
    use super::*;
    use crate::command::{Refusal, Reply};
    use crate::config::Config;
    use crate::event::Event;

    fn env(keep_ms: u64, keep_bytes: u64) -> Env {
        let config = Config {
            keep_ms,
            keep_bytes,
            ..Config::default()
        };
        Env::with(config)
    }

    /// The wall's clock goes on.
    fn later(env: &mut Env, ms: u64) {
        env.now.wall_ms += ms;
        env.turn([]);
        env.settle();
    }

    #[test]
    fn ended_jobs_go_at_their_age_and_running_ones_stay() {
        let mut env = env(60_000, 0);
        let old = env.submit_range(0);
        env.advance(30_000);
        let (young, runs) = (env.submit_range(0), env.submit_range(5));
        env.advance(29_999);
        assert!(env.machine.job_view(old).is_some());
        env.advance(1);
        assert!(env.machine.job_view(old).is_none());
        let note = Note::JobSwept {
            job: old,
            why: Swept::Age,
        };
        assert!(env.notes.contains(&note));
        assert!(env.machine.job_view(young).is_some());
        later(&mut env, 3_600_000);
        assert!(env.machine.job_view(young).is_none());
        assert!(env.machine.job_view(runs).is_some());
        let unknown = env.refused(|reply| Event::Cancel { reply, job: old });
        assert!(unknown.to_string().contains("swept"), "{unknown}");
    }

    #[test]
    fn without_settings_nothing_ever_goes() {
        let mut env = env(0, 0);
        let job = env.submit_range(0);
        env.turn([Event::Stored {
            live_bytes: u64::MAX,
        }]);
        later(&mut env, 10 * 365 * 24 * 3_600_000);
        assert!(env.machine.job_view(job).is_some());
    }

    #[test]
    fn for_room_the_job_that_ended_first_goes_and_only_as_often_as_is_told() {
        let mut env = env(0, 1_000);
        let (first, second) = (env.submit_range(0), env.submit_range(0));
        env.turn([Event::Stored { live_bytes: 1_000 }]);
        assert!(env.machine.job_view(first).is_some(), "it fits");
        env.turn([Event::Stored { live_bytes: 1_001 }]);
        assert!(env.machine.job_view(first).is_none());
        env.advance(60_000);
        assert!(env.machine.job_view(second).is_some());
    }

    #[test]
    fn a_request_id_outlives_its_job_by_a_day_and_a_restart() {
        let mut env = env(60_000, 0);
        let submit =
            |env: &mut Env| env.propose(0, |proposal| proposal.request_id = "once".to_owned());
        let Reply::Created { job, .. } = submit(&mut env) else {
            panic!("it is accepted");
        };
        let job = job.record.id;
        env.advance(60_000);
        env.restart();
        let spent = Reply::Refused(Refusal::RequestIdSpent {
            request_id: "once".to_owned(),
            job,
        });
        assert_eq!(submit(&mut env), spent);
        later(&mut env, limit::REQUEST_ID_KEPT_MS);
        env.restart();
        assert!(matches!(
            submit(&mut env),
            Reply::Created { existed: false, .. }
        ));
    }

    #[test]
    fn many_are_swept_over_several_turns() {
        let mut env = env(1_000, 0);
        let jobs = limit::TURN_SWEPT_MAX as u64 + 3;
        for _ in 0..jobs {
            env.submit_range(0);
        }
        env.now.wall_ms += 1_000;
        env.turn([]);
        assert_eq!(env.machine.cluster().jobs_kept, 3);
        env.settle();
        assert_eq!(env.machine.cluster().jobs_kept, 0);
    }
}
