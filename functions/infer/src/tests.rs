//! The function on small models, from request bytes to answer bytes.

use std::path::Path;

use ephemera_engine::{Graph, Manifest, Signature};
use ephemera_http::NotReady;
use serde_json::{Value, json};

use super::*;

fn outside(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/outside");
    std::fs::read(folder.join(file)).expect("it is committed")
}

/// A model of tests/outside, as `ephemera build --model` describes it.
fn model(name: &str) -> (Manifest, Graph) {
    let data = outside("words-f32.data");
    let onnx = outside(&format!("{name}.onnx"));
    let inlined = ephemera_engine::inline_external(&onnx, &mut |part| {
        let start = part.offset as usize;
        let end = part
            .length
            .map_or(data.len(), |length| start + length as usize);
        Ok(data[start..end].to_vec())
    });
    let onnx = inlined.expect("a model").unwrap_or(onnx);
    let Signature { inputs, outputs } = Signature::read(&onnx, &[]).expect("a model");
    let text = format!(
        "name = {name:?}\nversion = \"1\"\nlicence = \"\"\nsource = \"\"\nsource_sha256 = \"\"\nsha256 = \"0123456789abcdef\"\n\
         training_data = \"\"\ninputs = [{{ name = \"x\", shape = [] }}]\noutputs = [{{ name = \"y\", shape = [] }}]\n"
    );
    let mut manifest = Manifest::parse(&text).expect("a manifest");
    (manifest.inputs, manifest.outputs) = (inputs, outputs);
    let graph = Graph::load(&manifest, &onnx).expect("it runs");
    (manifest, graph)
}

fn infer() -> Infer {
    let models = ["shapes-int8", "words-f32"].map(model).map(Hosted::from);
    Infer {
        catalogue: Catalogue::of(models),
    }
}

fn ask(
    infer: &Infer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HttpAnswer {
    let headers: Vec<_> = headers
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    infer.handle(HttpRequest {
        method,
        target,
        headers: &headers,
        body: body.to_vec(),
    })
}

fn json_of(answer: &HttpAnswer) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// onnxruntime's answer to this model's one request, and the request.
fn reference(name: &str) -> (Value, Value) {
    let mut all: Value = serde_json::from_slice(&outside(&format!("{name}.json"))).expect("JSON");
    let outputs = all["outputs"].take();
    (json!({"inputs": all["inputs"].take()}), outputs)
}

#[test]
fn models_say_what_they_take() {
    let infer = infer();
    let get = |path: &str| ask(&infer, "GET", path, &[], b"");
    let server = json_of(&get("/v2"));
    assert_eq!(server["name"], "ephemera");
    assert_eq!(server["extensions"], json!(["binary_tensor_data"]));
    assert_eq!(json_of(&get("/v2/health/live")), json!({"live": true}));
    assert_eq!(json_of(&get("/v2/health/ready")), json!({"ready": true}));
    let ready = json!({"name": "words-f32", "ready": true});
    assert_eq!(json_of(&get("/v2/models/words-f32/ready")), ready);
    let expected = json!({
        "name": "words-f32", "versions": ["1"], "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "words", "datatype": "INT64", "shape": [-1, -1]},
            {"name": "keep", "datatype": "BOOL", "shape": [-1, -1]},
            {"name": "heat", "datatype": "FP32", "shape": [1]},
        ],
        "outputs": [
            {"name": "chances", "datatype": "FP32", "shape": [-1, -1, 4]},
            {"name": "best", "datatype": "INT64", "shape": [-1, -1]},
        ],
    });
    assert_eq!(json_of(&get("/v2/models/words-f32")), expected);
    assert_eq!(json_of(&get("/v2/models/words-f32/versions/1")), expected);
    let image = &json_of(&get("/v2/models/shapes-int8"))["inputs"][0];
    assert_eq!(
        *image,
        json!({"name": "image", "datatype": "FP32", "shape": [-1, 3, 16, 16]})
    );
    let header = get("/v2")
        .headers
        .into_iter()
        .find(|(name, _)| *name == "x-ephemera-models");
    let value = "shapes-int8@1+0123456789ab, words-f32@1+0123456789ab".to_owned();
    assert_eq!(header, Some(("x-ephemera-models", value)));
}

#[test]
fn the_quantised_model_runs_in_int8() {
    let (_, graph) = model("shapes-int8");
    assert_eq!(graph.float_reason(), None);
    assert!(graph.float_steps().is_empty());
    let (_, words) = model("words-f32");
    assert!(words.float_reason().is_some());
}

/// onnxruntime sums in another order, and rounds halves of a step to the other side now and then.
const INT8_TOL: f64 = 0.02;
/// f32 in another order.
const F32_TOL: f64 = 1e-6;

#[test]
fn answers_are_close_to_onnxruntimes() {
    let infer = infer();
    for (name, tolerance) in [("shapes-int8", INT8_TOL), ("words-f32", F32_TOL)] {
        let (request, expected) = reference(name);
        let path = format!("/v2/models/{name}/infer");
        let answer = ask(&infer, "POST", &path, &[], request.to_string().as_bytes());
        let answer = json_of(&answer);
        assert_eq!(answer["model_name"], *name, "{answer}");
        let outputs = expected.as_array().expect("a list");
        for (index, expected) in outputs.iter().enumerate() {
            let found = &answer["outputs"][index];
            for key in ["name", "datatype", "shape"] {
                assert_eq!(found[key], expected[key], "{name}");
            }
            let numbers = |value: &Value| -> Vec<f64> {
                let list = value["data"].as_array().expect("a list");
                list.iter()
                    .map(|number| number.as_f64().expect("a number"))
                    .collect()
            };
            let (found, expected) = (numbers(found), numbers(expected));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn binary_data_is_the_same_as_numbers() {
    let infer = infer();
    let (request, _) = reference("words-f32");
    let target = "/v2/models/words-f32/versions/1/infer";
    let plain = json_of(&ask(
        &infer,
        "POST",
        target,
        &[],
        request.to_string().as_bytes(),
    ));

    let mut binary = request.clone();
    let mut data: Vec<u8> = vec![];
    for input in binary["inputs"].as_array_mut().expect("a list") {
        let before = data.len();
        for value in input["data"].take().as_array().expect("a list") {
            match value {
                Value::Bool(value) => data.push(u8::from(*value)),
                Value::Number(number) => match number.as_i64() {
                    Some(whole) => data.extend(whole.to_le_bytes()),
                    None => data.extend((number.as_f64().expect("real") as f32).to_le_bytes()),
                },
                other => panic!("{other}"),
            }
        }
        input["parameters"] = json!({"binary_data_size": data.len() - before});
    }
    binary["id"] = json!("seven");
    binary["parameters"] = json!({"binary_data_output": true});
    binary["outputs"] =
        json!([{"name": "best"}, {"name": "chances", "parameters": {"binary_data": false}}]);
    let head = binary.to_string();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let answer = ask(
        &infer,
        "POST",
        target,
        &headers,
        &[head.as_bytes(), &data].concat(),
    );
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{said}");
    let header = |name: &str| {
        let found = answer.headers.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| value.as_str()).expect("it is there")
    };
    assert_eq!(header("content-type"), "application/octet-stream");
    let at: usize = header("inference-header-content-length")
        .parse()
        .expect("a number");
    let (head, behind) = answer.body.split_at(at);
    let head: Value = serde_json::from_slice(head).expect("JSON");
    assert_eq!(
        (&head["id"], &head["model_version"]),
        (&json!("seven"), &json!("1"))
    );
    assert_eq!(head["outputs"][1], plain["outputs"][0]);
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 48);
    assert_eq!(head["outputs"][0].get("data"), None);
    let best: Vec<i64> = behind
        .as_chunks()
        .0
        .iter()
        .map(|bytes| i64::from_le_bytes(*bytes))
        .collect();
    assert_eq!(json!(best), plain["outputs"][1]["data"]);
}

#[test]
fn refusals_are_sentences_in_the_protocols_form() {
    let infer = infer();
    let json_type = [("content-type", "application/json")];
    let ok = reference("words-f32").0.to_string();
    let (words, run) = ("/v2/models/words-f32", "/v2/models/words-f32/infer");
    // As many words as there are, but not as many truths.
    let apart = json!({"inputs": [
        {"name": "words", "datatype": "INT64", "shape": [1, 2], "data": [1, 2]},
        {"name": "keep", "datatype": "BOOL", "shape": [1, 3], "data": [true, true, true]},
        {"name": "heat", "datatype": "FP32", "shape": [1], "data": [1]},
    ]});
    for (method, path, headers, body, status, says) in [
        ("GET", "/v1", &[][..], "", 404, "no such path"),
        (
            "GET",
            "/v2/models/x",
            &[],
            "",
            404,
            "expected one of: shapes-int8, words-f32",
        ),
        (
            "GET",
            "/v2/models/words-f32/versions/2",
            &[],
            "",
            404,
            "expected \"1\"",
        ),
        ("POST", words, &[], "", 405, "expected GET"),
        ("GET", run, &[], "", 405, "expected POST"),
        (
            "POST",
            run,
            &[("content-type", "text/plain")],
            &ok,
            415,
            "\"text/plain\"",
        ),
        (
            "POST",
            run,
            &[("content-encoding", "gzip")],
            &ok,
            415,
            "\"gzip\"",
        ),
        ("POST", run, &json_type, "[]", 400, "not valid"),
        (
            "POST",
            run,
            &json_type,
            &apart.to_string(),
            400,
            "keep: expected shape",
        ),
    ] {
        let answer = ask(&infer, method, path, headers, body.as_bytes());
        let said = json_of(&answer);
        assert_eq!(answer.status, status, "{method} {path}: {said}");
        let text = said["error"].as_str().expect("a sentence");
        assert!(text.contains(says), "{method} {path}: {text}");
        assert_eq!(said.as_object().map(|object| object.len()), Some(1));
    }
    let large = vec![b' '; MAX_BODY_BYTES + 1];
    assert_eq!(ask(&infer, "POST", run, &json_type, &large).status, 413);
    assert_eq!(
        ask(&infer, "POST", run, &json_type, ok.as_bytes()).status,
        200
    );
}

#[test]
fn what_overflows_inside_the_model_is_no_json() {
    let infer = infer();
    let request = json!({"inputs": [
        {"name": "words", "datatype": "INT64", "shape": [1, 1], "data": [1]},
        {"name": "keep", "datatype": "BOOL", "shape": [1, 1], "data": [true]},
        {"name": "heat", "datatype": "FP32", "shape": [1], "data": [3e38]},
    ]});
    let path = "/v2/models/words-f32/infer";
    let answer = ask(&infer, "POST", path, &[], request.to_string().as_bytes());
    assert_eq!(answer.status, 500);
    assert!(
        json_of(&answer)["error"]
            .as_str()
            .expect("a sentence")
            .contains("binary data")
    );
    // A word that the table has not.
    let request = request
        .to_string()
        .replace("\"data\":[1]", "\"data\":[1000]");
    let answer = ask(&infer, "POST", path, &[], request.as_bytes());
    assert_eq!(answer.status, 500);
    assert_eq!(
        json_of(&answer),
        json!({"error": "running the model failed"})
    );
    assert!(answer.log.is_some_and(|log| log.len() > 30));
}

#[test]
fn who_has_no_models_is_alive_and_not_ready() {
    use ephemera_http::Function;
    let error = Error::from(NotReady::NotLoaded);
    let refuse = |method, target| {
        let headers = &[];
        Infer::refuse(
            &HttpRequest {
                method,
                target,
                headers,
                body: vec![],
            },
            &error,
        )
    };
    assert_eq!(refuse("GET", "/v2/health/live").status, 200);
    let ready = refuse("GET", "/v2/health/ready");
    assert_eq!(
        (ready.status, json_of(&ready)),
        (503, json!({"ready": false}))
    );
    let other = refuse("POST", "/v2/models/m/infer");
    assert_eq!(
        (other.status, json_of(&other)),
        (503, json!({"error": "models are not loaded"}))
    );
}
