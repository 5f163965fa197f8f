//! What a client asks to run again.

use std::sync::Arc;

use prost::Message;
use umbel_core::job::Target;
use umbel_core::limit::{
    ARM_NAME_BYTES_MAX, JOB_INPUTS_MAX, REDRIVE_RANGES_MAX, REQUEST_ID_BYTES_MAX,
};
use umbel_core::ranges::Ranges;
use umbel_core::redrive::Filter;

use super::Invalid;
use super::name::{redriven_target, wire_target};
use super::policy::failure_words;
use super::route::RULE_PREFIX;
use super::view::index_range;
use crate::v1;

/// A redrive that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedriveRequest {
    /// What runs again; never empty.
    pub filter: Filter,
    /// What runs it; none: what ran the job before.
    pub target: Option<Target>,
    /// What makes the request idempotent; empty: nothing.
    pub request_id: String,
}

impl RedriveRequest {
    /// What two requests of one id must agree in, as bytes to be digested.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let filter = &self.filter;
        // No range at all and ranges beyond every job are two things.
        let beyond = v1::IndexRange {
            begin: JOB_INPUTS_MAX.into(),
            end: JOB_INPUTS_MAX.into(),
        };
        let ranges = filter.indices.iter().flat_map(|indices| {
            let runs = indices.runs().map(|run| v1::IndexRange {
                begin: run.start.into(),
                end: run.end.into(),
            });
            runs.chain([beyond])
        });
        let (target, program) = self
            .target
            .clone()
            .map_or_else(Default::default, wire_target);
        let content = v1::RedriveJobRequest {
            job_id: String::new(),
            request_id: String::new(),
            filter: Some(v1::RedriveFilter {
                failed: filter.failed,
                cancelled: filter.cancelled,
                ranges: ranges.collect(),
                types: filter.types.iter().cloned().collect(),
                arm: filter.arm.as_deref().unwrap_or_default().to_owned(),
            }),
            target,
            program,
        };
        content.encode_to_vec()
    }
}

/// Reads a `RedriveJobRequest`, but for its job.
///
/// # Errors
/// When the filter names nothing, or a field is over its limit.
pub fn redrive(wire: v1::RedriveJobRequest) -> Result<RedriveRequest, Invalid> {
    let length = wire.request_id.len();
    if length > REQUEST_ID_BYTES_MAX {
        return Err(Invalid::bad(
            "request_id",
            format!("it has {length} bytes, the limit is {REQUEST_ID_BYTES_MAX}"),
        ));
    }
    let v1::RedriveFilter {
        failed,
        cancelled,
        ranges,
        types,
        arm,
    } = wire.filter.unwrap_or_default();
    let filter = Filter {
        failed,
        cancelled,
        indices: indices(&ranges)?,
        types: failure_words("filter.types", types)?,
        arm: arm_name(&arm)?,
    };
    if filter.is_empty() {
        return Err(Invalid::bad(
            "filter",
            "it names nothing; say whether failed or cancelled invocations run again, or which \
             indices, or which types of failure, or what ended on which arm",
        ));
    }
    if filter.cancelled && filter.arm.is_some() {
        let words = "what was cancelled ended on no arm; leave out the one or the other";
        return Err(Invalid::bad("filter.arm", words));
    }
    let other = !wire.target.is_empty() || wire.program.is_some();
    let target = other.then(|| redriven_target(wire.target, wire.program));
    Ok(RedriveRequest {
        filter,
        target: target.transpose()?,
        request_id: wire.request_id,
    })
}

fn arm_name(text: &str) -> Result<Option<Arc<str>>, Invalid> {
    if text.len() > ARM_NAME_BYTES_MAX + RULE_PREFIX.len() {
        let bytes = text.len();
        let words = format!("it has {bytes} bytes, the limit is {ARM_NAME_BYTES_MAX}");
        return Err(Invalid::bad("filter.arm", words));
    }
    Ok((!text.is_empty()).then(|| text.into()))
}

fn indices(wire: &[v1::IndexRange]) -> Result<Option<Ranges>, Invalid> {
    const FIELD: &str = "filter.ranges";
    if wire.is_empty() {
        return Ok(None);
    }
    if wire.len() > REDRIVE_RANGES_MAX {
        let count = wire.len();
        return Err(Invalid::bad(
            FIELD,
            format!("there are {count}, the limit is {REDRIVE_RANGES_MAX}"),
        ));
    }
    let mut indices = Ranges::new();
    for range in wire {
        if range.begin == range.end {
            let v1::IndexRange { begin, end } = range;
            return Err(Invalid::bad(FIELD, format!("{begin}..{end} is empty")));
        }
        indices = indices.union(&Ranges::one(index_range(FIELD, *range)?));
    }
    Ok(Some(indices))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(filter: v1::RedriveFilter) -> v1::RedriveJobRequest {
        v1::RedriveJobRequest {
            filter: Some(filter),
            ..v1::RedriveJobRequest::default()
        }
    }

    fn range(begin: u64, end: u64) -> v1::RedriveFilter {
        v1::RedriveFilter {
            ranges: vec![v1::IndexRange { begin, end }],
            ..v1::RedriveFilter::default()
        }
    }

    #[test]
    fn a_filter_that_names_nothing_is_refused_and_one_beyond_the_job_chooses_nothing() {
        let nothing = redrive(asked(v1::RedriveFilter::default())).unwrap_err();
        assert_eq!(nothing.field, "filter");
        for (begin, end) in [(5, 5), (6, 5)] {
            let error = redrive(asked(range(begin, end))).unwrap_err();
            assert_eq!(error.field, "filter.ranges");
        }
        let beyond = redrive(asked(range(1 << 40, 1 << 41))).unwrap();
        assert_eq!(beyond.filter.indices, Some(Ranges::new()));
        let few = redrive(asked(range(2, 4))).unwrap();
        assert_eq!(few.filter.indices, Some(Ranges::one(2..4)));
        assert_eq!(few.target, None);
    }

    #[test]
    fn a_program_has_room_beside_its_jobs_state() {
        let to = |argument: usize| {
            let mut wish = asked(range(2, 4));
            let argv = vec!["a".to_owned(), "x".repeat(argument)];
            wish.program = Some(v1::Program { argv });
            redrive(wish)
        };
        // Each of the two counts four bytes besides, and `a` is one.
        let room = umbel_core::limit::REDRIVE_PROGRAM_BYTES_MAX - 9;
        assert!(to(room).is_ok());
        let error = to(room + 1).unwrap_err();
        assert_eq!(error.field, "program");
        assert!(error.message.contains("61440"), "{}", error.message);
    }

    #[test]
    fn the_digested_content_tells_two_redrives_apart() {
        let mut other = asked(range(2, 4));
        other.target = "other".to_owned();
        let mut types = asked(range(2, 4));
        types.filter.as_mut().unwrap().types = vec!["ValueError".to_owned()];
        let all = [
            asked(v1::RedriveFilter {
                failed: true,
                ..v1::RedriveFilter::default()
            }),
            asked(range(1 << 40, 1 << 41)),
            asked(range(2, 4)),
            asked(range(2, 5)),
            other,
            types,
        ];
        let contents: std::collections::BTreeSet<Vec<u8>> = all
            .into_iter()
            .map(|wire| redrive(wire).unwrap().content())
            .collect();
        assert_eq!(contents.len(), 6);
    }

    #[test]
    fn each_field_outside_its_limits_is_named() {
        let mut wire = asked(range(2, 4));
        wire.request_id = "x".repeat(129);
        assert_eq!(redrive(wire).unwrap_err().field, "request_id");
        let mut wire = asked(range(2, 4));
        wire.target = "two words".to_owned();
        assert_eq!(redrive(wire).unwrap_err().field, "target");
        let many = v1::RedriveFilter {
            ranges: vec![v1::IndexRange { begin: 0, end: 1 }; 1_001],
            types: vec!["T".to_owned(); 33],
            ..v1::RedriveFilter::default()
        };
        assert_eq!(redrive(asked(many)).unwrap_err().field, "filter.ranges");
    }
}
