//! Run times and cold starts, once a chunk, whatever of it counts.

use super::Out;
use crate::command::{Command, Note};
use crate::function::VersionId;
use crate::histogram::Histogram;
use crate::job::Target;
use crate::message::ColdRun;
use crate::tables::Tables;

/// Keeps what a worker says of attempts that ran a target, of a published one by what was resolved.
/// A program has no figures: it is another job's the next time.
pub(crate) fn note(
    t: &mut Tables,
    out: &mut Out,
    (target, version): (&Target, Option<VersionId>),
    (warm, cold): (&Histogram, &[ColdRun]),
) {
    let wall_ms = t.clock.wall_ms();
    let version = version.and_then(|id| t.functions.version(id));
    let runtime = version.map(|version| version.spec.runtime);
    let ran = match (version, target) {
        (Some(version), _) => Some((version.function.as_str(), version.number)),
        (None, Target::Function(name) | Target::Version(name, _)) => Some((name.as_str(), 0)),
        (None, Target::Program(_)) => None,
    };
    if let Some(ran) = ran {
        t.figures.add(ran, wall_ms, (warm, cold));
    }
    let note = |run: &ColdRun| {
        Command::Note(Note::ColdStart {
            runtime,
            parts: run.parts,
        })
    };
    out.extend(cold.iter().map(note));
}
