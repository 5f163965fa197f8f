//! Tokens that clients hand back to go on where they were. They are opaque, and what comes back
//! is believed only if it was made here for the same list.

use sha2::{Digest as _, Sha256};
use tonic::Status;
use umbel_proto::status::{self, Metadata, Reason};

const CHECK_BYTES: usize = 4;

/// What a token goes on with. The number is a part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum List {
    Jobs = 1,
    Workers = 2,
    Functions = 3,
    Invocations = 4,
    ResultsInOrder = 5,
    ResultsAsCompleted = 6,
    Logs = 30,
    Versions = 7,
}

/// Makes a token for a place in a list. `scope` says which list it is and does not travel.
pub(super) fn encode(list: List, scope: &[u8], place: &[u8]) -> String {
    let mut token = String::with_capacity(2 * (CHECK_BYTES + place.len()));
    for byte in check(list, scope, place).iter().chain(place) {
        token.push(char::from(HEX[usize::from(byte >> 4)]));
        token.push(char::from(HEX[usize::from(byte & 15)]));
    }
    token
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The place that a token names; none if it is empty.
pub(super) fn decode(
    list: List,
    scope: &[u8],
    field: &str,
    token: &str,
) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let place = unhex(token).and_then(|bytes| {
        let (found, place) = bytes.split_at_checked(CHECK_BYTES)?;
        (found == check(list, scope, place)).then(|| place.to_vec())
    });
    place.map(Some).ok_or_else(|| bad(field))
}

/// The status of a token that was not made here for this list.
pub(super) fn bad(field: &str) -> Status {
    let words =
        format!("{field} was not made by this coordinator for this list; begin again without it");
    let metadata = Metadata::from([("field".to_owned(), field.to_owned())]);
    status::status(Reason::BadPageToken, &words, metadata)
}

fn check(list: List, scope: &[u8], place: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = Sha256::new()
        .chain_update([list as u8])
        .chain_update((scope.len() as u64).to_be_bytes())
        .chain_update(scope)
        .chain_update(place)
        .finalize();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_believed_only_for_the_list_it_was_made_for() {
        let token = encode(List::Jobs, b"running", b"place");
        let decoded = |list, scope: &[u8], token: &str| decode(list, scope, "page_token", token);
        assert_eq!(
            decoded(List::Jobs, b"running", &token).unwrap().unwrap(),
            b"place"
        );
        assert_eq!(decoded(List::Jobs, b"", "").unwrap(), None);
        let mut forged = token.clone();
        forged.pop();
        forged.push('f');
        for (list, scope, token) in [
            (List::Workers, &b"running"[..], &token[..]),
            (List::Jobs, b"failed", &token),
            (List::Jobs, b"running", &forged),
            (List::Jobs, b"running", &token[1..]),
            (List::Jobs, b"running", "yes, please"),
        ] {
            let status = decoded(list, scope, token).unwrap_err();
            assert_eq!(
                status::reason_of(&status).unwrap().0,
                Reason::BadPageToken,
                "{token}"
            );
        }
    }
}
