//! Imported lists at full size: counts, every rejected line explained, look-ups that agree with the plainest way, and
//! what they weigh.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, reason = "a test may stop and print")]

mod common;

use common::shared;
use farmlight::intel::{Label, Lists, Tools};
use ipnet::{IpNet, Ipv4Net};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

#[test]
fn lolrmm_is_imported_and_every_host_finds_its_tool() {
    let Some(folder) = shared() else { return };
    let tools = Tools::import_lolrmm(&folder.join("intel/lolrmm/yaml")).unwrap();
    let (hosts, with_hosts, shared_hosts) = tools.counts();
    println!(
        "{} tools, {hosts} hosts of {with_hosts}, {shared_hosts} shared, {} refused",
        tools.tools().len(),
        tools.refused().len()
    );
    assert_eq!(tools.tools().len(), 319);
    assert!(tools.refused().iter().all(|refused| !refused.reason.is_empty()));
    let csv = tools.to_csv();
    let mut looked = 0;
    for row in csv.lines().skip(1) {
        let host = row.split(',').rfind(|field| field.contains('.')).unwrap();
        let asked = host.replace("*.", "some.host.");
        let name =
            row.split(",RMM,").next().unwrap().split(",RAT,").next().unwrap().trim_matches('"').replace("\"\"", "\"");
        assert!(tools.lookup(&asked).iter().any(|hit| hit.tool.name == name), "{asked} of {name}");
        looked += 1;
    }
    assert_eq!(looked, hosts);
    assert!(tools.lookup("www.example.com").is_empty());
}

/// The label of the longest prefix, by looking for every length in turn.
struct Naive(HashMap<IpNet, Label>);

impl Naive {
    fn of(lists: &Lists) -> Self {
        Self(lists.iter().map(|listed| (listed.network, listed.label)).collect())
    }

    fn lookup(&self, ip: IpAddr) -> Option<Label> {
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        (0..=longest).rev().find_map(|len| self.0.get(&IpNet::new(ip, len).unwrap().trunc()).copied())
    }
}

#[test]
fn x4bnet_is_imported_and_look_ups_agree_with_the_plainest_way() {
    let Some(folder) = shared() else { return };
    let mut lists = Lists::default();
    lists.read_x4bnet(&folder.join("intel/x4bnet"), false).unwrap();
    assert_eq!(
        lists.sources().iter().map(|source| source.networks).sum::<usize>(),
        10_862 + 498 + 42_566 + 8_752 + 3_290
    );
    assert_eq!(lists.left_out().1, 0);
    // What science.md counted: all but one of Private Relay's networks are in the list of VPN exits.
    assert_eq!(lists.subtract_relays(), 3_289);
    let naive = Naive::of(&lists);
    let networks: Vec<IpNet> = lists.iter().map(|listed| listed.network).collect();
    let mut random = numbers(0x5eed);
    let (mut hits, mut asked) = (0, 0);
    for _ in 0..10_000 {
        let number = random.next().unwrap();
        // Half of them anywhere, half near a network of the lists.
        let near = networks[usize::try_from(number >> 32).unwrap() % networks.len()];
        let ip = match (number % 4, near) {
            (0, _) => IpAddr::from(Ipv4Addr::from_bits((number >> 16) as u32)),
            (1, _) => IpAddr::from(Ipv6Addr::from_bits(u128::from(number) << 64 | 0x2000 << 112)),
            (_, IpNet::V4(net)) => {
                IpAddr::from(Ipv4Addr::from_bits(net.addr().to_bits().wrapping_add((number % 512) as u32)))
            }
            (_, IpNet::V6(net)) => {
                IpAddr::from(Ipv6Addr::from_bits(net.addr().to_bits().wrapping_add(u128::from(number) << 60)))
            }
        };
        let label = lists.lookup(ip).map(|listed| listed.label);
        assert_eq!(label, naive.lookup(ip), "{ip}");
        hits += u32::from(label.is_some());
        asked += 1;
    }
    println!("{} networks, {hits} of {asked} addresses listed", lists.len());
    assert!(hits > 3_000);
}

#[test]
fn a_hundred_thousand_networks_weigh_less_than_16_mb() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut text = String::new();
    let mut random = numbers(7);
    let mut made = std::collections::HashSet::new();
    while made.len() < 100_000 {
        let number = random.next().unwrap();
        let net = Ipv4Net::new(Ipv4Addr::from_bits((number >> 20) as u32), 16 + (number % 13) as u8).unwrap().trunc();
        if made.insert(net) {
            writeln!(text, "{net}").unwrap();
        }
    }
    std::fs::write(file.path(), text).unwrap();
    let mut lists = Lists::default();
    let weight = allocation_counter::measure(|| lists.read_plain(file.path(), Label::Vpn, None).unwrap());
    println!("100,000 networks: {} bytes stay allocated", weight.bytes_current);
    assert_eq!(lists.len(), 100_000);
    assert!(weight.bytes_current < 16 << 20, "{} bytes", weight.bytes_current);
}
