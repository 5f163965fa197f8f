//! What a client asks of shadows, and how they are shown.

use umbel_core::function::Alias;
use umbel_core::rollout::WHOLE;
use umbel_core::shadow::ShadowWish;

use super::function::{alias_name, check_by, function_name, version_number};
use super::{Invalid, timestamp};
use crate::v1;

/// Reads a request for copies; `salt` makes their choice of inputs its own.
///
/// # Errors
/// When a field is missing or over its limit.
pub fn start_shadow(request: v1::StartShadowRequest, salt: u64) -> Result<ShadowWish, Invalid> {
    let function = function_name("function", request.function)?;
    let alias = alias_name("alias", request.alias)?;
    check_by("by", &request.by)?;
    let sample = u16::try_from(request.sample).ok();
    let sample = sample.filter(|sample| (1..=WHOLE).contains(sample));
    let sample = sample.ok_or_else(|| {
        let asked = request.sample;
        let problem = format!("it is {asked}; give 1 to {WHOLE} hundredths of a percent");
        Invalid::bad("sample", problem)
    })?;
    Ok(ShadowWish {
        function,
        alias,
        to: version_number("to_version", request.to_version)?,
        sample,
        salt,
        force: request.force,
        by: request.by,
    })
}

/// Where copies go; none: the alias has no shadow.
#[must_use]
pub fn shadow(alias: &Alias) -> Option<v1::Shadow> {
    let shadow = alias.shadow.as_ref()?;
    Some(v1::Shadow {
        function: alias.function.clone(),
        alias: alias.name.clone(),
        to_version: shadow.to,
        sample: shadow.sample.into(),
        since: Some(timestamp(shadow.since_ms)),
        by: shadow.by.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_part_of_the_inputs_and_not_nothing() {
        let read = |sample| {
            let request = v1::StartShadowRequest {
                function: "f".to_owned(),
                alias: "live".to_owned(),
                to_version: 2,
                sample,
                ..v1::StartShadowRequest::default()
            };
            start_shadow(request, 7).map(|wish| wish.sample)
        };
        assert_eq!(read(500).ok(), Some(500));
        for wrong in [0, 10_001, 65_537] {
            let problem = read(wrong).unwrap_err().message;
            assert!(problem.contains(&format!("it is {wrong}")), "{problem}");
        }
    }
}
