//! A shadow: of what is submitted over an alias, a sample runs on another version too. What comes
//! of the copies is compared and never returned.

use super::id::{Index, JobId};
use super::policy::BASIS_POINTS;

/// Jobs of copies go behind all others.
pub const PRIORITY: i32 = i32::MIN;

/// Where copies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The number of the version.
    pub to: u32,
    /// How many of the inputs, in hundredths of a percent.
    pub sample: u16,
    /// Makes its choice of inputs its own.
    pub salt: u64,
    /// Since when, milliseconds since 1970.
    pub since_ms: u64,
    /// Who set it, as they said.
    pub by: String,
}

impl Shadow {
    /// How many bytes it takes at most to remember it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        48 + self.by.len()
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowWish {
    /// The function.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// The number of the version.
    pub to: u32,
    /// How many of the inputs, in hundredths of a percent.
    pub sample: u16,
    /// Makes its choice of inputs its own.
    pub salt: u64,
    /// Whether the version may have effects besides its output.
    pub force: bool,
    /// Who asks, as they say.
    pub by: String,
}

/// What a job of copies is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowOf {
    /// The job whose inputs are copied.
    pub job: JobId,
    /// The function whose alias that job ran.
    pub function: String,
    /// The alias.
    pub alias: String,
    /// How many of its inputs, in hundredths of a percent.
    pub sample: u16,
    /// Makes the choice of inputs its own.
    pub salt: u64,
}

impl ShadowOf {
    /// Whether an input of the job is copied. The choice is the index's own, so that whoever asks
    /// finds the same; copies keep the order of what they are of.
    #[must_use]
    pub fn takes(&self, index: Index) -> bool {
        let hash = mix(self.seed() ^ u64::from(index));
        let bucket = (u128::from(hash) * u128::from(BASIS_POINTS)) >> 64;
        bucket < u128::from(self.sample)
    }

    /// The id of the job of copies: as old as the job that it is of, and always the same.
    #[must_use]
    pub fn id(&self) -> JobId {
        let mut id = self.job.0;
        // Those bits of a UUID of version 7 that are random: all of the last seven bytes.
        let bits = mix(self.seed()).to_be_bytes();
        for (byte, bits) in id[9..].iter_mut().zip(bits) {
            *byte ^= bits;
        }
        JobId(id)
    }

    fn seed(&self) -> u64 {
        let (time, random) = self.job.0.split_at(8);
        let half = |bytes: &[u8]| bytes.iter().fold(0, |all, b| all << 8 | u64::from(*b));
        mix(mix(self.salt ^ half(time)) ^ half(random))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): neighbours come to lie far apart.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(job: u8, salt: u64, sample: u16) -> ShadowOf {
        ShadowOf {
            job: JobId([job; 16]),
            function: "f".to_owned(),
            alias: "live".to_owned(),
            sample,
            salt,
        }
    }

    #[test]
    fn a_sample_is_as_large_as_it_is_said_and_its_own_for_each_job_and_salt() {
        let taken = |of: &ShadowOf| (0..100_000).filter(|index| of.takes(*index)).count();
        for (sample, expected) in [
            (0, 0..=0),
            (500, 4_700..=5_300),
            (10_000, 100_000..=100_000),
        ] {
            let found = taken(&of(1, 7, sample));
            assert!(expected.contains(&found), "{found} at {sample}");
        }
        let both = |one: &ShadowOf, other: &ShadowOf| {
            let both = (0..100_000).filter(|index| one.takes(*index) && other.takes(*index));
            both.count()
        };
        let one = of(1, 7, 1_000);
        for other in [of(2, 7, 1_000), of(1, 8, 1_000)] {
            let both = both(&one, &other);
            assert!((800..1_200).contains(&both), "{both} of 10,000 in both");
        }
    }

    #[test]
    fn the_id_is_another_of_the_same_time_and_kind() {
        let one = of(0x71, 7, 1);
        assert_eq!(one.id(), one.id());
        assert_ne!(one.id(), one.job);
        assert_ne!(one.id(), of(0x71, 8, 1).id());
        assert_eq!(one.id().0[..9], one.job.0[..9]);
    }
}
