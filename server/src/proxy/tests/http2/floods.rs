//! Clients that send what costs us and brings no request further: they are broken off, and others served meanwhile.
use super::super::super::limits::{H2_CONTROL_FRAMES_PER_TICK_MAX, H2_RESETS_BURST_MAX, H2_UNSEEN_RESETS_MAX};
use super::frames::{
    CONTINUATION, DATA, END_STREAM, GET, HEADERS, Outcome, PING, RST_STREAM, Raw, SETTINGS, block, frame, headers,
};
use super::*;

const ENHANCE_YOUR_CALM: Outcome = Outcome::GoAway(11);

fn many(what: &[u8], times: u32) -> Vec<u8> {
    what.repeat(usize::try_from(times).unwrap())
}

/// Ticks so long that a flood is one within them.
fn town(app: &Instance) -> Town {
    let town = Town::with(Spans { tick: Duration::from_millis(250), ..spans() });
    town.route_to(app);
    town
}

#[test]
fn floods_are_broken_off_and_others_are_served() {
    let town = town(&Instance::named("one"));
    let door = open_door(&town);
    let times = H2_CONTROL_FRAMES_PER_TICK_MAX * 3;
    for (what, bytes) in [
        ("pings", many(&frame(PING, 0, 0, &[0; 8]), times)),
        ("settings", many(&frame(SETTINGS, 0, 0, b""), times / 20)),
        ("priorities", many(&frame(2, 0, 1, &[0, 0, 0, 3, 7]), times)),
        ("unknown frames", many(&frame(0xfa, 0, 0, b""), times)),
        ("empty data", [headers(1, 0, &block(&GET)), many(&frame(DATA, 0, 1, b""), times)].concat()),
        (
            "a block without end",
            [
                frame(HEADERS, END_STREAM, 1, &block(&GET)),
                many(&frame(CONTINUATION, 0, 1, &block(&[("a", "b")])), times),
            ]
            .concat(),
        ),
    ] {
        let mut raw = Raw::begun(door);
        let mut writer = Raw { stream: raw.stream.try_clone().unwrap() };
        let sender = thread::spawn(move || writer.send(&bytes));
        let since = Instant::now();
        while raw.next().is_some() {}
        sender.join().unwrap();
        assert!(since.elapsed() < PATIENCE / 2, "{what} went on");
        assert_eq!(Visitor::new(door).get("/").text(), "one");
    }
}

/// CVE-2023-44487: streams are opened and reset at once, so that never many are open.
#[test]
fn rapid_resets_end_the_connection_and_not_the_app() {
    let app = Instance::named("one");
    let town = town(&app);
    let door = open_door(&town);
    let pair = |number: u32| {
        let stream = number * 2 + 1;
        [headers(stream, END_STREAM, &block(&GET)), frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    };
    // In one go: reset before we saw them.
    let mut raw = Raw::begun(door);
    let at_once: Vec<u8> = (0..u32::try_from(H2_UNSEEN_RESETS_MAX).unwrap() * 4).flat_map(pair).collect();
    raw.send(&at_once);
    assert!(matches!(raw.outcome(u32::MAX), ENHANCE_YOUR_CALM | Outcome::Closed));
    // One by one: each was seen.
    let mut raw = Raw::begun(door);
    let mut count = 0;
    while count < H2_RESETS_BURST_MAX * 4 && raw.stream.write_all(&pair(count)).is_ok() {
        thread::sleep(Duration::from_micros(100));
        count += 1;
    }
    assert!(matches!(raw.outcome(u32::MAX), ENHANCE_YOUR_CALM | Outcome::Closed));
    assert_eq!(Visitor::new(door).get("/").text(), "one");
    let bound = usize::try_from(H2_RESETS_BURST_MAX).unwrap() * 3;
    assert!(app.count() < bound, "{} requests reached the app", app.count());
}

#[test]
fn streams_that_we_have_to_refuse_have_an_end_too() {
    let town = town(&Instance::named("one"));
    let door = open_door(&town);
    let mut raw = Raw::begun(door);
    let malformed = block(&[&GET[..], &[("connection", "close")]].concat());
    let all: Vec<u8> = (0..2000).flat_map(|number| headers(number * 2 + 1, END_STREAM, &malformed)).collect();
    raw.send(&all);
    assert!(matches!(raw.outcome(u32::MAX), ENHANCE_YOUR_CALM));
    assert_eq!(Visitor::new(door).get("/").text(), "one");
}
