//! The explanations that compete for an endpoint, with what is believed of each before anything is measured.
//!
//! Three questions are asked of every endpoint, and only the answers to the same one compete: an address can be a relay
//! and hold many laptops at once. Priors: one remote identity in 3,300 is a malicious one (3e-4; science note 6.8: 1e-4
//! to 1e-3), shared by the topologies of a question. The innocent ones are shares of remote workers' connections, by
//! kind of access where the place is known; they are design values until a site's own baseline replaces them.

use crate::intel::Kind;
use std::sync::LazyLock;

/// What is asked of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// Does the connection end where the address says?
    Connection,
    /// Whose hands work the machine?
    Control,
    /// How many workers' machines are behind the address?
    Sharing,
}

impl Question {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connection, Self::Control, Self::Sharing];

    /// What is feared, in a few words.
    #[must_use]
    pub const fn fear(self) -> &'static str {
        match self {
            Self::Connection => "a relay",
            Self::Control => "control from afar",
            Self::Sharing => "a farm",
        }
    }

    /// Its answers of one sort, in the order of [`Hypothesis::ALL`].
    pub(super) const fn answers(self, malicious: bool) -> &'static [Hypothesis] {
        use Hypothesis as H;
        match (self, malicious) {
            (Self::Connection, true) => &[H::HomeExit, H::HomeProxy, H::CommercialVpn],
            (Self::Connection, false) => &[
                H::Direct,
                H::DistantHonest,
                H::Bufferbloat,
                H::GeoSatellite,
                H::LeoSatellite,
                H::Mobile,
                H::Misplaced,
                H::SlowClient,
                H::Accelerator,
                H::AccessTunnel,
                H::PrivacyRelay,
            ],
            (Self::Control, true) => &[H::RemoteDesktop, H::IpKvm],
            (Self::Control, false) => &[H::OwnHands, H::Helpdesk],
            (Self::Sharing, true) => &[H::ManyLaptops],
            (Self::Sharing, false) => &[H::Household, H::Coworking, H::Cgnat],
        }
    }

    /// The plainest innocent answer: a home as it says, the worker's own hands, one household.
    #[must_use]
    pub const fn plain(self, distant: bool) -> Hypothesis {
        match self {
            Self::Connection if distant => Hypothesis::DistantHonest,
            Self::Connection => Hypothesis::Direct,
            Self::Control => Hypothesis::OwnHands,
            Self::Sharing => Hypothesis::Household,
        }
    }

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Control => "control",
            Self::Sharing => "sharing",
        }
    }
}

/// An explanation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hypothesis {
    /// T2: the home forwards packets for an operator elsewhere.
    HomeExit,
    /// T3: the home ends TCP for an operator elsewhere.
    HomeProxy,
    /// T4: the exit of a VPN service or a rented server, and the user elsewhere.
    CommercialVpn,
    /// A home, as it says.
    Direct,
    /// A home far from the company, and nobody ever said otherwise.
    DistantHonest,
    /// The line's own queue is full all the time.
    Bufferbloat,
    /// A geostationary satellite link.
    GeoSatellite,
    /// A low-orbit satellite link.
    LeoSatellite,
    /// A mobile network or a phone's hotspot.
    Mobile,
    /// The address is registered in one place and used far from it.
    Misplaced,
    /// The client's machine is slow to answer: a smart card, a small device, a busy processor.
    SlowClient,
    /// The provider ends TCP near the tap (a performance-enhancing proxy, RFC 3135).
    Accelerator,
    /// The access line itself encapsulates: PPPoE, an IPv6 transition tunnel.
    AccessTunnel,
    /// A privacy relay, a company's cloud gateway, an honest worker's own VPN.
    PrivacyRelay,
    /// T1: somebody far away works the machine through a remote desktop.
    RemoteDesktop,
    /// T1: somebody far away works the machine through a box on its keyboard and screen.
    IpKvm,
    /// The worker's own hands; a tool that is seen serves the worker.
    OwnHands,
    /// Somebody is helping for a while.
    Helpdesk,
    /// T5: many workers' machines in one home.
    ManyLaptops,
    /// One or two workers of one household.
    Household,
    /// An office, a coworking space, a dormitory, a hotel.
    Coworking,
    /// The provider's address translation: many homes behind one address.
    Cgnat,
}

impl Hypothesis {
    /// All of them, by question.
    pub const ALL: [Self; 22] = [
        Self::HomeExit,
        Self::HomeProxy,
        Self::CommercialVpn,
        Self::Direct,
        Self::DistantHonest,
        Self::Bufferbloat,
        Self::GeoSatellite,
        Self::LeoSatellite,
        Self::Mobile,
        Self::Misplaced,
        Self::SlowClient,
        Self::Accelerator,
        Self::AccessTunnel,
        Self::PrivacyRelay,
        Self::RemoteDesktop,
        Self::IpKvm,
        Self::OwnHands,
        Self::Helpdesk,
        Self::ManyLaptops,
        Self::Household,
        Self::Coworking,
        Self::Cgnat,
    ];

    /// What it answers.
    #[must_use]
    pub const fn question(self) -> Question {
        match self {
            Self::RemoteDesktop | Self::IpKvm | Self::OwnHands | Self::Helpdesk => Question::Control,
            Self::ManyLaptops | Self::Household | Self::Coworking | Self::Cgnat => Question::Sharing,
            _ => Question::Connection,
        }
    }

    /// The word used in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HomeExit => "home-exit",
            Self::HomeProxy => "home-proxy",
            Self::CommercialVpn => "commercial-vpn",
            Self::Direct => "direct",
            Self::DistantHonest => "distant-honest",
            Self::Bufferbloat => "bufferbloat",
            Self::GeoSatellite => "geo-satellite",
            Self::LeoSatellite => "leo-satellite",
            Self::Mobile => "mobile",
            Self::Misplaced => "misplaced-address",
            Self::SlowClient => "slow-client",
            Self::Accelerator => "accelerating-proxy",
            Self::AccessTunnel => "access-tunnel",
            Self::PrivacyRelay => "privacy-relay",
            Self::RemoteDesktop => "remote-desktop",
            Self::IpKvm => "ip-kvm",
            Self::OwnHands => "own-hands",
            Self::Helpdesk => "helpdesk",
            Self::ManyLaptops => "many-laptops",
            Self::Household => "household",
            Self::Coworking => "coworking",
            Self::Cgnat => "cgnat",
        }
    }

    /// What it would mean, for a reader who is no specialist.
    #[must_use]
    pub const fn story(self) -> &'static str {
        match self {
            Self::HomeExit => "the home forwards the traffic of somebody far away",
            Self::HomeProxy => "the home ends the connections of somebody far away and repeats them",
            Self::CommercialVpn => "the address is a VPN service's or a rented server's, and its user is far away",
            Self::Direct => "a worker at the place the address says",
            Self::DistantHonest => "a worker who is far away, at the place the address says, and makes no secret of it",
            Self::Bufferbloat => "a home line whose upload queue is always full (backup, camera, old router)",
            Self::GeoSatellite => "a home on a geostationary satellite link",
            Self::LeoSatellite => "a home on a low-orbit satellite link",
            Self::Mobile => "a worker on a mobile network or a phone's hotspot",
            Self::Misplaced => "the address database is wrong, or the worker travels and says so",
            Self::SlowClient => "a slow client: a smart card, a security agent or a weak processor delays its answers",
            Self::Accelerator => "the worker's provider ends TCP in its own network to speed it up",
            Self::AccessTunnel => "the access line itself uses a tunnel (PPPoE, IPv6 transition)",
            Self::PrivacyRelay => "a worker behind a privacy relay, a cloud gateway or a VPN of their own",
            Self::RemoteDesktop => "somebody far away works this machine through a remote-control session",
            Self::IpKvm => "somebody far away works this machine through a KVM box on its screen and keyboard",
            Self::OwnHands => "the worker's own hands; the tools that are seen serve the worker",
            Self::Helpdesk => "a helpdesk, or a colleague, is helping for a while",
            Self::ManyLaptops => "a home that holds many workers' machines",
            Self::Household => "one worker, or two who live together",
            Self::Coworking => "an office, a coworking space, a dormitory or a hotel",
            Self::Cgnat => "a provider that puts many homes behind one address",
        }
    }

    /// Whether it would be a breach.
    #[must_use]
    pub const fn is_malicious(self) -> bool {
        matches!(
            self,
            Self::HomeExit
                | Self::HomeProxy
                | Self::CommercialVpn
                | Self::RemoteDesktop
                | Self::IpKvm
                | Self::ManyLaptops
        )
    }

    /// MITRE ATT&CK techniques.
    #[must_use]
    pub const fn attack(self) -> &'static [&'static str] {
        match self {
            Self::HomeExit => &["T1090.002", "T1572"],
            Self::HomeProxy => &["T1090.002"],
            Self::CommercialVpn => &["T1090.002", "T1133"],
            Self::RemoteDesktop => &["T1219.002"],
            Self::IpKvm => &["T1219.003", "T1200"],
            Self::ManyLaptops => &["T1078"],
            _ => &[],
        }
    }

    /// Share of remote workers' connections it holds for, given the kind of access. `distant`: the place is farther
    /// from the tap than any in the tap's own country need be.
    #[must_use]
    pub const fn prior(self, kind: Kind, distant: bool) -> f64 {
        match self {
            Self::HomeExit | Self::HomeProxy => 1.5e-4,
            Self::CommercialVpn => 1e-4,
            Self::Direct => {
                if distant {
                    1e-6
                } else {
                    0.95
                }
            }
            Self::DistantHonest => {
                if distant {
                    0.95
                } else {
                    1e-6
                }
            }
            // Full without a pause, whenever one looks: rarer than a queue that comes and goes.
            Self::Bufferbloat => 5e-3,
            Self::GeoSatellite => match kind {
                Kind::SatelliteGeo => 1.0,
                Kind::Satellite => 0.5,
                Kind::Unknown => 3e-3,
                _ => 1e-4,
            },
            Self::LeoSatellite => match kind {
                Kind::SatelliteLeo => 1.0,
                Kind::Satellite => 0.5,
                Kind::Unknown => 5e-3,
                _ => 1e-4,
            },
            Self::Mobile => match kind {
                Kind::Mobile => 1.0,
                Kind::Unknown => 0.1,
                // Phones' hotspots have their carrier's addresses.
                _ => 2e-3,
            },
            // Country-level errors of address databases are rarest for fixed lines of national providers.
            Self::Misplaced => match kind {
                Kind::Residential => 2e-6,
                Kind::Mobile | Kind::SatelliteGeo | Kind::SatelliteLeo | Kind::Satellite => 1e-3,
                _ => 1e-4,
            },
            Self::SlowClient => 1e-4,
            Self::Accelerator => match kind {
                Kind::Mobile | Kind::Satellite | Kind::SatelliteGeo => 0.2,
                Kind::Unknown => 1e-3,
                _ => 1e-5,
            },
            Self::AccessTunnel => 0.1,
            Self::PrivacyRelay => match kind {
                Kind::Vpn | Kind::Hosting => 0.95,
                Kind::Business | Kind::Unknown => 1e-2,
                _ => 1e-5,
            },
            Self::RemoteDesktop => 2e-4,
            Self::IpKvm => 1e-4,
            Self::OwnHands => 0.99,
            // Helped by somebody on a given day.
            Self::Helpdesk => 5e-3,
            Self::ManyLaptops => 1e-4,
            Self::Household => 0.95,
            Self::Coworking => match kind {
                Kind::Business => 0.5,
                Kind::Unknown | Kind::Hosting | Kind::Vpn => 3e-2,
                _ => 1e-3,
            },
            Self::Cgnat => match kind {
                Kind::Mobile | Kind::Satellite | Kind::SatelliteGeo | Kind::SatelliteLeo => 0.9,
                Kind::Unknown => 2e-2,
                _ => 1e-3,
            },
        }
    }
}

/// Logs of the priors of one kind of access: a million endpoints ask for the same few.
#[derive(Debug)]
pub(super) struct Priors {
    ln: [f64; Hypothesis::ALL.len()],
    /// Of all answers of a sort together: innocent, malicious.
    ln_sums: [[f64; 2]; Question::ALL.len()],
}

impl Priors {
    /// Those of a kind of access; `distant` as in [`Hypothesis::prior`].
    pub(super) fn of(kind: Kind, distant: bool) -> &'static Self {
        static ALL: LazyLock<Vec<Priors>> = LazyLock::new(|| {
            let both = |kind| [false, true].map(|distant| Priors::new(kind, distant));
            Kind::ALL.into_iter().flat_map(both).collect()
        });
        static NOTHING: Priors = Priors { ln: [0.0; Hypothesis::ALL.len()], ln_sums: [[0.0; 2]; Question::ALL.len()] };
        ALL.get(2 * kind as usize + usize::from(distant)).unwrap_or(&NOTHING)
    }

    fn new(kind: Kind, distant: bool) -> Self {
        let sum = |question: Question, malicious| {
            question.answers(malicious).iter().map(|h| h.prior(kind, distant)).sum::<f64>().ln()
        };
        Self {
            ln: Hypothesis::ALL.map(|h| h.prior(kind, distant).ln()),
            ln_sums: Question::ALL.map(|question| [false, true].map(|malicious| sum(question, malicious))),
        }
    }

    /// Log of one hypothesis' prior.
    pub(super) fn ln(&self, h: Hypothesis) -> f64 {
        self.ln.get(h as usize).copied().unwrap_or_default()
    }

    /// Log of what all answers of one sort weigh together.
    pub(super) fn ln_sum(&self, question: Question, malicious: bool) -> f64 {
        self.ln_sums.get(question as usize).and_then(|of| of.get(usize::from(malicious))).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_listed_in_their_own_order_and_have_their_own_names() {
        for (i, h) in Hypothesis::ALL.iter().enumerate() {
            assert_eq!(*h as usize, i, "{h:?}");
            assert_eq!(Hypothesis::ALL.iter().filter(|other| other.name() == h.name()).count(), 1);
        }
    }

    #[test]
    fn each_question_knows_its_answers_and_each_kind_its_priors() {
        for question in Question::ALL {
            for malicious in [false, true] {
                let of = |h: &Hypothesis| h.question() == question && h.is_malicious() == malicious;
                let all: Vec<Hypothesis> = Hypothesis::ALL.into_iter().filter(of).collect();
                assert_eq!(question.answers(malicious), all);
            }
        }
        for (kind, distant) in Kind::ALL.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            let priors = Priors::of(kind, distant);
            for h in Hypothesis::ALL {
                assert_eq!(priors.ln(h), h.prior(kind, distant).ln(), "{kind} {h:?}");
            }
            assert!((priors.ln_sum(Question::Control, true) - 3e-4f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn each_question_has_guilty_and_innocent_answers() {
        for question in Question::ALL {
            let of = |malicious| {
                Hypothesis::ALL.iter().filter(move |h| h.question() == question && h.is_malicious() == malicious)
            };
            assert!(of(true).count() >= 1 && of(false).count() >= 2, "{question:?}");
            for kind in Kind::ALL {
                let sum = |malicious| of(malicious).map(|h| h.prior(kind, false)).sum::<f64>();
                assert!(sum(true) < 1e-3 && sum(false) > 0.9, "{question:?} {kind}");
            }
        }
    }
}
