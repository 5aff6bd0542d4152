//! Does, by the request's path, what functions should not do: what a host's limits are tested with.
#![cfg(target_family = "wasm")]

#[cfg(feature = "redis")]
mod message;

use std::hint::black_box;

use wasi::clocks::monotonic_clock;
use wasi::exports::http::incoming_handler::Guest;
use wasi::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasi::io::streams::OutputStream;

struct Unruly;

// Generated: the component model's calling convention.
#[allow(unsafe_code)]
mod export {
    use super::Unruly;
    wasi::http::proxy::export!(Unruly);
}

impl Guest for Unruly {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        // It may be served below another path.
        match path.strip_prefix("/unruly").unwrap_or(path) {
            "/loop" => spin(),
            "/grow" => grow(),
            "/panic" => panic!("as asked"),
            "/recurse" => drop(black_box(recurse(1))),
            "/tables" => hold_handles(),
            "/fields" => hold_headers(),
            "/bodies" => hold_answers(),
            "/sleep" => sleep(),
            "/exit" => std::process::exit(3),
            "/silent" => drop(out),
            "/early" => {
                let (body, stream) = begin(out);
                write(&stream, b"first");
                drop((stream, body));
            }
            "/half" => {
                let (_body, stream) = begin(out);
                write(&stream, b"first");
                panic!("after its headers");
            }
            "/stalled" => {
                let (_body, stream) = begin(out);
                write(&stream, b"first");
                sleep();
            }
            "/write-forever" => {
                let (_body, stream) = begin(out);
                loop {
                    write(&stream, &[b'x'; 4096]);
                }
            }
            "/late" => {
                answer(out, b"late");
                spin();
            }
            "/late-sleep" => {
                answer(out, b"late");
                sleep();
            }
            "/twice" => twice(out),
            "/large" => {
                let (body, stream) = begin(out);
                for _ in 0..255 {
                    write(&stream, &[b'x'; 4096]);
                }
                drop(stream);
                OutgoingBody::finish(body, None).expect("it is whole");
            }
            "/body" => answer(out, length(request).to_string().as_bytes()),
            _ => answer(out, b"ok"),
        }
    }
}

#[inline(never)]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

#[inline(never)]
fn grow() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 1 << 20]));
    }
}

// A host has to end it.
#[allow(unconditional_recursion)]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    black_box(depth).wrapping_add(recurse(black_box(depth + 1)))
}

#[inline(never)]
fn hold_handles() {
    loop {
        std::mem::forget(Fields::new());
    }
}

/// Headers that are as long as they may be, as many as there may be.
fn hold_headers() {
    let value = vec![b'x'; 1 << 10];
    loop {
        let fields = Fields::new();
        while fields.append(&"x-filler".to_owned(), &value).is_ok() {}
        std::mem::forget(fields);
    }
}

/// Answers that are begun, written to and never sent.
fn hold_answers() {
    loop {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("it is the first");
        let stream = body.write().expect("it is the first");
        let bytes = stream.check_write().unwrap_or(0).min(1 << 20) as usize;
        if bytes > 0 {
            stream.write(&vec![1; bytes]).expect("it may be written");
        }
        std::mem::forget((stream, body, response));
    }
}

fn sleep() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    loop {
        monotonic_clock::subscribe_duration(HOUR_NS).block();
    }
}

fn begin(out: ResponseOutparam) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("it is the first");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("it is the first");
    (body, stream)
}

fn write(stream: &OutputStream, bytes: &[u8]) {
    stream.blocking_write_and_flush(bytes).expect("it is taken");
}

fn answer(out: ResponseOutparam, bytes: &[u8]) {
    let (body, stream) = begin(out);
    write(&stream, bytes);
    drop(stream);
    OutgoingBody::finish(body, None).expect("it is whole");
}

#[allow(unsafe_code)]
fn twice(out: ResponseOutparam) {
    // SAFETY: a handle is a number that the host checks; that this one is used up by the first answer is what is tested.
    let again = unsafe { ResponseOutparam::from_handle(out.handle()) };
    answer(out, b"first");
    answer(again, b"second");
}

/// Of the request's body, in bytes.
fn length(request: IncomingRequest) -> usize {
    let body = request.consume().expect("it is the first");
    let stream = body.stream().expect("it is the first");
    let mut length = 0;
    while let Ok(piece) = stream.blocking_read(1 << 16) {
        length += piece.len();
    }
    length
}
