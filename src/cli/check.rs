//! A configuration file held against its schema: everything that is wrong with it, each with its place.
//!
//! Reads: the text of a file, and whether what it names is there. Emits: [`Problem`]s in the order of the file.
//! Does not: stop at the first.

use super::schema::{KEYS, Key, Shape};
use crate::base::edits;
use crate::intel::{GeoPoint, Networks};
use crate::source::Filter;
use jiff::civil::Date;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes.
    pub at: Range<usize>,
    /// What.
    pub what: String,
    /// How bad it is.
    pub sort: Sort,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// No run can use this file.
    Wrong,
    /// A file that it names can't be read now.
    Unreadable,
    /// An entry of the allow-list covers nothing any more.
    Expired,
}

/// Everything wrong with the text of a file; entries that ended before `today` are.
#[must_use]
pub fn problems(text: &str, today: Date) -> Vec<Problem> {
    let (table, faults) = DeTable::parse_recoverable(text);
    let mut check = Check { today, problems: Vec::new() };
    for fault in faults {
        check.add(fault.span().unwrap_or(0..0), fault.message().to_owned(), Sort::Wrong);
    }
    // What is left of a text that is no TOML has no keys worth a look.
    if check.problems.is_empty() {
        check.table(table.get_ref(), KEYS, "");
        check.sensors(table.get_ref());
    }
    check.problems.sort_by_key(|problem| problem.at.start);
    check.problems
}

/// The problems as a person reads them: place, what, and the line with its place marked.
#[must_use]
pub fn rendered(path: &Path, text: &str, problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let (line, column, whole) = place(text, problem.at.start);
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let inside = text.get(problem.at.clone()).unwrap_or_default();
        let marked = inside.lines().next().map_or(1, |first| first.chars().count().max(1));
        let _ = write!(
            out,
            "{}: line {line}, column {column}: {}\n {margin} |\n {number} | {whole}\n {margin} | {:before$}{}\n",
            path.display(),
            problem.what,
            "",
            "^".repeat(marked),
            before = column - 1,
        );
    }
    out.truncate(out.trim_end().len());
    out
}

/// Line and column (counted from 1, in characters) of a byte, and the line.
fn place(text: &str, at: usize) -> (usize, usize, &str) {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    let begin = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.get(begin..).map_or(0, |start| start.chars().count()) + 1;
    let whole = text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    (line, column, whole)
}

struct Check {
    today: Date,
    problems: Vec<Problem>,
}

impl Check {
    fn add(&mut self, at: Range<usize>, what: String, sort: Sort) {
        self.problems.push(Problem { at, what, sort });
    }

    fn wrong(&mut self, at: Range<usize>, what: impl Into<String>) {
        self.add(at, what.into(), Sort::Wrong);
    }

    fn table(&mut self, table: &DeTable<'_>, keys: &[Key], of: &str) {
        for (name, value) in table.iter() {
            match keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => self.value(key, value),
                None => {
                    let near = keys.iter().min_by_key(|key| edits(key.name, name.get_ref()));
                    let near = near.filter(|key| edits(key.name, name.get_ref()) <= 1 + key.name.len() / 2);
                    let hint = near.map(|key| format!("; did you mean '{}'?", key.name)).unwrap_or_default();
                    self.wrong(name.span(), format!("unknown key '{}'{of}{hint}", name.get_ref()));
                }
            }
        }
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) {
        let at = value.span();
        match (key.shape, value.get_ref()) {
            (Shape::Table(keys), DeValue::Table(table)) => self.table(table, keys, &format!(" in [{}]", key.name)),
            (Shape::Tables(keys, needed), DeValue::Array(tables)) => {
                for table in tables.iter() {
                    self.entry(key, keys, needed, table);
                }
            }
            (Shape::Texts | Shape::Files | Shape::Networks, DeValue::Array(items)) => {
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::String(text) => self.text(key, text, item.span()),
                        other => self.wrong(item.span(), format!("'{}' holds texts, not {}", key.name, kind(other))),
                    }
                }
            }
            (Shape::Flag, DeValue::Boolean(_)) => {}
            (Shape::Whole(low, high), DeValue::Integer(number)) => {
                let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
                if !read.is_some_and(|number| (low..=high).contains(&number)) {
                    self.wrong(at, format!("'{}' is {number}, which is not between {low} and {high}", key.name));
                }
            }
            (Shape::Real(low, high), DeValue::Float(_) | DeValue::Integer(_)) => {
                let text = match value.get_ref() {
                    DeValue::Float(number) => number.as_str().to_owned(),
                    other => other.as_integer().map(|number| number.as_str().to_owned()).unwrap_or_default(),
                };
                if !text.parse::<f64>().is_ok_and(|number| (low..=high).contains(&number)) {
                    self.wrong(at, format!("'{}' is {text}, which is not between {low} and {high}", key.name));
                }
            }
            (
                Shape::Text
                | Shape::File
                | Shape::Folder
                | Shape::Output
                | Shape::Url
                | Shape::Point
                | Shape::Choice(_)
                | Shape::Day
                | Shape::Filter,
                DeValue::String(text),
            ) => self.text(key, text, at),
            (shape, other) => self.wrong(at, format!("'{}' is {}, not {}", key.name, words(shape), kind(other))),
        }
    }

    /// One of several tables.
    fn entry(&mut self, key: &Key, keys: &[Key], needed: &[&str], entry: &Spanned<DeValue<'_>>) {
        let DeValue::Table(table) = entry.get_ref() else {
            self.wrong(entry.span(), format!("'{}' holds tables, not {}", key.name, kind(entry.get_ref())));
            return;
        };
        self.table(table, keys, &format!(" in [[{}]]", key.name));
        for name in needed.iter().filter(|name| !table.contains_key(**name)) {
            self.wrong(entry.span(), format!("[[{}]] needs '{name}'", key.name));
        }
    }

    fn text(&mut self, key: &Key, text: &str, at: Range<usize>) {
        let readable = |path: &str, folder: bool| {
            let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
            match (folder, meta.is_dir()) {
                (true, false) => Err("not a folder".to_owned()),
                (false, true) => Err("a folder, not a file".to_owned()),
                (true, true) => std::fs::read_dir(path).map(drop).map_err(|e| e.to_string()),
                (false, false) => std::fs::File::open(path).map(drop).map_err(|e| e.to_string()),
            }
        };
        let fault = match key.shape {
            Shape::Point => text.parse::<GeoPoint>().err().map(|e| e.to_string()),
            Shape::Networks => {
                let none = text.trim().is_empty() || text.parse::<Networks>().is_err();
                none.then(|| format!("'{text}' is not a network such as 10.0.0.0/8 or 2001:db8::/32"))
            }
            Shape::Choice(choices) if !choices.contains(&text) => {
                Some(format!("'{}' is '{text}', not one of {}", key.name, choices.join(", ")))
            }
            Shape::Url if !text.starts_with("https://") => Some(format!("'{text}': only https:// is fetched")),
            Shape::Filter => Filter::new(text).err().map(|e| e.to_string()),
            Shape::Day => match text.parse::<Date>() {
                Err(_) => Some(format!("'{text}' is not a day such as 2027-01-31")),
                Ok(day) if day < self.today => {
                    self.add(at, format!("the entry expired on {day}: it covers nothing any more"), Sort::Expired);
                    return;
                }
                Ok(_) => None,
            },
            Shape::File | Shape::Files | Shape::Folder => {
                if let Err(why) = readable(text, matches!(key.shape, Shape::Folder)) {
                    self.add(at, format!("'{}': {text}: {why}", key.name), Sort::Unreadable);
                }
                return;
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.wrong(at, fault);
        }
    }

    /// Names of sensors are told apart, and the one that is chosen is there.
    fn sensors(&mut self, table: &DeTable<'_>) {
        let mut names: Vec<&str> = Vec::new();
        let sensors = table.get("sensors").and_then(|sensors| sensors.get_ref().as_array());
        for sensor in sensors.into_iter().flat_map(|sensors| sensors.iter()) {
            let name = sensor.get_ref().as_table().and_then(|sensor| sensor.get("name"));
            let Some((name, at)) = name.and_then(|name| Some((name.get_ref().as_str()?, name.span()))) else {
                continue;
            };
            if names.contains(&name) {
                self.wrong(at, format!("two sensors are called '{name}'"));
            }
            names.push(name);
        }
        if let Some(chosen) = table.get("sensor")
            && let Some(name) = chosen.get_ref().as_str()
            && !names.contains(&name)
        {
            self.wrong(chosen.span(), format!("no table [[sensors]] is called '{name}'"));
        }
    }
}

/// What a value is.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time without quotes",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What a key holds.
fn words(shape: Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::Output | Shape::Choice(_) | Shape::Filter => "a text",
        Shape::File => "the name of a file",
        Shape::Folder => "the name of a folder",
        Shape::Url => "an https address",
        Shape::Point => "a text \"LAT,LON\"",
        Shape::Day => "a day in quotes, such as \"2027-01-31\"",
        Shape::Texts | Shape::Files | Shape::Networks => "a list of texts",
        Shape::Flag => "true or false",
        Shape::Whole(..) => "a whole number",
        Shape::Real(..) => "a number",
        Shape::Table(_) => "a table",
        Shape::Tables(..) => "a list of tables",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn today() -> Date {
        "2026-11-24".parse().unwrap()
    }

    #[test]
    fn everything_wrong_is_told_with_its_place() {
        let text = r#"sight = "39,-77"
site = "91,0"
internal = ["10.0.0.0/8", "10.0.0.0/33", 7]
workers = 65
all = "yes"
fail-on = "dire"
geo-city = "/nowhere/city.mmdb"
intel = "/proc/self/status"
filter = "prot tcp"
sensor = "rome"

[policy]
prior = 0.9
relayed_from = 1.0

[geo]
city-url = "http://example.com/city.mmdb"

[[sensors]]
name = "paris"
site = 4

[[sensors]]
name = "paris"

[[allow]]
allow = "everything"
networks = "203.0.113.0/24"
reason = "r"
expires = "2026-11-23"
"#;
        let found = problems(text, today());
        let said: Vec<(usize, usize, &str)> = found
            .iter()
            .map(|problem| {
                let (line, column, _) = place(text, problem.at.start);
                (line, column, problem.what.as_str())
            })
            .collect();
        let expected = [
            (1, 1, "unknown key 'sight'; did you mean 'site'?"),
            (2, 8, "latitude 91"),
            (3, 27, "'10.0.0.0/33' is not a network"),
            (3, 42, "'internal' holds texts, not a whole number"),
            (4, 11, "'workers' is 65, which is not between 1 and 64"),
            (5, 7, "'all' is true or false, not a text"),
            (6, 11, "'fail-on' is 'dire', not one of info, low"),
            (7, 12, "/nowhere/city.mmdb: No such file"),
            (8, 9, "not a folder"),
            (9, 10, "prot tcp"),
            (10, 10, "no table [[sensors]] is called 'rome'"),
            (13, 9, "'prior' is 0.9, which is not between"),
            (14, 1, "unknown key 'relayed_from' in [policy]; did you mean 'relayed-from'?"),
            (17, 12, "only https:// is fetched"),
            (21, 8, "'site' is a text \"LAT,LON\", not a whole number"),
            (24, 8, "two sensors are called 'paris'"),
            (26, 1, "[[allow]] needs 'owner'"),
            (27, 9, "'allow' is 'everything', not one of tool"),
            (28, 12, "'networks' is a list of texts, not a text"),
            (30, 11, "the entry expired on 2026-11-23"),
        ];
        assert_eq!(said.len(), expected.len(), "{said:#?}");
        for ((line, column, what), (at_line, at_column, part)) in said.iter().zip(expected) {
            assert_eq!((*line, *column), (at_line, at_column), "{what}");
            assert!(what.contains(part), "{what}: no {part}");
        }
    }

    #[test]
    fn the_line_is_shown_with_its_place_marked() {
        let text = "# ü\nworkers = \"many\"\n";
        let said = rendered(Path::new("f.toml"), text, &problems(text, today()));
        let expected = "f.toml: line 2, column 11: 'workers' is a whole number, not a text\n   |\n 2 | workers = \"many\"\n   |           ^^^^^^";
        assert_eq!(said, expected);
    }

    #[test]
    fn several_faults_of_syntax_are_told() {
        let text = "site = \nworkers == 2\nall = true\n";
        let found = problems(text, today());
        assert!(found.len() >= 2 && found.iter().all(|problem| problem.sort == Sort::Wrong), "{found:?}");
    }

    proptest! {
        #[test]
        fn no_text_stops_the_check(text in "[a-z\\[\\]=\"'#.,0-9\\-\n é]{0,80}") {
            let found = problems(&text, today());
            prop_assert!(found.is_empty() == rendered(Path::new("f"), &text, &found).is_empty());
        }
    }
}
