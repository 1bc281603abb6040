//! The captures of the repository are what the simulator gives: each is made again from its line in
//! `captures/MANIFEST.tsv` and compared byte for byte.
//!
//! After a deliberate change of the simulator, `cargo test --test captures -- --ignored regenerate` writes them anew
//! and fills in the manifest's digest and frame columns; look at the difference before committing it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops by panicking")]

use farmlight::base::Timestamp;
use farmlight::simulate::{self, Options, Outcome};
use ring::digest::{SHA256, digest};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILES: [&str; 3] = ["capture.pcap", "truth.json", "geo.csv"];

/// One line of the manifest.
struct Entry {
    path: String,
    scenario: String,
    seed: u64,
    command: String,
    sha256: String,
    frames: usize,
    shows: String,
}

impl Entry {
    fn parse(line: &str) -> Self {
        let columns: Vec<&str> = line.split('\t').collect();
        let [path, scenario, seed, command, sha256, frames, shows] = columns[..] else { panic!("columns of {line:?}") };
        Self {
            path: path.into(),
            scenario: scenario.into(),
            seed: seed.parse().unwrap(),
            command: command.into(),
            sha256: sha256.into(),
            frames: frames.parse().unwrap(),
            shows: shows.into(),
        }
    }

    fn line(&self) -> String {
        let Self { path, scenario, seed, command, sha256, frames, shows } = self;
        format!("{path}\t{scenario}\t{seed}\t{command}\t{sha256}\t{frames}\t{shows}\n")
    }

    /// The options that the command line names.
    fn options(&self) -> Options {
        let mut options = Options::default();
        let mut words = self.command.split_whitespace();
        assert_eq!(
            [words.next(), words.next(), words.next()],
            [Some("farmlight"), Some("simulate"), Some(&*self.scenario)]
        );
        while let Some(flag) = words.next() {
            let value = words.next().unwrap_or_else(|| panic!("{flag} has no value"));
            let number = || Some(value.parse::<f64>().unwrap());
            match flag {
                "--seed" => options.seed = value.parse().unwrap(),
                "--home" => options.home = Some(value.into()),
                "--operator" => options.operator = Some(value.into()),
                "--last-mile-ms" => options.last_mile_ms = number(),
                "--last-mile-jitter-ms" => options.last_mile_jitter_ms = number(),
                "--hidden-rtt-ms" => options.hidden_rtt_ms = number(),
                "--hidden-jitter-ms" => options.hidden_jitter_ms = number(),
                "--loss" => options.loss = number(),
                "--sessions" => options.sessions = Some(value.parse().unwrap()),
                "--bystanders" => options.bystanders = Some(value.parse().unwrap()),
                "--duration-s" => options.duration = Some(Duration::from_secs(value.parse().unwrap())),
                "--start-unix" => options.start = Timestamp::from_parts(value.parse().unwrap(), 0),
                "-o" => assert!(Path::new(value).starts_with("captures"), "{value}"),
                _ => panic!("unknown option {flag}"),
            }
        }
        assert_eq!(options.seed, self.seed, "the seed column and the command line differ");
        options
    }

    fn outcome(&self) -> Outcome {
        simulate::run(&self.scenario, &self.options()).unwrap()
    }

    fn folder(&self) -> PathBuf {
        captures().parent().unwrap().join(&self.path).parent().unwrap().to_path_buf()
    }
}

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

fn manifest() -> (String, Vec<Entry>) {
    let text = fs::read_to_string(captures().join("MANIFEST.tsv")).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    (header.to_owned(), lines.lines().map(Entry::parse).collect())
}

fn sha256(path: &Path) -> String {
    digest(&SHA256, &fs::read(path).unwrap()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_capture_is_what_its_command_line_gives() {
    let (header, entries) = manifest();
    assert_eq!(header, "path\tscenario\tseed\tcommand\tsha256\tframes\tshows");
    for entry in &entries {
        let made = tempfile::tempdir().unwrap();
        let outcome = entry.outcome();
        simulate::write(&outcome, made.path()).unwrap();
        assert_eq!(outcome.frames.len(), entry.frames, "{}", entry.path);
        assert_eq!(sha256(&made.path().join("capture.pcap")), entry.sha256, "{}", entry.path);
        for file in FILES {
            let (kept, fresh) =
                (fs::read(entry.folder().join(file)).unwrap(), fs::read(made.path().join(file)).unwrap());
            assert!(kept == fresh, "{}/{file} differs from what the simulator gives now", entry.folder().display());
        }
    }
}

#[test]
fn every_capture_has_a_line_and_every_line_a_scenario() {
    let (_, entries) = manifest();
    for entry in &entries {
        let known = simulate::SCENARIOS.iter().any(|scenario| scenario.name == entry.scenario);
        assert!(known, "{} is no scenario", entry.scenario);
    }
    let mut folders: Vec<_> = fs::read_dir(captures())
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.join("capture.pcap").is_file())
        .collect();
    let mut listed: Vec<_> = entries.iter().map(Entry::folder).collect();
    folders.sort();
    listed.sort();
    assert_eq!(folders, listed);
    let total: u64 = entries.iter().map(|e| fs::metadata(e.folder().join("capture.pcap")).unwrap().len()).sum();
    assert!(total < 2_000_000, "the captures weigh {total} bytes; keep them under two megabytes together");
}

#[test]
#[ignore = "rewrites the captures"]
fn regenerate() {
    let (header, mut entries) = manifest();
    for entry in &mut entries {
        let outcome = entry.outcome();
        simulate::write(&outcome, &entry.folder()).unwrap();
        entry.frames = outcome.frames.len();
        entry.sha256 = sha256(&entry.folder().join("capture.pcap"));
    }
    let lines: String = entries.iter().map(Entry::line).collect();
    fs::write(captures().join("MANIFEST.tsv"), format!("{header}\n{lines}")).unwrap();
}
