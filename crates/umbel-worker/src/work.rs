//! What a chunk needs to be run: its function and its inputs.

use std::sync::OnceLock;

use bytes::Bytes;
use umbel_core::cold_start::ColdStart;
use umbel_core::function::VersionId;
use umbel_core::id::{Index, JobId};
use umbel_core::job::Target;
use umbel_core::policy::keeps_log;
use umbel_proto::block::Entries;
use umbel_proto::convert::{InputSlice, Inputs};
use umbel_runtime::{Catalog, Executable, Failure, FailureKind, Program};

use std::sync::Arc;

use crate::shelf::Ready;

/// A chunk, or an invoke, ready to be run.
#[derive(Debug)]
pub(crate) struct Work {
    /// The job's id as its functions see it.
    pub(crate) job_id: String,
    /// Of which invocations that succeed the log is kept.
    log_basis_points: u32,
    /// What runs, or why nothing can; of a version once that is known.
    supplied: OnceLock<Result<Arc<Ready>, Failure>>,
    inputs: Inputs,
    /// The slices once some slot has read them.
    read: OnceLock<Vec<Slice>>,
}

/// A slice whose inputs can be picked.
#[derive(Debug)]
pub(crate) struct Slice {
    first: Index,
    count: u32,
    body: Bytes,
    /// Where each input ends in the body, or what is wrong with the slice.
    ends: Result<Vec<u32>, String>,
}

impl Slice {
    fn read(slice: &InputSlice) -> Self {
        Self {
            first: slice.first,
            count: slice.count,
            body: slice.body.clone(),
            ends: slice
                .entries()
                .map(|entries| ends(&entries))
                .map_err(|error| error.to_string()),
        }
    }

    fn input(&self, index: Index) -> Result<&[u8], Failure> {
        let ends = self.ends.as_ref().map_err(|reason| unreadable(reason))?;
        let at = (index - self.first) as usize;
        let begin = at
            .checked_sub(1)
            .map_or(Some(0), |at| ends.get(at).copied());
        let range = begin.zip(ends.get(at).copied());
        range
            .and_then(|(begin, end)| self.body.get(begin as usize..end as usize))
            .ok_or_else(|| unreadable("it lies outside of its slice"))
    }
}

/// The lengths were checked against the body, which is shorter than a message.
fn ends(entries: &Entries) -> Vec<u32> {
    let mut end = 0_u32;
    let mut ends = Vec::with_capacity(entries.count() as usize);
    for entry in entries {
        end = end.saturating_add(u32::try_from(entry.len()).unwrap_or(u32::MAX));
        ends.push(end);
    }
    ends
}

fn unreadable(reason: &str) -> Failure {
    let message = format!("the input cannot be read: {reason}");
    Failure::new(FailureKind::Rejected, "UnreadableInput", message)
}

impl Work {
    pub(crate) fn of_chunk(
        job: JobId,
        (target, version): (&Target, Option<VersionId>),
        inputs: Inputs,
        shop: &Shop<'_>,
    ) -> Self {
        Self {
            job_id: job.to_string(),
            log_basis_points: 0,
            supplied: shop.supply(target, version),
            inputs,
            read: OnceLock::new(),
        }
    }

    /// An invoke is a chunk of one that belongs to no job.
    pub(crate) fn of_invoke(
        (target, version): (&Target, Option<VersionId>),
        input: Bytes,
        shop: &Shop<'_>,
    ) -> Self {
        let ends = vec![u32::try_from(input.len()).unwrap_or(u32::MAX)];
        let slice = Slice {
            first: 0,
            count: 1,
            body: input,
            ends: Ok(ends),
        };
        Self {
            job_id: String::new(),
            log_basis_points: 0,
            supplied: shop.supply(target, version),
            inputs: Inputs::Slices(Vec::new()),
            read: OnceLock::from(vec![slice]),
        }
    }

    /// Keeps what is printed by so many of the invocations that succeed.
    pub(crate) fn keeping_logs(self, log_basis_points: u32) -> Self {
        Self {
            log_basis_points,
            ..self
        }
    }

    /// Whether the log of an invocation is kept though it succeeds.
    #[inline]
    pub(crate) fn keeps_log(&self, index: Index) -> bool {
        self.log_basis_points > 0 && keeps_log(self.log_basis_points, index)
    }

    /// What runs its version is known.
    pub(crate) fn supply(&self, supplied: Result<Arc<Ready>, Failure>) {
        // Said twice is said once.
        let _ = self.supplied.set(supplied);
    }

    /// What runs it. The machine hands out no work that is not supplied.
    pub(crate) fn executable(&self) -> Result<&Executable, Failure> {
        match self.supplied.get() {
            Some(Ok(ready)) => Ok(&ready.executable),
            Some(Err(failure)) => Err(failure.clone()),
            None => {
                let words = "its version is not loaded yet".to_owned();
                Err(Failure::new(FailureKind::Rejected, "NotLoaded", words))
            }
        }
    }

    /// The cold start of an attempt that ran so long, with what it took to get its version here.
    #[inline]
    pub(crate) fn cold_start(
        &self,
        cold: Option<umbel_runtime::ColdStart>,
        ran_us: u64,
    ) -> Option<ColdStart> {
        let ready = self.supplied.get()?.as_ref().ok()?;
        ready.cold_start(cold, ran_us)
    }

    /// Whether a Rust function runs it, on the slot's own thread.
    pub(crate) fn is_native(&self) -> bool {
        matches!(self.executable(), Ok(Executable::Native(_)))
    }

    /// A walk over inputs whose indices ascend.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        match &self.inputs {
            Inputs::Range { begin } => Cursor::Range {
                begin: *begin,
                digits: [0; DIGITS_MAX],
            },
            Inputs::Slices(slices) => Cursor::Slices {
                slices: (self.read).get_or_init(|| slices.iter().map(Slice::read).collect()),
                at: 0,
            },
        }
    }
}

/// The longest decimal number of 64 bits.
const DIGITS_MAX: usize = 20;

/// Gives inputs one by one; allocates nothing.
pub(crate) enum Cursor<'a> {
    Range {
        begin: u64,
        digits: [u8; DIGITS_MAX],
    },
    Slices {
        slices: &'a [Slice],
        at: usize,
    },
}

impl Cursor<'_> {
    #[inline]
    pub(crate) fn input(&mut self, index: Index) -> Result<&[u8], Failure> {
        match self {
            Self::Range { begin, digits } => {
                Ok(decimal(begin.saturating_add(u64::from(index)), digits))
            }
            Self::Slices { slices, at } => {
                let holds = |slice: &Slice| index.wrapping_sub(slice.first) < slice.count;
                if !slices.get(*at).is_some_and(holds) {
                    let behind = slices.partition_point(|slice| slice.first <= index);
                    *at = behind.saturating_sub(1);
                }
                let slice = slices.get(*at).filter(|slice| holds(slice));
                slice.map_or_else(|| Err(unreadable("it was not granted")), |s| s.input(index))
            }
        }
    }
}

/// Writes a number at the end of the digits.
#[inline]
fn decimal(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    for digit in digits.iter_mut().rev() {
        // A remainder of 10 fits a byte.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at -= 1;
        if number == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

/// What this worker can run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shop<'a> {
    pub(crate) worker: &'a str,
    pub(crate) catalog: &'a Catalog,
    pub(crate) runs_programs: bool,
}

impl Shop<'_> {
    /// What runs a target, unless it is a version's, which comes later.
    fn supply(
        &self,
        target: &Target,
        version: Option<VersionId>,
    ) -> OnceLock<Result<Arc<Ready>, Failure>> {
        let supplied = OnceLock::new();
        if version.is_none() {
            let found = self.find(target);
            let _ = supplied.set(found.map(|found| Arc::new(Ready::own(found))));
        }
        supplied
    }

    /// What runs a target. What the worker never announced is rejected with words,
    /// should it be asked for all the same.
    fn find(&self, target: &Target) -> Result<Executable, Failure> {
        let rejected = |error_type: &str, message: String| {
            Failure::new(FailureKind::Rejected, error_type, message)
        };
        match target {
            Target::Function(name) | Target::Version(name, _) => {
                self.catalog.find(name).ok_or_else(|| {
                    let message = format!("worker {:?} has no function {name:?}", self.worker);
                    rejected("UnknownFunction", message)
                })
            }
            Target::Program(_) if !self.runs_programs => {
                let message = format!("worker {:?} runs no programs of jobs", self.worker);
                Err(rejected("ProgramsRefused", message))
            }
            Target::Program(words) => match Program::new(words.clone()) {
                Ok(program) => Ok(Executable::Exec(Arc::new(program))),
                Err(error) => Err(rejected("InvalidProgram", error.to_string())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(inputs: Inputs) -> Work {
        let shop = Shop {
            worker: "w",
            catalog: &Catalog::with_builtins(false),
            runs_programs: false,
        };
        let target = Target::Function("umbel.echo".to_owned());
        Work::of_chunk(JobId([0; 16]), (&target, None), inputs, &shop)
    }

    fn slice(first: Index, inputs: &[&str], lengths: &[u8]) -> InputSlice {
        InputSlice {
            first,
            count: u32::try_from(inputs.len()).unwrap(),
            lengths: Bytes::copy_from_slice(lengths),
            body: inputs.concat().into(),
        }
    }

    #[test]
    fn the_input_of_a_range_is_its_number_in_digits() {
        for (begin, index, expected) in [
            (0, 0, "0"),
            (7, 3, "10"),
            (u64::MAX - 1, 1, "18446744073709551615"),
        ] {
            let work = work(Inputs::Range { begin });
            assert_eq!(work.cursor().input(index).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn inputs_are_found_in_any_slice() {
        let work = work(Inputs::Slices(vec![
            slice(4, &["four", "", "six"], &[4, 0, 3]),
            slice(9, &["nine"], &[4]),
        ]));
        let mut cursor = work.cursor();
        for (index, expected) in [(9, "nine"), (4, "four"), (5, ""), (6, "six")] {
            assert_eq!(cursor.input(index).unwrap(), expected.as_bytes());
        }
        assert!(cursor.input(7).is_err());
    }

    #[test]
    fn inputs_that_do_not_decode_are_rejected() {
        let broken = slice(0, &["a", "b"], &[1, 200]);
        let work = work(Inputs::Slices(vec![broken]));

        let failure = work.cursor().input(1).unwrap_err();

        assert_eq!(failure.kind, FailureKind::Rejected);
        assert_eq!(failure.error_type, "UnreadableInput");
    }

    #[test]
    fn what_the_worker_cannot_run_is_rejected_by_name() {
        let shop = Shop {
            worker: "w",
            catalog: &Catalog::new(),
            runs_programs: false,
        };
        for (target, expected) in [
            (Target::Function("gone".to_owned()), "UnknownFunction"),
            (Target::Program(vec!["ls".to_owned()]), "ProgramsRefused"),
        ] {
            let failure = shop.find(&target).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Rejected);
            assert_eq!(failure.error_type, expected);
        }
    }
}
