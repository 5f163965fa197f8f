//! Pages of lists.

use tonic::Status;
use umbel_core::limit::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use umbel_proto::convert::Invalid;
use umbel_proto::status;

/// How many entries a page has: the default where the request names no size, and never more than
/// the limit.
pub(super) fn page_size(asked: i32) -> Result<usize, Status> {
    let Ok(asked) = usize::try_from(asked) else {
        let words = format!("{asked} is less than 0; ask for 1 to {PAGE_SIZE_MAX} entries");
        return Err(status::invalid(Invalid::bad("page_size", words)));
    };
    Ok(if asked == 0 {
        PAGE_SIZE_DEFAULT
    } else {
        asked.min(PAGE_SIZE_MAX)
    })
}

/// The place of a page that goes on behind a name.
pub(super) fn name(place: Option<Vec<u8>>) -> Result<String, Status> {
    String::from_utf8(place.unwrap_or_default()).map_err(|_| super::token::bad("page_token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_size_even_if_nobody_or_a_giant_asks() {
        assert_eq!(page_size(0).unwrap(), PAGE_SIZE_DEFAULT);
        assert_eq!(page_size(7).unwrap(), 7);
        assert_eq!(page_size(i32::MAX).unwrap(), PAGE_SIZE_MAX);
        assert!(page_size(-1).unwrap_err().message().contains("page_size"));
    }
}
