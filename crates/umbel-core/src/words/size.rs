//! Numbers of bytes, for people.

const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];

/// A number of bytes with its unit, to a tenth: `12 B`, `6.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    // In tenths of a unit, rounded down, so that less than a bound never reads as the bound.
    let mut tenths = (u128::from(bytes) * 10) >> 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths >>= 10;
        unit += 1;
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_unit() {
        let shown = [12, 2_048, 6 << 20, (6 << 20) - 1, 3 << 40, u64::MAX].map(size);
        let expected = [
            "12 B",
            "2.0 KiB",
            "6.0 MiB",
            "5.9 MiB",
            "3.0 TiB",
            "16777215.9 TiB",
        ];
        assert_eq!(shown, expected);
    }
}
