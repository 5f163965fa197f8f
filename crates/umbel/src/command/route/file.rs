//! A route in a file. `config/route.toml` explains each option.

use std::path::Path;

use serde::Deserialize;
use umbel_client::v1;

use crate::command::words::weight;
use crate::exit::Exit;

/// A file with a route.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteFile {
    key: Option<String>,
    to: Option<u32>,
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    arm: Vec<Arm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    when: String,
    target: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    target: String,
    weight: String,
    #[serde(default)]
    name: String,
}

/// What a file says: the route, and the version that it names.
pub(super) fn read(path: &Path) -> Result<(v1::Route, u32), Exit> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Exit::usage(format!("the file {name} cannot be read: {error}")))?;
    parse(&text).map_err(|why| Exit::usage(format!("{name}: {why}")))
}

fn parse(text: &str) -> Result<(v1::Route, u32), String> {
    let file: RouteFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let rules = file.rule.into_iter().map(|rule| v1::Rule {
        when: rule.when,
        target: rule.target,
        name: rule.name,
    });
    let arms = file.arm.into_iter().map(|arm| {
        let points = weight(&arm.weight).ok_or_else(|| {
            let (target, weight) = (&arm.target, &arm.weight);
            format!("the weight {weight:?} of arm {target} is no percentage; write one such as \"12.5%\"")
        })?;
        Ok(v1::Arm {
            target: arm.target,
            weight: points,
            name: arm.name,
            buckets: Vec::new(),
        })
    });
    let arms: Vec<v1::Arm> = arms.collect::<Result<_, String>>()?;
    let key = file.key.unwrap_or_default();
    if arms.is_empty() && !key.is_empty() {
        return Err("there is a key, and no [[arm]] that it would choose".to_owned());
    }
    let split = (!arms.is_empty()).then_some(v1::Split {
        key,
        arms,
        salt: String::new(),
    });
    let route = v1::Route {
        rules: rules.collect(),
        split,
    };
    Ok((route, file.to.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_route_and_what_is_wrong_is_named() {
        let example = include_str!("../../../../../config/route.toml");
        let (route, to) = parse(example).unwrap();
        assert_eq!((route.rules.len(), to), (2, 0));
        let split = route.split.unwrap();
        assert_eq!(split.key, "/user/id");
        assert_eq!(split.arms.iter().map(|arm| arm.weight).sum::<u32>(), 10_000);
        for (text, why) in [
            ("keys = 1", "unknown field `keys`"),
            ("key = \"/a\"", "no [[arm]]"),
            (
                "[[arm]]\ntarget = \"7\"\nweight = \"half\"",
                "\"half\" of arm 7 is no percentage",
            ),
            ("[[rule]]\nwhen = \"true\"", "missing field `target`"),
        ] {
            let found = parse(text).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
