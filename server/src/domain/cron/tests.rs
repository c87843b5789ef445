//! Schedules by example, and beside a slow reader of the same words that tries every minute.
use super::*;
use proptest::prelude::*;

fn expr(text: &str) -> CronExpr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn at(text: &str) -> Moment {
    let time: jiff::Timestamp = text.parse().unwrap();
    Moment::from_unix_ms(time.as_millisecond())
}

#[test]
fn the_next_minute_is_found_over_hours_months_and_leap_years() {
    for (schedule, after, next) in [
        ("* * * * *", "2026-11-24T20:41:10Z", "2026-11-24T20:42:00Z"),
        ("*/15 * * * *", "2026-11-24T20:45:00Z", "2026-11-24T21:00:00Z"),
        ("30 9-17/4 * * MON-FRI", "2026-11-27T17:30:00Z", "2026-11-30T09:30:00Z"),
        ("0 3 * * *", "2026-12-31T03:00:00Z", "2027-01-01T03:00:00Z"),
        ("@hourly", "2026-11-24T23:59:59Z", "2026-11-25T00:00:00Z"),
        ("@Weekly", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z"),
        ("0 0 * * 7", "2026-11-24T00:00:00Z", "2026-11-29T00:00:00Z"),
        ("@monthly", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("@yearly", "2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("0 0 29 feb *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"),
        ("0 0 31 * *", "2026-11-24T00:00:00Z", "2026-12-31T00:00:00Z"),
    ] {
        assert_eq!(expr(schedule).next_after(at(after)), Some(at(next)), "{schedule}");
    }
}

#[test]
fn two_restricted_day_fields_mean_either_and_a_star_means_both() {
    let either = expr("0 0 13 * FRI");
    assert_eq!(either.next_after(at("2026-11-10T00:00:00Z")), Some(at("2026-11-13T00:00:00Z")));
    assert_eq!(either.next_after(at("2026-11-13T00:00:00Z")), Some(at("2026-11-20T00:00:00Z")));
    assert!(either.matches(at("2026-12-13T00:00:30Z")), "a Sunday");
    let both = expr("0 0 */2 * FRI");
    assert_eq!(both.next_after(at("2026-11-10T00:00:00Z")), Some(at("2026-11-13T00:00:00Z")));
    assert_eq!(both.next_after(at("2026-11-13T00:00:00Z")), Some(at("2026-11-27T00:00:00Z")));
}

#[test]
fn only_the_latest_due_minute_counts_and_only_for_a_while() {
    let hour = Duration::from_hours(1);
    let (every, daily) = (expr("*/10 * * * *"), expr("0 3 * * *"));
    let now = at("2026-11-24T03:25:30Z");
    assert_eq!(every.latest_due(at("2026-11-24T01:00:00Z"), now, hour), Some(at("2026-11-24T03:20:00Z")));
    assert_eq!(every.latest_due(at("2026-11-24T03:20:00Z"), now, hour), None);
    assert_eq!(daily.latest_due(at("2026-11-23T03:00:00Z"), now, hour), Some(at("2026-11-24T03:00:00Z")));
    let later = at("2026-11-24T04:00:00Z");
    assert_eq!(daily.latest_due(at("2026-11-23T03:00:00Z"), later, hour), None, "an hour late is too late");
    assert_eq!(every.latest_due(at("2026-11-25T00:00:00Z"), now, hour), None, "the clock was set back");
}

#[test]
fn what_is_no_schedule_is_refused_with_the_way_out() {
    for (bad, words) in [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields; write five"),
        ("0 * * * * *", "no seconds"),
        ("@reboot", "`@reboot` is no word"),
        ("61 * * * *", "minute: `61` is no minute; write 0 to 59"),
        ("* 24 * * *", "hour: `24`"),
        ("* * 0 * *", "write 1 to 31"),
        ("* * * 13 *", "JAN to DEC"),
        ("* * * * 8", "day-of-week: `8`"),
        ("* * * * MONDAY", "SUN to SAT"),
        ("* * * * ?", "day-of-week: `?`"),
        ("-1 * * * *", "minute: ``"),
        ("+1 * * * *", "minute: `+1`"),
        ("1,,2 * * * *", "minute: ``"),
        ("*/0 * * * *", "the step in `*/0`"),
        ("*/x * * * *", "the step in `*/x`"),
        ("*/ * * * *", "the step in `*/`"),
        ("5/10 * * * *", "behind `*` or a range"),
        ("* 22-5 * * *", "write it as two"),
        ("0 0 30 2 *", "no day ever fits"),
        ("0 0 31 4,6 *", "no day ever fits"),
        ("99999999999999999999 * * * *", "is no minute"),
    ] {
        let error = bad.parse::<CronExpr>().unwrap_err().to_string();
        assert!(error.contains(words), "{bad}: {error}");
    }
}

/// Reads a field anew for every value, without bits.
fn oracle_field(text: &str, value: i64, first: i64, last: i64) -> bool {
    text.split(',').any(|part| {
        let (span, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None if span == "*" => (first, last),
            None => (span.parse().unwrap(), span.parse().unwrap()),
        };
        value >= from && value <= to && (value - from) % step.parse::<i64>().unwrap() == 0
    })
}

fn oracle(text: &str, at: Moment) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    let minutes = at.unix_ms() / 60_000;
    let days = minutes / 1440;
    let (minute, hour, weekday) = (minutes % 60, minutes / 60 % 24, (days + 4) % 7);
    // Counts the calendar up from 1970.
    let (mut year, mut month, mut day) = (1970, 1, days);
    let length = |year: i64, month: i64| match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    while day >= length(year, month) {
        day -= length(year, month);
        (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    }
    let of_month = oracle_field(fields[2], day + 1, 1, 31);
    let of_week = oracle_field(fields[4], weekday, 0, 7) || (weekday == 0 && oracle_field(fields[4], 7, 0, 7));
    let either = !fields[2].starts_with('*') && !fields[4].starts_with('*');
    let is_day = if either { of_month || of_week } else { of_month && of_week };
    oracle_field(fields[0], minute, 0, 59)
        && oracle_field(fields[1], hour, 0, 23)
        && oracle_field(fields[3], month, 1, 12)
        && is_day
}

fn field(first: u32, last: u32) -> impl Strategy<Value = String> {
    let span = (first..=last, first..=last).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let part = prop_oneof![
        4 => Just("*".to_owned()),
        3 => (first..=last).prop_map(|value| value.to_string()),
        2 => span.clone().prop_map(|(from, to)| format!("{from}-{to}")),
        1 => (span, 1..20_u32).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")),
        2 => (1..40_u32).prop_map(|step| format!("*/{step}")),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(","))
}

fn schedule() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
        .prop_map(|(minute, hour, day, month, week)| format!("{minute} {hour} {day} {month} {week}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_minute_fits_as_a_slow_reader_reads_it(text in schedule(), minute in 0..80_000_000_i64) {
        let from = Moment::from_unix_ms(minute * 60_000 + 17_000);
        match text.parse::<CronExpr>() {
            Err(error) => prop_assert_eq!(error, CronError::Never),
            Ok(expr) => {
                let next = expr.next_after(from);
                // A day and a half, minute by minute.
                for n in 1..2160 {
                    let minute = Moment::from_unix_ms(minute_of(from).unix_ms() + n * 60_000);
                    let fits = oracle(&text, minute);
                    prop_assert_eq!(expr.matches(minute), fits, "{} at {:?}", &text, minute);
                    if fits {
                        prop_assert_eq!(next, Some(minute));
                        break;
                    }
                    prop_assert!(next.is_none_or(|next| next > minute));
                }
                prop_assert!(next.is_some_and(|next| oracle(&text, next)));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-0-9*/,@A-Za-z ]{0,40}") {
        drop(text.parse::<CronExpr>());
    }

    #[test]
    fn a_schedule_survives_json_as_it_was_written(text in schedule()) {
        if let Ok(expr) = text.parse::<CronExpr>() {
            let json = serde_json::to_string(&expr).unwrap();
            prop_assert_eq!(serde_json::from_str::<CronExpr>(&json).unwrap(), expr);
        }
    }
}
