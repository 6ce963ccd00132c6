//! Windows on real clocks, and every gate on its own.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::*;

fn windows(texts: &[&str], zone: &str) -> Windows {
    let list = texts.iter().map(|text| text.parse().unwrap()).collect();
    Windows::new(list, TimeZone::get(zone).unwrap())
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[track_caller]
fn open(windows: &Windows, at: &str) {
    assert_eq!(windows.at(time(at), Duration::ZERO), Opening::Open, "{at}");
}

#[track_caller]
fn closed(windows: &Windows, at: &str, opens: &str) {
    let opens = time(opens);
    assert_eq!(windows.at(time(at), Duration::ZERO), Opening::Closed { opens }, "{at}");
}

#[test]
fn days_and_times_are_those_of_the_place() {
    // 2026-11-27 is a Friday; Berlin is one hour ahead in winter.
    let nights = windows(&["Fri 22:00-02:00"], "Europe/Berlin");
    closed(&nights, "2026-11-27T20:59:59Z", "2026-11-27T21:00:00Z");
    open(&nights, "2026-11-27T21:00:00Z");
    open(&nights, "2026-11-28T00:59:59Z");
    closed(&nights, "2026-11-28T01:00:00Z", "2026-12-04T21:00:00Z");
    closed(&nights, "2026-11-26T22:00:00Z", "2026-11-27T21:00:00Z");
    let always = windows(&["00:00-24:00"], "UTC");
    open(&always, "2026-11-27T23:59:59Z");
    open(&always, "2026-11-28T00:00:00Z");
}

#[test]
fn the_nearest_of_several_windows_opens_next() {
    let both = windows(&["Mon..Fri 03:00-04:00", "Sat,Sun 12:00-13:00"], "UTC");
    closed(&both, "2026-11-27T05:00:00Z", "2026-11-28T12:00:00Z");
    closed(&both, "2026-11-29T14:00:00Z", "2026-11-30T03:00:00Z");
}

#[test]
fn window_in_the_hour_that_the_clocks_skip_opens_after_it() {
    // Berlin, 2026-03-29: 02:00 becomes 03:00, at 01:00 UTC.
    let nights = windows(&["02:15-02:45"], "Europe/Berlin");
    closed(&nights, "2026-03-29T00:30:00Z", "2026-03-29T01:15:00Z");
    open(&nights, "2026-03-29T01:15:00Z");
    open(&nights, "2026-03-29T01:44:00Z");
    closed(&nights, "2026-03-29T01:45:00Z", "2026-03-30T00:15:00Z");
}

#[test]
fn window_in_the_hour_that_comes_twice_is_open_through_both() {
    // Berlin, 2026-10-25: 03:00 becomes 02:00, at 01:00 UTC.
    let nights = windows(&["02:15-02:45"], "Europe/Berlin");
    closed(&nights, "2026-10-25T00:14:00Z", "2026-10-25T00:15:00Z");
    open(&nights, "2026-10-25T00:15:00Z");
    open(&nights, "2026-10-25T01:44:00Z");
    closed(&nights, "2026-10-25T01:45:00Z", "2026-10-26T01:15:00Z");
}

#[test]
fn hosts_are_spread_over_the_beginning_of_a_window_and_each_keeps_its_place() {
    let mut gates = Gates::none();
    gates.windows = windows(&["02:00-04:00"], "UTC");
    gates.spread = Duration::from_hours(1);
    let wait = |place, at: &str| at_result(&gates, at, place);
    assert_eq!(wait(0, "2026-01-01T02:00:00Z"), None);
    assert_eq!(wait(u32::MAX / 2, "2026-01-01T02:00:00Z").unwrap().as_secs(), 1799);
    assert_eq!(wait(u32::MAX / 2, "2026-01-01T02:30:00Z"), None);
    assert!(wait(u32::MAX, "2026-01-01T02:59:00Z").is_some());
    assert_eq!(wait(u32::MAX, "2026-01-01T03:00:00Z"), None);
}

fn at_result(gates: &Gates, now: &str, place: u32) -> Option<Duration> {
    at(gates, time(now), place).err().and_then(|closed| closed.wait)
}

#[test]
fn closed_window_says_when_it_opens_on_the_clocks_of_the_place() {
    let mut gates = Gates::none();
    gates.windows = windows(&["Sat 02:00-04:00"], "America/New_York");
    let closed = at(&gates, time("2026-11-27T12:00:00Z"), 0).unwrap_err();
    assert_eq!(closed.problem.code, "window");
    assert!(
        closed.problem.text.ends_with("opens Sat 2026-11-28 02:00 EST"),
        "{}",
        closed.problem
    );
}

#[test]
fn text_of_a_window_goes_there_and_back_and_nonsense_is_refused() {
    for text in ["Sat,Sun 02:00-05:00", "Mon,Tue,Wed,Thu,Fri 23:00-01:00", "03:00-04:00"] {
        assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
    }
    assert_eq!(
        "fri..mon 10:00-24:00".parse::<Window>().unwrap().to_string(),
        "Mon,Fri,Sat,Sun 10:00-24:00"
    );
    for text in [
        "",
        "Mon",
        "02:00",
        "2:00-3:00",
        "02:00-02:00",
        "24:00-01:00",
        "02:60-03:00",
        "25:00-26:00",
        "Mo 02:00-03:00",
        "Mon- 02:00-03:00",
        "+2:00-03:00",
    ] {
        assert!(text.parse::<Window>().is_err(), "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// What a closed window promises is kept: it opens then and not before, whatever the clocks do.
    #[test]
    fn window_opens_exactly_when_it_says(
        second in 1_700_000_000_i64..1_900_000_000,
        start in 0_u16..1440,
        length in 1_u16..1439,
        day in 0_usize..7,
        delay in 0_u64..3600,
        zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    ) {
        let end = (start + length) % 1440;
        let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let text = format!("{} {:02}:{:02}-{:02}:{:02}", days[day], start / 60, start % 60, end / 60, end % 60);
        let windows = windows(&[&text], zone);
        let delay = Duration::from_secs(delay);
        let now = Timestamp::from_second(second).unwrap();
        if let Opening::Closed { opens } = windows.at(now, delay) {
            proptest::prop_assert!(opens > now);
            proptest::prop_assert_eq!(windows.at(opens, delay), Opening::Open);
            let before = Timestamp::from_second(opens.as_second() - 1).unwrap();
            if before > now {
                proptest::prop_assert_eq!(windows.at(before, delay), Opening::Closed { opens });
            }
        }
    }
}

fn code(gates: &Gates, observed: &Observed) -> Option<String> {
    on(gates, observed, time("2026-01-01T00:00:00Z"))
        .err()
        .map(|closed| closed.problem.code)
}

#[test]
fn each_gate_refuses_by_itself_and_only_if_it_is_there() {
    let quiet = Observed::default();
    assert_eq!(code(&Gates::none(), &quiet), None);

    let marker = |until: Option<&str>| Marker {
        path: PathBuf::from("/etc/twinhull-updater/no-reboot"),
        until: until.map(time),
        reason: "migration".to_owned(),
    };
    let under_marker = |until| Observed {
        markers: vec![marker(until)],
        ..Observed::default()
    };
    assert_eq!(code(&Gates::none(), &under_marker(None)).as_deref(), Some("marker"));
    assert_eq!(
        code(&Gates::none(), &under_marker(Some("2026-01-02T00:00:00Z"))).as_deref(),
        Some("marker")
    );
    assert_eq!(
        code(&Gates::none(), &under_marker(Some("2026-01-01T00:00:00Z"))),
        None,
        "expired"
    );

    let fresh = Gates {
        min_uptime: Duration::from_hours(1),
        ..Gates::none()
    };
    let refused = on(&fresh, &quiet, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(refused.problem.code, "min-uptime");
    assert_eq!(refused.wait, Some(Duration::from_hours(1)));

    let busy = Observed {
        users: Ok(vec!["ada".to_owned()]),
        inhibitors: Ok(vec![Inhibitor {
            who: "backup".to_owned(),
            why: "nightly".to_owned(),
        }]),
        unhealthy: vec!["unit a.service is failed".to_owned()],
        ..Observed::default()
    };
    assert_eq!(code(&Gates::none(), &busy), None);
    let gate = |change: fn(&mut Gates)| {
        let mut gates = Gates::none();
        change(&mut gates);
        gates
    };
    let (users, inhibitors) = (gate(|gates| gates.users = true), gate(|gates| gates.inhibitors = true));
    assert_eq!(code(&users, &busy).as_deref(), Some("users"));
    assert_eq!(code(&inhibitors, &busy).as_deref(), Some("inhibited"));
    assert_eq!(
        code(&gate(|gates| gates.healthy = true), &busy).as_deref(),
        Some("unhealthy")
    );
    let unknown = Observed {
        users: Err("no answer".to_owned()),
        inhibitors: Err("no answer".to_owned()),
        ..Observed::default()
    };
    assert_eq!(code(&users, &unknown).as_deref(), Some("gate-unknown"));
    assert_eq!(code(&inhibitors, &unknown).as_deref(), Some("gate-unknown"));

    let scripted = Observed {
        scripts: vec!["10-orders failed (exit status: 1): 3 orders open".to_owned()],
        ..Observed::default()
    };
    assert_eq!(code(&Gates::none(), &scripted).as_deref(), Some("gate-script"));
}

#[test]
fn marker_has_an_expiry_and_a_reason_and_an_empty_one_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no-reboot");
    assert_eq!(read_marker(&path), None);
    let written = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let marker = read_marker(&path).unwrap();
        (marker.until, marker.reason)
    };
    assert_eq!(written(""), (None, String::new()));
    assert_eq!(written("database migration\n"), (None, "database migration".to_owned()));
    assert_eq!(
        written("2026-11-30T06:00:00Z\nask ada\n"),
        (Some(time("2026-11-30T06:00:00Z")), "ask ada".to_owned())
    );
    assert_eq!(written("2026-11-30\n").0, Some(time("2026-12-01T00:00:00Z")));
}
