//! The machine driven at random: whatever happens, every invocation ends once.

use super::testing::{Env, Process, failed};
use crate::command::Note;
use crate::event::Event;
use crate::id::{Appender, InvokeId, JobId, LeaseId};
use crate::job::{BlockRef, StartMode, Target};
use crate::message::{Begun, FromWorker, InvokeDone};
use crate::outcome::FailureKind;
use crate::policy::Tolerance;
use crate::ranges::Ranges;
use crate::redrive::Filter;

/// Knuth's MMIX generator, seeded by the test.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn roll32(&mut self, sides: u32) -> u32 {
        u32::try_from(self.roll(u64::from(sides))).unwrap()
    }
}

struct Play {
    env: Env,
    dice: Dice,
    jobs: Vec<JobId>,
    born: u64,
}

impl Play {
    fn pick_worker(&mut self) -> Option<String> {
        let live = self.env.workers.iter().filter(|(_, w)| w.session.is_some());
        let names: Vec<String> = live.map(|(name, _)| name.clone()).collect();
        let at = self.dice.roll(names.len().max(1) as u64);
        names.get(usize::try_from(at).unwrap()).cloned()
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..6 => self.submit(),
            6..12 => self.join(),
            12..60 => self.report(),
            60..66 => self.begin(),
            66..74 => self.answer(),
            74..77 => self.part(),
            77..80 => self.poison(),
            80..82 => self.restart(),
            82..84 => self.cancel(),
            88..91 => self.redrive(),
            84..87 => self.invoke(),
            87..88 => self.leave(),
            _ => {
                let ms = 1 + self.dice.roll(400);
                self.env.advance(ms);
            }
        }
    }

    fn submit(&mut self) {
        if self.jobs.len() > 12 {
            return;
        }
        if self.dice.roll(3) == 0 {
            return self.upload();
        }
        let count = self.dice.roll32(400);
        let dice = &mut self.dice;
        let job = self.env.submit(count, |proposal| {
            let policy = &mut proposal.spec.policy;
            policy.priority = i32::try_from(dice.roll(2)).unwrap();
            policy.max_concurrency = (dice.roll(3) == 0).then(|| 1 + dice.roll32(5));
            policy.tolerate = match dice.roll(4) {
                0 => Some(Tolerance::Count(dice.roll(20))),
                1 => Some(Tolerance::BasisPoints(dice.roll32(2_000))),
                _ => None,
            };
            policy.enough = (dice.roll(6) == 0).then(|| 1 + dice.roll(200));
            if dice.roll(5) == 0 {
                policy.no_retry_on.insert("lost".to_owned());
            }
            if dice.roll(4) == 0 {
                policy.require.insert("disk".to_owned(), "ssd".to_owned());
                policy.place_timeout_ms = Some(3_000);
            }
            if dice.roll(10) == 0 {
                policy.deadline_ms = Some(1 + dice.roll(20_000));
            }
        });
        self.jobs.push(job);
    }

    fn upload(&mut self) {
        let mode =
            [StartMode::AsAppended, StartMode::AsSealed][usize::from(self.dice.roll(2) == 0)];
        let id = self.env.submit_open(mode);
        self.env.ask(|reply| Event::OpenAppend { reply, job: id });
        let mut total = 0;
        for _ in 0..self.dice.roll(5) {
            let block = BlockRef {
                first: total,
                count: 1 + self.dice.roll32(100),
                bytes: self.dice.roll32(3_000_000),
                appender: Appender(1),
            };
            total += block.count;
            self.env.ask(|reply| Event::Append {
                reply,
                job: id,
                block,
            });
        }
        let total = u64::from(total);
        self.env.ask(|reply| Event::Seal {
            reply,
            job: id,
            total,
        });
        self.jobs.push(id);
    }

    fn join(&mut self) {
        let away = self.env.workers.iter().find(|(_, w)| w.session.is_none());
        if let Some(name) = away.map(|(name, _)| name.clone()) {
            // Something may have been lost on the way to it.
            if self.dice.roll(3) == 0 {
                self.env.workers.get_mut(&name).unwrap().open.pop_last();
            }
            return self.env.connect(&name);
        }
        if self.env.workers.len() < 5 {
            self.born += 1;
            let name = format!("w{}", self.born);
            let ssd = self.dice.roll(2) == 0;
            let slots = 1 + self.dice.roll32(6);
            self.env.worker_with(&name, slots, |worker| {
                if ssd {
                    worker.labels.insert("disk".to_owned(), "ssd".to_owned());
                }
            });
        }
    }

    fn pick_lease(&mut self) -> Option<(String, LeaseId, Ranges)> {
        let name = self.pick_worker()?;
        let open = self.env.open(&name);
        let at = self.dice.roll(open.len().max(1) as u64);
        let (lease, indices) = open.get(usize::try_from(at).unwrap())?.clone();
        Some((name, lease, indices))
    }

    fn report(&mut self) {
        let Some((name, lease, mut indices)) = self.pick_lease() else {
            return;
        };
        let count = self.dice.roll(indices.len() + 3);
        let _later = indices.split_off(count);
        let mut succeeded = Ranges::new();
        let mut attempts = Vec::new();
        for index in indices.indices() {
            if index == 13 && self.dice.roll(4) > 0 {
                continue;
            }
            match self.dice.roll(20) {
                0 => attempts.push(failed(index, FailureKind::Function)),
                1 if self.dice.roll(9) == 0 => attempts.push(failed(index, FailureKind::Rejected)),
                _ => succeeded.insert(index),
            }
        }
        let each_us = [20, 3_000, 900_000][usize::try_from(self.dice.roll(3)).unwrap()];
        self.env
            .report(&name, lease, (succeeded, attempts), each_us);
    }

    fn begin(&mut self) {
        if let Some((name, lease, indices)) = self.pick_lease() {
            let most = u32::try_from(indices.len()).unwrap();
            let count = self.dice.roll32(most + 2);
            let begun = vec![Begun { lease, count }];
            self.env.say(&name, FromWorker::Heartbeat(begun));
        }
    }

    fn answer(&mut self) {
        if let Some(name) = self.pick_worker() {
            self.env.give_back(&name);
        }
    }

    /// A stream breaks; sometimes the process is gone with it.
    fn part(&mut self) {
        if let Some(name) = self.pick_worker() {
            self.env.cut(&name);
            if self.dice.roll(2) == 0 {
                self.env.workers.remove(&name);
            }
        }
    }

    /// Input 13 of every job takes its worker down, if it is what the dice fall on.
    fn poison(&mut self) {
        let holds = |(_, worker): &(&String, &Process)| {
            let mut open = worker.open.values();
            worker.session.is_some() && open.any(|indices| indices.contains(13))
        };
        let name = self.env.workers.iter().find(holds);
        if let Some(name) = name.map(|(name, _)| name.clone()) {
            self.env.kill(&name);
        }
    }

    fn restart(&mut self) {
        self.env.restart();
        self.env.workers.retain(|_, _| self.dice.roll(4) > 0);
    }

    fn cancel(&mut self) {
        let at = usize::try_from(self.dice.roll(20)).unwrap();
        if let Some(job) = self.jobs.get(at).copied() {
            self.env.ask(|reply| Event::Cancel { reply, job });
        }
    }

    fn redrive(&mut self) {
        let at = self.dice.roll(self.jobs.len().max(1) as u64);
        let Some(&job) = self.jobs.get(usize::try_from(at).unwrap()) else {
            return;
        };
        let mut filter = Filter {
            failed: self.dice.roll(2) == 0,
            cancelled: self.dice.roll(2) == 0,
            ..Filter::default()
        };
        if self.dice.roll(3) == 0 || filter.is_empty() {
            let begin = self.dice.roll32(100);
            let run = begin..begin + 1 + self.dice.roll32(200);
            filter.indices = Some(Ranges::one(run));
        }
        let wish = self.env.wish(job, filter);
        self.env.redrive(job, wish);
    }

    fn invoke(&mut self) {
        if let Some(name) = self.pick_worker() {
            let waiting = std::mem::take(&mut self.env.workers.get_mut(&name).unwrap().invokes);
            for invoke in waiting {
                let done = InvokeDone {
                    id: invoke.id,
                    outcome: Ok(invoke.input),
                    duration_us: 5,
                    cpu_us: None,
                    cold_start: None,
                };
                self.env.say(&name, FromWorker::InvokeDone(done));
            }
        }
        let id = InvokeId(self.env.next());
        let reply = crate::id::ReplyId(self.env.next());
        self.env.turn([Event::Invoke {
            reply,
            id,
            target: Target::Function("umbel.echo".to_owned()),
            input: bytes::Bytes::new(),
            timeout_ms: 700,
            decided: None,
        }]);
    }

    fn leave(&mut self) {
        if let Some(name) = self.pick_worker() {
            self.env.say(&name, FromWorker::Leaving);
        }
    }

    /// All is well from here on: what was begun comes to its end.
    fn come_to_rest(&mut self) {
        for name in self.env.workers.keys().cloned().collect::<Vec<_>>() {
            self.env.cut(&name);
        }
        self.env.workers.clear();
        self.env.advance(20_000);
        for name in ["last", "least"] {
            self.env.worker_with(name, 4, |worker| {
                worker.labels.insert("disk".to_owned(), "ssd".to_owned());
            });
        }
        for _ in 0..400 {
            self.env.work_off();
            if self.env.machine.cluster().jobs_running == 0 {
                return;
            }
            self.env.advance(500);
        }
        panic!("some job never ends: {:?}", self.env.machine.cluster());
    }
}

/// What a play came to see, so that the test would notice if it saw nothing.
#[derive(Debug, Default)]
struct Seen {
    expired: usize,
    kept: usize,
    crashed: usize,
    ignored: usize,
    cancelled: usize,
    redriven: usize,
}

fn play(seed: u64, steps: u32, seen: &mut Seen) {
    let mut play = Play {
        env: Env::new(),
        dice: Dice(seed),
        jobs: Vec::new(),
        born: 0,
    };
    for _ in 0..steps {
        play.step();
    }
    for _ in 0..30 {
        play.join();
        play.poison();
        play.report();
    }
    play.come_to_rest();
    let env = &play.env;
    assert!(env.disk.leases.is_empty(), "{:?}", env.disk.leases);
    assert!(env.closed.is_empty(), "{:?}", env.closed);
    seen.ignored += env.ignored.len();
    for note in &env.notes {
        match note {
            Note::LeaseExpired { .. } => seen.expired += 1,
            Note::WorkerJoined { kept, .. } => seen.kept += kept,
            Note::CrashLimit { .. } => seen.crashed += 1,
            Note::JobRedriven { .. } => seen.redriven += 1,
            _ => {}
        }
    }
    for job in &play.jobs {
        let view = env.view(*job);
        let counts = view.counts;
        let ended = (JobId(job.0), 0)..=(*job, u32::MAX);
        let ended: Vec<&str> = env.disk.ended.range(ended).map(|(_, how)| *how).collect();
        let count = |how| ended.iter().filter(|other| **other == how).count() as u64;
        assert_eq!(count("succeeded"), counts.succeeded);
        assert_eq!(count("failed"), counts.failed);
        assert_eq!(count("cancelled"), counts.cancelled);
        assert_eq!(ended.len() as u64, counts.total, "all ended");
        assert_eq!(counts.waiting + counts.leased, 0);
        seen.cancelled += usize::from(counts.cancelled > 0);
    }
}

#[test]
fn whatever_happens_every_invocation_ends_once() {
    let mut seen = Seen::default();
    for seed in 0..30 {
        play(seed, 400, &mut seen);
    }
    let Seen {
        expired,
        kept,
        crashed,
        ignored,
        cancelled,
        redriven,
    } = seen;
    let least = [expired, kept, crashed, ignored, cancelled, redriven]
        .into_iter()
        .min();
    assert!(least > Some(0), "the dice missed something: {seen:?}");
}

#[test]
fn the_same_events_give_the_same_commands() {
    let disk = |seed| {
        let mut play = Play {
            env: Env::new(),
            dice: Dice(seed),
            jobs: Vec::new(),
            born: 0,
        };
        for _ in 0..150 {
            play.step();
        }
        format!("{:?}", play.env.disk)
    };
    assert_eq!(disk(7), disk(7));
}
