//! The keys of the configuration file: what each holds, what stands where it is not set, what it is for.
//!
//! Reads: nothing. Emits: [`KEYS`], which `config check` checks by, `config print` prints by, and
//! `docs/configuration.md` is held against. Does not: read values; `RunArgs` does.

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// What stands where it is not set, as TOML; an example where nothing does.
    pub example: &'static str,
    /// Whether the example is the default.
    pub default: bool,
    /// What it is for.
    pub about: &'static str,
}

/// What a key holds.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Any text.
    Text,
    /// Any texts.
    Texts,
    /// A file to read.
    File,
    /// Files to read.
    Files,
    /// A folder to read.
    Folder,
    /// A file or folder that is made if it isn't there.
    Output,
    /// An https address.
    Url,
    /// Degrees: latitude, longitude.
    Point,
    /// Networks or addresses.
    Networks,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Flag,
    /// A whole number from one to another.
    Whole(i64, i64),
    /// A number from one to another.
    Real(f64, f64),
    /// A day, such as 2027-01-31.
    Day,
    /// libpcap's filter language.
    Filter,
    /// One table with keys of its own.
    Table(&'static [Key]),
    /// Any number of tables; these keys of each must be there.
    Tables(&'static [Key], &'static [&'static str]),
}

/// Something that has a default.
const fn set(name: &'static str, shape: Shape, example: &'static str, about: &'static str) -> Key {
    Key { name, shape, example, default: true, about }
}

/// Something that is not there unless it is set.
const fn unset(name: &'static str, shape: Shape, example: &'static str, about: &'static str) -> Key {
    Key { name, shape, example, default: false, about }
}

/// The words of a severity.
const LEVELS: &[&str] = &["info", "low", "medium", "high", "critical"];

/// All keys of a file, in the order in which `config print` has them.
pub const KEYS: &[Key] = &[
    unset("site", Shape::Point, "\"39.0438,-77.4874\"", "Where the capture point is, in degrees."),
    set("internal", Shape::Networks, "[]", "The site's own networks: their addresses are never judged."),
    set("vpn-pool", Shape::Networks, "[]", "Networks that VPN users get inner addresses from: never judged either."),
    set("gateway", Shape::Networks, "[]", "The site's VPN gateways and remote-access servers: never judged either."),
    unset("sensor", Shape::Text, "\"frankfurt\"", "Which of the tables \"sensors\" took the captures."),
    unset(
        "out",
        Shape::Output,
        "\"monday\"",
        "Where sessions.jsonl, endpoints.jsonl, findings.jsonl, identities.jsonl and summary.json go.",
    ),
    set("format", Shape::Choice(&["table", "json", "jsonl"]), "\"table\"", "What goes to standard output."),
    set("all", Shape::Flag, "false", "Tell of endpoints that are clear or can't be judged, too."),
    unset("fail-on", Shape::Choice(LEVELS), "\"high\"", "Exit with 3 if a finding is at least this severe."),
    unset("geo-city", Shape::File, "\"city.mmdb\"", "City database (MaxMind format)."),
    unset("geo-asn", Shape::File, "\"asn.mmdb\"", "ASN database (MaxMind format)."),
    unset("geo-csv", Shape::File, "\"places.csv\"", "Places of networks, overriding the databases."),
    set("geo-kind", Shape::Files, "[]", "Databases of what networks are used for (MaxMind format)."),
    unset("intel", Shape::Folder, "\"intel\"", "Imported lists of networks and tools."),
    set("identities", Shape::Files, "[]", "Who is where: a CSV, or logs of VPN gateways."),
    unset(
        "homes",
        Shape::File,
        "\"homes.csv\"",
        "Where people say that they work from: a CSV (identity,lat,lon,country,region,city).",
    ),
    unset("log-year", Shape::Whole(1970, 2200), "2026", "The year of log lines whose time stamps say none."),
    unset(
        "hash-identities",
        Shape::File,
        "\"key\"",
        "Write names of people and machines as keyed hashes; the file holds the key.",
    ),
    unset(
        "state",
        Shape::Output,
        "\"farmlight.state\"",
        "The file in which runs keep what they saw, to judge on weeks.",
    ),
    unset(
        "baseline",
        Shape::File,
        "\"site.baseline\"",
        "What the site's honest endpoints are like, as `farmlight baseline learn` wrote it.",
    ),
    unset("filter", Shape::Filter, "\"tcp port 443\"", "Only packets that match."),
    set("workers", Shape::Whole(1, 64), "1", "Worker threads."),
    set("max-flows", Shape::Whole(1, i64::MAX), "2000000", "Flows held at once, over all workers."),
    unset(
        "retention",
        Shape::Whole(1, u32::MAX as i64),
        "90",
        "Days after which a watch forgets what it has not heard of, and kept runs count no more (else 35).",
    ),
    set("policy", Shape::Table(POLICY), "", "How common relays are, and from which odds on to speak."),
    set("geo", Shape::Table(GEO), "", "Where `farmlight geo` finds and fetches databases."),
    set("sensors", Shape::Tables(SENSOR, &["name"]), "", "Capture points by name: one file for all of them."),
    set(
        "sites",
        Shape::Tables(SITE, &["networks", "location"]),
        "",
        "Where the company's servers are, if one run has captures of several sites.",
    ),
    set(
        "allow",
        Shape::Tables(ALLOW, &["allow", "reason", "owner", "expires"]),
        "",
        "What is known to be all right: approved remote tools, exits, travellers, shared offices.",
    ),
];

/// The table `[policy]`.
pub const POLICY: &[Key] = &[
    set(
        "prior",
        Shape::Real(1e-9, 0.5),
        "0.0003",
        "Share of remote identities that are relayed, before anything is measured.",
    ),
    set(
        "alert-budget",
        Shape::Real(0.0, 1.0),
        "0.0001",
        "False alarms per remote identity and day that there is time for.",
    ),
    set(
        "relayed-from",
        Shape::Real(-20.0, 20.0),
        "0.0",
        "Posterior log-odds from which on an endpoint is called relayed; 0 is more likely than not.",
    ),
    set(
        "clear-to",
        Shape::Real(-20.0, 0.0),
        "-3.0",
        "Log ratio, priors left out, to which an endpoint is called clear; -3 is 20 to 1 against.",
    ),
];

/// The table `[geo]`.
pub const GEO: &[Key] = &[
    unset("dir", Shape::Folder, "\"geo\"", "Where city.mmdb, asn.mmdb and kind.mmdb are."),
    unset("city-url", Shape::Url, "\"https://example.com/city.mmdb.gz\"", "Where a City database comes from."),
    unset("asn-url", Shape::Url, "\"https://example.com/asn.mmdb.gz\"", "Where an ASN database comes from."),
    unset("kind-url", Shape::Url, "\"https://example.com/kind.mmdb.gz\"", "Where a database of kinds comes from."),
    unset("ca", Shape::File, "\"ca.pem\"", "Certificates to trust instead of the well-known ones."),
    unset("login-env", Shape::Text, "\"GEO_LOGIN\"", "The environment variable that holds ACCOUNT:KEY."),
];

/// A table `[[sensors]]`.
pub const SENSOR: &[Key] = &[
    unset("name", Shape::Text, "\"frankfurt\"", "What --sensor calls it."),
    unset("site", Shape::Point, "\"50.11,8.68\"", "Where it is."),
    set("internal", Shape::Networks, "[]", "Own networks seen there, besides the general ones."),
    set("vpn-pool", Shape::Networks, "[]", "VPN pools seen there, besides the general ones."),
    set("gateway", Shape::Networks, "[]", "Gateways seen there, besides the general ones."),
];

/// A table `[[sites]]`.
pub const SITE: &[Key] = &[
    unset("networks", Shape::Networks, "[\"203.0.113.0/24\"]", "The site's servers: their addresses are never judged."),
    unset("location", Shape::Point, "\"50.11,8.68\"", "Where their traffic is captured."),
];

/// A table `[[allow]]`.
pub const ALLOW: &[Key] = &[
    unset("allow", Shape::Choice(&["tool", "exit", "traveller", "coworking"]), "\"tool\"", "What the entry allows."),
    set("networks", Shape::Networks, "[]", "Endpoints in these networks."),
    set("identities", Shape::Texts, "[]", "Endpoints and sessions of these people or machines."),
    set("tools", Shape::Texts, "[]", "Sessions of these tools, by protocol or application."),
    unset("reason", Shape::Text, "\"approved helpdesk tool\"", "Why."),
    unset("owner", Shape::Text, "\"it@example.com\"", "Who answers for it."),
    unset("expires", Shape::Day, "\"2027-06-30\"", "The last day on which it counts, UTC."),
];
