//! S07 tunnel-tax: the segment size that the endpoint announces, against those of tunnels.
//!
//! Sees: home-exit (T2) through WireGuard, OpenVPN or IPsec, whose routers clamp the MSS. Weak: capped at 2.
//! Errs: PPPoE, IPv6 transition, mobile networks and cautious routers shrink segments too; the absence proves nothing.
//! Evaded by: not clamping (fragments then), or a proxy. Numbers: science note section 5 and S07; shares are design
//! values.

use super::{Family, Observation, Rule, over};
use crate::evidence::{Case, Hypothesis, Question};
use crate::fingerprint::Overhead;
use std::sync::LazyLock;

pub(super) static RULE: Rule = Rule {
    name: "tunnel-tax",
    signal: "S07",
    question: Question::Connection,
    // What a router writes into a SYN has no queue and no length in common with a round trip.
    family: Family::Truth,
    weak: true,
    cap: 2.0,
    observe,
    tell,
};

fn observe(case: &Case<'_>) -> Option<Observation> {
    let path = &case.account.path;
    let (mss, _) = path.mss()?;
    let overhead = path.overhead()?;
    Some(Observation {
        value: f64::from(mss),
        unit: "bytes",
        n: path.announced(),
        ln_likelihood: *LN_SHARES.get(overhead as usize)?,
        hidden_leg_ms: None,
    })
}

fn tell(case: &Case<'_>, seen: &Observation) -> (String, Vec<String>) {
    let path = &case.account.path;
    let (mss, share) = (seen.value, path.mss().map_or(0.0, |(_, share)| share));
    let text = match path.overhead().unwrap_or(Overhead::None) {
        Overhead::None => {
            format!("It announces the full segment size ({mss} bytes): no tunnel shows; that proves nothing.")
        }
        Overhead::Access => {
            format!("It announces {mss}-byte segments, as some access lines do (PPPoE, IPv6 transition).")
        }
        Overhead::Tunnel => format!(
            "It announces {mss}-byte segments in {:.0} % of its connections, as traffic through a tunnel does; some \
             routers and mobile networks do the same.",
            share * 100.0
        ),
    };
    (text, case.account.quickest.iter().take(1).map(|(.., flow)| flow.community_id()).collect())
}

/// The logarithms of the shares, for each overhead.
static LN_SHARES: LazyLock<[[f64; Hypothesis::ALL.len()]; 3]> = LazyLock::new(|| {
    [Overhead::None, Overhead::Access, Overhead::Tunnel].map(|o| over(Question::Connection, |h| share_of(h, o).ln()))
});

/// How often an endpoint of that kind announces such a segment size.
const fn share_of(hypothesis: Hypothesis, overhead: Overhead) -> f64 {
    let (none, access, tunnel) = match hypothesis {
        Hypothesis::HomeExit | Hypothesis::CommercialVpn => (0.45, 0.05, 0.50),
        Hypothesis::PrivacyRelay => (0.55, 0.05, 0.40),
        Hypothesis::Mobile => (0.30, 0.50, 0.20),
        Hypothesis::AccessTunnel => (0.10, 0.80, 0.10),
        _ => (0.90, 0.08, 0.02),
    };
    match overhead {
        Overhead::None => none,
        Overhead::Access => access,
        Overhead::Tunnel => tunnel,
    }
}
