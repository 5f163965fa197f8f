//! Rules and splits, of aliases and of jobs that keep to them.

use std::ops::Range;
use std::sync::Arc;

use umbel_core::function::VersionId;
use umbel_core::job::Target;
use umbel_core::route::{Arm, ArmId, Key, Lead, Node, Plan, Routing, Rule, Split};

use super::job::decode_target;
use super::{Error, wire};

/// 0 is none.
pub(super) fn encode_arm(arm: Option<ArmId>) -> u32 {
    arm.map_or(0, |arm| arm.0)
}

pub(super) fn decode_arm(id: u32) -> Option<ArmId> {
    Some(ArmId(id)).filter(|arm| arm.0 > 0)
}

pub(super) fn encode_plan(plan: &Plan) -> wire::PlanRecord {
    let rules = plan.rules.iter().map(|rule| wire::RuleRecord {
        arm_id: rule.arm.0,
        name: rule.name.clone(),
        when: rule.when.clone(),
        target: rule.target.display(),
    });
    wire::PlanRecord {
        rules: rules.collect(),
        split: plan.split.as_ref().map(encode_split),
    }
}

fn encode_split(split: &Split) -> wire::SplitRecord {
    let arms = split.arms.iter().map(|arm| wire::ArmRecord {
        arm_id: arm.id.0,
        name: arm.name.clone(),
        target: arm.target.display(),
        buckets: arm
            .buckets
            .iter()
            .flat_map(|run| [u32::from(run.start), u32::from(run.end)])
            .collect(),
    });
    wire::SplitRecord {
        key: split.key.as_ref().map(|key| match key {
            Key::Pointer(pointer) => wire::split_record::Key::Pointer(pointer.clone()),
            Key::Label(label) => wire::split_record::Key::Label(label.clone()),
        }),
        salt: split.salt,
        arms: arms.collect(),
    }
}

pub(super) fn decode_plan(kind: &'static str, plan: wire::PlanRecord) -> Result<Plan, Error> {
    let rules = plan.rules.into_iter().map(|rule| {
        Ok(Rule {
            arm: ArmId(rule.arm_id),
            name: rule.name,
            when: rule.when,
            target: target(kind, rule.target)?,
        })
    });
    let split = plan.split.map(|split| decode_split(kind, split));
    Ok(Plan {
        rules: rules.collect::<Result<_, Error>>()?,
        split: split.transpose()?,
    })
}

fn decode_split(kind: &'static str, split: wire::SplitRecord) -> Result<Split, Error> {
    let arms = split.arms.into_iter().map(|arm| {
        Ok(Arm {
            id: ArmId(arm.arm_id),
            name: arm.name,
            target: target(kind, arm.target)?,
            buckets: decode_buckets(kind, &arm.buckets)?,
        })
    });
    let arms: Vec<Arm> = arms.collect::<Result<_, Error>>()?;
    let split = Split {
        key: split.key.map(|key| match key {
            wire::split_record::Key::Pointer(pointer) => Key::Pointer(pointer),
            wire::split_record::Key::Label(label) => Key::Label(label),
        }),
        salt: split.salt,
        arms,
    };
    if split.is_whole() {
        return Ok(split);
    }
    Err(Error::new(kind, "its split does not have each bucket once"))
}

fn decode_buckets(kind: &'static str, pairs: &[u32]) -> Result<Vec<Range<u16>>, Error> {
    let pairs = pairs.chunks(2).map(|pair| match pair {
        [begin, end] => Some(u16::try_from(*begin).ok()?..u16::try_from(*end).ok()?),
        _ => None,
    });
    let pairs: Option<Vec<_>> = pairs.collect();
    pairs.ok_or_else(|| Error::new(kind, "its buckets are no pairs"))
}

fn target(kind: &'static str, text: String) -> Result<Target, Error> {
    let target = decode_target(kind, text, Vec::new())?;
    target.ok_or_else(|| Error::new(kind, "it leads to nothing"))
}

pub(super) fn encode_routing(routing: &Routing) -> Vec<wire::NodeRecord> {
    let nodes = routing.nodes.iter().map(|node| wire::NodeRecord {
        function: node.function.clone(),
        alias: node.alias.clone(),
        plan: Some(encode_plan(&node.plan)),
        leads: node.leads.iter().map(|lead| encode_lead(*lead)).collect(),
        otherwise: node.otherwise.0,
    });
    nodes.collect()
}

fn encode_lead(lead: Lead) -> wire::LeadRecord {
    let lead = match lead {
        Lead::Version(id) => wire::lead_record::Lead::VersionId(id.0),
        // A routing has few nodes.
        Lead::Node(at) => wire::lead_record::Lead::Node(u32::try_from(at).unwrap_or(u32::MAX)),
    };
    wire::LeadRecord { lead: Some(lead) }
}

/// What a job keeps to never changes, so it needs no revision.
pub(super) fn decode_routing(
    kind: &'static str,
    nodes: Vec<wire::NodeRecord>,
) -> Result<Option<Arc<Routing>>, Error> {
    if nodes.is_empty() {
        return Ok(None);
    }
    let count = nodes.len();
    let nodes = nodes.into_iter().map(|node| {
        let plan = decode_plan(kind, node.plan.unwrap_or_default())?;
        let leads = node.leads.into_iter().map(|lead| match lead.lead {
            Some(wire::lead_record::Lead::VersionId(id)) => Some(Lead::Version(VersionId(id))),
            Some(wire::lead_record::Lead::Node(at)) => {
                let at = usize::try_from(at).ok().filter(|at| *at < count);
                at.map(Lead::Node)
            }
            None => None,
        });
        let leads: Option<Vec<Lead>> = leads.collect();
        let leads = leads.filter(|leads| leads.len() == plan.targets().count());
        Ok(Node {
            function: node.function,
            alias: node.alias,
            leads: leads.ok_or_else(|| Error::new(kind, "its route leads nowhere"))?,
            plan: Arc::new(plan),
            otherwise: VersionId(node.otherwise),
        })
    });
    let nodes = nodes.collect::<Result<_, Error>>()?;
    Ok(Some(Arc::new(Routing { revision: 0, nodes })))
}
