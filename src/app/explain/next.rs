//! What to do next: in words, from the verdict, the best innocent story and what is missing.
//!
//! Reads: a [`Case`]. Emits: sentences, the first thing first. Does not: weigh anything anew.

use super::case::Case;
use crate::app::folder::FindingView;
use std::path::Path;

/// Inputs that are named in a command; of more, the first stand for all.
const NAMED: usize = 3;

/// The steps, for an endpoint whose records are in `dir`.
pub(super) fn steps(case: &Case, dir: &Path) -> Vec<String> {
    let mut steps = Vec::new();
    match case.findings().next() {
        None => {
            steps.push(format!(
                "The folder holds this endpoint's measurements, and not on what evidence it was called {}: run analyze \
                 again with --all, and explain tells the rest.",
                case.endpoint.view.verdict
            ));
        }
        Some(_) => {
            // That something is clear is no step where something else is not.
            let open = case.findings().any(|finding| finding.verdict != "clear");
            for finding in case.findings().filter(|finding| !open || finding.verdict != "clear") {
                steps.extend(of_finding(case, finding, dir));
            }
        }
    }
    if case.broken() > 0 {
        steps.push(
            "A capture of this run could not be read to its end (summary.json): what came after is not in this \
                    judgement."
                .to_owned(),
        );
    }
    steps
}

fn of_finding(case: &Case, finding: &FindingView, dir: &Path) -> Vec<String> {
    let mut steps = Vec::new();
    if let Some(by) = &finding.suppressed {
        steps.push(format!(
            "Nothing, until {}: the allow-list covers it ({}). Ask {} if that is no longer so.",
            by.expires, by.reason, by.owner
        ));
    }
    let told = finding.verdict != "clear" && finding.evidence.iter().any(|evidence| !evidence.cites.is_empty());
    if told {
        steps.push(format!("See the packets: {}", slice_command(case, finding, dir)));
    }
    match finding.verdict.as_str() {
        "clear" => steps.push("Nothing more: an innocent story explains what was measured.".to_owned()),
        "insufficient" => {
            steps.push("Get what is missing, then analyze again. Until then this is no suspicion.".to_owned())
        }
        _ => {
            steps.push(format!("Rule the best innocent story out: {}.", check(&finding.innocent.hypothesis)));
            steps.push(
                "Look at other days: what is real is there every working day, a full queue, a trip or a helpdesk is not."
                    .to_owned(),
            );
            steps.push(
                "Then ask, with a human being on both ends of the question. A finding is a reason to ask, not a proof."
                    .to_owned(),
            );
        }
    }
    steps
}

fn slice_command(case: &Case, finding: &FindingView, dir: &Path) -> String {
    let inputs = case.inputs();
    let mut named: Vec<&str> = inputs.iter().take(NAMED).copied().collect();
    if inputs.is_empty() || inputs.contains(&"-") {
        named = vec!["CAPTURE"];
    } else if inputs.len() > NAMED {
        named.push("...");
    }
    format!("farmlight slice {} --from {} -o {}.pcapng {}", finding.id, dir.display(), finding.id, named.join(" "))
}

/// How a person finds out whether an innocent story is true.
fn check(hypothesis: &str) -> &'static str {
    match hypothesis {
        "direct" => {
            "it fits poorly, so look for what else is slow: the home's line (a test at its router), the worker's machine"
        }
        "bufferbloat" => "measure again when the home's upload is idle, or with the router's queue management on",
        "geo-satellite" | "leo-satellite" => "ask which provider the home has; a satellite link is on the bill",
        "mobile" => "ask whether a phone's hotspot was in use at that time",
        "misplaced-address" => "ask where the worker was, and look the address up in a second database",
        "slow-client" => "let the same person work from another machine for a day",
        "accelerating-proxy" => "ask the provider whether it ends TCP in its own network, as satellite providers do",
        "access-tunnel" => "ask for the kind of access line: PPPoE or an IPv6 transition explains the segment size",
        "privacy-relay" => {
            "ask which service the worker uses and why; a company's own gateway is on its network plan, and a worker on the \
             road may use one honestly"
        }
        "distant-honest" => "ask where the worker lives; nobody has said otherwise",
        "own-hands" => "ask whether the worker reaches this machine from elsewhere, from where and with which tool",
        "helpdesk" => "look the session up in the helpdesk's tickets, and ask who had the tool installed",
        "household" => "ask who lives there and works for the company; ship the next laptop to the other address",
        "coworking" => "look the address up: an office, a hotel or a dormitory is known by its name",
        "cgnat" => "ask the provider whether the address is shared by many homes",
        _ => "ask for what would be so if it were true",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_innocent_story_can_be_checked() {
        let innocent = crate::evidence::Hypothesis::ALL.into_iter().filter(|h| !h.is_malicious());
        innocent.for_each(|h| assert_ne!(check(h.name()), check("another story"), "{}", h.name()));
    }
}
