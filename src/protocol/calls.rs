//! Calling services, by the names that their programs and web sites reach for in TLS, QUIC and HTTP.
//!
//! Reads: what carriers' readers say. Emits: the `application` of a record, never its protocol: the services' web sites
//! bear the same names. `webrtc` is the program of a call of which no more is known (`codec::multiplex` says it).
//! Does not: know addresses.

use crate::protocol::{Category, Protocol, Said, Shows, Sign};

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
pub(super) static WEBRTC: Protocol = Protocol::by_signs("webrtc", Category::Conferencing, &[]);
/// Zoom.
pub(super) static ZOOM: Protocol = Protocol::by_signs(
    "zoom",
    Category::Conferencing,
    &[named("zoom.us"), named("zoom.com"), named("zoomgov.com"), certified("zoom.us"), realm("zoom.us")],
);
/// Microsoft Teams, and Skype and Skype for Business, which speak alike.
pub(super) static TEAMS: Protocol = Protocol::by_signs(
    "teams",
    Category::Conferencing,
    &[named("teams.microsoft.com"), named("teams.live.com"), named("teams.cloud.microsoft")],
);
/// Google Meet.
pub(super) static GOOGLE_MEET: Protocol = Protocol::by_signs(
    "google-meet",
    Category::Conferencing,
    &[
        named("meet.google.com"),
        named("meetings.googleapis.com"),
        // The certificate of its media servers in DTLS.
        Sign::new("tls.cert_subject", Said::Exactly("CN=hangouts"), Shows::Mention),
    ],
);
/// Webex.
pub(super) static WEBEX: Protocol = Protocol::by_signs(
    "webex",
    Category::Conferencing,
    &[named("webex.com"), named("wbx2.com"), named("ciscospark.com")],
);
/// GoTo Meeting.
pub(super) static GOTOMEETING: Protocol = Protocol::by_signs(
    "gotomeeting",
    Category::Conferencing,
    &[named("gotomeeting.com"), named("gotomeet.me"), named("gotowebinar.com")],
);
/// Slack, whose huddles are WebRTC.
pub(super) static SLACK: Protocol =
    Protocol::by_signs("slack", Category::Conferencing, &[named("slack.com"), named("slack-edge.com")]);
/// Discord.
pub(super) static DISCORD: Protocol = Protocol::by_signs(
    "discord",
    Category::Conferencing,
    &[named("discord.com"), named("discord.gg"), named("discordapp.com"), named("discord.media")],
);
/// WhatsApp.
pub(super) static WHATSAPP: Protocol =
    Protocol::by_signs("whatsapp", Category::Conferencing, &[named("whatsapp.net"), named("whatsapp.com")]);
/// Signal.
pub(super) static SIGNAL: Protocol = Protocol::by_signs(
    "signal",
    Category::Conferencing,
    &[named("signal.org"), named("whispersystems.org"), realm("signal.org")],
);
/// Messenger.
pub(super) static MESSENGER: Protocol =
    Protocol::by_signs("messenger", Category::Conferencing, &[named("messenger.com"), realm("facebook.com")]);
