//! S12 remote-tool: remote-control sessions in which the endpoint's own machine is worked.
//!
//! Sees: remote-desktop and ip-kvm (T1) where the session itself passes the tap: behind the VPN, or on the machine's own
//! network. Which end is worked is read off who sends the picture, or who lets the other open connections.
//! Errs: a helpdesk does the same for a while, and a worker may reach his own machine from a telephone; each is a
//! hypothesis. Sessions in which the endpoint works another machine (a desktop in the office) don't count.
//! Evaded by: split tunnels that keep the session away from the tap; the absence proves nothing and isn't scored.
//! Numbers: science note S12; shares and durations are design values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question, ToolUse};
use crate::session::Category;
use std::time::Duration;

pub(super) static RULE: Rule = Rule {
    name: "remote-tool",
    signal: "S12",
    question: Question::Control,
    family: Family::Remote,
    weak: false,
    cap: 8.0,
    observe,
    tell,
};

/// How long a helpdesk's session lasts on average (design value, in minutes).
const HELP: f64 = 30.0;

/// Tools with which the endpoint's machine was worked, the longest first.
fn worked<'a>(case: &Case<'a>) -> Vec<(&'static str, &'a ToolUse)> {
    let tools = case.facts().flat_map(|facts| facts.tools.iter());
    let mut worked: Vec<_> = tools
        .filter(|(_, tool)| tool.worked > 0 && tool.category != Category::Proxy)
        .map(|(name, t)| (*name, t))
        .collect();
    worked.sort_by(|a, b| (b.1.longest, a.0).cmp(&(a.1.longest, b.0)));
    worked.dedup_by_key(|(name, _)| *name);
    worked
}

/// What was seen of the sessions in which the machine was worked.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The longest, in minutes.
    minutes: f64,
    /// A KVM box talks to its maker, or carries the session.
    kvm: bool,
    /// Through connections that the other end opens.
    tunnel: bool,
    /// More tools than one.
    several: bool,
    /// Only calls in which one end shows and the other sends no sound, but messages.
    call: bool,
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let worked = worked(case);
    let (_, longest) = worked.first()?;
    let of = |category: Category| worked.iter().any(|(_, tool)| tool.category == category);
    let seen = Seen {
        minutes: longest.longest.as_secs_f64() / 60.0,
        kvm: case.facts().flat_map(|facts| facts.tools.values()).any(|tool| tool.category == Category::Kvm),
        tunnel: of(Category::RemoteShell),
        several: worked.len() > 1,
        call: worked.iter().all(|(_, tool)| tool.category == Category::Conferencing),
    };
    Some(Observation {
        value: seen.minutes,
        unit: "min",
        n: worked.iter().map(|(_, tool)| tool.worked).sum(),
        ln_likelihood: over(Question::Control, |h| ln_likelihood(h, seen)),
        hidden_leg_ms: None,
    })
}

/// The chance that such an endpoint shows what was seen.
fn ln_likelihood(hypothesis: Hypothesis, seen: Seen) -> f64 {
    let share = |yes: bool, of: f64| if yes { of.ln() } else { (1.0 - of).ln() };
    let (any, kvms, tunnels, second): (f64, f64, f64, f64) = match hypothesis {
        Hypothesis::RemoteDesktop => (0.5, 0.02, 0.15, 0.2),
        Hypothesis::IpKvm => (0.5, 0.9, 0.02, 0.2),
        // Tools of helpdesks are bought, and rarely are there two; a tunnel through a rented server is nobody's product.
        Hypothesis::Helpdesk => (0.9, 1e-4, 0.005, 0.02),
        // Somebody may show a thing to a silent audience that sends messages, for a while (science note S15: half an
        // hour is where that becomes rare).
        _ if seen.call => ((2e-2 * (-seen.minutes / 15.0).exp()).max(3e-3), 0.02, 0.05, 0.02),
        _ => (1e-3, 0.02, 0.05, 0.02),
    };
    let lasting = match hypothesis {
        Hypothesis::Helpdesk => (-seen.minutes / HELP).max(-4.0),
        _ => 0.0,
    };
    any.ln() + share(seen.kvm, kvms) + share(seen.tunnel, tunnels) + share(seen.several, second) + lasting
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let worked = worked(case);
    let names: Vec<&str> = worked.iter().map(|(name, _)| *name).collect();
    let total: Duration = worked.iter().map(|(_, tool)| tool.total).sum();
    let sessions = if seen.n == 1 { "one session".to_owned() } else { format!("{} sessions", seen.n) };
    let text = format!(
        "This machine was worked from outside in {sessions} ({}), {} in all, the longest {}. A helpdesk does the same \
         for a while; who it was is not seen.",
        names.join(", "),
        lasted(total),
        lasted(Duration::from_secs_f64(seen.value.max(0.0) * 60.0)),
    );
    let flows = worked.iter().flat_map(|(_, tool)| tool.flows.iter().filter(|(idle, _)| !idle));
    (text, flows.take(3).map(|(_, flow)| flow.community_id()).collect())
}

/// A duration in the unit that suits it.
fn lasted(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{:.1} h", Duration::from_secs(seconds).as_secs_f64() / 3_600.0),
    }
}
