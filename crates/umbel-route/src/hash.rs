//! The published hash: whoever knows a key, a salt and the buckets of a split can say where an
//! owner of inputs goes, in any language. Its test vectors lie in `proto/route-vectors.json`.
//!
//! It has two stages, so that a new salt needs the digest of a key only, and not the input.

use twox_hash::XxHash64;
use umbel_core::route::BUCKETS;

/// The seed of digests of keys.
const KEY_SEED: u64 = 0;
/// The seed of digests of indices: a key that reads like an index has another digest.
const INDEX_SEED: u64 = 1;

/// The digest of a routing key's text.
#[must_use]
pub fn key_digest(key: &str) -> u64 {
    XxHash64::oneshot(KEY_SEED, key.as_bytes())
}

/// The digest of an input that has no key, by its index.
#[must_use]
pub fn index_digest(index: u64) -> u64 {
    XxHash64::oneshot(INDEX_SEED, &index.to_le_bytes())
}

/// The bucket of a digest in a split with this salt.
#[must_use]
pub fn bucket(salt: u64, digest: u64) -> u16 {
    let mixed = XxHash64::oneshot(salt, &digest.to_le_bytes()) % u64::from(BUCKETS);
    // Less than `BUCKETS`, so it fits.
    u16::try_from(mixed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTORS: &str = include_str!("../../../proto/route-vectors.json");

    #[test]
    fn the_published_vectors_hold() {
        let vectors: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
        let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let all = vectors["vectors"].as_array().unwrap();
        assert!(all.len() >= 12);
        for vector in all {
            let digest = match vector["key"].as_str() {
                Some(key) => key_digest(key),
                None => index_digest(vector["index"].as_u64().unwrap()),
            };
            assert_eq!(digest, number(&vector["digest"]), "{vector}");
            let bucket = bucket(number(&vector["salt"]), digest);
            assert_eq!(
                u64::from(bucket),
                vector["bucket"].as_u64().unwrap(),
                "{vector}"
            );
        }
    }

    #[test]
    fn ten_percent_of_a_million_keys_is_ten_percent() {
        for salt in [0, 1, 0x5eed_0000_0000_0001, u64::MAX] {
            let within = (0..1_000_000u32)
                .filter(|user| bucket(salt, key_digest(&format!("user-{user}"))) < 1_000)
                .count();
            assert!(
                (99_000..=101_000).contains(&within),
                "salt {salt}: {within}"
            );
        }
    }

    #[test]
    fn two_salts_deal_independently() {
        let both = (0..1_000_000u32)
            .map(|user| key_digest(&user.to_string()))
            .filter(|digest| bucket(1, *digest) < 1_000 && bucket(2, *digest) < 1_000)
            .count();
        assert!(
            (9_500..=10_500).contains(&both),
            "{both} of 10,000 expected"
        );
    }
}
