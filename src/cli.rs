//! What was typed, and what it means.
//!
//! Reads: the command line, and a TOML file with the same names for `--config`. Emits: [`RunConfig`]. Does not: act.

mod baseline;
mod check;
mod policy;
mod schema;

pub use baseline::{BaselineCommand, BaselineLearn, BaselineShow};
pub use check::{Problem, Sort, problems, rendered};
pub use policy::PolicySettings;
pub use schema::{ALLOW, GEO, KEYS, Key, POLICY, SENSOR, SITE, Shape};

use crate::app::Matrix;
use crate::evidence::{Policy, Severity};
use crate::intel::{AllowEntry, GeoPoint, Networks, Premises};
use crate::simulate::{Access, Vantage};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Shows from packet timing alone whether somebody far away works through a remote worker's connection.
#[derive(Debug, Parser)]
#[command(name = "farmlight", version, max_term_width = 80, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say more on standard error (-v: progress of the run, -vv: details).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing on standard error but errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge the remote endpoints of captures: pcap or pcapng, plain, gzip or zstd.
    Analyze(Analyze),
    /// Judge the remote endpoints of a live interface, such as a SPAN port's.
    Watch(Watch),
    /// Say why: the latency ladder, each piece of evidence, the best innocent story, what to do.
    Explain(Explain),
    /// Write the packets behind a finding to a pcapng file, with comments.
    Slice(Slice),
    /// Make a capture with known truth, for fire drills and tuning.
    Simulate(Simulate),
    /// Compare verdicts with the truth: recall, false alarms, errors of the ladder.
    Evaluate(Evaluate),
    /// Learn what this site's honest endpoints are like, from what earlier runs wrote.
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Tell of the databases of places, or fetch newer ones.
    #[command(subcommand)]
    Geo(Geo),
    /// Check a configuration file, or show the configuration in effect.
    #[command(subcommand)]
    Config(Config),
    /// Import and look up what the outside knows: remote tools, networks.
    #[command(subcommand)]
    Intel(Intel),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff).
    Man,
}

/// `farmlight analyze`.
#[derive(Debug, Args)]
pub struct Analyze {
    /// Captures, directories of captures, or - for standard input. Several are merged by time.
    #[arg(required = true, value_name = "PCAP|DIR|-")]
    pub inputs: Vec<PathBuf>,
    /// Options of the run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `farmlight watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The interface; `list` names those there are.
    #[arg(short, long, value_name = "IFACE")]
    pub interface: String,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// Forget endpoints, names and identities not heard of for so many days [default: never].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub retention: Option<u32>,
    /// Options of the run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `farmlight explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// An endpoint's address, or a finding's id (its beginning is enough).
    #[arg(value_name = "IP|FINDING-ID")]
    pub what: String,
    /// The folder that analyze or watch wrote with --out.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// What goes to standard output.
    #[arg(long, value_enum, default_value = "table")]
    pub format: PageFormat,
}

/// `farmlight slice`.
#[derive(Debug, Args)]
#[command(override_usage = "farmlight slice <IP|FINDING-ID> --from DIR -o OUT.pcapng PCAP|DIR|-...")]
pub struct Slice {
    /// A finding's id (its beginning is enough): the flows that it cites. An address: all its flows.
    #[arg(value_name = "IP|FINDING-ID")]
    pub what: String,
    /// The folder that analyze or watch wrote with --out.
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// The file to write; - for standard output.
    #[arg(short, long, value_name = "OUT.pcapng")]
    pub out: PathBuf,
    /// Captures, directories of captures, or - for standard input. Several are merged by time.
    #[arg(required = true, value_name = "PCAP|DIR|-")]
    pub inputs: Vec<PathBuf>,
}

/// What `explain` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    /// For people.
    Table,
    /// The same as one JSON object.
    Json,
}

/// `farmlight simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The scenario; `list` names those there are.
    pub scenario: String,
    /// Where capture.pcap, truth.json and geo.csv go.
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Seed: the same seed gives the same bytes.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// City of the home; a wrong one lists those there are.
    #[arg(long, value_name = "CITY")]
    pub home: Option<String>,
    /// City of the operator.
    #[arg(long, value_name = "CITY")]
    pub operator: Option<String>,
    /// One-way delay of the home's access line.
    #[arg(long, value_name = "MS")]
    pub last_mile_ms: Option<f64>,
    /// Mean queueing delay of the access line, each way.
    #[arg(long, value_name = "MS")]
    pub last_mile_jitter_ms: Option<f64>,
    /// Round trip between operator and home; their distance gives it otherwise.
    #[arg(long, value_name = "MS")]
    pub hidden_rtt_ms: Option<f64>,
    /// Mean queueing delay of the hidden leg, each way.
    #[arg(long, value_name = "MS")]
    pub hidden_jitter_ms: Option<f64>,
    /// Share of packets lost each way, 0 to 0.2.
    #[arg(long, value_name = "SHARE")]
    pub loss: Option<f64>,
    /// Sessions of the endpoint in question.
    #[arg(long, value_name = "N")]
    pub sessions: Option<u32>,
    /// Honest homes beside the endpoint in question.
    #[arg(long, value_name = "N")]
    pub bystanders: Option<u32>,
    /// Seconds over which the sessions begin.
    #[arg(long, value_name = "SECONDS")]
    pub duration_s: Option<u64>,
    /// When the capture begins, in seconds since 1970.
    #[arg(long, value_name = "SECONDS")]
    pub start_unix: Option<i64>,
    /// The home's access line: fibre, cable, dsl, wifi, bloated, lte, leo.
    #[arg(long, value_name = "LINE", value_parser = named(&Access::ALL))]
    pub access: Option<String>,
    /// Capture points: a outside the gateway, b inside it (what was in the tunnel), ab both.
    #[arg(long, value_name = "WHERE", value_parser = named(&Vantage::ALL))]
    pub vantage: Option<String>,
    /// Computers behind the address, 1 to 20.
    #[arg(long, value_name = "N")]
    pub laptops: Option<u32>,
    /// So many workdays of eight hours, each begun at the same time; written day by day.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=366))]
    pub days: Option<u32>,
}

/// One of the names of a table.
fn named<T>(table: &[(&'static str, T)]) -> clap::builder::PossibleValuesParser {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().into()
}

/// `farmlight evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// Folders with truth.json, captures and geo.csv, or folders of such folders.
    #[arg(value_name = "DIR", required_unless_present = "matrix")]
    pub dirs: Vec<PathBuf>,
    /// Simulate a built-in matrix instead.
    #[arg(long, value_name = "NAME", conflicts_with = "dirs", value_parser = named(&Matrix::ALL))]
    pub matrix: Option<String>,
    /// Moves all seeds of the matrix [default: 0].
    #[arg(long, value_name = "N", requires = "matrix")]
    pub seed: Option<u64>,
    /// Honest endpoint-days of the matrix "fleet" [default: 30000].
    #[arg(long, value_name = "N", requires = "matrix", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub honest: Option<u32>,
    /// Leave out judging again without each rule.
    #[arg(long)]
    pub no_ablation: bool,
    /// Tell the spread of the quantities that the rules weigh, too.
    #[arg(long)]
    pub quantities: bool,
    /// Tables in Markdown.
    #[arg(long, conflicts_with = "format")]
    pub markdown: bool,
    /// Draw recall over false alarms, and what was believed against what was observed.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Options of the run; what a folder's truth says is used where nothing is given.
    #[command(flatten)]
    pub run: RunArgs,
}

/// `farmlight geo`.
#[derive(Debug, Subcommand)]
pub enum Geo {
    /// Say of each database what it is, how old, and whose.
    Status(GeoStatus),
    /// Fetch databases over HTTPS, check them, and put them in the old ones' place.
    Update(GeoUpdate),
}

/// `farmlight geo status`.
#[derive(Debug, Args)]
pub struct GeoStatus {
    /// The databases [default: those in the dir of the configuration's geo table].
    #[arg(value_name = "MMDB")]
    pub databases: Vec<PathBuf>,
    /// A TOML file with a table "geo".
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `farmlight geo update`.
#[derive(Debug, Args)]
pub struct GeoUpdate {
    /// A TOML file with a table "geo": dir, city-url, asn-url, kind-url, ca, login-env.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where city.mmdb, asn.mmdb and kind.mmdb go.
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// A City database: .mmdb, .mmdb.gz or .tar.gz.
    #[arg(long, value_name = "URL")]
    pub city_url: Option<String>,
    /// An ASN database.
    #[arg(long, value_name = "URL")]
    pub asn_url: Option<String>,
    /// An Anonymous-IP, Connection-Type or Enterprise database.
    #[arg(long, value_name = "URL")]
    pub kind_url: Option<String>,
    /// Trust these certificates (PEM) instead of the well-known ones.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The environment variable that holds ACCOUNT:KEY.
    #[arg(long, value_name = "NAME")]
    pub login_env: Option<String>,
    /// Give up after so many seconds [default: 300].
    #[arg(long, value_name = "SECONDS")]
    pub timeout_s: Option<u64>,
}

/// The table `[geo]` of the configuration file.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GeoSettings {
    /// Where the databases are.
    pub dir: Option<PathBuf>,
    /// Where a City database comes from.
    pub city_url: Option<String>,
    /// Where an ASN database comes from.
    pub asn_url: Option<String>,
    /// Where a database of kinds comes from.
    pub kind_url: Option<String>,
    /// Certificates to trust.
    pub ca: Option<PathBuf>,
    /// The environment variable that holds ACCOUNT:KEY.
    pub login_env: Option<String>,
}

impl GeoSettings {
    /// The table of a configuration file; nothing without one.
    ///
    /// # Errors
    /// The file can't be read or understood.
    pub fn load(path: Option<&Path>) -> Result<Self, UsageError> {
        Ok(path.map(RunArgs::load).transpose()?.unwrap_or_default().geo)
    }
}

/// `farmlight config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell everything that is wrong with a file, with line and column.
    Check(ConfigCheck),
    /// Print what a run with these options would go by, as a file with comments.
    Print(Box<RunArgs>),
}

/// `farmlight config check`.
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// The file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// A table `[[sensors]]` of the configuration file: a capture point.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Sensor {
    /// What it is called.
    pub name: String,
    /// Where it is, in degrees.
    pub site: Option<String>,
    /// Own networks seen there.
    pub internal: Vec<String>,
    /// VPN pools seen there.
    pub vpn_pool: Vec<String>,
    /// Gateways seen there.
    pub gateway: Vec<String>,
}

/// A table `[[sites]]` of the configuration file: servers and where their traffic is captured.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct CompanySite {
    /// Its servers.
    pub networks: Vec<String>,
    /// Where it is, in degrees.
    pub location: String,
}

/// `farmlight intel`.
#[derive(Debug, Subcommand)]
pub enum Intel {
    /// Import a public list into a folder that `analyze --intel` reads.
    #[command(subcommand)]
    Import(IntelImport),
    /// Say what is known of a host name or an address, and who says it.
    Lookup(IntelLookup),
}

/// `farmlight intel import`.
#[derive(Debug, Subcommand)]
pub enum IntelImport {
    /// Remote-management tools: LOLRMM's YAML folder, or its JSON.
    Lolrmm {
        /// The folder or file.
        path: PathBuf,
        /// The folder to import into.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
    /// VPN exits and data centres: a checkout of X4BNet/lists_vpn.
    X4bnet {
        /// The folder.
        path: PathBuf,
        /// The folder to import into.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// Leave the networks of Apple's Private Relay in the VPN list.
        #[arg(long)]
        keep_relays: bool,
    },
    /// A plain list: a network a line.
    List {
        /// The file.
        path: PathBuf,
        /// The folder to import into.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// What its networks are: vpn, hosting, tor, relay, corporate.
        #[arg(long, value_name = "LABEL")]
        label: String,
        /// The list's name [default: the file's].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// A CSV with the header cidr,label,source.
    Csv {
        /// The file.
        path: PathBuf,
        /// The folder to import into.
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
}

/// `farmlight intel lookup`.
#[derive(Debug, Args)]
pub struct IntelLookup {
    /// A host name or an address.
    #[arg(value_name = "NAME|IP")]
    pub what: String,
    /// The folder of imported lists.
    #[arg(long, value_name = "DIR")]
    pub intel: Option<PathBuf>,
    /// City database (MaxMind format).
    #[arg(long, value_name = "MMDB")]
    pub geo_city: Option<PathBuf>,
    /// ASN database (MaxMind format).
    #[arg(long, value_name = "MMDB")]
    pub geo_asn: Option<PathBuf>,
    /// Places of networks.
    #[arg(long, value_name = "CSV")]
    pub geo_csv: Option<PathBuf>,
}

/// Options of analyze and watch.
#[derive(Debug, Default, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RunArgs {
    /// Options from a TOML file; those typed here win.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Write sessions.jsonl, endpoints.jsonl, findings.jsonl and summary.json here.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What goes to standard output [default: table].
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// City database (MaxMind format).
    #[arg(long, value_name = "MMDB")]
    pub geo_city: Option<PathBuf>,
    /// ASN database (MaxMind format).
    #[arg(long, value_name = "MMDB")]
    pub geo_asn: Option<PathBuf>,
    /// Places of networks: cidr,lat,lon,country,region,city,asn,org,kind. Overrides the databases.
    #[arg(long, value_name = "CSV")]
    pub geo_csv: Option<PathBuf>,
    /// Databases of what networks are used for: Anonymous-IP, Connection-Type, Enterprise (MaxMind format).
    #[arg(long, value_name = "MMDB")]
    pub geo_kind: Vec<PathBuf>,
    /// What is known to be all right: a TOML file with tables "allow".
    #[arg(skip)]
    pub allow: Vec<AllowEntry>,
    /// The table for `farmlight geo`.
    #[arg(skip)]
    pub geo: GeoSettings,
    /// Days after which a watch forgets.
    #[arg(skip)]
    pub retention: Option<u32>,
    /// The table "policy": how common relays are, and from which odds on to speak.
    #[arg(skip)]
    pub policy: PolicySettings,
    /// Imported lists of networks and tools: a folder that `farmlight intel import` wrote.
    #[arg(long, value_name = "DIR")]
    pub intel: Option<PathBuf>,
    /// Who is where: a CSV (time,address,identity) or logs of VPN gateways (Cisco, GlobalProtect, FortiGate, OpenVPN).
    #[arg(long, value_name = "FILE")]
    pub identities: Vec<PathBuf>,
    /// Where people work from: a CSV (identity,lat,lon,country,region,city). Goes before the address's own place.
    #[arg(long, value_name = "CSV")]
    pub homes: Option<PathBuf>,
    /// The year of log lines whose time stamps say none.
    #[arg(long, value_name = "YEAR")]
    pub log_year: Option<i16>,
    /// Write names of people and machines as keyed hashes; the file holds the key.
    #[arg(long, value_name = "KEYFILE")]
    pub hash_identities: Option<PathBuf>,
    /// Keep what is seen in this file, and judge endpoints on what earlier runs kept there.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// What the site's honest endpoints are like: a file that `farmlight baseline learn` wrote.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Where the capture point is, in degrees.
    #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
    pub site: Option<String>,
    /// The site's own networks: their addresses are never judged.
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub internal: Vec<String>,
    /// Networks that VPN users get inner addresses from: what passes there is joined to the tunnel outside
    /// [default: every private address that opens connections may be one].
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub vpn_pool: Vec<String>,
    /// The site's VPN gateways and remote-access servers: never judged either.
    #[arg(long, value_name = "CIDR,...", value_delimiter = ',')]
    pub gateway: Vec<String>,
    /// Which of the configuration's tables "sensors" took the captures.
    #[arg(long, value_name = "NAME")]
    pub sensor: Option<String>,
    /// Capture points.
    #[arg(skip)]
    pub sensors: Vec<Sensor>,
    /// Where the company's servers are, if there are several sites.
    #[arg(skip)]
    pub sites: Vec<CompanySite>,
    /// Worker threads; 1 runs all on one [default: 1].
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Exit with 3 if a finding is at least this severe.
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub fail_on: Option<Level>,
    /// Only packets that match (libpcap filter syntax).
    #[arg(long, value_name = "BPF")]
    pub filter: Option<String>,
    /// Endpoints that are clear or can't be judged, too.
    #[arg(long)]
    pub all: bool,
    /// Flows held at once, over all workers [default: 2000000].
    #[arg(long, value_name = "N")]
    pub max_flows: Option<usize>,
}

/// What standard output gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object with findings and summary.
    Json,
    /// A finding a line, then the summary.
    Jsonl,
}

/// A severity, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Any finding.
    Info,
    /// Low and above.
    Low,
    /// Medium and above.
    Medium,
    /// High and above.
    High,
    /// Critical only.
    Critical,
}

impl Level {
    /// The severity.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Info => Severity::Info,
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }
}

/// What the options of a run mean.
#[derive(Debug)]
pub struct RunConfig {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Directory for the files, if any.
    pub out: Option<PathBuf>,
    /// Format of standard output.
    pub format: Format,
    /// Databases: CSV, City, ASN.
    pub geo: (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>),
    /// Databases of kinds.
    pub geo_kind: Vec<PathBuf>,
    /// Files that say who is where, and the year of their time stamps.
    pub identities: (Vec<PathBuf>, Option<i16>),
    /// Declared homes.
    pub homes: Option<PathBuf>,
    /// What is known to be all right.
    pub allow: Vec<AllowEntry>,
    /// The key for pseudonyms.
    pub hash_identities: Option<PathBuf>,
    /// What earlier runs kept.
    pub state: Option<PathBuf>,
    /// What honest endpoints are like.
    pub baseline: Option<PathBuf>,
    /// The capture point's name.
    pub sensor: Option<String>,
    /// Folder of imported lists.
    pub intel: Option<PathBuf>,
    /// Capture point.
    pub site: Option<GeoPoint>,
    /// Addresses that are never judged, and those that VPN users have inside their tunnels.
    pub premises: Premises,
    /// Worker threads.
    pub workers: usize,
    /// Severity to fail on.
    pub fail_on: Option<Severity>,
    /// Filter.
    pub filter: Option<String>,
    /// How long a watch remembers.
    pub retention: Option<Duration>,
    /// Whether all endpoints are told.
    pub all: bool,
    /// Flows at once; 0 for the default.
    pub max_flows: usize,
    /// What the site decides for itself about verdicts.
    pub policy: Policy,
    /// The same, for the summary.
    pub effective: serde_json::Value,
}

/// Wrong usage or configuration: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The configuration file can't be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It isn't what it should be; the message points at the line.
    #[error("{0}")]
    Config(String),
    /// An option's value can't be understood.
    #[error("{option}: {reason}")]
    Value {
        /// The option.
        option: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl RunArgs {
    /// What was typed, with the configuration file behind it.
    ///
    /// # Errors
    /// The file can't be read, or a value can't be understood.
    pub fn resolve(self) -> Result<RunConfig, UsageError> {
        let typed_site = self.site.clone();
        let merged = self.merged()?;
        let value = |option, reason: String| UsageError::Value { option, reason };
        let sensor = merged.chosen_sensor()?.cloned().unwrap_or_default();
        let site = typed_site.or(sensor.site).or(merged.site.clone());
        let site = site.as_deref().map(str::parse::<GeoPoint>).transpose();
        let site = site.map_err(|e| value("--site", e.to_string()))?;
        let networks = |option, lists: [&[String]; 2]| {
            let all: Vec<&str> = lists.into_iter().flatten().map(|item| item.trim()).collect();
            all.join(",").parse::<Networks>().map_err(|error| value(option, error.to_string()))
        };
        let mut own = [&*merged.internal, &*merged.gateway, &*sensor.internal, &*sensor.gateway].concat();
        let mut sites = Vec::new();
        for company in &merged.sites {
            let at = company.location.parse::<GeoPoint>().map_err(|e| value("[[sites]] location", e.to_string()))?;
            sites.push((networks("[[sites]] networks", [&company.networks, &[]])?, at));
            own.extend_from_slice(&company.networks);
        }
        let premises = Premises::new(
            networks("--internal, --gateway", [&own, &[]])?,
            networks("--vpn-pool", [&merged.vpn_pool, &sensor.vpn_pool])?,
        )
        .with_sites(sites, site);
        let workers = merged.workers.unwrap_or(1);
        if !(1..=64).contains(&workers) {
            return Err(value("--workers", format!("{workers} is not between 1 and 64")));
        }
        let effective = serde_json::to_value(&merged).unwrap_or_default();
        Ok(RunConfig {
            file: merged.config,
            site,
            premises,
            workers,
            out: merged.out,
            format: merged.format.unwrap_or(Format::Table),
            geo: (merged.geo_csv, merged.geo_city, merged.geo_asn),
            geo_kind: merged.geo_kind,
            identities: (merged.identities, merged.log_year),
            homes: merged.homes,
            allow: merged.allow,
            hash_identities: merged.hash_identities,
            state: merged.state,
            baseline: merged.baseline,
            sensor: merged.sensor,
            intel: merged.intel,
            fail_on: merged.fail_on.map(Level::severity),
            filter: merged.filter,
            retention: merged.retention.map(|days| Duration::from_secs(u64::from(days) * 86_400)),
            all: merged.all,
            max_flows: merged.max_flows.unwrap_or(0),
            policy: merged.policy.policy()?,
            effective,
        })
    }

    /// What was typed, and the configuration file where nothing was.
    ///
    /// # Errors
    /// The file can't be read or understood.
    pub fn merged(self) -> Result<Self, UsageError> {
        match self.config.clone() {
            Some(path) => Ok(self.over(Self::load(&path)?)),
            None => Ok(self),
        }
    }

    /// The capture point that was named, or the only one there is.
    fn chosen_sensor(&self) -> Result<Option<&Sensor>, UsageError> {
        match (&self.sensor, self.sensors.as_slice()) {
            (Some(name), sensors) => match sensors.iter().find(|sensor| sensor.name == *name) {
                Some(sensor) => Ok(Some(sensor)),
                None => {
                    let names: Vec<&str> = sensors.iter().map(|sensor| sensor.name.as_str()).collect();
                    let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                    let reason = format!("no sensor is called '{name}'; the configuration has {known}");
                    Err(UsageError::Value { option: "--sensor", reason })
                }
            },
            (None, [only]) => Ok(Some(only)),
            (None, _) => Ok(None),
        }
    }

    /// Reads a configuration file.
    ///
    /// # Errors
    /// It can't be read or understood.
    pub fn load(path: &Path) -> Result<Self, UsageError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| UsageError::Unreadable { path: path.to_owned(), error })?;
        // Files that aren't there and entries that have expired are told by those who need them.
        let wrong: Vec<Problem> =
            problems(&text, jiff::civil::Date::MIN).into_iter().filter(|problem| problem.sort == Sort::Wrong).collect();
        if !wrong.is_empty() {
            return Err(UsageError::Config(rendered(path, &text, &wrong)));
        }
        toml::from_str(&text).map_err(|error| UsageError::Config(format!("{}: {error}", path.display())))
    }

    /// These options where they were given, those of `file` elsewhere.
    fn over(self, file: Self) -> Self {
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Self {
            config: self.config,
            out: self.out.or(file.out),
            format: self.format.or(file.format),
            geo_city: self.geo_city.or(file.geo_city),
            geo_asn: self.geo_asn.or(file.geo_asn),
            geo_csv: self.geo_csv.or(file.geo_csv),
            geo_kind: if self.geo_kind.is_empty() { file.geo_kind } else { self.geo_kind },
            allow: file.allow,
            geo: file.geo,
            retention: self.retention.or(file.retention),
            policy: file.policy,
            sensors: file.sensors,
            sites: file.sites,
            sensor: self.sensor.or(file.sensor),
            gateway: list(self.gateway, file.gateway),
            identities: if self.identities.is_empty() { file.identities } else { self.identities },
            homes: self.homes.or(file.homes),
            log_year: self.log_year.or(file.log_year),
            hash_identities: self.hash_identities.or(file.hash_identities),
            state: self.state.or(file.state),
            baseline: self.baseline.or(file.baseline),
            intel: self.intel.or(file.intel),
            site: self.site.or(file.site),
            internal: list(self.internal, file.internal),
            vpn_pool: list(self.vpn_pool, file.vpn_pool),
            workers: self.workers.or(file.workers),
            fail_on: self.fail_on.or(file.fail_on),
            filter: self.filter.or(file.filter),
            all: self.all || file.all,
            max_flows: self.max_flows.or(file.max_flows),
        }
    }
}

/// The whole command, for completions and the manual page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn what_is_typed_wins_over_the_file_and_unknown_keys_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("farmlight.toml");
        std::fs::write(&path, "site = \"39.0,-77.5\"\ninternal = [\"10.0.0.0/8\"]\nworkers = 4\n").unwrap();
        let args = RunArgs { config: Some(path.clone()), workers: Some(2), ..RunArgs::default() };
        let config = args.resolve().unwrap();
        assert_eq!(config.workers, 2);
        assert!(config.premises.is_own("10.1.2.3".parse().unwrap()));
        assert!(config.site.is_some());
        std::fs::write(&path, "sight = \"39.0,-77.5\"\n").unwrap();
        let args = RunArgs { config: Some(path), ..RunArgs::default() };
        let error = args.resolve().unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("sight"), "{error}");
    }
}
