//! Every innocent look-alike of the science note's section 7: it fools a rule, and not the verdict.
//!
//! Each is laid out as nastily as it honestly gets: at the edge of what the note says of it, so that one rule alone calls
//! it a relay, a farm or a controlled machine, against the plainest innocent answer. What it is then called rests on the
//! named innocent explanation. How often simulated ones fool which rule is in `docs/evaluation.md`.

use super::ledger::CitedFlow;
use super::{Account, Case, Gap, Hypothesis, Reach, Site, ToolUse, alone, judge_all};
use crate::base::{Identity, IdentityKind, Layer, RttSample, Side, Timestamp};
use crate::intel::{Expected, Kind, Place, Towns};
use crate::session::{Category, Confidence};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a round trip to a home some 1,000 miles away should take: 40 ms.
const EXPECTED: Expected = Expected { distance_ms: 28.0, access_ms: 12.0 };

/// One endpoint of which some things were measured.
struct Endpoint {
    account: Account,
    kind: Kind,
    people: usize,
    towns: Towns,
}

impl Endpoint {
    fn of(kind: Kind) -> Self {
        Self { account: Account::default(), kind, people: 0, towns: Towns::default() }
    }

    /// TCP handshakes with these round trips, so many seconds apart.
    fn handshakes(mut self, apart: i64, milliseconds: &[u64]) -> Self {
        for (i, ms) in (0..).zip(milliseconds) {
            let at = Timestamp::from_nanos(i * apart * 1_000_000_000);
            let (rtt, layer) = (Duration::from_millis(*ms), Layer::TcpHandshake);
            self.account.ladder.add(&RttSample {
                at,
                side: Side::Client,
                rtt,
                layer,
                method: "syn-ack",
                ambiguous: false,
            });
        }
        self
    }

    /// Handshakes of TLS above TCP's, of so many programs in turn.
    fn gaps(mut self, programs: u64, tcp_and_upper_ms: &[(u32, u32)]) -> Self {
        for (i, (tcp, upper)) in (0u16..).zip(tcp_and_upper_ms) {
            self.account.gaps.make().insert(Gap::any(i * 30, 1 + u64::from(i) % programs, *tcp, *upper));
        }
        self.account.gap_count = tcp_and_upper_ms.len() as u64;
        self
    }

    /// A session of a tool in which the machine was worked, and how far away whoever worked it was.
    fn worked(mut self, tool: &'static str, category: Category, minutes: u64, leg_ms: Option<u32>) -> Self {
        let lasted = Duration::from_secs(60 * minutes);
        let flows = BTreeSet::from([(false, CitedFlow::any(1))]);
        let confidence = Confidence::Confirmed;
        let used = ToolUse { category, confidence, sessions: 1, worked: 1, longest: lasted, total: lasted, flows };
        self.account.facts.tools.make().insert(tool, used);
        self.account.facts.reaches.make().extend(leg_ms.map(|ms| Reach::any(Layer::Stun, ms * 1_000)));
        self
    }

    fn people(mut self, people: usize, towns: usize) -> Self {
        (self.people, self.towns) = (people, Towns { people, towns });
        self
    }

    /// What the named rule says alone, and what the verdicts are.
    fn told(&self, rule: &str) -> (f64, Vec<(bool, Hypothesis)>) {
        let place = Place { kind: self.kind, ..Place::default() };
        let user = |i: usize| Arc::new(Identity { kind: IdentityKind::User, name: format!("user{i}") });
        let people: Vec<Arc<Identity>> = (0..self.people).map(user).collect();
        let (site, at_once) = (Site::default(), (self.people > 0).then_some(self.people));
        let expected = Some(EXPECTED);
        let case = Case {
            expected,
            people: &people,
            at_once,
            towns: self.towns,
            ..Case::new(&self.account, Some(&place), &site)
        };
        let llr = alone(&case).into_iter().find(|(name, _)| *name == rule).map_or(0.0, |(_, llr)| llr);
        let findings = judge_all([198, 51, 100, 7].into(), &case, &site, false);
        (llr, findings.iter().map(|finding| (finding.verdict.is_finding(), finding.innocent.hypothesis)).collect())
    }

    /// The rule alone is loud, nothing is raised, and the look-alike is the best innocent answer.
    fn fools(&self, rule: &str, least: f64, named: Hypothesis) {
        let (llr, findings) = self.told(rule);
        assert!(llr >= least, "{rule} says {llr} only");
        assert!(findings.iter().all(|(raised, _)| !raised), "{findings:?}");
        assert!(findings.iter().any(|(_, innocent)| *innocent == named), "{findings:?}");
    }
}

/// 20 to 1.
const LOUD: f64 = 3.0;

#[test]
fn a_relay_is_raised_where_no_look_alike_explains_it() {
    // The same measurements as below, at a fixed line: what makes the difference is the explanation and nothing else.
    let home = Endpoint::of(Kind::Residential);
    let (llr, findings) = home.handshakes(300, &[203, 201, 204, 202, 201, 206]).told("absolute-excess");
    assert!(llr > LOUD && findings.iter().any(|(raised, _)| *raised), "{llr} {findings:?}");
}

#[test]
fn a_geostationary_satellite_whose_provider_ends_tcp_on_the_ground() {
    let gaps = [(31, 640), (32, 655), (30, 628), (35, 690), (31, 633)];
    for kind in [Kind::SatelliteGeo, Kind::Unknown] {
        let sky = Endpoint::of(kind).handshakes(200, &[31, 32, 30, 35, 31]).gaps(2, &gaps);
        sky.fools("cross-layer-gap", LOUD, Hypothesis::GeoSatellite);
    }
}

#[test]
fn a_geostationary_satellite_without_such_a_provider() {
    let sky = Endpoint::of(Kind::SatelliteGeo).handshakes(200, &[612, 640, 601, 655, 618]);
    // 560 ms more than a home's are no leg that an operator has, either.
    let (_, findings) = sky.told("absolute-excess");
    assert!(findings.iter().all(|(raised, _)| !raised), "{findings:?}");
}

#[test]
fn a_low_orbit_with_a_far_ground_station() {
    let sky = Endpoint::of(Kind::SatelliteLeo).handshakes(120, &[112, 118, 127, 109, 140, 115, 121, 133]);
    sky.fools("absolute-excess", LOUD, Hypothesis::LeoSatellite);
}

#[test]
fn a_hotspot_at_the_edge_of_its_cell() {
    let phone = Endpoint::of(Kind::Mobile).handshakes(120, &[118, 131, 122, 160, 117, 145]);
    phone.fools("absolute-excess", LOUD, Hypothesis::Mobile);
}

#[test]
fn an_upload_that_fills_the_line() {
    let home = Endpoint::of(Kind::Residential).handshakes(45, &[190, 310, 240, 420, 205, 365, 290, 510]);
    home.fools("absolute-excess", LOUD, Hypothesis::Bufferbloat);
}

#[test]
fn a_telephone_abroad_whose_operator_brings_it_home() {
    // Roaming is routed through the home operator, so the address says home and the way is an ocean longer.
    let phone = Endpoint::of(Kind::Mobile).handshakes(300, &[166, 181, 170, 195, 168, 172]);
    let (llr, findings) = phone.told("absolute-excess");
    assert!(llr >= LOUD && findings.iter().all(|(raised, _)| !raised), "{llr} {findings:?}");
}

#[test]
fn a_helpdesk_on_another_continent() {
    let helped = Endpoint::of(Kind::Residential).worked("teamviewer", Category::RemoteDesktop, 25, Some(120));
    helped.fools("remote-tool", LOUD, Hypothesis::Helpdesk);
    helped.fools("ack-echo", 2.0, Hypothesis::Helpdesk);
}

#[test]
fn a_colleague_overseas_who_only_listens() {
    let call = Endpoint::of(Kind::Residential).worked("webrtc", Category::Conferencing, 12, Some(175));
    let (llr, findings) = call.told("ack-echo");
    assert!(llr >= LOUD && findings.iter().all(|(raised, _)| !raised), "{llr} {findings:?}");
}

#[test]
fn two_who_share_a_household() {
    let home = Endpoint::of(Kind::Residential).people(2, 1);
    home.fools("crowded-address", LOUD, Hypothesis::Household);
    // One of them has moved, or is a guest.
    Endpoint::of(Kind::Residential).people(2, 2).fools("crowded-address", LOUD, Hypothesis::Household);
}

#[test]
fn an_office_a_dormitory_and_a_providers_translation() {
    let office = Endpoint::of(Kind::Business).people(9, 6);
    office.fools("crowded-address", LOUD, Hypothesis::Coworking);
    let many_homes = Endpoint::of(Kind::Mobile).people(5, 1);
    many_homes.fools("crowded-address", LOUD, Hypothesis::Cgnat);
}

#[test]
fn a_cloud_gateway_and_a_privacy_relay() {
    let cloud = Endpoint::of(Kind::Business)
        .handshakes(200, &[22, 23, 22, 25])
        .gaps(2, &[(22, 85), (23, 88), (22, 84), (25, 90)]);
    let (_, findings) = cloud.told("cross-layer-gap");
    assert!(findings.iter().all(|(raised, _)| !raised), "{findings:?}");
    let relay = Endpoint::of(Kind::Vpn).handshakes(200, &[55, 57, 54, 60, 58]);
    relay.fools("exit-reputation", 2.2, Hypothesis::PrivacyRelay);
}

#[test]
fn a_provider_that_ends_tcp_in_its_own_network() {
    let gaps = [(18, 131), (19, 136), (18, 129), (20, 140), (18, 134)];
    let phone = Endpoint::of(Kind::Mobile).handshakes(200, &[18, 19, 18, 20, 18]).gaps(2, &gaps);
    phone.fools("cross-layer-gap", LOUD, Hypothesis::Accelerator);
}

#[test]
fn a_smart_card_that_takes_its_time() {
    // One program, one habit, hundreds of times: that is one coincidence.
    let slow: Vec<(u32, u32)> = (0..40).map(|i| (35, 205 + i % 9)).collect();
    let home = Endpoint::of(Kind::Residential).handshakes(60, &[35; 40]).gaps(1, &slow);
    let (llr, findings) = home.told("cross-layer-gap");
    assert!(llr > 2.0 && findings.iter().all(|(raised, _)| !raised), "{llr} {findings:?}");
}
