//! Reads `[[allow]]`, and sets aside what it names.
//!
//! An allowance is a decision, so it has a reason, and one that sets nothing aside is reported:
//! what it was for has been mended, or it never fitted.
//! Invariant: only findings of rules are set aside, never mistakes that leave no configuration.

use std::ops::{Range, RangeInclusive};

use model::Name;
use model::configuration::Allowance;

use crate::finding::{Finding, did_you_mean, quote};
use crate::reader::{Table, Value};
use crate::rules::{self, Found};

/// Allowances, at most.
const ALLOWANCES_MAX: usize = 1_000;

/// The shortest reason that can say anything, and the longest that is kept, in characters.
const REASON: RangeInclusive<usize> = 10..=500;

/// The rule that holds what the user wrote down as true.
const NOT_ALLOWABLE: &str = "broken-invariant";

/// An allowance and its place.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) allowance: Allowance,
    span: Range<usize>,
}

/// Reads every `[[allow]]`.
pub(crate) fn allowances(root: &mut Table<'_>) -> Vec<Placed> {
    let Some(value) = root.get("allow") else { return Vec::new() };
    let Some(array) = value.as_array() else {
        value.wrong_type("made of tables `[[allow]]`");
        return Vec::new();
    };
    if let Some(extra) = array.get(ALLOWANCES_MAX) {
        let message = format!("more than {ALLOWANCES_MAX} allowances");
        extra.invalid("too-many", message, "set a rule aside everywhere: leave out `at`");
    }
    array.iter().take(ALLOWANCES_MAX).filter_map(allowance).collect()
}

fn allowance(value: &Value<'_>) -> Option<Placed> {
    let mut table = value.table("a table with `rule` and `reason`")?;
    let rule_value = table.required("rule", "rule = \"single-server\"");
    let at = table.get("at").and_then(|value| value.text().map(Name::from));
    let reason = table.required("reason", "reason = \"why this is right here\"");
    table.finish();
    let rule = rule_value.as_ref().and_then(rule);
    let reason = reason.and_then(|value| reason_text(&value));
    let span = rule_value.map_or_else(|| value.span.clone(), |value| value.span);
    Some(Placed { allowance: Allowance { rule: rule?, at, reason: reason? }, span })
}

fn rule(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?;
    if text == NOT_ALLOWABLE {
        let message = format!("{} cannot be set aside", quote(text));
        value.invalid("not-a-rule", message, "change `[invariants]`, which are your own");
        return None;
    }
    match rules::find(text) {
        Some(rule) if rule.is_of_changes() => {
            let message = format!("{} cannot be set aside", quote(text));
            value.invalid("not-a-rule", message, "relax `[changes]`, or let a canary go first");
            return None;
        }
        Some(_) => return Some(Name::from(text)),
        None => {}
    }
    let message = format!("there is no rule {}", quote(text));
    let known = rules::rules().iter().map(|rule| rule.name);
    let finding = Finding::error("not-a-rule", value.span.clone(), message).label("not a rule");
    let help = "`tidegate explain` lists the rules; only they can be set aside";
    value.report(finding.help(help).help_maybe(did_you_mean(text, known)));
    None
}

fn reason_text(value: &Value<'_>) -> Option<Name> {
    let text = value.text()?.trim();
    if REASON.contains(&text.chars().count()) {
        return Some(Name::from(text));
    }
    let message = format!("a reason has {} to {} characters", REASON.start(), REASON.end());
    value.invalid("missing-reason", message, "say why this is right here, for the next reader");
    None
}

/// What is left of the rules' findings, and a warning for each allowance that fits none.
pub(crate) fn apply(found: Vec<Found>, allowances: &[Placed]) -> Vec<Finding> {
    let mut used = vec![false; allowances.len()];
    let mut left = Vec::new();
    for Found { place, finding } in found {
        let mut is_allowed = false;
        for (placed, used) in allowances.iter().zip(&mut used) {
            if placed.allowance.fits(finding.rule, &place) {
                is_allowed = true;
                *used = true;
            }
        }
        if !is_allowed {
            left.push(finding);
        }
    }
    let unused = allowances.iter().zip(used).filter(|(_, used)| !used);
    left.extend(unused.map(|(placed, _)| {
        let rule = quote(&placed.allowance.rule);
        let message = format!("the allowance for {rule} sets nothing aside");
        Finding::warning("unused-allowance", placed.span.clone(), message)
            .label("fits no finding")
            .help("remove it, or correct `at`, such as \"pools.web\"")
    }));
    left
}
