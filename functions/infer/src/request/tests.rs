use ephemera_engine::{Datatype, Dim};
use proptest::prelude::*;

use super::*;

fn port(name: &str, datatype: Datatype, dims: &[&str]) -> Port {
    let dim = |text: &&str| match text.parse() {
        Ok(extent) => Dim::Fixed(extent),
        Err(_) => Dim::Symbolic((*text).to_owned()),
    };
    Port {
        name: name.to_owned(),
        datatype,
        shape: dims.iter().map(dim).collect(),
    }
}

fn outputs() -> Vec<Port> {
    vec![
        port("y", Datatype::F32, &["n"]),
        port("z", Datatype::I64, &[]),
    ]
}

/// Reads a request with one input `x` of `[n, 2]`.
fn one(datatype: Datatype, json: &str) -> Result<Vec<u8>, Error> {
    let inputs = [port("x", datatype, &["n", "2"])];
    let request = Request::parse(None, json.as_bytes(), &inputs, &outputs())?;
    Ok(request.tensors[0].1.bytes().to_vec())
}

fn x(datatype: &str, shape: &str, data: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}"#
    )
}

#[test]
fn numbers_become_elements_of_every_type() {
    use Datatype::*;
    let bits = |values: [f32; 2]| values.map(f32::to_le_bytes).concat();
    for (datatype, name, data, bytes) in [
        (Bool, "BOOL", "[true,false]", vec![1, 0]),
        (U8, "UINT8", "[0,255]", vec![0, 255]),
        (I8, "INT8", "[-128,127]", vec![128, 127]),
        (U16, "UINT16", "[1,65535]", vec![1, 0, 255, 255]),
        (I16, "INT16", "[-2,258]", vec![254, 255, 2, 1]),
        (
            U32,
            "UINT32",
            "[1,4294967295]",
            vec![1, 0, 0, 0, 255, 255, 255, 255],
        ),
        (
            I32,
            "INT32",
            "[-1,16909060]",
            vec![255, 255, 255, 255, 4, 3, 2, 1],
        ),
        (
            U64,
            "UINT64",
            "[0,18446744073709551615]",
            [[0; 8], [255; 8]].concat(),
        ),
        (
            I64,
            "INT64",
            "[9223372036854775807,-9223372036854775808]",
            [i64::MAX.to_le_bytes(), i64::MIN.to_le_bytes()].concat(),
        ),
        (F32, "FP32", "[-1.5e-3,7]", bits([-1.5e-3, 7.0])),
        (
            F64,
            "FP64",
            "[0.1,-7]",
            [0.1f64.to_le_bytes(), (-7f64).to_le_bytes()].concat(),
        ),
    ] {
        let flat = one(datatype, &x(name, "[1,2]", data));
        assert_eq!(flat.expect(name), bytes);
        let nested = one(datatype, &x(name, "[1,2]", &format!("[{data}]")));
        assert_eq!(nested.expect(name), bytes);
    }
}

#[test]
fn what_is_not_of_the_type_is_refused() {
    use Datatype::*;
    for (datatype, name, data) in [
        (Bool, "BOOL", "[1,0]"),
        (U8, "UINT8", "[0,256]"),
        (U8, "UINT8", "[0,-1]"),
        (I8, "INT8", "[0,128]"),
        (I64, "INT64", "[0,9223372036854775808]"),
        (I64, "INT64", "[0,1.5]"),
        (I32, "INT32", "[0,1.0]"),
        (F32, "FP32", "[0,1e39]"),
        (F32, "FP32", "[0,true]"),
        (F32, "FP32", "[0,\"1\"]"),
        (F32, "FP32", "[0,null]"),
        (F32, "FP32", "[0,NaN]"),
        (F64, "FP64", "[0,1e309]"),
    ] {
        let error = one(datatype, &x(name, "[1,2]", data)).expect_err(data);
        assert_eq!(error.status(), 400, "{data}");
    }
    let said = one(U8, &x("UINT8", "[1,2]", "[0,256]")).expect_err("too large");
    assert!(
        said.to_string()
            .contains("input \"x\": expected UINT8, got 256"),
        "{said}"
    );
}

#[test]
fn lists_are_flat_or_as_the_shape_has_them() {
    for (shape, data, fits) in [
        ("[2,2]", "[1,2,3,4]", true),
        ("[2,2]", "[[1,2],[3,4]]", true),
        ("[2,2]", "[[1,2,3,4]]", false),
        ("[2,2]", "[[1,2],3,4]", false),
        ("[2,2]", "[1,2,[3,4]]", false),
        ("[2,2]", "[[1,2],[3]]", false),
        ("[2,2]", "[[1,2],[3,4],[]]", false),
        ("[2,2]", "[[1,2]]", false),
        ("[2,2]", "[[[1],[2]],[[3],[4]]]", false),
        ("[2,2]", "[1,2,3]", false),
        ("[2,2]", "[1,2,3,4,5]", false),
        ("[2,2]", "[]", false),
        ("[2,2]", "[[],[]]", false),
        ("[2,2]", "1", false),
        ("[2,2]", "{}", false),
        ("[2,2]", "null", false),
        ("[1,2]", "[[1,2]]", true),
        ("[0,2]", "[]", false),
        ("[2]", "[1,2]", false),
        ("[2,3]", "[1,2,3,4,5,6]", false),
        ("[-1,2]", "[1,2]", false),
        ("[1,2,1]", "[1,2]", false),
        ("[9223372036854775807,2]", "[1,2]", false),
    ] {
        let read = one(Datatype::I8, &x("INT8", shape, data));
        assert_eq!(read.is_ok(), fits, "{shape} {data}: {read:?}");
    }
    // A number without axes.
    let scalar = [port("x", Datatype::U8, &[])];
    for (data, fits) in [("[7]", true), ("7", false), ("[]", false), ("[[7]]", false)] {
        let json = x("UINT8", "[]", data);
        let read = Request::parse(None, json.as_bytes(), &scalar, &outputs());
        assert_eq!(read.is_ok(), fits, "{data}");
    }
}

#[test]
fn complaints_say_what_was_expected() {
    let mismatch = one(Datatype::F32, &x("FP32", "[2,3]", "[1,2,3,4,5,6]")).expect_err("3 columns");
    assert_eq!(
        mismatch.to_string(),
        "input \"x\": expected shape [n, 2], got [2, 3]"
    );
    let datatype = one(Datatype::F32, &x("BYTES", "[1,2]", "[\"a\",\"b\"]")).expect_err("bytes");
    assert_eq!(
        datatype.to_string(),
        "input \"x\": expected FP32, got BYTES"
    );
    let half = one(Datatype::F16, &x("FP16", "[1,2]", "[1,2]")).expect_err("no JSON");
    assert!(
        half.to_string().contains("JSON has no form for FP16"),
        "{half}"
    );
    for (json, status, says) in [
        ("", 400, "not valid"),
        ("{}", 400, "missing field `inputs`"),
        (r#"{"inputs":[]}"#, 400, "input \"x\" is missing"),
        (
            r#"{"inputs":[{"name":"w","shape":[1],"datatype":"FP32","data":[1]}]}"#,
            400,
            "no input \"w\"",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32"}]}"#,
            400,
            "neither",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[9999999,2],"datatype":"FP32","data":[1]}]}"#,
            413,
            "limit",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[99999,2],"datatype":"FP32","data":[1]}]}"#,
            400,
            "199998 elements",
        ),
        (
            r#"{"parameters":{"sequence_id":7},"inputs":[]}"#,
            400,
            "sequence",
        ),
        (
            r#"{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2],"parameters":{"shared_memory_region":"r"}}]}"#,
            400,
            "shared memory",
        ),
    ] {
        let error = one(Datatype::F32, json).expect_err(json);
        assert_eq!(error.status(), status, "{json}: {error}");
        assert!(error.to_string().contains(says), "{json}: {error}");
    }
    let twice = r#"{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}"#;
    let error =
        one(Datatype::F32, &format!(r#"{{"inputs":[{twice},{twice}]}}"#)).expect_err("twice");
    assert_eq!(error.to_string(), "input \"x\" is there twice");
    let long = format!(r#"{{"inputs":[{{"name":"{}"}}]}}"#, "x".repeat(10_000));
    assert!(
        one(Datatype::F32, &long)
            .expect_err("no shape")
            .to_string()
            .len()
            < 400
    );
    let deep = format!(
        r#"{{"inputs":{}1{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(one(Datatype::F32, &deep).expect_err("deep").status(), 400);
    let beside = format!(
        r#"{{"inputs":[],"other":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert_eq!(
        one(Datatype::F32, &beside).expect_err("no input").status(),
        400
    );
}

/// A request with binary `x` and numbers for `k`.
const MIXED: &str = r#"{"id":"7","parameters":{"binary_data_output":true},"inputs":[
 {"name":"x","shape":[1,2],"datatype":"FP16","parameters":{"binary_data_size":4}},
 {"name":"k","shape":[3],"datatype":"BOOL","data":[true,false,true]},
 {"name":"w","shape":[1],"datatype":"INT32","parameters":{"binary_data_size":4}}],
 "outputs":[{"name":"z"},{"name":"y","parameters":{"binary_data":false}}]}"#;

fn mixed_ports() -> [Port; 3] {
    [
        port("w", Datatype::I32, &["1"]),
        port("k", Datatype::Bool, &["m"]),
        port("x", Datatype::F16, &["n", "2"]),
    ]
}

#[test]
fn binary_data_lies_behind_the_json_in_the_order_of_the_inputs() {
    let body = [MIXED.as_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let length = MIXED.len().to_string();
    let read =
        |length: &str, body: &[u8]| Request::parse(Some(length), body, &mixed_ports(), &outputs());
    let request = read(&length, &body).expect("all of it fits");
    assert_eq!(request.id.as_deref(), Some("7"));
    let bytes: Vec<_> = request
        .tensors
        .iter()
        .map(|(name, t)| (name.as_str(), t.bytes()))
        .collect();
    let expected: [(&str, &[u8]); 3] = [
        ("x", &[1, 2, 3, 4]),
        ("k", &[1, 0, 1]),
        ("w", &[5, 6, 7, 8]),
    ];
    assert_eq!(bytes, expected);
    let wanted = |name: &str, binary| Wanted {
        name: name.to_owned(),
        binary,
    };
    assert_eq!(request.outputs, [wanted("z", true), wanted("y", false)]);

    let short = read(&length, &body[..body.len() - 1]).expect_err("a byte is missing");
    assert_eq!(
        short.to_string(),
        "the body has 7 bytes behind its JSON, expected 8"
    );
    let longer = [body.as_slice(), &[9]].concat();
    assert!(read(&length, &longer).is_err());
    for length in ["", "-1", "x", "99999", "18446744073709551616"] {
        let error = read(length, &body).expect_err(length);
        assert!(
            matches!(error, Error::HeaderLength { .. }),
            "{length}: {error}"
        );
    }
    assert!(Request::parse(None, &body, &mixed_ports(), &outputs()).is_err());
    let other = MIXED.replace(
        "\"binary_data_size\":4}},\n {\"name\":\"k\"",
        "\"binary_data_size\":5}},\n {\"name\":\"k\"",
    );
    let error = read(
        &other.len().to_string(),
        &[other.as_bytes(), &[0; 9]].concat(),
    );
    let said = error.expect_err("five bytes").to_string();
    assert_eq!(said, "input \"x\": expected 4 bytes of binary data, got 5");
}

#[test]
fn outputs_are_all_or_those_that_are_named() {
    let inputs = [port("x", Datatype::U8, &["1"])];
    let read = |rest: &str| {
        let json = format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"UINT8","data":[1]}}]{rest}}}"#
        );
        let request = Request::parse(None, json.as_bytes(), &inputs, &outputs())?;
        let wanted = request
            .outputs
            .into_iter()
            .map(|wanted| (wanted.name, wanted.binary));
        Ok::<_, Error>(wanted.collect::<Vec<_>>())
    };
    let pair = |y: bool, z: bool| vec![("y".to_owned(), y), ("z".to_owned(), z)];
    assert_eq!(read("").expect("all"), pair(false, false));
    assert_eq!(read(r#","outputs":[]"#).expect("all"), pair(false, false));
    assert_eq!(
        read(r#","parameters":{"binary_data_output":true}"#).expect("all"),
        pair(true, true)
    );
    let one = read(r#","outputs":[{"name":"y","parameters":{"binary_data":true}}]"#);
    assert_eq!(one.expect("one"), [("y".to_owned(), true)]);
    for rest in [
        r#","outputs":[{"name":"q"}]"#,
        r#","outputs":[{"name":"y"},{"name":"y"}]"#,
        r#","outputs":[{"name":"y","parameters":{"classification":3}}]"#,
        r#","outputs":[{"name":"y","parameters":{"binary_data":1}}]"#,
        r#","outputs":{}"#,
    ] {
        assert_eq!(read(rest).expect_err(rest).status(), 400, "{rest}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is cut, doubled or changed in a request, it is read or refused, and tensors are what they say.
    #[test]
    fn no_change_of_a_request_breaks_the_reader(
        at in 0..MIXED.len(), drop in 0usize..40, put in "[\\[\\]{}\",:0-9a-z-]{0,12}", length in 0usize..700,
    ) {
        let mut json = MIXED.as_bytes().to_vec();
        let end = (at + drop).min(json.len());
        json.splice(at..end, put.bytes());
        let body = [json.as_slice(), &[1; 8]].concat();
        for length in [json.len(), length] {
            let read = Request::parse(Some(&length.to_string()), &body, &mixed_ports(), &outputs());
            match read {
                Ok(request) => for (_, tensor) in &request.tensors {
                    let count: usize = tensor.shape().iter().product();
                    prop_assert_eq!(tensor.bytes().len(), count * tensor.datatype().size());
                },
                Err(error) => prop_assert!([400, 413].contains(&error.status())),
            }
        }
    }

    /// Numbers are read as they were written.
    #[test]
    fn reals_keep_their_bits(values in proptest::collection::vec(-1e30f32..1e30, 1..50)) {
        let inputs = [port("x", Datatype::F32, &["n"])];
        let data = serde_json::to_string(&values).expect("finite");
        let json = x("FP32", &format!("[{}]", values.len()), &data);
        let request = Request::parse(None, json.as_bytes(), &inputs, &outputs()).expect("valid");
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        prop_assert_eq!(request.tensors[0].1.bytes(), bytes);
    }
}
