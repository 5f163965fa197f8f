//! What the demo computes: how many primes there are below 30 million, window by window.
//!
//! A worker counts by trial division, which takes some tens of microseconds a window. The check
//! counts with a sieve, another way to the same numbers, and their sum stands in tables of primes.

/// Windows, and so inputs.
pub(super) const WINDOWS: u32 = 100_000;
/// Numbers in a window.
pub(super) const WIDTH: u32 = 300;
/// Where the last window ends.
const END: u32 = WINDOWS * WIDTH;

/// The name of the function.
pub(super) const FUNCTION: &str = "demo.primes";

/// Input `index`: the half-open window `A..B`.
pub(super) fn window(index: u32) -> String {
    let begin = index * WIDTH;
    format!("{begin}..{}", begin + WIDTH)
}

/// The function: counts the primes in the window, by trial division.
pub(super) fn count(input: &[u8]) -> Result<String, String> {
    let malformed = || format!("{:?} is no window A..B", String::from_utf8_lossy(input));
    let text = std::str::from_utf8(input).map_err(|_| malformed())?;
    let (begin, end) = text.split_once("..").ok_or_else(malformed)?;
    let begin: u32 = begin.parse().map_err(|_| malformed())?;
    let end: u32 = end.parse().map_err(|_| malformed())?;
    if end > END {
        return Err(format!("the window ends beyond {END}"));
    }
    Ok((begin..end)
        .filter(|number| is_prime(*number))
        .count()
        .to_string())
}

fn is_prime(number: u32) -> bool {
    if number < 4 || number.is_multiple_of(2) {
        return number == 2 || number == 3;
    }
    let mut divisor = 3;
    // No overflow: numbers end far below the square of 65,535.
    while divisor * divisor <= number {
        if number.is_multiple_of(divisor) {
            return false;
        }
        divisor += 2;
    }
    true
}

/// How many primes there are in each window, by the sieve of Eratosthenes.
pub(super) fn expected() -> Vec<u32> {
    // Only odd numbers: place `p` stands for 2p + 1.
    let mut composite = vec![false; END as usize / 2];
    for root in (3..)
        .step_by(2)
        .take_while(|root| root * root < END as usize)
    {
        if !composite[root / 2] {
            for multiple in (root * root / 2..composite.len()).step_by(root) {
                composite[multiple] = true;
            }
        }
    }
    // 1 is no prime; 2, the only even one, takes its place in the count.
    let windows = composite.chunks(WIDTH as usize / 2);
    windows
        .map(|window| window.iter().map(|composite| u32::from(!composite)).sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_counting_agree() {
        let expected = expected();
        assert_eq!(expected.len(), WINDOWS as usize);
        for index in (0..10)
            .chain((0..WINDOWS).step_by(1_237))
            .chain([WINDOWS - 1])
        {
            let counted = count(window(index).as_bytes()).expect("a window");
            assert_eq!(
                counted,
                expected[index as usize].to_string(),
                "window {index}"
            );
        }
    }

    #[test]
    fn the_sum_is_the_one_in_tables_of_primes() {
        assert_eq!(expected().iter().sum::<u32>(), 1_857_859);
    }

    #[test]
    fn a_malformed_window_is_named() {
        let error = count(b"7").expect_err("no window");
        assert_eq!(error, "\"7\" is no window A..B");
        assert!(count(b"0..4000000000").is_err());
    }
}
