//! What shows only from moment to moment, or only when endpoints are compared: the comb of a low orbit, a line that two
//! addresses share, oddities that they have in common, and one address seen from several of the company's sites.
//!
//! Simulated; the truth is known. Does not: say how often such things happen in the world.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops by panicking, and tells what it saw"
)]

mod common;

use common::{Analysis, analyze_within};
use farmlight::base::LinkType;
use farmlight::evidence::rules::RULES;
use farmlight::evidence::{Case, Evidence, Finding, Hypothesis, Question, Site, Verdict, judge_all};
use farmlight::intel::{Networks, Place, Places, Premises};
use farmlight::simulate::{Access, Options, geography, run_together, tap};
use farmlight::source::{Memory, MemoryFrame};
use std::net::IpAddr;
use std::time::Duration;

/// Sites beside the gateway's, as the simulator lays them out.
const SITES: [(&str, &str, &str); 2] =
    [("San Jose", "203.0.113.6", "37.3382,-121.8863"), ("Berlin", "203.0.113.31", "52.52,13.405")];

/// A capture of these scenarios, analyzed.
fn analyzed(parts: &[(&str, Options)], workers: usize) -> (Analysis, Vec<IpAddr>) {
    let outcome = run_together(parts).unwrap();
    let frames = outcome.frames.into_iter().map(|(at, bytes)| MemoryFrame {
        at,
        link: LinkType::ETHERNET,
        orig_len: u32::try_from(bytes.len()).unwrap(),
        bytes,
    });
    let own: Networks = "192.0.2.0/24,2001:db8:c0::/48,203.0.113.0/24".parse().unwrap();
    let sites = SITES.iter().map(|(_, networks, at)| (networks.parse().unwrap(), at.parse().unwrap()));
    let premises = Premises::from(own).with_sites(sites.collect(), site().location);
    let endpoints = outcome.truth.endpoints.iter().map(|truth| truth.endpoint_ip).collect();
    let analysis = analyze_within(&mut Memory::new(frames.collect()), workers, premises);
    analysis.ledger.compare_endpoints();
    (analysis, endpoints)
}

fn places() -> Places {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), geography()).unwrap();
    Places::open(Some(file.path()), None, None).unwrap()
}

fn site() -> Site {
    Site { location: Some(tap().parse().unwrap()), has_places: true, ..Site::default() }
}

/// The findings on an endpoint; `place` makes another of its place.
fn judged(analysis: &Analysis, address: IpAddr, place: impl Fn(Place) -> Option<Place>) -> Vec<Finding> {
    let place = places().lookup(address).and_then(place);
    let peers = analysis.ledger.peers();
    let look = |account: &_| {
        let case = Case { ties: peers.of(address), ..Case::new(account, place.as_ref(), &site()) };
        judge_all(address, &case, &site(), true)
    };
    analysis.ledger.look(address, look).unwrap()
}

fn said<'a>(findings: &'a [Finding], question: Question, rule: &str) -> Option<&'a Evidence> {
    let finding = findings.iter().find(|finding| finding.question == question)?;
    finding.evidence.iter().find(|evidence| evidence.rule == rule)
}

/// What a rule says of an endpoint under a hypothesis.
fn likelihood(analysis: &Analysis, address: IpAddr, name: &str, hypothesis: Hypothesis) -> f64 {
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
    let place = places().lookup(address);
    let seen = analysis.ledger.look(address, |account| (rule.observe)(&Case::new(account, place.as_ref(), &site())));
    seen.flatten().unwrap().ln_likelihood_of(hypothesis, rule.cap)
}

/// A worker who is busy for so many minutes: a connection every few seconds.
fn busy(seed: u64, minutes: u64) -> Options {
    Options {
        seed,
        sessions: Some(u32::try_from(minutes * 15).unwrap()),
        duration: Some(Duration::from_secs(minutes * 60)),
        bystanders: Some(0),
        ..Options::default()
    }
}

#[test]
fn a_low_orbit_shows_its_comb_and_other_lines_do_not() {
    let comb = |name: &str, access: Option<Access>, seed: u64| {
        let (analysis, endpoints) = analyzed(&[(name, Options { access, ..busy(seed, 30) })], 1);
        let text =
            said(&judged(&analysis, endpoints[0], Some), Question::Connection, "jitter-texture").unwrap().text.clone();
        let leo = [Hypothesis::LeoSatellite, Hypothesis::HomeExit]
            .map(|h| likelihood(&analysis, endpoints[0], "jitter-texture", h));
        println!("{name} {access:?}: {text}");
        (text.contains("standard deviations"), leo[0] - leo[1])
    };
    let (seen, worth) = comb("leo-satellite", None, 1);
    assert!(seen && worth > 1.9, "{worth}");
    for (name, access) in [
        ("home-direct", Some(Access::Cable)),
        ("home-direct", Some(Access::Wifi)),
        ("mobile", None),
        ("bufferbloat", None),
        ("home-exit", None),
        ("home-exit", Some(Access::Wifi)),
    ] {
        let (seen, worth) = comb(name, access, 2);
        assert!(!seen && (-1.0..0.5).contains(&worth), "{name} {access:?}: {worth}");
    }
}

/// A scenario whose subject uses the company's servers in several cities.
fn from_sites(name: &'static str, options: &Options) -> Vec<(&'static str, Options)> {
    let sites = [None].into_iter().chain(SITES.map(|(city, ..)| Some(city.to_owned())));
    sites.map(|site| (name, Options { site, bystanders: Some(0), ..options.clone() })).collect()
}

#[test]
fn several_sites_tell_a_relay_at_the_place_from_an_address_elsewhere() {
    let here = |analysis: &Analysis, address, place: &dyn Fn(Place) -> Option<Place>| {
        let findings = judged(analysis, address, place);
        let seen = said(&findings, Question::Connection, "pseudorange").unwrap();
        println!("{} {:.0}: {}", findings[0].verdict.name(), findings[0].hidden_leg_ms.unwrap_or_default(), seen.text);
        let fit = [Hypothesis::HomeExit, Hypothesis::Misplaced].map(|h| {
            let place = places().lookup(address).and_then(place);
            let rule = RULES.iter().find(|rule| rule.name == "pseudorange").unwrap();
            let observe = |account: &_| (rule.observe)(&Case::new(account, place.as_ref(), &site()));
            analysis.ledger.look(address, observe).flatten().unwrap().ln_likelihood_of(h, rule.cap)
        });
        (findings[0].verdict, findings[0].hidden_leg_ms, fit[0] - fit[1], seen.text.clone())
    };
    for seed in 1..4 {
        let options = Options { seed, home: Some("Omaha".into()), ..Options::default() };
        let (analysis, endpoints) = analyzed(&from_sites("home-exit", &options), 1);
        let (verdict, leg, fit, _) = here(&analysis, endpoints[0], &Some);
        assert!(verdict == Verdict::Relayed && fit > 1.0 && (130.0..220.0).contains(&leg.unwrap()), "{fit} {leg:?}");
        let ranges = |analysis: &Analysis| analysis.ledger.look(endpoints[0], |account| account.ranges.clone());
        assert_eq!(ranges(&analyzed(&from_sites("home-exit", &options), 3).0), ranges(&analysis), "workers");
        let (honest, endpoints) = analyzed(&from_sites("home-direct", &options), 1);
        let (verdict, _, fit, _) = here(&honest, endpoints[0], &Some);
        assert!(verdict == Verdict::Clear && fit > 1.0, "{fit}");
        // The database has the address in Seattle, and it is in Miami.
        let options = Options { home: Some("Miami".into()), ..options };
        let (astray, endpoints) = analyzed(&from_sites("home-direct", &options), 1);
        let seattle = |place: Place| Some(Place { point: Some("47.61,-122.33".parse().unwrap()), ..place });
        let (verdict, _, fit, text) = here(&astray, endpoints[0], &seattle);
        assert!(!verdict.is_finding() && fit < -1.0 && text.contains("fits better"), "{fit} {text}");
    }
}

#[test]
fn one_site_is_no_matter() {
    let (analysis, endpoints) = analyzed(&[("home-exit", Options::default())], 1);
    assert!(said(&judged(&analysis, endpoints[0], Some), Question::Connection, "pseudorange").is_none());
}

/// Ten busy workers in as many cities, each behind a line that is often full; the first `sharing` of them behind one line.
fn ten(sharing: usize, seed: u64) -> Vec<(&'static str, Options)> {
    let cities = ["Omaha", "Dallas", "Denver", "Boise", "Atlanta", "Chicago", "Seattle", "Miami", "Phoenix", "Raleigh"];
    let numbered = cities.into_iter().zip(0u8..);
    let one = |(city, number): (&str, u8)| Options {
        home: Some(city.to_owned()),
        number: number + 1,
        access: Some(Access::Bloated),
        line: (usize::from(number) < sharing).then_some(1),
        ..busy(seed * 100 + u64::from(number), 45)
    };
    numbered.map(|each| ("home-direct", one(each))).collect()
}

#[test]
fn two_addresses_on_one_line_are_told_and_ten_lines_of_their_own_are_not() {
    let (farm, endpoints) = analyzed(&ten(2, 1), 1);
    let peers = farm.ledger.peers();
    let told: Vec<IpAddr> = peers.iter().map(|(address, _)| address).collect();
    assert_eq!(told.len(), 2, "{peers:?}");
    for (own, other) in [(0, 1), (1, 0)] {
        let findings = judged(&farm, endpoints[own], Some);
        let seen = said(&findings, Question::Sharing, "shared-bottleneck").unwrap();
        println!("{:+.1} {}", seen.llr, seen.text);
        assert!(seen.llr > 2.0 && seen.text.contains(&endpoints[other].to_string()), "{}", seen.llr);
        // A hint is no verdict, and stands behind what is one.
        assert!(findings.iter().all(|finding| !finding.verdict.is_finding()));
        assert_eq!(
            (findings[0].question, findings.last().unwrap().question),
            (Question::Connection, Question::Sharing)
        );
    }
    assert_eq!(*analyzed(&ten(2, 1), 3).0.ledger.peers(), *peers, "workers");
    let (honest, _) = analyzed(&ten(0, 2), 1);
    assert_eq!(honest.ledger.peers().iter().count(), 0, "{:?}", honest.ledger.peers());
}

#[test]
fn what_few_of_two_hundred_have_in_common_is_told_and_what_all_have_is_not() {
    let cities = ["Omaha", "Dallas", "Denver", "Boise", "Atlanta", "Chicago", "Seattle", "Miami", "Phoenix", "Raleigh"];
    let part = |number: usize| Options {
        home: Some(cities[number % 10].to_owned()),
        number: u8::try_from(number / 10 + 1).unwrap(),
        seed: u64::try_from(number).unwrap() + 1,
        sessions: Some(3),
        duration: Some(Duration::from_secs(3 * 3_600)),
        bystanders: Some(0),
        ..Options::default()
    };
    // Two operators' tunnels leave the same segment size, as two workers' access lines may.
    let odd = [33, 107];
    let name = |number: usize| if odd.contains(&number) { "home-exit" } else { "home-direct" };
    let (run, endpoints) = analyzed(&(0..210).map(|number| (name(number), part(number))).collect::<Vec<_>>(), 1);
    for (number, address) in endpoints.iter().enumerate() {
        let findings = judged(&run, *address, Some);
        let seen = said(&findings, Question::Sharing, "shared-control");
        assert!(seen.is_none(), "{number}: too little to be told alone");
        let marks = run.ledger.peers().of(*address).and_then(|ties| ties.marks.clone());
        assert_eq!(marks.is_some(), odd.contains(&number), "{number}: {marks:?}");
        if let Some(marks) = marks {
            println!("{address}: {marks:?}");
            let place = places().lookup(*address);
            let rule = RULES.iter().find(|rule| rule.name == "shared-control").unwrap();
            let peers = run.ledger.peers();
            let observe = |account: &_| {
                let case = Case { ties: peers.of(*address), ..Case::new(account, place.as_ref(), &site()) };
                let seen = (rule.observe)(&case).unwrap();
                let of = |h| seen.ln_likelihood_of(h, rule.cap);
                (of(Hypothesis::ManyLaptops) - of(Hypothesis::Household), (rule.tell)(&case, &seen).0)
            };
            let (says, text) = run.ledger.look(*address, observe).unwrap();
            assert!((1.0..1.6).contains(&says) && text.contains("the segment size (2)"), "{says} {text}");
        }
    }
}
