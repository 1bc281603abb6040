//! What may stand between a size and the 1,500 bytes of Ethernet: the tax of each encapsulation.
//!
//! Reads: an MTU, as an MSS or a largest packet implies it. Emits: every cause that leaves just that much, never one
//! alone: 1,420 is WireGuard's default, what an ESP tunnel may leave, and what a cautious router clamps to.
//! Does not: weigh them.
//!
//! References: RFC 2516 (PPPoE), RFC 4213 (6in4), RFC 2003 (IPIP), RFC 2784 and 2890 (GRE), RFC 6333 (DS-Lite), RFC 6877
//! (464XLAT), RFC 7348 (VXLAN), RFC 4303 and 3948 (ESP, over UDP), RFC 8200 (1,280), wg-quick(8), OpenVPN's manual
//! (`mssfix`), 3GPP TS 23.060 section 9.3 (1,358), Google Cloud's VPC documentation (1,460), Cisco AnyConnect (1,406).

/// What commonly stands between an endpoint's MSS and the 1,460 of plain Ethernet (1,440 with IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overhead {
    /// No tax.
    None,
    /// An access line's own: PPPoE, IPv6 transition, mobile. Common among honest homes.
    Access,
    /// A tunnel the endpoint's traffic goes through: WireGuard, OpenVPN, IPsec, GRE, or a clamp made for one.
    Tunnel,
}

impl Overhead {
    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Access => "access",
            Self::Tunnel => "tunnel",
        }
    }

    /// The class of the causes that an IPv4 MSS points to (science note section 5).
    #[must_use]
    pub const fn of_mss(mss: u16) -> Self {
        match mss {
            1453.. => Self::None,
            // PPPoE 1452, PPTP 1450, 6in4 and 464XLAT 1432-1440, GRE 1436, DS-Lite and MAP-E 1420.
            1415..=1452 => Self::Access,
            // VXLAN 1410, WireGuard 1400 and 1380 and 1372, OpenVPN 1400 and 1357-1370, ESP 1360, IPv6 minimum 1240.
            1200..=1414 => Self::Tunnel,
            // Smaller is a deliberate clamp or an old stack (536 is RFC 1122's default): no tunnel explains it.
            _ => Self::Access,
        }
    }
}

/// A cause, and the MTUs that it leaves.
struct Cause {
    name: &'static str,
    from: u16,
    to: u16,
}

const fn cause(name: &'static str, from: u16, to: u16) -> Cause {
    Cause { name, from, to }
}

/// Largest MTU first. A `+` joins a tunnel and the access line below it.
const CAUSES: &[Cause] = &[
    cause("loopback-or-offload", 9_217, 65_535),
    cause("jumbo", 1_501, 9_216),
    cause("ethernet", 1_500, 1_500),
    // The proxy's own stack speaks to us: what is behind it leaves no trace in a size.
    cause("proxy", 1_500, 1_500),
    cause("vlan", 1_496, 1_496),
    cause("pppoe", 1_492, 1_492),
    cause("pptp", 1_490, 1_490),
    cause("ipip", 1_480, 1_480),
    cause("6in4", 1_480, 1_480),
    // The difference of the headers, and with a fragment header.
    cause("464xlat", 1_480, 1_480),
    cause("464xlat", 1_472, 1_472),
    cause("gre", 1_476, 1_476),
    // With a key; with a key and a number.
    cause("gre", 1_472, 1_472),
    cause("gre", 1_468, 1_468),
    cause("gre-ipv6", 1_456, 1_456),
    cause("ds-lite", 1_460, 1_460),
    cause("map-e", 1_460, 1_460),
    cause("google-cloud", 1_460, 1_460),
    // Lines whose provider wraps PPPoE once more (p0f's table).
    cause("pppoe", 1_454, 1_454),
    cause("pppoe", 1_452, 1_452),
    cause("vxlan", 1_450, 1_450),
    // ESP in a tunnel: 20 bytes of IP, 8 of ESP, 8 of IV, 2 of trailer and up to 3 of padding, 16 of ICV (AES-GCM); up to
    // 15 bytes more of IV and padding with CBC, 8 more over UDP. Vendors round down to 1,400.
    cause("ipsec", 1_400, 1_446),
    // 20 of IP, 8 of UDP, 32 of its own.
    cause("wireguard", 1_440, 1_440),
    // AES-GCM with data-v2: 20 of IP, 8 of UDP, 24 of its own and 8 less by the default `mssfix 1492`.
    cause("openvpn", 1_440, 1_440),
    cause("wireguard+pppoe", 1_432, 1_432),
    // The default of wg-quick and of most clients, whatever the outer family: 40 of IP, 8 of UDP, 32 of its own.
    cause("wireguard", 1_420, 1_420),
    cause("wireguard-ipv6", 1_420, 1_420),
    cause("wireguard-ipv6+pppoe", 1_412, 1_412),
    // `mssfix 1450` of 2.5 and before, by cipher and compression.
    cause("openvpn", 1_396, 1_411),
    cause("anyconnect", 1_406, 1_406),
    cause("wireguard+ds-lite", 1_400, 1_400),
    cause("wireguard-ipv6+ds-lite", 1_380, 1_380),
    cause("mobile", 1_358, 1_358),
    // The least that IPv6 allows: Tailscale, WARP, NetBird, GIF, Teredo.
    cause("ipv6-minimum-tunnel", 1_280, 1_280),
    // RFC 9293: what may be assumed where nothing is said.
    cause("minimum-default", 576, 576),
    // By hand, for any of the above.
    cause("clamp", 0, 1_499),
];

/// All that can have left an MTU of `mtu` bytes, or of up to `slack` bytes more where a size only bounds it from below.
#[must_use]
pub fn causes(mtu: u32, slack: u32) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for cause in CAUSES {
        let fits = u32::from(cause.from) <= mtu.saturating_add(slack) && u32::from(cause.to) >= mtu;
        if fits && !names.contains(&cause.name) {
            names.push(cause.name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the page has each cause at its size, and none that the code does not know.
    #[test]
    fn the_page_and_the_code_agree() {
        let page = include_str!("../../docs/path.md");
        let (_, table) = page.split_once("| MTU | MSS (IPv4) |").expect("the table");
        let rows: Vec<(&str, &str)> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .filter_map(|line| {
                let mut cells = line.trim_matches('|').split('|').map(str::trim);
                Some((cells.next()?, cells.nth(1)?))
            })
            .collect();
        let mut told = Vec::new();
        for (sizes, names) in &rows {
            let numbers: Vec<u16> = sizes.split([',', ' ']).filter_map(|word| word.parse().ok()).collect();
            let (from, to) = (*numbers.iter().min().expect(sizes), *numbers.iter().max().expect(sizes));
            let names = names.split(|c: char| !(c.is_alphanumeric() || "-+".contains(c)));
            for name in names.filter(|name| CAUSES.iter().any(|cause| cause.name == *name)) {
                let here = |cause: &&Cause| {
                    let range = if sizes.starts_with("above") { (from + 1, u16::MAX) } else { (from, to) };
                    cause.name == name && range.0 <= cause.from && cause.to <= range.1
                };
                let found: Vec<_> = CAUSES.iter().filter(here).map(|cause| (cause.name, cause.from)).collect();
                assert!(!found.is_empty(), "{name} does not leave {sizes}");
                told.extend(found);
            }
        }
        for cause in CAUSES.iter().filter(|cause| cause.name != "clamp") {
            assert!(told.contains(&(cause.name, cause.from)), "{} at {} is not in the table", cause.name, cause.from);
        }
        assert_eq!(rows.len(), 24);
    }

    #[test]
    fn no_size_has_one_cause_alone() {
        assert_eq!(causes(1_500, 0), ["ethernet", "proxy"]);
        assert_eq!(causes(1_420, 0), ["ipsec", "wireguard", "wireguard-ipv6", "clamp"]);
        assert_eq!(causes(1_440, 0), ["ipsec", "wireguard", "openvpn", "clamp"]);
        assert_eq!(causes(1_492, 0), ["pppoe", "clamp"]);
        assert_eq!(causes(1_480, 0), ["ipip", "6in4", "464xlat", "clamp"]);
        assert_eq!(causes(1_280, 0), ["ipv6-minimum-tunnel", "clamp"]);
        assert_eq!(causes(1_333, 0), ["clamp"]);
        // A fragment's length is cut to a multiple of eight: the MTU is up to seven bytes more.
        assert!(
            causes(1_412, 7).contains(&"wireguard-ipv6+pppoe") && !causes(1_413, 7).contains(&"wireguard-ipv6+pppoe")
        );
        assert!(causes(1_416, 7).contains(&"wireguard"));
        assert_eq!(causes(70_000, 0), Vec::<&str>::new());
    }

    #[test]
    fn classes_follow_the_causes() {
        let class = |mtu: u16| Overhead::of_mss(mtu - 40);
        for (mtu, want) in [(1_500, Overhead::None), (1_492, Overhead::Access), (1_480, Overhead::Access)] {
            assert_eq!(class(mtu), want, "{mtu}");
        }
        for tunnel in CAUSES.iter().filter(|c| c.name.starts_with("wireguard-ipv6") || c.name.starts_with("ipv6-min")) {
            assert_eq!(class(tunnel.from), Overhead::Tunnel, "{}", tunnel.name);
        }
        assert_eq!(class(576), Overhead::Access);
    }
}
