//! What simulated slots run, one invocation after the other.

use std::sync::Arc;

use umbel_core::id::{Index, JobId, WorkerId};
use umbel_core::job::Usage;
use umbel_core::message::InvokeDone;
use umbel_core::outcome::{FailedAttempt, FailureKind};
use umbel_core::ranges::Ranges;
use umbel_core::worker::{Origin, Part, Piece};
use umbel_proto::convert::Inputs;

use crate::agenda::What;
use crate::function::{Behaviour, NOT_FETCHED, TIMED_OUT, failure, output};
use crate::model::Loss;
use crate::seat::{Ended, Held, HeldInputs, Run, Work};
use crate::world::World;

/// What ends an invocation.
enum End {
    Outcome(Result<Vec<u8>, (umbel_core::outcome::Failure, bool)>),
    TimedOut,
    Crashed,
}

impl World {
    /// Free slots pull what they run next.
    pub(crate) fn fill_slots(&mut self, seat: usize) {
        let now_us = self.now_us();
        let mut begun = Vec::new();
        let at = self.seats.get_mut(seat);
        let Some(process) = at.and_then(|at| at.running.as_mut()) else {
            return;
        };
        let number = process.number;
        for (slot, place) in process.slots.iter_mut().enumerate() {
            if !matches!(place.work, Work::Free) {
                continue;
            }
            let Some(piece) = process.machine.pull(slot) else {
                continue;
            };
            place.run += 1;
            match piece.origin {
                Origin::Chunk { .. } => {
                    place.work = Work::Runs(Box::new(run(piece, now_us)));
                    begun.push(slot);
                }
                Origin::Invoke(id) => {
                    let number = invoke_number(&piece.inputs);
                    let target = runs_as(&piece);
                    place.work = Work::Invokes { id, number, target };
                    let run_ms = self.plan.invokes.get(number).map_or(0, |plan| plan.run_ms);
                    let (process, run) = (process.number, place.run);
                    let what = What::Steps {
                        seat,
                        process,
                        slot,
                        run,
                    };
                    self.agenda.add(self.now_ms + run_ms, what);
                }
            }
        }
        for slot in begun {
            self.begin_index(seat, number, slot);
        }
    }

    /// A slot begins the next invocation of its piece.
    fn begin_index(&mut self, seat: usize, process: u64, slot: usize) {
        let (now_ms, now_us) = (self.now_ms, self.now_us());
        let Some(running) = self.seats.get_mut(seat).and_then(|at| at.process(process)) else {
            return;
        };
        let worker = running.id;
        let Some(place) = running.slots.get_mut(slot) else {
            return;
        };
        let Work::Runs(run) = &mut place.work else {
            return;
        };
        let Origin::Chunk { job } = run.piece.origin else {
            return;
        };
        let (index, attempt, number) = (run.next, run.piece.attempt, place.run);
        let Some(client) = self.clients.iter().find(|client| client.owns(job)) else {
            panic!("job {job} runs, and nobody asked for it");
        };
        let found = input(&run.piece.inputs, index);
        assert_eq!(found, client.input(index), "the input {index} of job {job}");
        let full_ms = client.plan().mix.run_ms(index, attempt);
        let run_ms = run
            .piece
            .timeout_ms
            .map_or(full_ms, |timeout_ms| full_ms.min(timeout_ms));
        run.times_out = run_ms < full_ms;
        run.began_us = now_us;
        let limit = client.plan().spec.policy.max_concurrency;
        self.model.grants.started(worker, job, index, now_ms);
        if let Some(limit) = limit {
            self.model.grants.judge_concurrency(job, limit);
        }
        self.later(
            run_ms,
            What::Steps {
                seat,
                process,
                slot,
                run: number,
            },
        );
    }

    /// What a slot runs has ended an invocation.
    pub(crate) fn steps(&mut self, seat: usize, process: u64, slot: usize, number: u64) {
        let what = What::Steps {
            seat,
            process,
            slot,
            run: number,
        };
        let now_us = self.now_us();
        let Some(running) = self.working(seat, process, what) else {
            return;
        };
        let worker = running.id;
        let place = running
            .slots
            .get_mut(slot)
            .filter(|place| place.run == number);
        let Some(place) = place else { return };
        let (job, index, attempt, target, times_out) = match &place.work {
            Work::Runs(run) => match run.piece.origin {
                Origin::Chunk { job } => {
                    let target = runs_as(&run.piece);
                    (job, run.next, run.piece.attempt, target, run.times_out)
                }
                Origin::Invoke(_) => return,
            },
            Work::Invokes { .. } => return self.invoke_ends(seat, process, slot),
            Work::Free | Work::Stops => return,
        };
        let end = self.end_of((job, index), target.as_deref(), attempt, times_out);
        self.stopped(worker, job, index);
        let Some(run) = self.run_of(seat, process, slot) else {
            return;
        };
        let duration_us = now_us - run.began_us;
        run.usage.attempts += 1;
        run.usage.duration_us += duration_us;
        let started_at_us = run.began_us;
        let mut failed = |failure, no_retry| {
            let cpu_us = None;
            let attempt = FailedAttempt {
                index,
                failure,
                started_at_us,
                duration_us,
                cpu_us,
                cold_start: None,
                no_retry,
            };
            run.failed.push(attempt);
        };
        match end {
            End::Crashed => {
                let silent = self.dice.chance(30);
                self.process_dies(seat, Loss::Input, silent);
                let wait_ms = self.dice.between(20..=1_000);
                return self.later(wait_ms, What::SeatStarts(seat));
            }
            End::TimedOut => failed(failure(FailureKind::Timeout, TIMED_OUT), false),
            End::Outcome(Ok(output)) => {
                run.succeeded.push(index..index + 1);
                run.rows.push(Ended {
                    output,
                    duration_us,
                    started_at_us,
                });
            }
            End::Outcome(Err((failure, no_retry))) => failed(failure, no_retry),
        }
        run.next += 1;
        self.go_on(seat, process, slot, times_out);
    }

    fn end_of(
        &self,
        (job, index): (JobId, Index),
        target: Option<&str>,
        attempt: u32,
        times_out: bool,
    ) -> End {
        let Some(target) = target else {
            return End::Outcome(Err((failure(FailureKind::Rejected, NOT_FETCHED), false)));
        };
        let behaviour = self.behaviour(job, index);
        let client = self.clients.iter().find(|client| client.owns(job));
        match (behaviour, client) {
            _ if times_out => End::TimedOut,
            (Some(Behaviour::Crashes), _) => End::Crashed,
            (Some(behaviour), Some(client)) => {
                End::Outcome(behaviour.outcome(target, &client.input(index), attempt))
            }
            _ => panic!("job {job} runs, and nobody asked for it"),
        }
    }

    /// What an input does by the plan.
    pub(crate) fn behaviour(&self, job: JobId, index: Index) -> Option<Behaviour> {
        let client = self.clients.iter().find(|client| client.owns(job))?;
        Some(client.plan().mix.behaviour(index))
    }

    fn run_of(&mut self, seat: usize, process: u64, slot: usize) -> Option<&mut Run> {
        let running = self.seats.get_mut(seat)?.process(process)?;
        match &mut running.slots.get_mut(slot)?.work {
            Work::Runs(run) => Some(run),
            _ => None,
        }
    }

    /// Behind an invocation: the next of the piece, or its end.
    fn go_on(&mut self, seat: usize, process: u64, slot: usize, timed_out: bool) {
        let now_us = self.now_us();
        // What cannot be stopped keeps its slot for a while.
        let hangs = timed_out && self.dice.chance(50);
        let (gives_up, cuts) = (self.dice.chance(3), self.dice.chance(30));
        let Some(running) = self.seats.get_mut(seat).and_then(|at| at.process(process)) else {
            return;
        };
        let Some(place) = running.slots.get_mut(slot) else {
            return;
        };
        let Work::Runs(run) = &mut place.work else {
            return;
        };
        if run.next < run.end && !gives_up && !hangs {
            if cuts && now_us - run.began_piece_us > 10_000 && run.next + 1 < run.end {
                run.end = run.next + 1;
                running.machine.cut(slot, run.end);
            }
            self.begin_index(seat, process, slot);
            return self.pump(seat);
        }
        let part = part(run);
        let run = place.run;
        if hangs {
            place.work = Work::Stops;
            running.machine.timed_out(now_us, slot, part);
            let wait_ms = self.dice.below(100);
            self.later(
                wait_ms,
                What::Freed {
                    seat,
                    process,
                    slot,
                    run,
                },
            );
        } else {
            place.work = Work::Free;
            running.machine.finished(now_us, slot, part);
        }
        self.pump(seat);
        self.later(11, What::Pump { seat, process });
    }

    fn invoke_ends(&mut self, seat: usize, process: u64, slot: usize) {
        let Some(running) = self.seats.get_mut(seat).and_then(|at| at.process(process)) else {
            return;
        };
        let Some(place) = running.slots.get_mut(slot) else {
            return;
        };
        let Work::Invokes { id, number, target } = &place.work else {
            return;
        };
        let id = *id;
        let outcome = match target {
            Some(target) => Ok(output(target, number.to_string().as_bytes()).into()),
            None => Err(failure(FailureKind::Rejected, NOT_FETCHED)),
        };
        place.work = Work::Free;
        let done = InvokeDone {
            id,
            outcome,
            duration_us: 1,
            cpu_us: None,
            cold_start: None,
        };
        running.machine.invoke_finished(slot, done);
        self.pump(seat);
    }

    /// An invocation has ended, or was stopped.
    fn stopped(&mut self, worker: WorkerId, job: JobId, index: Index) {
        if let Some(since_ms) = self.model.grants.stopped(worker, job, index) {
            let ms = self.now_ms - since_ms;
            self.model.fairness.ran(job, ms);
        }
    }

    /// Slots that run what nobody waits for are told to stop.
    pub(crate) fn stop_slots(&mut self, seat: usize, slots: &[usize]) {
        for &slot in slots {
            let wait_ms = self.dice.below(50);
            let at = self.seats.get_mut(seat);
            let Some(process) = at.and_then(|at| at.running.as_mut()) else {
                return;
            };
            let (number, worker) = (process.number, process.id);
            let Some(place) = process.slots.get_mut(slot) else {
                continue;
            };
            let stopped = match &place.work {
                Work::Runs(run) => match run.piece.origin {
                    Origin::Chunk { job } => Some((job, run.next)),
                    Origin::Invoke(_) => None,
                },
                _ => None,
            };
            place.work = Work::Stops;
            let run = place.run;
            if let Some((job, index)) = stopped {
                self.stopped(worker, job, index);
            }
            self.later(
                wait_ms,
                What::Freed {
                    seat,
                    process: number,
                    slot,
                    run,
                },
            );
        }
    }

    pub(crate) fn freed(&mut self, seat: usize, process: u64, slot: usize, run: u64) {
        let what = What::Freed {
            seat,
            process,
            slot,
            run,
        };
        let Some(running) = self.working(seat, process, what) else {
            return;
        };
        let Some(place) = running.slots.get_mut(slot) else {
            return;
        };
        if place.run == run && matches!(place.work, Work::Stops) {
            place.work = Work::Free;
            running.machine.freed(slot);
            self.pump(seat);
        }
    }
}

/// What a piece runs as; none: its version could not be had.
fn runs_as(piece: &Piece<Arc<Held>>) -> Option<String> {
    if !piece.inputs.is_versioned {
        return Some(piece.target.display());
    }
    match piece.inputs.made.get() {
        Some(made) => made.clone(),
        None => panic!("{:?} runs before its version is there", piece.target),
    }
}

fn run(piece: Piece<Arc<Held>>, now_us: u64) -> Run {
    Run {
        next: piece.run.start,
        end: piece.run.end,
        piece,
        began_us: now_us,
        began_piece_us: now_us,
        times_out: false,
        rows: Vec::new(),
        succeeded: Ranges::new(),
        failed: Vec::new(),
        usage: Usage::default(),
    }
}

fn part(run: &mut Run) -> Part<Vec<Ended>> {
    let bytes = run.rows.iter().map(|row| row.output.len() + 4).sum();
    Part {
        run: run.piece.run.start..run.next,
        succeeded: std::mem::take(&mut run.succeeded),
        columns: std::mem::take(&mut run.rows),
        failed: std::mem::take(&mut run.failed),
        usage: run.usage,
        bytes,
    }
}

/// The input of an index, out of what came with its chunk.
fn input(held: &Held, index: Index) -> Vec<u8> {
    match &held.inputs {
        HeldInputs::Chunk(Inputs::Range { begin }) => {
            (begin + u64::from(index)).to_string().into_bytes()
        }
        HeldInputs::Chunk(Inputs::Slices(slices)) => {
            let holds = |first: Index, count: u32| (first..first + count).contains(&index);
            let slice = slices.iter().find(|slice| holds(slice.first, slice.count));
            let Some(slice) = slice else {
                panic!("no slice holds {index}")
            };
            match slice.entries() {
                Ok(entries) => {
                    let at = (index - slice.first) as usize;
                    entries.iter().nth(at).unwrap_or_default().to_vec()
                }
                Err(error) => panic!("the slice that holds {index}: {error}"),
            }
        }
        HeldInputs::Invoke(input) => input.to_vec(),
    }
}

fn invoke_number(held: &Held) -> usize {
    String::from_utf8(input(held, 0))
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
