//! S34 obfuscated-tunnel: the endpoint itself keeps sessions of proxies and disguised tunnels.
//!
//! Sees: home-exit and home-proxy (T2, T3), commercial-vpn (T4) where the tap sees the home's own traffic. Weak: capped
//! at 2, never enough alone: people who value privacy use the same. Errs: where recognition errs (docs/protocols).
//! Evaded by: a tap that never sees the home's other traffic, which is the usual one. Numbers: science note S34.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use crate::session::Category;

pub(super) static RULE: Rule = Rule {
    name: "obfuscated-tunnel",
    signal: "S34",
    question: Question::Connection,
    family: Family::Truth,
    weak: true,
    cap: 2.0,
    observe,
    tell,
};

/// An HTTP proxy is what companies tell their browsers to use; the others are brought along.
const ORDINARY: &[&str] = &["http-connect", "http-proxy", "socks"];

fn names(case: &Case<'_>) -> Vec<&'static str> {
    let tools = case.account.facts.tools.iter().filter(|(_, tool)| tool.category == Category::Proxy);
    tools.map(|(name, _)| *name).filter(|name| !ORDINARY.contains(name)).collect()
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let n = names(case).len();
    (n > 0).then(|| Observation {
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        value: n as f64,
        unit: "kinds",
        n: u64::try_from(n).unwrap_or(u64::MAX),
        ln_likelihood: over(Question::Connection, |h| match h {
            h if h.is_malicious() => 0.1f64.ln(),
            Hypothesis::PrivacyRelay => 0.1f64.ln(),
            _ => 0.01f64.ln(),
        }),
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, _: &Observation) -> (String, Vec<String>) {
    let tools = case.account.facts.tools.iter().filter(|(name, _)| names(case).contains(name));
    let flows = tools.flat_map(|(_, tool)| tool.flows.iter().map(|(_, flow)| flow.community_id()));
    let text = format!(
        "From this address go sessions of {}: tools that hide what a connection is. People who value their privacy use \
         them, too.",
        names(case).join(", ")
    );
    (text, flows.take(3).collect())
}
