//! Log lines of VPN gateways: who is at which address outside and inside.
//!
//! Reads: Cisco ASA and Firepower (messages 113019, 113039, 722022, 722051), Palo Alto GlobalProtect (comma-separated
//! fields of a `GLOBALPROTECT` log), FortiGate (`key=value` of `subtype="vpn"`), and OpenVPN's status file (versions 1 to
//! 3). Emits: claims. Does not: read other messages (they are skipped), or guess a year that a time stamp doesn't say.
//!
//! References: Cisco ASA Series Syslog Messages; PAN-OS Syslog Field Descriptions, GlobalProtect; FortiOS Log Reference,
//! event/vpn; openvpn(8), `--status`.

use crate::base::{Claim, IdentityKind, Located, Stay, Sureness, Timestamp, Whereabouts};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::net::{IpAddr, SocketAddr};

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Claims.
    Says(Vec<Located>),
    /// Nothing of who is where.
    Skip,
    /// It should say something, and can't be read.
    Wrong(&'static str),
}

/// Reads a file line by line: an OpenVPN status file has its heading before its rows.
#[derive(Debug, Default)]
pub(super) struct GatewayLog {
    /// The year of time stamps that say none.
    year: Option<i16>,
    /// The columns of OpenVPN's client list, once its heading was seen.
    status: Option<Status>,
}

#[derive(Debug, Clone, Copy)]
struct Status {
    /// Version 1 rows have no `CLIENT_LIST` before them.
    plain: bool,
}

/// What a gateway says of one stay.
struct Told<'a> {
    source: &'static str,
    at: Timestamp,
    user: &'a str,
    outside: Option<IpAddr>,
    inside: Option<IpAddr>,
    machine: Option<&'a str>,
    session: Option<String>,
    stay: Stay,
}

impl Told<'_> {
    fn claims(self) -> Line {
        if self.user.is_empty() {
            return Line::Skip;
        }
        let mut out = Vec::new();
        let users = [(IdentityKind::User, self.user)];
        let machines = self.machine.filter(|name| !name.is_empty()).map(|name| (IdentityKind::Host, name));
        for (kind, name) in users.into_iter().chain(machines) {
            let claim = |place, inner| Located {
                at: self.at,
                address: place,
                claim: Claim {
                    stay: self.stay,
                    inner,
                    session: self.session.clone(),
                    ..Claim::new(self.source, Whereabouts::Address(place), kind, name).worth(Sureness::Accepted)
                },
            };
            out.extend(self.outside.map(|outside| claim(outside, self.inside)));
            out.extend(self.inside.map(|inside| claim(inside, None)));
        }
        if out.is_empty() { Line::Wrong("names no address") } else { Line::Says(out) }
    }
}

impl GatewayLog {
    /// `year` is that of time stamps that say none.
    pub(super) const fn new(year: Option<i16>) -> Self {
        Self { year, status: None }
    }

    /// The next line.
    pub(super) fn line(&mut self, line: &str) -> Line {
        let line = line.trim_end();
        if let Some(at) = line.find("%ASA-").or_else(|| line.find("%FTD-")) {
            let (head, message) = line.split_at(at);
            return self.cisco(head, message);
        }
        if line.contains(",GLOBALPROTECT,") {
            return global_protect(line);
        }
        if line.contains("subtype=\"vpn\"") || line.contains("subtype=vpn ") {
            return fortigate(line);
        }
        self.openvpn(line)
    }

    fn cisco(&self, head: &str, message: &str) -> Line {
        // `%ASA-6-113039: …`: severity, then number.
        let Some(number) = message.split('-').nth(2).and_then(|rest| rest.split(':').next()) else { return Line::Skip };
        let angle = |key: &str| between(message, &format!("{key} <"), ">");
        let told = |user, outside, inside, stay| {
            let Some(at) = self.syslog_time(head) else { return Line::Wrong("its time stamp says no year") };
            Told { source: "cisco-log", at, user, outside, inside, machine: None, session: None, stay }.claims()
        };
        match number.trim() {
            "113039" | "722022" => match (angle("User"), angle("IP").and_then(address)) {
                (Some(user), Some(outside)) => told(user, Some(outside), None, Stay::Begins),
                _ => Line::Wrong("names no user or address"),
            },
            "722051" => {
                let inside = angle("IPv4 Address").or_else(|| angle("Address")).and_then(address);
                match (angle("User"), angle("IP").and_then(address)) {
                    (Some(user), Some(outside)) => told(user, Some(outside), inside, Stay::Begins),
                    _ => Line::Wrong("names no user or address"),
                }
            }
            "113019" => {
                let value = |key: &str| between(message, &format!("{key} = "), ",");
                match (value("Username"), value("IP").and_then(address)) {
                    (Some(user), Some(outside)) => told(user, Some(outside), None, Stay::Ends),
                    _ => Line::Wrong("names no user or address"),
                }
            }
            _ => Line::Skip,
        }
    }

    /// The time in the head of a syslog line: RFC 5424's, or RFC 3164's with a year, or with the year that was given.
    fn syslog_time(&self, head: &str) -> Option<Timestamp> {
        let head = head.trim_start_matches(|c: char| c == '<' || c.is_ascii_digit() && head.starts_with('<'));
        let head = head.trim_start_matches('>').trim_start_matches("1 ");
        let words: Vec<&str> = head.split_whitespace().map(|word| word.trim_end_matches(':')).collect();
        for (i, word) in words.iter().enumerate() {
            if let Ok(at) = word.parse::<jiff::Timestamp>() {
                return Some(nanos(at));
            }
            let Some(month) = month(word) else { continue };
            let day: i8 = words.get(i + 1)?.parse().ok()?;
            let (year, clock) = match words.get(i + 2)?.parse::<i16>() {
                Ok(year) => (Some(year), words.get(i + 3)?),
                Err(_) => (self.year, words.get(i + 2)?),
            };
            let mut clock = clock.split(':').map(|part| part.parse::<i8>().ok());
            let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
            return civil(DateTime::new(year?, month, day, hour, minute, second, 0).ok()?);
        }
        None
    }

    fn openvpn(&mut self, line: &str) -> Line {
        if line.starts_with("Common Name,Real Address,") {
            self.status = Some(Status { plain: true });
            return Line::Skip;
        }
        if line.starts_with("HEADER,CLIENT_LIST,") || line.starts_with("HEADER\tCLIENT_LIST\t") {
            self.status = Some(Status { plain: false });
            return Line::Skip;
        }
        if line.starts_with("ROUTING TABLE") || line.starts_with("GLOBAL STATS") || line == "END" {
            self.status = None;
            return Line::Skip;
        }
        let Some(status) = self.status else { return Line::Skip };
        let fields: Vec<&str> = line.split([',', '\t']).collect();
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        let (name, real, inside, since) = if status.plain {
            (field(0), field(1), None, self.ctime(field(4)))
        } else if field(0) == "CLIENT_LIST" {
            // Common name, real address, virtual address, virtual IPv6 address, bytes, bytes, since, since (time_t).
            let since = field(8).parse().ok().map(|seconds| Timestamp::from_parts(seconds, 0));
            (field(1), field(2), address(field(3)), since)
        } else {
            return Line::Skip;
        };
        let Some(at) = since else { return Line::Wrong("its time can't be read") };
        let outside = address(real);
        Told {
            source: "openvpn-status",
            at,
            user: name,
            outside,
            inside,
            machine: None,
            session: None,
            stay: Stay::Begins,
        }
        .claims()
    }

    /// `Tue Nov 24 09:00:01 2026`, or `2026-11-24 09:00:01`.
    fn ctime(&self, text: &str) -> Option<Timestamp> {
        if let Ok(time) = text.parse::<DateTime>() {
            return civil(time);
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let [_, month, day, clock, year] = words[..] else { return None };
        self.syslog_time(&format!("{month} {day} {year} {clock}"))
    }
}

/// PAN-OS: receive time 1, type 3, generated time 6, event 8, stage 9, user 12, machine 14, public address 15 and 16,
/// private address 17 and 18, counted from 0.
fn global_protect(line: &str) -> Line {
    // A syslog head may stand before the first field.
    let fields: Vec<&str> = line.split(',').map(|field| field.trim_matches('"')).collect();
    let Some(kind) = fields.iter().position(|field| *field == "GLOBALPROTECT") else { return Line::Skip };
    let field = |i: usize| (kind + i).checked_sub(3).and_then(|i| fields.get(i)).copied().unwrap_or_default();
    let stay = match field(8) {
        "gateway-connected" | "gateway-tunnel-latency" => Stay::Begins,
        "gateway-logout" | "gateway-disconnected" => Stay::Ends,
        _ => return Line::Skip,
    };
    let time = field(6).replace('/', "-");
    let Some(at) = time.parse::<jiff::Timestamp>().ok().map(nanos).or_else(|| time.parse().ok().and_then(civil)) else {
        return Line::Wrong("its time can't be read");
    };
    let either = |a: usize, b: usize| address(field(a)).or_else(|| address(field(b)));
    Told {
        source: "globalprotect-log",
        at,
        user: field(12),
        outside: either(15, 16),
        inside: either(17, 18),
        machine: Some(field(14)),
        session: None,
        stay,
    }
    .claims()
}

fn fortigate(line: &str) -> Line {
    let value = |key: &str| {
        let at = line.match_indices(key).map(|(at, _)| at).find(|at| {
            let before = line.as_bytes().get(at.wrapping_sub(1));
            before.is_none_or(|b| *b == b' ') && line.as_bytes().get(at + key.len()) == Some(&b'=')
        })?;
        let rest = line.get(at + key.len() + 1..)?;
        Some(match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap_or_default(),
            None => rest.split(' ').next().unwrap_or_default(),
        })
    };
    let stay = match value("action") {
        Some("tunnel-up" | "ssl-new-con") => Stay::Begins,
        Some("tunnel-stats") => Stay::Goes,
        Some("tunnel-down") => Stay::Ends,
        _ => return Line::Skip,
    };
    let user = value("user").or_else(|| value("xauthuser")).filter(|user| *user != "N/A").unwrap_or_default();
    // Nanoseconds or seconds since 1970, or a civil time whose zone is beside it.
    let epoch = value("eventtime").and_then(|text| text.parse::<i64>().ok()).map(|number| {
        if number > 1_000_000_000_000_000 { Timestamp::from_nanos(number) } else { Timestamp::from_parts(number, 0) }
    });
    let written = || {
        let zone = value("tz").filter(|zone| zone.len() == 5).unwrap_or("+0000");
        format!("{}T{}{zone}", value("date")?, value("time")?).parse::<jiff::Timestamp>().ok().map(nanos)
    };
    let Some(at) = epoch.or_else(written) else { return Line::Wrong("its time can't be read") };
    let ip = |key| value(key).and_then(address);
    Told {
        source: "fortigate-log",
        at,
        user,
        outside: ip("remip"),
        inside: ip("tunnelip").or_else(|| ip("assignip")),
        machine: None,
        session: value("tunnelid").filter(|id| *id != "0").map(str::to_owned),
        stay,
    }
    .claims()
}

fn nanos(at: jiff::Timestamp) -> Timestamp {
    Timestamp::from_nanos(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX))
}

/// A civil time, taken as UTC: logs that say no zone are read as if their gateway kept UTC.
fn civil(time: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(time).ok().map(nanos)
}

fn month(word: &str) -> Option<i8> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS.iter().position(|name| *name == word).and_then(|i| i8::try_from(i + 1).ok())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end).map_or(rest, |(value, _)| value).trim())
}

/// An address, perhaps with a port or, as OpenVPN writes it, a protocol before it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_start_matches("udp4:").trim_start_matches("tcp4-server:").trim_start_matches("udp6:");
    let ip = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|end| end.ip()))?;
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(log: &mut GatewayLog, line: &str) -> Vec<(String, String, Option<String>, Stay, i64)> {
        let Line::Says(claims) = log.line(line) else { panic!("{:?}", log.line(line)) };
        claims
            .into_iter()
            .map(|located| {
                let inner = located.claim.inner.map(|ip| ip.to_string());
                let seconds = located.at.nanos() / 1_000_000_000;
                (located.claim.identity.name, located.address.to_string(), inner, located.claim.stay, seconds)
            })
            .collect()
    }

    /// 2026-11-24 09:00:01 UTC.
    const NINE: i64 = 1_795_510_801;

    #[test]
    fn cisco_tells_of_beginnings_assignments_and_ends() {
        let mut log = GatewayLog::default();
        let begins = "<166>Nov 24 2026 09:00:01: %ASA-6-113039: Group <GP> User <alice> IP <198.51.100.7> AnyConnect parent session started.";
        assert_eq!(said(&mut log, begins), [("alice".into(), "198.51.100.7".into(), None, Stay::Begins, NINE)]);
        let assigned = "2026-11-24T09:00:01Z fw %FTD-4-722051: Group <GP> User <alice> IP <198.51.100.7> IPv4 Address <10.8.0.5> IPv6 address <::> assigned to session";
        assert_eq!(
            said(&mut log, assigned),
            [
                ("alice".into(), "198.51.100.7".into(), Some("10.8.0.5".into()), Stay::Begins, NINE),
                ("alice".into(), "10.8.0.5".into(), None, Stay::Begins, NINE),
            ]
        );
        let ends = "Nov 24 09:00:01 fw %ASA-4-113019: Group = GP, Username = alice, IP = 198.51.100.7, Session disconnected. Session Type: SSL, Duration: 1h:02m:03s, Bytes xmt: 1, Bytes rcv: 2, Reason: User Requested";
        assert_eq!(log.line(ends), Line::Wrong("its time stamp says no year"));
        log.year = Some(2026);
        assert_eq!(said(&mut log, ends), [("alice".into(), "198.51.100.7".into(), None, Stay::Ends, NINE)]);
        assert_eq!(log.line("Nov 24 2026 09:00:01: %ASA-6-302013: Built inbound TCP connection"), Line::Skip);
    }

    #[test]
    fn globalprotect_and_fortigate_and_openvpn_are_read() {
        let mut log = GatewayLog::default();
        let line = "Nov 24 09:00:01 fw 1,2026/11/24 09:00:01,0123,GLOBALPROTECT,0,2305,2026/11/24 09:00:01,vsys1,gateway-connected,connected,,IPSec,corp\\alice,US,LAPTOP-17,198.51.100.7,0.0.0.0,10.8.0.5,0.0.0.0,abc,XYZ,6.2,Windows";
        let claims = said(&mut log, line);
        assert_eq!(
            claims[0],
            ("corp\\alice".into(), "198.51.100.7".into(), Some("10.8.0.5".into()), Stay::Begins, NINE)
        );
        assert!(claims.iter().any(|claim| claim.0 == "LAPTOP-17"));
        let line = "date=2026-11-24 time=09:00:01 devname=\"fgt\" eventtime=1795510801000000000 tz=\"+0000\" type=\"event\" subtype=\"vpn\" action=\"tunnel-up\" remip=198.51.100.7 user=\"alice\" tunnelid=77 tunnelip=10.212.134.200";
        let claims = said(&mut log, line);
        assert_eq!(
            claims[0],
            ("alice".into(), "198.51.100.7".into(), Some("10.212.134.200".into()), Stay::Begins, NINE)
        );
        for line in [
            "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,Connected Since,Connected Since (time_t),Username",
            "TITLE,OpenVPN 2.6",
        ] {
            assert_eq!(log.line(line), Line::Skip);
        }
        let row = "CLIENT_LIST,alice,198.51.100.7:52311,10.8.0.5,,1,2,2026-11-24 09:00:01,1795510801,UNDEF";
        assert_eq!(
            said(&mut log, row)[0],
            ("alice".into(), "198.51.100.7".into(), Some("10.8.0.5".into()), Stay::Begins, NINE)
        );
        let mut first = GatewayLog::default();
        first.line("Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since");
        let row = "alice,198.51.100.7:52311,1,2,Tue Nov 24 09:00:01 2026";
        assert_eq!(said(&mut first, row), [("alice".into(), "198.51.100.7".into(), None, Stay::Begins, NINE)]);
        assert_eq!(first.line("ROUTING TABLE"), Line::Skip);
        assert_eq!(first.line("10.8.0.5,alice,198.51.100.7:52311,Tue Nov 24 09:00:01 2026"), Line::Skip);
    }

    proptest! {
        #[test]
        fn no_line_stops_it(line in "(%ASA-[0-9]-(113019|113039|722051): )?[ -~]{0,80}(,GLOBALPROTECT,)?( subtype=\"vpn\" action=\"tunnel-up\")?[ -~]{0,40}") {
            let mut log = GatewayLog { year: Some(2026), status: Some(Status { plain: true }) };
            let _ = log.line(&line);
        }
    }
}
