#![no_main]

use std::sync::LazyLock;

use ephemera_engine::{Datatype, Dim, Port};
use ephemera_infer::Request;
use ephemera_infer::request::MAX_TENSOR_BYTES;

/// An input of each type, so that every reader of numbers is reached; all but `x` are numbers without axes.
static INPUTS: LazyLock<Vec<Port>> = LazyLock::new(|| {
    let free = [Dim::Symbolic("n".into()), Dim::Fixed(2)];
    vec![
        port("x", Datatype::F32, &free),
        port("k", Datatype::Bool, &free[..1]),
        port("i", Datatype::I64, &[]),
    ]
});

fn port(name: &str, datatype: Datatype, shape: &[Dim]) -> Port {
    Port {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    }
}

// The first two bytes say where the JSON ends; all bits set stand for no header.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[low, high], body)) = data.split_first_chunk() else {
        return;
    };
    let length = u16::from_le_bytes([low, high]);
    let text = length.to_string();
    let header = (length != u16::MAX).then_some(text.as_str());
    let outputs = [port("y", Datatype::F32, &[])];
    if let Ok(request) = Request::parse(header, body, &INPUTS, &outputs) {
        assert_eq!(request.tensors.len(), INPUTS.len());
        let bytes: usize = request
            .tensors
            .iter()
            .map(|(_, tensor)| tensor.bytes().len())
            .sum();
        assert!(bytes <= MAX_TENSOR_BYTES);
        assert!(request.outputs.len() == 1);
    }
});
