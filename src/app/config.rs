//! `farmlight config`: what a configuration file means, and everything that is wrong with it.
//!
//! Reads: a file. Emits: the effective configuration as TOML, or problems with their places. Does not: run anything.

use super::{Outcome, Wrong};
use crate::cli::{Config, ConfigCheck, KEYS, Key, Problem, RunArgs, Shape, UsageError, problems, rendered};
use jiff::civil::Date;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Variables that change what a run does or says, and are no keys.
const VARIABLES: &[(&str, &str)] = &[
    ("FARMLIGHT_LOG", "what goes to standard error, by module"),
    ("NO_COLOR", "no colours"),
    ("CLICOLOR_FORCE", "colours also where no terminal is"),
    ("COLUMNS", "width of explain's page"),
];
/// Columns of a comment.
const WIDTH: usize = 80;

pub(super) fn run(command: Config) -> anyhow::Result<Outcome> {
    match command {
        Config::Check(args) => check(&args),
        Config::Print(args) => {
            let merged = args.merged()?;
            // A value that no run can use is not printed as if one could.
            merged.clone().resolve()?;
            io::stdout().write_all(print(&merged)?.as_bytes())?;
            Ok(Outcome::Done)
        }
    }
}

fn check(args: &ConfigCheck) -> anyhow::Result<Outcome> {
    let path = &args.file;
    let text = std::fs::read_to_string(path).map_err(|error| UsageError::Unreadable { path: path.clone(), error })?;
    let found: Vec<Problem> = problems(&text, today());
    if !found.is_empty() {
        return Err(Wrong(rendered(path, &text, &found)).into());
    }
    // What the schema has no words for.
    RunArgs { config: Some(path.clone()), ..RunArgs::default() }.resolve()?;
    writeln!(io::stdout(), "{}: nothing is wrong", path.display())?;
    Ok(Outcome::Done)
}

/// The day, in UTC: an allow-list ends on days, not at moments of a capture.
fn today() -> Date {
    #[expect(clippy::disallowed_methods, reason = "checks a file against the calendar, measures nothing")]
    let now = std::time::SystemTime::now();
    let now = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    now.to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The configuration as a file that gives the same again. What isn't set stands there as a comment, with its default
/// or an example.
fn print(args: &RunArgs) -> anyhow::Result<String> {
    let Value::Object(values) = serde_json::to_value(args)? else { return Ok(String::new()) };
    let mut out =
        String::from("# The configuration in effect. A line behind # is a default, or an example where it says so.\n");
    for key in KEYS.iter().filter(|key| !matches!(key.shape, Shape::Table(_) | Shape::Tables(..))) {
        line(&mut out, key, values.get(key.name));
    }
    for key in KEYS {
        let empty = Map::new();
        match (key.shape, values.get(key.name)) {
            (Shape::Table(keys), value) => {
                heading(&mut out, key.about);
                let _ = writeln!(out, "[{}]", key.name);
                let table = value.and_then(Value::as_object).unwrap_or(&empty);
                keys.iter().for_each(|key| line(&mut out, key, table.get(key.name)));
            }
            (Shape::Tables(keys, _), Some(Value::Array(tables))) if !tables.is_empty() => {
                for table in tables.iter().filter_map(Value::as_object) {
                    heading(&mut out, key.about);
                    let _ = writeln!(out, "[[{}]]", key.name);
                    for key in keys.iter().filter(|key| table.get(key.name).is_some_and(|value| !unset(value))) {
                        line(&mut out, key, table.get(key.name));
                    }
                }
            }
            (Shape::Tables(keys, _), _) => {
                heading(&mut out, &format!("{} For example:", key.about));
                let _ = writeln!(out, "# [[{}]]", key.name);
                keys.iter().filter(|key| key.example != "[]").for_each(|key| {
                    let _ = writeln!(out, "# {} = {}", key.name, key.example);
                });
            }
            _ => {}
        }
    }
    variables(&mut out);
    Ok(out)
}

fn heading(out: &mut String, about: &str) {
    out.push('\n');
    let comment = textwrap::Options::new(WIDTH).initial_indent("# ").subsequent_indent("# ");
    let _ = writeln!(out, "{}", textwrap::fill(about, comment));
}

fn line(out: &mut String, key: &Key, value: Option<&Value>) {
    let about = if key.default { key.about.to_owned() } else { format!("{} For example:", key.about) };
    match value {
        Some(value) if !unset(value) => {
            heading(out, key.about);
            let _ = writeln!(out, "{} = {}", key.name, toml_value(value));
        }
        _ => {
            heading(out, &about);
            let _ = writeln!(out, "# {} = {}", key.name, key.example);
        }
    }
}

/// Whether nobody set it: absent, an empty list, a flag that is down.
fn unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn toml_value(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

fn variables(out: &mut String) {
    let set: Vec<String> = VARIABLES
        .iter()
        .filter_map(|(name, does)| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
            Some(format!("{name}={value:?} ({does})"))
        })
        .collect();
    if !set.is_empty() {
        heading(out, &format!("From the environment: {}.", set.join("; ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{ALLOW, GEO, POLICY, SENSOR, SITE};
    use clap::CommandFactory as _;
    use std::collections::BTreeSet;

    fn names(keys: &[Key]) -> BTreeSet<String> {
        keys.iter().map(|key| key.name.to_owned()).collect()
    }

    fn fields(value: impl serde::Serialize) -> BTreeSet<String> {
        let Value::Object(fields) = serde_json::to_value(value).unwrap() else { panic!("no table") };
        fields.into_iter().map(|(name, _)| name).collect()
    }

    /// A field that is added to the options is a key of the file; the schema must know it.
    #[test]
    fn the_schema_has_the_fields_that_are_read() {
        let args = RunArgs::default();
        assert_eq!(names(GEO), fields(&args.geo));
        assert_eq!(names(POLICY), fields(&args.policy));
        assert_eq!(names(SENSOR), fields(crate::cli::Sensor::default()));
        assert_eq!(names(SITE), fields(crate::cli::CompanySite::default()));
        let entry = "allow = 'exit'\nreason = 'r'\nowner = 'o'\nexpires = '2027-01-31'";
        assert_eq!(names(ALLOW), fields(toml::from_str::<crate::intel::AllowEntry>(entry).unwrap()));
        assert_eq!(names(KEYS), fields(args));
    }

    #[test]
    fn every_option_of_a_run_is_a_key() {
        let command = crate::cli::command();
        let analyze = command.find_subcommand("analyze").unwrap();
        for option in analyze.get_arguments().filter_map(|option| option.get_long()) {
            let general = ["config", "verbose", "quiet", "help"].contains(&option);
            assert!(general || names(KEYS).contains(option), "--{option} can't be set in a file");
        }
        assert!(crate::cli::Cli::command().find_subcommand("config").is_some());
    }

    /// Every key, of every table, stands in the page with its default; the page has no others.
    #[test]
    fn the_page_tells_every_key() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md")).unwrap();
        let row = |key: &Key| {
            let default = match (key.default, key.example) {
                (true, "") => String::new(),
                (true, example) => format!("`{example}`"),
                (false, _) => "-".to_owned(),
            };
            format!("| `{}` | {default} | {} |", key.name, key.about)
        };
        let mut rows = BTreeSet::new();
        for key in [KEYS, POLICY, GEO, SENSOR, SITE, ALLOW].into_iter().flatten() {
            assert!(page.contains(&row(key)), "docs/configuration.md has no line\n{}", row(key));
            rows.insert(row(key));
        }
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            assert!(rows.contains(line), "no key: {line}");
        }
    }

    #[test]
    fn what_is_printed_gives_the_same_again() {
        let text = "site = \"39.0,-77.5\"\ninternal = [\"10.0.0.0/8\"]\nworkers = 4\nall = true\nfail-on = \"low\"\n\
                    max-flows = 1000\n[policy]\nprior = 0.001\n[[sensors]]\nname = \"a\"\nsite = \"1,2\"\n\
                    [[sites]]\nnetworks = [\"203.0.113.0/24\"]\nlocation = \"3,4\"\n\
                    [[allow]]\nallow = \"exit\"\nnetworks = [\"203.0.113.0/24\"]\nreason = \"r \\\"x\\\"\"\nowner = \"o\"\n\
                    expires = \"2027-01-31\"\n";
        for text in [text, ""] {
            let args: RunArgs = toml::from_str(text).unwrap();
            let printed = print(&args).unwrap();
            assert_eq!(problems(&printed, "2026-11-24".parse().unwrap()), [], "{printed}");
            let again: RunArgs = toml::from_str(&printed).unwrap();
            assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&args).unwrap(), "{printed}");
            assert!(printed.lines().all(|line| line.len() <= 100), "{printed}");
            // Each default that stands there as a comment can be taken as it stands.
            let general = printed.split("\n[").next().unwrap();
            let default =
                |line: &&str| KEYS.iter().any(|key| key.default && line.starts_with(&format!("{} =", key.name)));
            let lines: Vec<&str> =
                general.lines().map(|line| line.strip_prefix("# ").filter(default).unwrap_or(line)).collect();
            let taken: RunArgs = toml::from_str(&lines.join("\n")).unwrap();
            assert!(taken.resolve().is_ok());
        }
    }
}
