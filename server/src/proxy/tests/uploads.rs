//! Requests whose body the instance does not take: what stands still, what is told, and who counts.
use super::*;
use crate::domain::instance::Traffic;
use std::net::Shutdown;

const PIECE: usize = 16 * 1024;

/// Writes without end until the other side takes no more for a while; how much it took.
fn fill(client: &mut Client, bytes: &[u8], limit: usize) -> usize {
    let stream = client.stream.get_mut();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut taken = 0;
    while taken < limit {
        match stream.write(bytes) {
            Ok(count) => taken += count,
            Err(_) => break,
        }
    }
    taken
}

#[test]
fn an_instance_that_does_not_read_stops_its_visitor_however_small_the_pieces() {
    let app = Instance::new("one", |_, _| {
        thread::sleep(Duration::from_secs(5));
        Then::Close
    });
    let town = Town::with(Spans { body_idle: Duration::from_secs(1), ..spans() });
    town.route_to(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let taken = fill(&mut client, chunk.repeat(64).as_bytes(), 64 << 20);
    assert!(taken < 32 << 20, "{taken} bytes were taken");
    town.line_with(&["code=H12", "status=504"]);
}

#[test]
fn who_uploads_to_an_instance_that_hangs_up_reads_why() {
    for (answer, status) in
        [(&b""[..], 502), (b"HTTP/1.1 413 Too much\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno", 413)]
    {
        let app = Instance::new("one", move |_, stream| {
            stream.read_exact(&mut [0; 1024]).unwrap();
            let _ = stream.get_mut().write_all(answer);
            Then::Close
        });
        let town = Town::serving(&app);
        let mut client = town.client();
        client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 5000000\r\n\r\n");
        for _ in 0..5_000_000 / PIECE {
            if client.stream.get_mut().write_all(&[0; PIECE]).is_err() {
                break;
            }
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.is_whole), (status, true), "{answer:?}");
    }
}

#[test]
fn an_upload_goes_on_while_its_answer_is_not_read() {
    const SIZE: usize = 24 << 20;
    let app = Instance::new("one", |_, stream| {
        let mut writing = stream.get_ref().try_clone().unwrap();
        let writer = thread::spawn(move || {
            writing.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n").as_bytes()).unwrap();
            for _ in 0..SIZE / PIECE {
                writing.write_all(&[b'a'; PIECE]).unwrap();
            }
        });
        let mut body = vec![0; SIZE];
        stream.read_exact(&mut body).unwrap();
        assert!(body.iter().all(|byte| *byte == b'u'));
        writer.join().unwrap();
        Then::Keep
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send(format!("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: {SIZE}\r\n\r\n"));
    client.stream.get_ref().set_write_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..SIZE / PIECE {
        client.send([b'u'; PIECE]);
    }
    let answer = client.answer();
    assert!(answer.is_whole && answer.body.len() == SIZE);
}

#[test]
fn an_instance_counts_as_in_use_until_the_last_byte_of_a_body_is_written() {
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let app = Instance::new("one", move |_, stream| {
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
        wait.lock().unwrap().recv().unwrap();
        let mut left = Vec::new();
        let _ = stream.read_to_end(&mut left);
        Then::Close
    });
    let town = Town::serving(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 40000000\r\n\r\n");
    let taken = fill(&mut client, &[0; PIECE], 40_000_000);
    assert!(taken < 40_000_000, "the instance does not read");
    assert_eq!(client.answer().text(), "ok");
    town.route(&[]);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(town.proxy.traffic(&app.container()), Traffic::Draining);
    client.stream.get_ref().shutdown(Shutdown::Both).unwrap();
    go_on.send(()).unwrap();
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
}

#[test]
fn an_upload_that_nobody_takes_behind_an_answer_in_pieces_ends_with_the_drain() {
    let app = Instance::new("one", |_, stream| {
        let writing = stream.get_mut();
        writing.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nok").unwrap();
        for _ in 0..2 {
            thread::sleep(Duration::from_millis(400));
            writing.write_all(b"ok").unwrap();
        }
        thread::sleep(Duration::from_secs(8));
        Then::Close
    });
    let town = Town::with(Spans { drain: Duration::from_millis(200), transfer_stall: Duration::ZERO, ..spans() });
    town.route_to(&app);
    let mut client = town.client();
    client.send("POST / HTTP/1.1\r\nhost: blog.test\r\ncontent-length: 40000000\r\n\r\n");
    let begun = Instant::now();
    fill(&mut client, &[0; PIECE], 40_000_000);
    assert_eq!(client.answer().text(), "okokok");
    town.route(&[]);
    eventually("quiet", || town.proxy.traffic(&app.container()) == Traffic::Quiet);
    assert!(begun.elapsed() < Duration::from_secs(6), "before the app hung up by itself");
}
