//! Pages of lists.

use prost::Message;
use tonic::Status;
use umbel_core::limit::{MESSAGE_BYTES_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX};
use umbel_proto::convert::Invalid;
use umbel_proto::status;

/// Bytes of one page. Labels and failures may be long.
pub(super) const PAGE_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(PAGE_BYTES_MAX <= MESSAGE_BYTES_MAX / 2);

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

/// Cuts a page that is too large for a message; tells whether it did. One entry always stays.
pub(super) fn cut<T: Message>(entries: &mut Vec<T>) -> bool {
    let mut bytes = 0;
    let fits = entries.iter().take_while(|entry| {
        bytes += entry.encoded_len();
        bytes <= PAGE_BYTES_MAX
    });
    let fits = fits.count().max(1);
    let is_cut = fits < entries.len();
    entries.truncate(fits);
    is_cut
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

    #[test]
    fn a_page_that_is_too_large_is_cut_and_never_to_nothing() {
        let mut page = vec!["x".repeat(PAGE_BYTES_MAX / 2 - 100); 3];
        assert!(cut(&mut page));
        assert_eq!(page.len(), 2);
        assert!(!cut(&mut page));
        let mut page = vec!["x".repeat(PAGE_BYTES_MAX); 2];
        assert!(cut(&mut page));
        assert_eq!(page.len(), 1);
    }
}
