//! Calling services, by the names that their programs and web sites reach for in TLS, QUIC and HTTP.
//!
//! Reads: what carriers' readers say. Emits: the `application` of a record, never its protocol: the services' web sites
//! bear the same names. `webrtc` is the program of a call of which no more is known (`codec::multiplex` says it).
//! Does not: know addresses.

use crate::protocol::{Analyzer, Category, Events, Pdu, Probe, Protocol, Said, Shows, Sign};

const fn service(name: &'static str, signs: &'static [Sign]) -> Protocol {
    Protocol {
        name,
        category: Category::Conferencing,
        carriers: &[],
        ports: &[],
        attributes: &[],
        signs,
        lasting: false,
        probe: |_| Probe::NoMatch,
        analyzer: || Box::new(Nothing),
    }
}

struct Nothing;

impl Analyzer for Nothing {
    fn on_pdu(&mut self, pdu: &Pdu<'_>, events: &mut Events) {
        events.settled(pdu.at, pdu.dir);
    }
}

const fn named(domain: &'static str) -> Sign {
    Sign::new("tls.sni", Said::Domain(domain), Shows::Mention)
}

const fn realm(domain: &'static str) -> Sign {
    Sign::new("turn.realm", Said::Domain(domain), Shows::Mention)
}

const fn certified(domain: &'static str) -> Sign {
    Sign::new("tls.cert_san", Said::Domain(domain), Shows::Mention)
}

/// WebRTC, of which no more is known.
pub(super) static WEBRTC: Protocol = service("webrtc", &[]);
/// Zoom.
pub(super) static ZOOM: Protocol = service(
    "zoom",
    &[named("zoom.us"), named("zoom.com"), named("zoomgov.com"), certified("zoom.us"), realm("zoom.us")],
);
/// Microsoft Teams, and Skype and Skype for Business, which speak alike.
pub(super) static TEAMS: Protocol =
    service("teams", &[named("teams.microsoft.com"), named("teams.live.com"), named("teams.cloud.microsoft")]);
/// Google Meet.
pub(super) static GOOGLE_MEET: Protocol = service(
    "google-meet",
    &[
        named("meet.google.com"),
        named("meetings.googleapis.com"),
        // The certificate of its media servers in DTLS.
        Sign::new("tls.cert_subject", Said::Exactly("CN=hangouts"), Shows::Mention),
    ],
);
/// Webex.
pub(super) static WEBEX: Protocol = service("webex", &[named("webex.com"), named("wbx2.com"), named("ciscospark.com")]);
/// GoTo Meeting.
pub(super) static GOTOMEETING: Protocol =
    service("gotomeeting", &[named("gotomeeting.com"), named("gotomeet.me"), named("gotowebinar.com")]);
/// Slack, whose huddles are WebRTC.
pub(super) static SLACK: Protocol = service("slack", &[named("slack.com"), named("slack-edge.com")]);
/// Discord.
pub(super) static DISCORD: Protocol =
    service("discord", &[named("discord.com"), named("discord.gg"), named("discordapp.com"), named("discord.media")]);
/// WhatsApp.
pub(super) static WHATSAPP: Protocol = service("whatsapp", &[named("whatsapp.net"), named("whatsapp.com")]);
/// Signal.
pub(super) static SIGNAL: Protocol =
    service("signal", &[named("signal.org"), named("whispersystems.org"), realm("signal.org")]);
/// Messenger.
pub(super) static MESSENGER: Protocol = service("messenger", &[named("messenger.com"), realm("facebook.com")]);
