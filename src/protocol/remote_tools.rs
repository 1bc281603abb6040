//! Tools for remote control and remote management that show by their names alone: what they speak is TLS to servers of
//! their maker, or a protocol that nobody has described in public.
//!
//! Reads: nothing itself; each entry is a table of names. A *service* is a host that only the program goes to (relay,
//! gateway, agent's server): the flow is likely this tool. A *site* is the maker's or product's domain, which web site,
//! downloads and consoles share: it is mentioned, no more. Hosts that anybody can rent (clouds, CDNs) stand in neither.
//! Emits: nothing. Does not: say who controls whom, or whether anybody does: most of these agents are always connected.
//!
//! Reference, beside what stands at the entries: the makers' firewall pages; LOLRMM (magicsword-io, Apache-2.0), whose
//! lists of domains were weighed one by one.

use crate::base::{Said, Shows, Sign};
use crate::protocol::{Carrier, Category, Protocol};

/// What all entries have in common.
const TOOL: Protocol = Protocol::by_signs("", Category::RemoteDesktop, &[]);

/// One entry: its item, its name in records, its services (patterns), its sites (domains), and other signs.
macro_rules! tool {
    (
        $(#[$doc:meta])* $item:ident, $name:literal,
        service [$($service:expr),* $(,)?],
        site [$($site:literal),* $(,)?]
        $(, also [$($also:expr),* $(,)?])?
        $(, ports [$($port:literal),*])?
    ) => {
        $(#[$doc])*
        pub(crate) static $item: Protocol = Protocol {
            name: $name,
            signs: &[
                $(
                    Sign::new("tls.sni", $service, Shows::Likely),
                    Sign::new("http.host", $service, Shows::Likely),
                    Sign::new("proxy.target", $service, Shows::Mention),
                )*
                $(
                    Sign::new("tls.sni", Said::Domain($site), Shows::Mention),
                    Sign::new("http.host", Said::Domain($site), Shows::Mention),
                    Sign::new("proxy.target", Said::Domain($site), Shows::Mention),
                    Sign::new("dns.query", Said::Domain($site), Shows::Mention),
                )*
                $($($also,)*)?
            ],
            // A port of its own lets a flow that says nothing be guessed at, as any other's.
            $(carriers: &[Carrier::Stream], ports: &[$($port),*],)?
            ..TOOL
        };
    };
}

use Said::{Domain, Glob};

tool! {
    /// Chrome Remote Desktop. Directory and signalling (chromium, `remoting/base/service_urls.cc`), and the older
    /// signalling by talkgadget; then WebRTC, which names nobody. The web client's page is a site.
    CHROME_REMOTE_DESKTOP, "chrome-remote-desktop",
    service [
        Domain("remotedesktop-pa.googleapis.com"),
        Domain("chromoting-host.talkgadget.google.com"),
        Domain("chromoting-client.talkgadget.google.com"),
    ],
    site ["remotedesktop.google.com"]
}
tool! {
    /// Parsec. Signalling by WebSocket (`kessel-ws`, Parsec SDK's `ssHost`); the API is also the web console's. Video
    /// and input run over UDP in DTLS without names ("BUD", not public).
    PARSEC, "parsec",
    service [Glob("kessel-ws*.parsec.app"), Domain("kessel-ws.parsecgaming.com")],
    site ["parsec.app", "parsec.gg", "parsecgaming.com"]
}
tool! {
    /// Splashtop. Relays and the programs' API (LOLRMM, after Splashtop's page on firewalls).
    SPLASHTOP, "splashtop",
    service [Domain("relay.splashtop.com"), Domain("api.splashtop.com"), Domain("api.splashtop.eu")],
    site ["splashtop.com", "splashtop.eu"]
}
tool! {
    /// ScreenConnect (ConnectWise Control). Relays of the cloud are `instance-…-relay` and `server-…-relay`, and speak
    /// a protocol of their own on 443, as one's own relay does on 8041: its names show in DNS and at proxies alone.
    /// Portal pages, also of one's own server, are told by the server's own word for itself.
    SCREENCONNECT, "screenconnect",
    service [Glob("instance-*-relay.screenconnect.com"), Glob("server-*-relay.screenconnect.com")],
    site ["screenconnect.com", "control.connectwise.com"],
    also [Sign::new("http.server", Said::Begins("ScreenConnect/"), Shows::Mention)],
    ports [8041]
}
tool! {
    /// LogMeIn Rescue, whose gateways stand under LogMeIn's name.
    LOGMEIN_RESCUE, "logmein-rescue",
    service [Glob("rescue-*.logmein-gateway.com"), Glob("rescue-*.*.logmein-gateway.com")],
    site ["logmeinrescue.com", "logmeinrescue.eu", "logmein123.com"]
}
tool! {
    /// LogMeIn Pro and Central. Hosts and viewers meet at a gateway under logmein-gateway.com, but so do the members of
    /// Hamachi, a VPN (`hamachi-data-center`): the domain alone says the maker, no more.
    LOGMEIN, "logmein",
    service [],
    site ["logmein.com", "logmein.eu", "logmein-gateway.com"]
}
tool! {
    /// GoToMyPC: the host asks the poll server for work ("GoToMyPC security white paper").
    GOTOMYPC, "gotomypc", service [Domain("poll.gotomypc.com")], site ["gotomypc.com"]
}
tool! {
    /// GoToAssist, and its pages for guests.
    GOTOASSIST, "gotoassist", service [],
    site ["gotoassist.com", "gotoassist.me", "gotoassist.at", "fastsupport.com", "helpme.net"]
}
tool! {
    /// GoTo Resolve. The installed agent reports to `dumpster.console`; the rest of `console` is also the technician's.
    GOTO_RESOLVE, "goto-resolve", service [Domain("dumpster.console.gotoresolve.com")], site ["gotoresolve.com"]
}
tool! {
    /// Zoho Assist. `gateway` is where sessions meet (LOLRMM).
    ZOHO_ASSIST, "zoho-assist",
    service [Glob("gateway*.zohoassist.com")],
    site [
        "zohoassist.com", "zohoassist.eu", "zohoassist.jp", "zohoassist.com.cn", "assist.zoho.com", "assist.zoho.eu",
        "assist.zoho.in", "assist.zoho.com.au", "assist.zoho.com.cn", "assist.zoho.jp",
    ]
}
tool! {
    /// BeyondTrust Remote Support and Privileged Remote Access (Bomgar). A customer's cloud site is portal and relay in
    /// one, on one name; appliances bear their owner's.
    BEYONDTRUST, "beyondtrust", service [], site ["beyondtrustcloud.com", "bomgarcloud.com", "bomgar.com"]
}
tool! {
    /// DWService. Agents and consoles meet at `node` and a number, as the agent's own log has it.
    DWSERVICE, "dwservice", service [Glob("node*.dwservice.net")], site ["dwservice.net"]
}
tool! {
    /// Supremo (Nanosystems). Gateways are `supremogw` and a number (greyware rules of mthcht).
    SUPREMO, "supremo", service [Glob("supremogw*.nanosystems.it")], site ["supremocontrol.com", "nanosystems.it"]
}
tool! {
    /// AnyViewer (AOMEI). Which of its hosts are relays is not known.
    ANYVIEWER, "anyviewer", service [], site ["anyviewer.com"]
}
tool! {
    /// ToDesk. Which of its hosts are relays is not known.
    TODESK, "todesk", service [], site ["todesk.com"]
}
tool! {
    /// Sunlogin, abroad AweSun (Oray). `client.oray.net` is the client's server, `asapi` and a
    /// number AweSun's (LOLRMM); the rest of oray.com and
    /// oray.net is also dynamic DNS and smart plugs, and is not named here.
    SUNLOGIN, "sunlogin",
    service [Domain("client.oray.net"), Glob("asapi*.aweray.net")],
    site ["sunlogin.oray.com", "aweray.com"]
}
tool! {
    /// Remote Utilities, in Russia RMS. Host, viewer and relay use 5650 to 5655 (its page on ports); the server that
    /// tells where an id is stands under internetid.ru (LOLRMM).
    REMOTE_UTILITIES, "remote-utilities",
    service [Domain("internetid.ru")],
    site ["remoteutilities.com", "rmansys.ru"],
    ports [5650, 5651, 5655]
}
tool! {
    /// Ammyy Admin. Routers are asked for at `rl`, as the program has it in clear; 5931 is the port of direct connections (LOLRMM).
    AMMYY, "ammyy-admin", service [Domain("rl.ammyy.com")], site ["ammyy.com"], ports [5931]
}
tool! {
    /// UltraViewer.
    ULTRAVIEWER, "ultraviewer", service [], site ["ultraviewer.net"]
}
tool! {
    /// ISL Online (ISL Light, ISL AlwaysOn). Servers of the network are under .net.
    ISL_ONLINE, "isl-online", service [Domain("islonline.net")], site ["islonline.com"]
}
tool! {
    /// RemotePC (IDrive).
    REMOTEPC, "remotepc", service [], site ["remotepc.com", "remotedesktop.com"]
}
tool! {
    /// Getscreen.me. Proxies for sessions are `px-` and a place (LOLRMM).
    GETSCREEN, "getscreen", service [Glob("px-*.getscreen.me")], site ["getscreen.me"]
}
tool! {
    /// HopToDesk, of RustDesk's family, with signalling and relays of its own (LOLRMM).
    HOPTODESK, "hoptodesk",
    service [Domain("signal.hoptodesk.com"), Domain("turn.hoptodesk.com")],
    site ["hoptodesk.com"]
}
tool! {
    /// Iperius Remote. Relays are under their own domain (LOLRMM).
    IPERIUS, "iperius-remote", service [Domain("iperius-rs.com")], site ["iperiusremote.com"]
}
tool! {
    /// AeroAdmin. Servers are `auth` and a number (LOLRMM).
    AEROADMIN, "aeroadmin", service [Glob("auth*.aeroadmin.com")], site ["aeroadmin.com"]
}
tool! {
    /// GotoHTTP.
    GOTOHTTP, "gotohttp", service [], site ["gotohttp.com"]
}
tool! {
    /// Jump Desktop (Jump Desktop Connect).
    JUMP_DESKTOP, "jump-desktop", service [], site ["jumpdesktop.com", "jumpto.me"]
}
tool! {
    /// FixMe.IT (Techinline).
    FIXME_IT, "fixme-it", service [], site ["fixme.it", "techinline.net", "setme.net", "set.me"]
}
tool! {
    /// pcvisit.
    PCVISIT, "pcvisit", service [], site ["pcvisit.de"]
}
tool! {
    /// ShowMyPC.
    SHOWMYPC, "showmypc", service [], site ["showmypc.com"]
}
tool! {
    /// SimpleHelp. Its servers are their owners'.
    SIMPLEHELP, "simplehelp", service [], site ["simple-help.com"]
}
tool! {
    /// Quick Assist and its forerunner (Microsoft's lists of endpoints).
    QUICK_ASSIST, "quick-assist",
    service [
        Domain("remoteassistance.support.services.microsoft.com"), Domain("relay.support.services.microsoft.com"),
        Glob("rdprelay*.support.services.microsoft.com"),
    ],
    site ["support.services.microsoft.com"]
}
tool! {
    /// NetSupport Manager: the client asks `geo` for a licence check; gateways are their owners'.
    NETSUPPORT, "netsupport", service [Domain("geo.netsupportsoftware.com")],
    site ["netsupportmanager.com", "netsupportsoftware.com"]
}
tool! {
    /// Atera. Hosts of the agent by Atera's allow-list; sessions then run through Splashtop or AnyDesk.
    ATERA, "atera",
    service [
        Domain("agent-api.atera.com"), Domain("agenthb.atera.com"), Domain("agentreporting.atera.com"),
        Domain("ps.atera.com"), Domain("pubsub.atera.com"), Domain("atera.pubnubapi.com"),
    ],
    site ["atera.com"]
}
tool! {
    /// NinjaOne. Consoles and agents share its domains.
    NINJAONE, "ninjaone", service [],
    site ["ninjarmm.com", "ninjarmm.net", "ninjaone.com", "rmmservice.eu", "rmmservice.ca", "rmmservice.com.au"]
}
tool! {
    /// Action1. The agent's servers are `server.` and a region (LOLRMM).
    ACTION1, "action1", service [Domain("server.action1.com"), Glob("server.*.action1.com")], site ["action1.com"]
}
tool! {
    /// Level. Hosts of the agent as LOLRMM lists them.
    LEVEL, "level", service [Domain("agents.level.io"), Domain("online.level.io")], site ["level.io"]
}
tool! {
    /// Tactical RMM. Servers are their owners', and their remote control is MeshCentral.
    TACTICAL_RMM, "tactical-rmm", service [], site ["tacticalrmm.com"]
}
tool! {
    /// Kaseya VSA and Live Connect. Sites of customers are under kaseya.net.
    KASEYA, "kaseya", service [Domain("managedsupport.kaseya.net")], site ["kaseya.net", "kaseya.com"]
}
tool! {
    /// N-able Take Control, once BeAnywhere: its servers are under swi-rc and swi-tc (LOLRMM).
    TAKE_CONTROL, "take-control",
    service [Domain("swi-rc.com"), Domain("swi-tc.com"), Domain("beanywhere.com")],
    site ["n-able.com", "systemmonitor.us", "systemmonitor.co.uk", "system-monitor.com", "remote.management"]
}
tool! {
    /// Datto RMM, once CentraStage. Agents are under the centrastage domain, consoles under rmm.datto.com.
    DATTO_RMM, "datto-rmm", service [Domain("cc.centrastage.net")], site ["rmm.datto.com", "centrastage.net"]
}
tool! {
    /// ConnectWise Automate, once LabTech, as hosted.
    CONNECTWISE_AUTOMATE, "connectwise-automate", service [], site ["hostedrmm.com"]
}
tool! {
    /// Pulseway.
    PULSEWAY, "pulseway", service [], site ["pulseway.com"]
}
tool! {
    /// Syncro, once Kabuto. Hosts of the agent are under kabutoservices.com.
    SYNCRO, "syncro", service [Domain("kabutoservices.com")], site ["syncromsp.com", "syncroapi.com", "kabuto.io"]
}

tool! {
    /// Acronis' Remotix, whose gateway its agents and viewers meet at (LOLRMM).
    REMOTIX, "remotix", service [Domain("gw.remotix.com")], site ["remotix.com", "connect.acronis.com"]
}
tool! {
    /// Alpemix (Teknopars).
    ALPEMIX, "alpemix", service [], site ["alpemix.com", "teknopars.com"]
}
tool! {
    /// DeskIn (Zuler).
    DESKIN, "deskin", service [], site ["deskin.io"]
}
tool! {
    /// Distant Desktop; signalling is under a name of its own (LOLRMM).
    DISTANT_DESKTOP, "distant-desktop", service [Domain("signalserver.xyz")], site ["distantdesktop.com"]
}
tool! {
    /// DeskRoll, once SkyFex.
    DESKROLL, "deskroll", service [], site ["deskroll.com", "skyfex.com"]
}
tool! {
    /// FastViewer.
    FASTVIEWER, "fastviewer", service [], site ["fastviewer.com"]
}
tool! {
    /// FleetDeck; agents are told what to do over MQTT (LOLRMM).
    FLEETDECK, "fleetdeck", service [Domain("agentmqtt.fleetdeck.io")], site ["fleetdeck.io"]
}
tool! {
    /// HelpWire; its STUN and TURN servers stand under `stun` (LOLRMM).
    HELPWIRE, "helpwire", service [Domain("stun.helpwire.app")], site ["helpwire.app"]
}
tool! {
    /// Instant Housecall.
    INSTANT_HOUSECALL, "instant-housecall", service [], site ["instanthousecall.com", "instanthousecall.net"]
}
tool! {
    /// JumpCloud Remote Assist; JumpCloud itself is a directory and not named here.
    JUMPCLOUD_ASSIST, "jumpcloud-assist", service [Domain("assist.jumpcloud.com")], site []
}
tool! {
    /// LiteManager.
    LITEMANAGER, "litemanager", service [], site ["litemanager.com", "litemanager.ru"]
}
tool! {
    /// Mikogo.
    MIKOGO, "mikogo", service [], site ["mikogo.com", "mikogo4.com", "real-time-collaboration.com"]
}
tool! {
    /// Impero Connect, once Netop Remote Control; its cloud is `connect.backdrop.cloud` (LOLRMM).
    NETOP, "netop", service [Domain("connect.backdrop.cloud")], site ["netop.com"]
}
tool! {
    /// NTRsupport.
    NTRSUPPORT, "ntrsupport", service [], site ["ntrsupport.com"]
}
tool! {
    /// RemoteCall (Rsupport), and its page for guests.
    REMOTECALL, "remotecall", service [], site ["remotecall.com", "startsupport.com"]
}
tool! {
    /// RemoteView (Rsupport).
    REMOTEVIEW, "remoteview", service [], site ["rview.com"]
}
tool! {
    /// RuDesktop, of RustDesk's family.
    RUDESKTOP, "rudesktop", service [], site ["rudesktop.ru"]
}
tool! {
    /// ScreenMeet.
    SCREENMEET, "screenmeet", service [], site ["screenmeet.com", "scrn.mt"]
}
tool! {
    /// TrustConnect, sold as a remote tool and used as a trojan (LOLRMM).
    TRUSTCONNECT, "trustconnect", service [], site ["trustconnectsoftware.com"]
}
tool! {
    /// XEOX.
    XEOX, "xeox", service [], site ["xeox.com"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::REGISTRY;

    /// The surest sign of any entry of this file.
    fn shown(key: &str, value: &str) -> Option<(&'static str, Shows)> {
        let signs = REGISTRY.iter().flat_map(|p| p.signs.iter().map(move |s| (p.name, s)));
        let fitting = signs.filter(|(_, sign)| sign.key == key && sign.fits(value));
        fitting.fold(None, |best, (name, sign)| match best {
            Some((_, shows)) if shows >= sign.shows => best,
            _ => Some((name, sign.shows)),
        })
    }

    #[test]
    fn a_service_is_likely_the_tool() {
        for (host, name) in [
            ("remotedesktop-pa.googleapis.com", "chrome-remote-desktop"),
            ("kessel-ws.parsec.app", "parsec"),
            ("st-us-1.relay.splashtop.com", "splashtop"),
            ("instance-ra153n-relay.screenconnect.com", "screenconnect"),
            ("rescue-list.eu1.logmein-gateway.com", "logmein-rescue"),
            ("node123456.dwservice.net", "dwservice"),
            ("supremogw51.nanosystems.it", "supremo"),
            ("px-fr1.getscreen.me", "getscreen"),
            ("gateway.zohoassist.com", "zoho-assist"),
            ("remoteassistance.support.services.microsoft.com", "quick-assist"),
            ("server.eu-1.action1.com", "action1"),
        ] {
            assert_eq!(shown("tls.sni", host), Some((name, Shows::Likely)), "{host}");
        }
    }

    #[test]
    fn a_visit_to_the_maker_is_a_visit() {
        for host in [
            "www.splashtop.com",
            "my.splashtop.com",
            "remotedesktop.google.com",
            "parsec.app",
            "dash.parsec.app",
            "acme.screenconnect.com",
            "www.dwservice.net",
            "secure.logmein.com",
            "hamachi-data-center.logmein-gateway.com",
            "assist.zoho.com",
            "www.todesk.com",
            "sunlogin.oray.com",
            "www.anyviewer.com",
            "www.supremocontrol.com",
            "example.beyondtrustcloud.com",
            "www.teamviewer.com",
            "anydesk.com",
            "rustdesk.com",
            "www.islonline.com",
        ] {
            assert!(
                matches!(shown("tls.sni", host), Some((_, Shows::Mention))),
                "{host}: {:?}",
                shown("tls.sni", host)
            );
        }
    }

    #[test]
    fn names_of_others_say_nothing() {
        for host in [
            "www.google.com",
            "instantmessaging-pa.googleapis.com",
            "www.zoho.com",
            "mail.zoho.com",
            "www.microsoft.com",
            "notparsec.app",
            "s3.amazonaws.com",
            "d111111abcdef8.cloudfront.net",
            "phservice5.oray.net",
            "connectwise.com",
            "www.goto.com",
        ] {
            assert_eq!(shown("tls.sni", host), None, "{host}");
        }
    }

    /// A question for an address is no session with it.
    #[test]
    fn a_question_for_a_name_is_never_more_than_a_mention() {
        for protocol in REGISTRY {
            for sign in protocol.signs.iter().filter(|sign| sign.key == "dns.query") {
                assert_eq!(sign.shows, Shows::Mention, "{}: {sign:?}", protocol.name);
            }
        }
    }
}
