//! Clients that are slow, wordy, gone, or just old-fashioned.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use ephemera::pace::Floor;

use crate::server::start;
use crate::wire::{Answer, answers, connect, get, raw, rest};

/// Short, so that a test need not wait.
const FLOOR: Floor = Floor {
    grace: Duration::from_millis(300),
    bytes_per_s: 1 << 20,
};

#[test]
fn requests_of_every_form_are_answered() {
    let running = start(|_| {});
    let address = running.address();
    let close = "host: h\r\nconnection: close";
    // What is sent; status and body of each answer.
    let cases: Vec<(String, Vec<(u16, &str)>)> = vec![
        ("GET /ok HTTP/1.0\r\n\r\n".into(), vec![(200, "ok")]),
        (
            format!("GET http://elsewhere/ok HTTP/1.1\r\n{close}\r\n\r\n"),
            vec![(200, "ok")],
        ),
        // Kept alive, and sent ahead.
        (
            format!(
                "GET /ok HTTP/1.1\r\nhost: h\r\n\r\nPOST /body HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabcGET /ok HTTP/1.1\r\n{close}\r\n\r\n"
            ),
            vec![(200, "ok"), (200, "3"), (200, "ok")],
        ),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
            ),
            vec![(200, "5")],
        ),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n1\r\na\r\n0\r\nx: y\r\n\r\n"
            ),
            vec![(200, "1")],
        ),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab"
            ),
            vec![(100, ""), (200, "2")],
        ),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}\r\nexpect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
            ),
            vec![(
                413,
                r#"{"detail":"the body is larger than 10485760 bytes"}"#,
            )],
        ),
        (
            format!("GET /ok HTTP/1.1\r\n{close}\r\nx-priority: urgent\r\n\r\n"),
            vec![(
                400,
                r#"{"detail":"header X-Priority: expected interactive or batch"}"#,
            )],
        ),
        // Longer than it says: the rest is no request.
        (
            "POST /body HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab\u{1}junk\r\n\r\n".into(),
            vec![(200, "2"), (400, "")],
        ),
        (
            format!("POST /body HTTP/1.1\r\n{close}\r\ncontent-length: -1\r\n\r\n"),
            vec![(400, "")],
        ),
        (
            format!(
                "POST /body HTTP/1.1\r\n{close}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"
            ),
            vec![(400, "")],
        ),
        ("nonsense\r\n\r\n".into(), vec![(400, "")]),
        (
            format!(
                "GET /ok HTTP/1.1\r\n{close}\r\n{}\r\n",
                "x: y\r\n".repeat(120)
            ),
            vec![(431, "")],
        ),
        (
            format!(
                "GET /ok HTTP/1.1\r\n{close}\r\nx: {}\r\n\r\n",
                "y".repeat(40 << 10)
            ),
            vec![(
                431,
                r#"{"detail":"the headers are larger than 32768 bytes"}"#,
            )],
        ),
    ];
    for (sent, expected) in cases {
        let got = answers(&raw(address, sent.as_bytes()));
        let got: Vec<(u16, &str)> = got
            .iter()
            .map(|answer| (answer.status, &*answer.body))
            .collect();
        assert_eq!(got, expected, "{}", &sent[..sent.len().min(200)]);
    }
}

#[test]
fn head_has_a_length_and_no_body() {
    let running = start(|_| {});
    let sent = b"HEAD /ok HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let got = String::from_utf8(raw(running.address(), sent)).expect("text");
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    assert!(got.contains("content-length: 2\r\n"), "{got}");
    assert!(got.ends_with("\r\n\r\n"), "{got}");
}

#[test]
fn a_body_that_ends_early_does_not_hang() {
    let running = start(|_| {});
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut client = connect(running.address());
        write!(
            client,
            "POST /body HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n2\r\na"
        )
        .expect("sent");
        client.shutdown(Shutdown::Write).expect("half of it");
        let got = answers(&rest(&mut client));
        assert!(got.iter().all(|answer| answer.status == 400), "{got:?}");
    }
}

#[test]
fn slow_headers_are_told_so_and_idle_connections_are_not() {
    let running = start(|options| options.header_time = Duration::from_millis(300));
    let got = answers(&raw(running.address(), b"GET /ok HTTP/1.1\r\nhost:"));
    let said: Vec<_> = got
        .iter()
        .map(|answer| (answer.status, &*answer.body))
        .collect();
    let detail = r#"{"detail":"the headers took longer than 0 s to arrive"}"#;
    assert_eq!(said, [(408, detail)]);
    assert_eq!(raw(running.address(), b""), b"");
    let kept = raw(running.address(), b"GET /ok HTTP/1.1\r\nhost: h\r\n\r\n");
    assert_eq!(answers(&kept).len(), 1);
}

#[test]
fn slow_bodies_are_told_so() {
    let running = start(|options| options.body.floor = FLOOR);
    let mut client = connect(running.address());
    write!(
        client,
        "POST /body HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc"
    )
    .expect("sent");
    let got = answers(&rest(&mut client));
    assert_eq!(got.len(), 1);
    let Answer { status, body, .. } = &got[0];
    let detail = r#"{"detail":"the body arrived slower than 1048576 bytes per second"}"#;
    assert_eq!((*status, &**body), (408, detail));
}

#[test]
fn stalled_bodies_take_no_place() {
    let running = start(|options| {
        options.budget.waiting = 0;
        options.bodies_kib = 1024;
    });
    let stalled: Vec<_> = (0..100)
        .map(|_| {
            let mut client = connect(running.address());
            let head = "POST /body HTTP/1.1\r\nhost: h\r\ncontent-length: 9000000";
            write!(client, "{head}\r\n\r\nabc").expect("sent");
            client
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(get(running.address(), "/ok").status, 200);
    }
    let body = "x".repeat(800 << 10);
    let head = "POST /body HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length:";
    let request = format!("{head} {}\r\n\r\n{body}", body.len());
    let got = answers(&raw(running.address(), request.as_bytes()));
    assert_eq!((got[0].status, &*got[0].body), (200, "819200"));
    drop(stalled);
}

#[test]
fn a_refusal_is_read_whatever_is_sent() {
    let running = start(|options| {
        options.budget.waiting = 0;
        // What one instance may take.
        options.budget.memory_bytes = 16 << 20;
    });
    let mut busy = connect(running.address());
    write!(busy, "GET /sleep HTTP/1.1\r\nhost: h\r\n\r\n").expect("sent");
    running.wait_for_instances(1);
    for bytes in [0, 5 << 20, 20 << 20] {
        let head = "POST /body HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length:";
        let request = format!("{head} {bytes}\r\n\r\n{}", "x".repeat(bytes));
        let got = answers(&raw(running.address(), request.as_bytes()));
        assert_eq!(got.len(), 1, "{bytes}");
        assert_eq!(got[0].status, 503, "{bytes}");
        assert!(got[0].head.contains("\r\nretry-after: "), "{}", got[0].head);
    }
}

#[test]
fn at_the_limit_of_connections_others_wait() {
    let running = start(|options| {
        options.connections = 2;
        options.header_time = Duration::from_millis(300);
    });
    let address = running.address();
    let _idle = [connect(address), connect(address)];
    assert_eq!(get(address, "/ok").status, 200);
}

#[test]
fn a_body_of_many_small_chunks_is_read() {
    let running = start(|_| {});
    let chunks = "1\r\nx\r\n".repeat(100_000);
    let head = "POST /body HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked";
    let request = format!("{head}\r\n\r\n{chunks}0\r\n\r\n");
    let got = answers(&raw(running.address(), request.as_bytes()));
    assert_eq!((got[0].status, &*got[0].body), (200, "100000"));
}

#[test]
fn who_does_not_read_is_disconnected() {
    let running = start(|options| options.answer_floor = FLOOR);
    let address = running.address();
    let mut client = connect(address);
    // More than the buffers of both sockets take.
    let asked = 64;
    let request = "GET /large HTTP/1.1\r\nhost: h\r\n\r\n".repeat(asked);
    client.write_all(request.as_bytes()).expect("sent");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(get(address, "/ok").status, 200);
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    while let Ok(bytes @ 1..) = client.read(&mut buffer) {
        received += bytes;
    }
    assert!(received < asked * 255 * 4096, "{received}");
    // Who reads gets all of it.
    let large = get(address, "/large");
    assert_eq!((large.status, large.body.len()), (200, 255 * 4096));
}
