//! `farmlight geo`: the databases of places, their age and whose they are, and newer ones.
//!
//! `update` is the one thing in farmlight that asks the network, and only when somebody types it. What it downloads goes
//! to a temporary file beside the database, is opened and checked as it would be for use, and takes the old one's place
//! in one step; a file that is broken, of another type, older or empty is refused, and the old one stays.

use super::{Outcome, Wrong};
use crate::base::Timestamp;
use crate::cli::{Geo, GeoSettings, GeoStatus, GeoUpdate};
use crate::intel::{DatabaseFacts, inspect};
use crate::sink::rfc3339;
use anyhow::{Context as _, bail};
use data_encoding::BASE64;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// No database of places is larger.
const MAX_BYTES: u64 = 2 << 30;
/// Beyond this age, in days, a database's places are told as old: networks move.
const OLD_DAYS: u64 = 60;

pub(super) fn run(args: &Geo) -> anyhow::Result<Outcome> {
    match args {
        Geo::Status(status) => tell_status(status),
        Geo::Update(update) => run_update(update),
    }
}

fn tell_status(args: &GeoStatus) -> anyhow::Result<Outcome> {
    let settings = GeoSettings::load(args.config.as_deref())?;
    let mut paths: Vec<PathBuf> = args.databases.clone();
    if paths.is_empty()
        && let Some(dir) = &settings.dir
    {
        paths = ["city.mmdb", "asn.mmdb", "kind.mmdb"]
            .map(|name| dir.join(name))
            .into_iter()
            .filter(|p| p.is_file())
            .collect();
    }
    if paths.is_empty() {
        bail!(Wrong("geo status needs a database, or a configuration whose [geo] names a dir with some".to_owned()));
    }
    let mut out = io::stdout().lock();
    let mut unsound = false;
    for path in paths {
        match inspect(&path) {
            Ok(facts) => {
                let age = days_since(facts.built);
                let old = if age > OLD_DAYS { ", old: addresses may have moved" } else { "" };
                writeln!(out, "{}: {}, built {}, {age} days ago{old}", path.display(), facts.kind, date(facts.built))?;
                if let Some(line) = facts.attribution {
                    writeln!(out, "  {line}")?;
                }
            }
            Err(error) => {
                unsound = true;
                writeln!(out, "{error}")?;
            }
        }
    }
    Ok(if unsound { Outcome::Incomplete } else { Outcome::Done })
}

fn run_update(args: &GeoUpdate) -> anyhow::Result<Outcome> {
    let settings = GeoSettings::load(args.config.as_deref())?;
    let dir = args.into.clone().or(settings.dir);
    let Some(dir) = dir else { bail!(Wrong("geo update needs --into DIR, or dir under [geo] of --config".to_owned())) };
    let client = Client {
        ca: args.ca.clone().or(settings.ca),
        timeout: Duration::from_secs(args.timeout_s.unwrap_or(300)),
        login: args.login_env.clone().or(settings.login_env),
    };
    let wanted = [
        ("city.mmdb", "City", args.city_url.clone().or(settings.city_url)),
        ("asn.mmdb", "ASN", args.asn_url.clone().or(settings.asn_url)),
        ("kind.mmdb", "", args.kind_url.clone().or(settings.kind_url)),
    ];
    if wanted.iter().all(|(.., url)| url.is_none()) {
        bail!(Wrong(
            "geo update needs --city-url, --asn-url or --kind-url, or the same under [geo] of --config".to_owned()
        ));
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("can't make {}", dir.display()))?;
    for (name, kind, url) in wanted {
        let Some(url) = url else { continue };
        let path = dir.join(name);
        let facts = client.update(&url, &path, kind).with_context(|| format!("{} stays as it was", path.display()))?;
        writeln!(io::stdout(), "{}: {}, built {}", path.display(), facts.kind, date(facts.built))?;
        if let Some(line) = facts.attribution {
            writeln!(io::stdout(), "  {line}")?;
        }
    }
    Ok(Outcome::Done)
}

/// How to ask.
struct Client {
    ca: Option<PathBuf>,
    timeout: Duration,
    /// The variable that holds `ACCOUNT:KEY`.
    login: Option<String>,
}

impl Client {
    /// Brings `path` up to date from `url`.
    fn update(&self, url: &str, path: &Path, kind: &str) -> anyhow::Result<DatabaseFacts> {
        let dir = path.parent().unwrap_or(Path::new("."));
        let download = tempfile::NamedTempFile::new_in(dir)?;
        self.download(url, download.as_file())?;
        let database = unpacked(download, dir)?;
        let facts = inspect(database.path()).map_err(|error| {
            // The temporary file's name says nothing to a person.
            anyhow::anyhow!("{url}: {}", error.to_string().replace(&database.path().display().to_string(), "what came"))
        })?;
        check(&facts, path, kind)?;
        std::fs::set_permissions(database.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        database.as_file().sync_all()?;
        database.persist(path)?;
        Ok(facts)
    }

    fn download(&self, url: &str, mut to: &File) -> anyhow::Result<()> {
        if !url.starts_with("https://") {
            bail!(Wrong(format!("{url}: only https:// is fetched")));
        }
        let mut request = self.agent()?.get(url);
        if let Some(variable) = &self.login {
            let login = std::env::var(variable).map_err(|_| Wrong(format!("the variable {variable} is not set")))?;
            request = request.header("Authorization", format!("Basic {}", BASE64.encode(login.as_bytes())));
        }
        let response = request.call().with_context(|| url.to_owned())?;
        let promised = response.body().content_length();
        let mut body = response.into_body().into_with_config().limit(MAX_BYTES).reader();
        let read = io::copy(&mut body, &mut to).with_context(|| format!("{url}: broke off"))?;
        if promised.is_some_and(|promised| promised != read) {
            bail!("{url}: broke off after {read} of {} bytes", promised.unwrap_or(0));
        }
        Ok(())
    }

    fn agent(&self) -> anyhow::Result<ureq::Agent> {
        let mut tls = ureq::tls::TlsConfig::builder();
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|e| Wrong(format!("{}: {e}", path.display())))?;
            let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
                    _ => None,
                })
                .collect();
            if certificates.is_empty() {
                bail!(Wrong(format!("{} holds no certificate", path.display())));
            }
            tls = tls.root_certs(ureq::tls::RootCerts::new_with_certs(&certificates));
        }
        let config = ureq::Agent::config_builder()
            .https_only(true)
            .timeout_global(Some(self.timeout))
            .tls_config(tls.build())
            .user_agent(concat!("farmlight/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(config.new_agent())
    }
}

/// Whether what came may take the old one's place.
fn check(facts: &DatabaseFacts, path: &Path, kind: &str) -> anyhow::Result<()> {
    let bought =
        matches!(kind, "City") && facts.kind.contains("Enterprise") || kind == "ASN" && facts.kind.contains("ISP");
    if !(facts.kind.contains(kind) || bought) {
        bail!("what came is a database of type '{}', not {kind}", facts.kind);
    }
    if !facts.knows_the_internet {
        bail!("what came knows none of the addresses that every such database knows");
    }
    if let Ok(old) = inspect(path)
        && old.built > facts.built
    {
        bail!("what came was built {}, before the one that is there ({})", date(facts.built), date(old.built));
    }
    Ok(())
}

/// The database in what was downloaded: itself, compressed with gzip, or the `.mmdb` of a tar archive so compressed.
fn unpacked(download: tempfile::NamedTempFile, dir: &Path) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut magic = [0u8; 2];
    if download.reopen()?.read(&mut magic)? < 2 || magic != [0x1f, 0x8b] {
        return Ok(download);
    }
    let mut plain = tempfile::NamedTempFile::new_in(dir)?;
    let mut gzip = GzDecoder::new(BufReader::new(download.reopen()?)).take(MAX_BYTES);
    io::copy(&mut gzip, &mut plain).context("what came is no sound gzip file")?;
    let mut tar = tar::Archive::new(BufReader::new(plain.reopen()?));
    if let Ok(entries) = tar.entries() {
        for entry in entries {
            let Ok(mut entry) = entry else { break };
            let is_database = entry.path().is_ok_and(|path| path.extension().is_some_and(|ext| ext == "mmdb"));
            if is_database {
                let mut database = tempfile::NamedTempFile::new_in(dir)?;
                io::copy(&mut entry, &mut database).context("what came is no sound tar archive")?;
                return Ok(database);
            }
        }
    }
    Ok(plain)
}

fn days_since(epoch: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the age of a file is told to a person who asks for it now")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    now.saturating_sub(epoch) / 86_400
}

fn date(epoch: u64) -> String {
    let at = Timestamp::from_parts(i64::try_from(epoch).unwrap_or(0), 0);
    rfc3339(at).chars().take(10).collect()
}
