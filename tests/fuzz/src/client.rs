//! What clients send.

use bytes::Bytes;
use prost::Message as _;
use umbel_core::limit::{INLINE_BYTES_MAX, INLINE_INPUTS_MAX, INPUT_BYTES_MAX};
use umbel_proto::block::Block;
use umbel_proto::convert::{self, StagedBlock};
use umbel_proto::v1;

/// The first byte says which request the others are.
pub(crate) fn request(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else {
        return false;
    };
    match kind % 5 {
        0 => create(rest),
        1 => append(rest),
        2 => invoke(rest),
        3 => job_ref(rest),
        _ => range(rest),
    }
}

fn create(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::CreateJobRequest::decode(bytes) else {
        return false;
    };
    let Ok(request) = convert::request(wire) else {
        return false;
    };
    let inline: usize = request.inline.iter().map(Bytes::len).sum();
    assert!(request.inline.len() <= INLINE_INPUTS_MAX && inline <= INLINE_BYTES_MAX);
    assert!(request.spec.policy.max_attempts >= 1);
    // What two requests of one id are compared by must be readable as the same request.
    let again = v1::CreateJobRequest::decode(&request.content()[..]);
    let again = convert::request(again.expect("it was encoded")).expect("it was accepted");
    assert_eq!(
        (&again.spec, &again.source),
        (&request.spec, &request.source)
    );
    let blocks = convert::encode_blocks(0, &request.inline).expect("within the limits");
    hold(&blocks, Some(request.inline.len()));
    true
}

fn append(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::AppendInputsRequest::decode(bytes) else {
        return false;
    };
    let Ok(append) = convert::append(wire) else {
        return false;
    };
    hold(&append.blocks, None);
    true
}

/// Blocks follow each other, and each holds what it says.
fn hold(blocks: &[StagedBlock], inputs: Option<usize>) {
    let mut next = blocks.first().map_or(0, |block| u64::from(block.first));
    let begin = next;
    for staged in blocks {
        assert_eq!(u64::from(staged.first), next);
        let block = Block::parse(staged.bytes.clone(), INPUT_BYTES_MAX).expect("it was checked");
        assert_eq!(
            (block.count(), block.entries().iter().count()),
            (staged.count, staged.count as usize)
        );
        next += u64::from(staged.count);
    }
    if let Some(inputs) = inputs {
        assert_eq!(next - begin, inputs as u64);
    }
}

fn invoke(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::InvokeRequest::decode(bytes) else {
        return false;
    };
    convert::invoke_target(wire.target, wire.program, &wire.input).is_ok()
}

fn job_ref(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(found) = convert::job_ref(&text) else {
        return false;
    };
    if let convert::JobRef::Id(id) = found {
        assert_eq!(convert::job_id(&id.to_string()), Some(id));
    }
    true
}

fn range(bytes: &[u8]) -> bool {
    let Ok(wire) = v1::IndexRange::decode(bytes) else {
        return false;
    };
    let Ok(range) = convert::index_range("range", wire) else {
        return false;
    };
    assert!(range.start <= range.end);
    true
}
