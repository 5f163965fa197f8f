//! What a client asks to run.

use bytes::Bytes;
use prost::Message;
use umbel_core::job::{JobSpec, Source, StartMode, Target};
use umbel_core::limit::{
    INLINE_BYTES_MAX, INLINE_INPUTS_MAX, INPUT_BYTES_MAX, JOB_INPUTS_MAX, REQUEST_ID_BYTES_MAX,
};

use super::Invalid;
use super::append::{input_too_large, too_many_inputs};
use super::name::{check_job_name, check_labels, target, wire_target};
use super::policy::{policy, wire_policy};
use crate::v1;
use crate::v1::create_job_request::Source as WireSource;

/// A job that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to run.
    pub spec: JobSpec,
    /// Where the inputs come from.
    pub source: Source,
    /// The inputs that came with the request.
    pub inline: Vec<Bytes>,
    /// Whether these are all the inputs; always so for a range.
    pub seal: bool,
    /// What makes the request idempotent; empty: nothing.
    pub request_id: String,
}

impl Request {
    /// What two requests of one id must agree in, as bytes to be digested: all
    /// but the id, with every default written out.
    #[must_use]
    pub fn content(&self) -> Vec<u8> {
        let source = match self.source {
            Source::Blocks => WireSource::Inputs(v1::Inputs {
                inputs: self.inline.clone(),
            }),
            Source::Range { begin, count } => WireSource::Range(v1::IndexRange {
                begin,
                end: begin.saturating_add(count.into()),
            }),
        };
        let content = v1::CreateJobRequest {
            request_id: String::new(),
            spec: Some(wire_spec(self.spec.clone())),
            source: Some(source),
            seal: self.seal,
        };
        content.encode_to_vec()
    }
}

/// Reads a `CreateJobRequest`.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn request(wire: v1::CreateJobRequest) -> Result<Request, Invalid> {
    let length = wire.request_id.len();
    if length > REQUEST_ID_BYTES_MAX {
        return Err(Invalid::bad(
            "request_id",
            format!("it has {length} bytes, the limit is {REQUEST_ID_BYTES_MAX}"),
        ));
    }
    let spec = wire
        .spec
        .ok_or_else(|| Invalid::bad("spec", "it is missing"))?;
    let (source, inline) = source(wire.source)?;
    Ok(Request {
        spec: parse_spec(spec)?,
        source,
        inline,
        seal: wire.seal || matches!(source, Source::Range { .. }),
        request_id: wire.request_id,
    })
}

fn parse_spec(wire: v1::JobSpec) -> Result<JobSpec, Invalid> {
    let start = match wire.start() {
        v1::StartMode::Unspecified if wire.start != 0 => {
            let start = wire.start;
            return Err(Invalid::bad(
                "spec.start",
                format!("start mode {start} is not known"),
            ));
        }
        v1::StartMode::Unspecified | v1::StartMode::AsSealed => StartMode::AsSealed,
        v1::StartMode::AsAppended => StartMode::AsAppended,
    };
    check_job_name("spec.name", &wire.name)?;
    check_labels("spec.labels", &wire.labels)?;
    Ok(JobSpec {
        name: wire.name,
        target: target("spec.", wire.target, wire.program)?,
        policy: policy(wire.policy.unwrap_or_default())?,
        labels: wire.labels,
        start,
    })
}

fn source(wire: Option<WireSource>) -> Result<(Source, Vec<Bytes>), Invalid> {
    match wire {
        None => Ok((Source::Blocks, Vec::new())),
        Some(WireSource::Inputs(inputs)) => {
            check_inline(&inputs.inputs)?;
            Ok((Source::Blocks, inputs.inputs))
        }
        Some(WireSource::Range(range)) => {
            let (begin, end) = (range.begin, range.end);
            let Some(count) = end.checked_sub(begin) else {
                return Err(Invalid::bad(
                    "range",
                    format!("{begin}..{end} ends before it begins"),
                ));
            };
            let limit = JOB_INPUTS_MAX;
            match u32::try_from(count).ok().filter(|&count| count <= limit) {
                Some(count) => Ok((Source::Range { begin, count }, Vec::new())),
                None => Err(too_many_inputs("range", count, limit.into())),
            }
        }
    }
}

fn check_inline(inputs: &[Bytes]) -> Result<(), Invalid> {
    let long = (0..)
        .zip(inputs)
        .find(|(_, input)| input.len() > INPUT_BYTES_MAX);
    if let Some((index, input)) = long {
        return Err(input_too_large(index, input.len() as u64));
    }
    if inputs.len() > INLINE_INPUTS_MAX {
        let (count, limit) = (inputs.len() as u64, INLINE_INPUTS_MAX as u64);
        return Err(too_many_inputs("inputs", count, limit));
    }
    let length: usize = inputs.iter().map(Bytes::len).sum();
    if length > INLINE_BYTES_MAX {
        return Err(Invalid::bad(
            "inputs",
            format!(
                "inline inputs have {length} bytes together, the limit is {INLINE_BYTES_MAX}; append them instead"
            ),
        ));
    }
    Ok(())
}

/// Reads what an `InvokeRequest` runs, and checks its input.
///
/// # Errors
/// When there is no such target, or the input is over the limit.
pub fn invoke_target(
    function: String,
    program: Option<v1::Program>,
    input: &Bytes,
) -> Result<Target, Invalid> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(input_too_large(0, input.len() as u64));
    }
    target("", function, program)
}

/// A spec with every default written out.
#[must_use]
pub fn wire_spec(spec: JobSpec) -> v1::JobSpec {
    let (target, program) = wire_target(spec.target);
    let start = match spec.start {
        StartMode::AsSealed => v1::StartMode::AsSealed,
        StartMode::AsAppended => v1::StartMode::AsAppended,
    };
    v1::JobSpec {
        name: spec.name,
        target,
        program,
        policy: Some(wire_policy(&spec.policy)),
        labels: spec.labels,
        start: start.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Reason;

    fn asked() -> v1::CreateJobRequest {
        v1::CreateJobRequest {
            request_id: "r-1".into(),
            spec: Some(v1::JobSpec {
                target: "umbel.echo".into(),
                ..v1::JobSpec::default()
            }),
            source: None,
            seal: false,
        }
    }

    fn over(source: WireSource) -> Result<Request, Invalid> {
        request(v1::CreateJobRequest {
            source: Some(source),
            ..asked()
        })
    }

    fn inline(inputs: Vec<Bytes>) -> Result<Request, Invalid> {
        over(WireSource::Inputs(v1::Inputs { inputs }))
    }

    fn range(begin: u64, end: u64) -> Result<Request, Invalid> {
        over(WireSource::Range(v1::IndexRange { begin, end }))
    }

    #[test]
    fn the_least_request_has_every_default() {
        let request = request(asked()).unwrap();
        assert_eq!(request.spec.start, StartMode::AsSealed);
        assert_eq!(request.source, Source::Blocks);
        assert!(!request.seal && request.inline.is_empty());
    }

    #[test]
    fn a_range_is_sealed_and_bounded() {
        let asked = range(5, 15).unwrap();
        assert!(asked.seal);
        assert_eq!(
            asked.source,
            Source::Range {
                begin: 5,
                count: 10
            }
        );
        assert!(range(5, 5).is_ok(), "a job of nothing");
        assert_eq!(range(6, 5).unwrap_err().field, "range");
        assert_eq!(
            range(0, 100_000_001).unwrap_err().reason,
            Reason::TooManyInputs
        );
    }

    #[test]
    fn inline_inputs_are_bounded_each_and_together() {
        assert!(inline(vec![Bytes::new(); INLINE_INPUTS_MAX]).is_ok());
        let many = inline(vec![Bytes::new(); INLINE_INPUTS_MAX + 1]).unwrap_err();
        assert_eq!(many.reason, Reason::TooManyInputs);
        let much = inline(vec![Bytes::from(vec![0; INLINE_BYTES_MAX + 1])]).unwrap_err();
        assert_eq!(
            (much.reason, much.field.as_str()),
            (Reason::BadRequest, "inputs")
        );
        let long = Bytes::from(vec![0; INPUT_BYTES_MAX + 1]);
        let long = inline(vec![Bytes::new(), long]).unwrap_err();
        assert_eq!(long.reason, Reason::InputTooLarge);
        assert_eq!(long.metadata["index"], "1");
    }

    #[test]
    fn what_is_missing_or_too_long_is_named() {
        let long_id = v1::CreateJobRequest {
            request_id: "x".repeat(129),
            ..asked()
        };
        assert_eq!(request(long_id).unwrap_err().field, "request_id");
        let no_spec = v1::CreateJobRequest {
            spec: None,
            ..asked()
        };
        assert_eq!(request(no_spec).unwrap_err().field, "spec");
        let mut long_name = asked();
        long_name.spec.as_mut().unwrap().name = "x".repeat(256);
        assert_eq!(request(long_name).unwrap_err().field, "spec.name");
        let mut other_start = asked();
        other_start.spec.as_mut().unwrap().start = 9;
        assert_eq!(request(other_start).unwrap_err().field, "spec.start");
    }

    #[test]
    fn content_leaves_out_the_id_and_writes_defaults_out() {
        let bare = request(asked()).unwrap();
        let mut spelled = asked();
        spelled.request_id = "r-2".into();
        spelled.spec.as_mut().unwrap().policy = Some(wire_policy(&bare.spec.policy));
        assert_eq!(request(spelled).unwrap().content(), bare.content());
        let mut other = asked();
        other.seal = true;
        assert_ne!(request(other).unwrap().content(), bare.content());
    }
}
