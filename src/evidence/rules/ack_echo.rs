//! S14 ack-echo: how far beyond a remote-control session's other end the person is who answers its picture.
//!
//! Sees: remote-desktop and ip-kvm (T1) through any relay: the picture goes out, and what acknowledges it comes back
//! from whoever looks at it. The round trip to where the connection itself ends is taken off. Where the session has no
//! connection of its own (WebRTC), the round trip of its checks is the whole way (S15).
//! Errs: acknowledgments that wait for a clock make it longer, so the shortest count; a helpdesk abroad looks the same
//! and is a hypothesis. Evaded by: a viewer that runs near the relay, itself worked from afar: nothing shows then.
//! Numbers: science note S14, S15; Xue et al., NDSS 2025; the widths are design values.

use super::{Family, Observation, Rule, over};
use crate::base::Layer;
use crate::evidence::likelihood::{ln_exponential, ln_hidden_leg, ln_mix, ln_uniform};
use crate::evidence::{Case, Hypothesis, Question, Reach};

pub(super) static RULE: Rule = Rule {
    name: "ack-echo",
    signal: "S14",
    question: Question::Control,
    family: Family::Physics,
    weak: false,
    cap: 6.0,
    observe,
    tell,
};

/// The session with the least leg beyond its other end: what makes a loop longer is many, what makes it shorter nothing.
fn nearest<'a>(case: &Case<'a>) -> Option<&'a Reach> {
    let reaches = case.facts().flat_map(|facts| facts.reaches.iter());
    reaches.min_by(|a, b| a.leg_ms().total_cmp(&b.leg_ms()).then(a.cmp(b)))
}

fn observe(case: &Case<'_>) -> Option<Observation> {
    let reach = nearest(case)?;
    let leg = reach.leg_ms();
    Some(Observation {
        value: leg,
        unit: "ms",
        n: u64::from(reach.n),
        ln_likelihood: over(Question::Control, |h| ln_likelihood(h, leg)),
        hidden_leg_ms: Some((Hypothesis::RemoteDesktop, leg)),
    })
}

fn ln_likelihood(hypothesis: Hypothesis, leg: f64) -> f64 {
    match hypothesis {
        // The person may also have a relay at home.
        Hypothesis::RemoteDesktop | Hypothesis::IpKvm => {
            ln_mix(&[(0.9, ln_hidden_leg(leg)), (0.1, ln_exponential(leg, 30.0))])
        }
        // Some helpdesks sit on another continent.
        Hypothesis::Helpdesk => ln_mix(&[(0.9, ln_exponential(leg, 25.0)), (0.1, ln_uniform(leg, 0.0, 350.0))]),
        _ => ln_mix(&[(0.95, ln_exponential(leg, 25.0)), (0.05, ln_uniform(leg, 0.0, 350.0))]),
    }
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let Some(reach) = nearest(case) else { return (String::new(), Vec::new()) };
    let (whole, relay) = (f64::from(reach.whole_us) / 1e3, f64::from(reach.relay_us) / 1e3);
    let times = if reach.n == 1 { "once".to_owned() } else { format!("{} times", reach.n) };
    let answered = match reach.layer {
        Layer::RemoteEcho => "What this machine shows is acknowledged",
        Layer::Stun => "Whoever works this machine answers the session's own checks",
        _ => "Whoever works this machine answers the session's own questions",
    };
    let mut text = format!("{answered} after {whole:.0} ms at the soonest (measured {times})");
    if reach.relay_us == 0 {
        text.push('.');
    } else {
        let beyond = seen.value;
        let more = format!(
            ", but the connection itself ends {relay:.0} ms away: whoever looks at it is {beyond:.0} ms beyond that end."
        );
        text.push_str(&more);
    }
    (text, vec![reach.flow.community_id()])
}
