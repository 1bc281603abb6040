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
    (analyze_within(&mut Memory::new(frames.collect()), workers, premises), endpoints)
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
    let look = |account: &_| judge_all(address, &Case::new(account, place.as_ref(), &site()), &site(), true);
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
