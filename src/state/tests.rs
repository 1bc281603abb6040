use super::*;
use crate::base::{Layer, RttSample, Side};

fn at(day: i64) -> Timestamp {
    Timestamp::from_parts(day * 86_400 + 3_600, 0)
}

/// An account whose last packet is of this day, with one round trip.
fn account(day: i64, ms: u64) -> Account {
    let mut account =
        Account { first_seen: Some(at(day)), last_seen: Some(at(day)), sessions: 1, ..Account::default() };
    let rtt = Duration::from_millis(ms);
    let (layer, side) = (Layer::TcpHandshake, Side::Client);
    account.ladder.add(&RttSample { at: at(day), side, rtt, layer, method: "syn-ack", ambiguous: false });
    account
}

fn origin(inputs: &[u64]) -> Origin {
    Origin { name: format!("{inputs:?}"), inputs: inputs.to_vec() }
}

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));

fn keep(store: &Store, inputs: &[u64], day: i64, ms: u64) -> i64 {
    store
        .write(|batch| {
            let source = batch.source(&origin(inputs))?;
            batch.account(source, HOME, &account(day, ms)).map(|()| source)
        })
        .unwrap()
}

fn told(store: &Store, days: (i64, i64), without: &[i64]) -> Option<(usize, u64, Duration)> {
    let past = store.past(HOME, days, without).unwrap()?;
    let shortest = past.account.ladder.lowest().unwrap().1.samples.min().unwrap();
    Some((past.rows, past.account.sessions, shortest))
}

#[test]
fn the_past_is_what_others_saw_on_those_days() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    assert_eq!(told(&store, (0, 1_000), &[]), None);
    let ms = Duration::from_millis;
    let first = keep(&store, &[1], 100, 30);
    keep(&store, &[2], 110, 20);
    keep(&store, &[3], 200, 10);
    assert_eq!(told(&store, (90, 120), &[]), Some((2, 2, ms(20))));
    assert_eq!(told(&store, (90, 109), &[]), Some((1, 1, ms(30))));
    assert_eq!(told(&store, (90, 109), &[first]), None);
    assert_eq!(keep(&store, &[1], 101, 25), first, "again, in the place of what it had said");
    assert_eq!(told(&store, (90, 109), &[]), Some((1, 1, ms(25))));
}

#[test]
fn who_shares_inputs_is_found_and_dropped_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    let pair = keep(&store, &[1, 2], 100, 30);
    let alone = keep(&store, &[3], 100, 20);
    let overlap = |inputs: &[u64]| store.overlap(&origin(inputs)).unwrap();
    assert_eq!(overlap(&[4]), Overlap::default());
    assert_eq!(overlap(&[1, 2, 3, u64::MAX]), Overlap { shared: vec![pair, alone], wider: Vec::new() });
    assert_eq!(overlap(&[2]), Overlap { shared: vec![pair], wider: vec!["[1, 2]".to_owned()] });
    store.write(|batch| batch.drop_sources(&[pair])).unwrap();
    assert_eq!(overlap(&[1, 2]), Overlap::default());
    assert_eq!(told(&store, (0, 1_000), &[]).map(|(rows, ..)| rows), Some(1));
}

#[test]
fn what_fails_is_written_in_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    let failed = store.write(|batch| {
        let source = batch.source(&origin(&[1]))?;
        batch.account(source, HOME, &account(100, 30))?;
        Err::<(), _>(StateError::Row("a test".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(told(&store, (0, 1_000), &[]), None);
}

#[test]
fn old_sources_go_and_so_do_a_long_watchs_old_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    keep(&store, &[1], 100, 30);
    let watch = keep(&store, &[2], 100, 30);
    let other = IpAddr::from([203, 0, 113, 1]);
    store.write(|batch| batch.account(watch, other, &account(140, 30))).unwrap();
    lock(&store.writer).execute("UPDATE source SET written = written - 40 * 86400 WHERE id <> ?1", [watch]).unwrap();
    store.write(|batch| batch.forget(watch, 35)).unwrap();
    assert_eq!(told(&store, (0, 1_000), &[]), None);
    assert_eq!(store.past(other, (0, 1_000), &[]).unwrap().unwrap().rows, 1);
}

/// A store as the first form left it, with an account in it.
#[test]
fn a_store_of_the_first_form_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let old = Connection::open(&path).unwrap();
    old.pragma_update(None, "application_id", schema::APPLICATION).unwrap();
    old.execute_batch(schema::STEPS[0]).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("INSERT INTO source VALUES (7, 'of old', unixepoch())", []).unwrap();
    let row = params![row::address(HOME), 7, 100, row::FORMAT, row::write(&account(100, 30)).unwrap()];
    old.execute("INSERT INTO account VALUES (?1, ?2, ?3, ?4, ?5)", row).unwrap();
    drop(old);
    let store = Store::open(&path).unwrap();
    assert_eq!(told(&store, (0, 1_000), &[]), Some((1, 1, Duration::from_millis(30))));
    let form: i64 = lock(&store.writer).query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(form, schema::version());
    for table in ["stay", "day"] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(lock(&store.writer).query_row(&count, [], |row| row.get(0)), Ok(0), "{table}");
    }
}

#[test]
fn days_are_kept_as_they_were_judged_and_go_with_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    let (first, second) = (keep(&store, &[1], 100, 30), keep(&store, &[2], 101, 30));
    let day = |day: i64, excess: f64, p: Option<f64>| DayJudged {
        measured: DayMeasured { day, excess: Some((5, excess)), gap: None },
        excess_p: p,
        gap_p: None,
    };
    let put = |source: i64, days: &[DayJudged]| store.write(|batch| batch.days(source, HOME, days)).unwrap();
    put(first, &[day(99, 80.0, Some(0.01)), day(100, 90.0, None)]);
    put(second, &[day(101, 85.0, Some(0.02))]);
    put(second, &[day(101, 84.0, Some(0.03))]);
    let kept = |days: (i64, i64), without: &[i64]| {
        store.past(HOME, days, without).unwrap().map(|past| past.days).unwrap_or_default()
    };
    let all = [day(99, 80.0, Some(0.01)), day(100, 90.0, None), day(101, 84.0, Some(0.03))];
    assert_eq!(kept((0, 1_000), &[]), all);
    assert_eq!(kept((100, 1_000), &[]), all[1..]);
    assert_eq!(kept((0, 1_000), &[first]), all[2..]);
    store.write(|batch| batch.drop_sources(&[first])).unwrap();
    assert_eq!(kept((0, 1_000), &[]), all[2..]);
}

#[test]
fn a_row_is_read_as_it_was_written_and_a_damaged_one_is_not() {
    let body = row::write(&account(100, 30)).unwrap();
    let read = row::read(row::FORMAT, &body).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(account(100, 30)).unwrap());
    assert!(row::read(row::FORMAT + 1, &body).is_err());
    for place in 0..body.len() {
        let mut damaged = body.clone();
        damaged[place] ^= 0x10;
        let same =
            |read: &Account| serde_json::to_value(read).unwrap() == serde_json::to_value(account(100, 30)).unwrap();
        assert!(
            row::read(row::FORMAT, &damaged).is_ok_and(|read| same(&read)) || row::read(row::FORMAT, &damaged).is_err()
        );
    }
}
