//! WebSockets on an instance that leaves: they stay for a while, then both ends are told to come again (1012), between
//! two frames. Other protocols of which nothing is known are cut.
use super::*;
use crate::domain::instance::Traffic;
use std::sync::mpsc;

/// What an app's end of a tunnel heard behind the upgrade, all at its end.
fn listening(protocol: &'static str, say: &'static [u8]) -> (Instance, mpsc::Receiver<Vec<u8>>) {
    let (tell, heard) = mpsc::channel();
    let app = Instance::new("ws", move |_, stream| {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        stream.get_mut().write_all(say).unwrap();
        let (mut all, mut piece) = (Vec::new(), [0; 1000]);
        while let Ok(size @ 1..) = stream.read(&mut piece) {
            all.extend(&piece[..size]);
            // It answers a close frame, as RFC 6455 wants.
            if all.len() >= CLOSE_FROM_US && all[all.len() - CLOSE_FROM_US] == 0x88 {
                let _ = stream.get_mut().write_all(b"\x88\x02\x03\xf4");
                break;
            }
        }
        let _ = tell.send(all);
        Then::Close
    });
    (app, heard)
}

/// Head, mask, code and reason of our close frame to an app.
const CLOSE_FROM_US: usize = 2 + 4 + 2 + 15;

fn upgrade(town: &Town, protocol: &str) -> Client {
    let mut client = town.client();
    client.send(format!("GET / HTTP/1.1\r\nhost: blog.test\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n"));
    assert!(client.head().starts_with("HTTP/1.1 101"));
    client
}

fn quick() -> Spans {
    let (drain, stagger) = (Duration::from_millis(80), Duration::from_millis(50));
    Spans { ws_drain: drain, ws_stagger: stagger, ws_close: Duration::from_secs(5), ..spans() }
}

/// Everything that comes until the other side ends.
fn rest(client: &mut Client) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = client.stream.read_to_end(&mut all);
    all
}

#[test]
fn both_ends_are_told_to_come_again_and_nothing_is_cut() {
    let (app, heard) = listening("websocket", b"\x81\x02hi");
    let town = Town::with(quick());
    town.route_to(&app);
    let mut client = upgrade(&town, "WebSocket");
    let mut hi = [0; 4];
    client.stream.read_exact(&mut hi).unwrap();
    client.send(b"\x81\x81\0\0\0\0a");
    town.route(&[]);
    assert_eq!(town.proxy.traffic(&app.container()), Traffic::Draining);
    let mut close = [0; 4 + 15];
    client.stream.read_exact(&mut close).unwrap();
    assert_eq!((&close[..4], &close[4..]), (&[0x88, 17, 0x03, 0xf4][..], &b"service restart"[..]));
    client.send(b"\x88\x82\0\0\0\0\x03\xf4");
    assert_eq!(rest(&mut client), b"");
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    let (before, close) = heard.split_at(heard.len() - CLOSE_FROM_US);
    assert_eq!(before, b"\x81\x81\0\0\0\0a");
    assert_eq!((close[0], close[1]), (0x88, 0x80 | 0x11));
    assert_eq!([close[6] ^ close[2], close[7] ^ close[3]], [0x03, 0xf4], "it is masked");
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    let report = town.proxy.drained(&app.container()).unwrap();
    assert_eq!((report.requests, report.forced), (1, 0));
    assert!(report.took >= Duration::from_millis(70), "it stayed for its time: {report:?}");
    town.line_with(&["at=info", "status=101"]);
}

#[test]
fn a_frame_under_way_is_ended_first_in_both_directions() {
    let (app, heard) = listening("websocket", b"\x82\x7e\x01\x00begun");
    let town = Town::with(quick());
    town.route_to(&app);
    let mut client = upgrade(&town, "websocket");
    // Three bytes of five.
    client.send(b"\x81\x85\0\0\0\0abc");
    let mut begun = [0; 9];
    client.stream.read_exact(&mut begun).unwrap();
    town.route(&[]);
    thread::sleep(Duration::from_millis(300));
    // The rest of it, and what is dropped: it came too late.
    client.send(b"de\x81\x81\0\0\0\0z\x88\x82\0\0\0\0\x03\xf4");
    let heard = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(&heard[..heard.len() - CLOSE_FROM_US], b"\x81\x85\0\0\0\0abcde");
    // The app never ends its frame: whatever it still says is a part of that, and nothing of ours gets in.
    assert_eq!(rest(&mut client), b"\x88\x02\x03\xf4");
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
}

#[test]
fn who_does_not_answer_a_close_frame_is_cut() {
    let (app, _heard) = listening("websocket", b"");
    let town = Town::with(Spans { ws_close: Duration::from_millis(100), ..quick() });
    town.route_to(&app);
    let mut client = upgrade(&town, "websocket");
    town.route(&[]);
    assert_eq!(&rest(&mut client)[..4], &[0x88, 17, 0x03, 0xf4]);
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    assert_eq!(town.proxy.drained(&app.container()).unwrap().forced, 1);
    town.line_with(&["code=H24", "status=101"]);
}

#[test]
fn another_protocol_is_cut_and_nothing_is_written_into_it() {
    let (app, heard) = listening("my-protocol", b"mine");
    let town = Town::with(quick());
    town.route_to(&app);
    let mut client = upgrade(&town, "my-protocol");
    client.send("hello");
    let mut mine = [0; 4];
    client.stream.read_exact(&mut mine).unwrap();
    thread::sleep(Duration::from_millis(50));
    town.route(&[]);
    assert_eq!(rest(&mut client), b"");
    assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), b"hello");
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    assert_eq!(town.proxy.drained(&app.container()).unwrap().forced, 1);
}

#[test]
fn many_are_closed_one_after_the_other_and_the_app_says_how_long_they_stay() {
    let town = Town::with(Spans { ws_stagger: Duration::from_secs(1), ..spans() });
    let (app, _heard) = listening("websocket", b"");
    town.route_under(&policy(&["ws-drain=0s"]), Maintenance::Off, Backends::Ready(vec![app.backend()]));
    let mut clients: Vec<Client> = (0..30).map(|_| upgrade(&town, "websocket")).collect();
    let since = Instant::now();
    town.route(&[]);
    let times: Vec<Duration> = thread::scope(|scope| {
        let waiting: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    let mut close = [0; 4 + 15];
                    client.stream.read_exact(&mut close).unwrap();
                    client.send(b"\x88\x82\0\0\0\0\x03\xf4");
                    since.elapsed()
                })
            })
            .collect();
        waiting.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(
        *last < Duration::from_secs(3) && last.abs_diff(*first) > Duration::from_millis(400),
        "{first:?} to {last:?}"
    );
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    assert_eq!(town.proxy.drained(&app.container()).unwrap().forced, 0);
}

#[test]
fn on_our_own_way_out_they_are_told_to_come_again_before_anything_is_cut() {
    let (app, heard) = listening("websocket", b"\x81\x02hi");
    let town = Town::with(Spans { linger: Duration::from_millis(20), ..quick() });
    town.route_to(&app);
    let mut client = upgrade(&town, "websocket");
    let mut hi = [0; 4];
    client.stream.read_exact(&mut hi).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let parting = PATIENCE.saturating_sub(Duration::from_millis(300));
    let since = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(town.proxy.shut_down(PATIENCE, parting)));
        let mut close = [0; 4 + 15];
        client.stream.read_exact(&mut close).unwrap();
        assert_eq!(&close[..4], &[0x88, 17, 0x03, 0xf4]);
        assert!(
            since.elapsed() >= Duration::from_millis(250),
            "it stayed as long as it was let: {:?}",
            since.elapsed()
        );
        client.send(b"\x88\x82\0\0\0\0\x03\xf4");
        assert_eq!(rest(&mut client), b"");
    });
    assert!(since.elapsed() < PATIENCE / 2, "nobody waited for the end of the grace");
    assert!(heard.recv_timeout(PATIENCE).unwrap().len() >= CLOSE_FROM_US);
}

#[test]
fn what_a_slow_end_does_not_take_waits_for_it_whole() {
    let (begin, may_read) = mpsc::channel::<()>();
    let may_read = std::sync::Mutex::new(may_read);
    let (tell, heard) = mpsc::channel();
    let app = Instance::new("ws", move |_, stream| {
        let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let _ = may_read.lock().unwrap().recv();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = tell.send(all);
        Then::Close
    });
    let town = Town::with(quick());
    town.route_to(&app);
    let client = upgrade(&town, "websocket");
    let payload: Vec<u8> = (0..8_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let mut sent = [&[0x82, 0xff][..], &(payload.len() as u64).to_be_bytes(), &[0; 4]].concat();
    sent.extend(&payload);
    thread::scope(|scope| {
        let stream = client.stream.get_ref().try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            let mut stream = stream;
            stream.write_all(sent).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        });
        thread::sleep(Duration::from_millis(100));
        begin.send(()).unwrap();
        assert!(heard.recv_timeout(PATIENCE).unwrap() == *sent);
    });
}
