//! Clips as pixels, and what else a model brings: classes and tables, from a stream as a function reads it.

mod common;

use common::{Sketch, Value};
use ephemera_engine::{Graph, Manifest, Model, Table, Tensor, bundle};

const SHAPE: [usize; 5] = [1, 3, 4, 6, 5];
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// A convolution over time, height and width with a ReLU and a max pool of the image.
fn quantised() -> (Manifest, Vec<u8>) {
    let mut sketch = Sketch::default();
    sketch.input("clip", &["1", "3", "4", "6", "5"]);
    let input = sketch.pair("clip", 0.02, -10);
    let weight = sketch.weight("w", &[5, 3, 3, 3, 3], 0.002);
    let pads = [("pads", Value::Ints(&[1; 6]))];
    sketch.node("Conv", &format!("{input} {weight}"), "conv", &pads);
    sketch.node("Relu", "conv", "relu", &[]);
    let pool = [
        ("kernel_shape", Value::Ints(&[1, 2, 2])),
        ("strides", Value::Ints(&[1, 2, 2])),
    ];
    let relu = sketch.pair("relu", 0.05, -128);
    sketch.node("MaxPool", &relu, "y", &pool);
    let output = sketch.pair("y", 0.05, -128);
    sketch.finish(&[&output])
}

/// One that reads the clip before it is quantised.
fn real() -> (Manifest, Vec<u8>) {
    let mut sketch = Sketch::default();
    sketch.input("clip", &["1", "3", "4", "6", "5"]);
    let input = sketch.pair("clip", 0.02, -10);
    let weight = sketch.weight("w", &[3, 3, 1, 1, 1], 0.002);
    sketch.node("Conv", &format!("{input} {weight}"), "conv", &[]);
    let conv = sketch.pair("conv", 0.05, 0);
    sketch.node("Add", &format!("clip {conv}"), "y", &[]);
    sketch.finish(&["y"])
}

/// The same model, asked for pixels.
fn with_pixels(manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    manifest.inputs[0].mean = MEAN.to_vec();
    manifest.inputs[0].std = STD.to_vec();
    manifest
}

/// `[1, T, H, W, 3]` bytes, and as the graph has them.
fn clip() -> (Tensor, Tensor) {
    let [n, c, t, h, w] = SHAPE;
    let plane = t * h * w;
    let pixels: Vec<u8> = (0..c * plane).map(|i| (i * 97 % 256) as u8).collect();
    let real = |i: usize| {
        let (channel, at) = (i / plane, i % plane);
        (f32::from(pixels[at * c + channel]) / 255.0 - MEAN[channel]) / STD[channel]
    };
    let reals = (0..c * plane).map(real).collect();
    (
        Tensor::u8(&[n, t, h, w, c], pixels).expect("a clip"),
        Tensor::f32(&SHAPE, reals).expect("a clip"),
    )
}

#[test]
fn pixels_are_normalised_as_reals_are() {
    let (pixels, reals) = clip();
    for (manifest, onnx) in [quantised(), real()] {
        for in_tract in [false, true] {
            let run = |manifest: &Manifest, clip: &Tensor| {
                let graph = match in_tract {
                    false => Graph::load(manifest, &onnx),
                    true => Graph::load_float(manifest, &onnx),
                };
                let graph = graph.expect("a graph");
                graph.run(&[("clip", clip.clone())]).expect("a run")
            };
            let expected = run(&manifest, &reals);
            assert_eq!(run(&with_pixels(&manifest), &pixels), expected);
        }
        let graph = Graph::load(&with_pixels(&manifest), &onnx).expect("a graph");
        assert_eq!(graph.float_reason(), None);
        assert!(graph.float_steps().is_empty());
    }
}

#[test]
fn another_shape_is_refused_with_the_one_that_is_wanted() {
    let (manifest, onnx) = quantised();
    let graph = Graph::load(&with_pixels(&manifest), &onnx).expect("a graph");
    let (_, reals) = clip();
    let image = Tensor::u8(&[1, 6, 5, 3], vec![0; 90]).expect("an image");
    let short = Tensor::u8(&[1, 3, 6, 5, 3], vec![0; 270]).expect("a clip");
    for (tensor, expected) in [
        (reals, "expected [1, T, H, W, 3] u8, got [1, 3, 4, 6, 5]"),
        (image, "got [1, 3, 6, 5]"),
        (short, "got [1, 3, 3, 6, 5]"),
    ] {
        let error = graph.run(&[("clip", tensor)]).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

const TABLE: &str = "name = \"m\"\nversion = \"1\"\nlicence = \"\"\nsource = \"\"\nsource_sha256 = \"\"\nsha256 = \"\"\ntraining_data = \"\"\n\
    inputs = [{ name = \"clip\", shape = [1, 3, 4, 6, 5] }]\noutputs = [{ name = \"y_q\", shape = [1, 5, 4, 3, 2] }]\n\
    classes = [\"left\", \"right\"]\n\
    [[tables]]\nname = \"one\"\nfile = \"one.f32\"\nsha256 = \"\"\nrows = [\"a\", \"b\"]\ncolumns = 2\n\
    [[tables]]\nname = \"two\"\nfile = \"two.f32\"\nsha256 = \"\"\nrows = [\"a\"]\ncolumns = 1\n";

/// A stream of these files of the model `m`.
fn stream(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut stream = tar::Builder::new(vec![]);
    for (file, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        let path = format!("m/{file}");
        stream
            .append_data(&mut header, path, *bytes)
            .expect("an entry");
    }
    stream.into_inner().expect("a stream")
}

#[test]
fn tables_come_with_the_bundle() {
    let (manifest, onnx) = quantised();
    let parts = Graph::load(&manifest, &onnx).expect("a graph").parts();
    let parts = parts.expect("a program");
    let weights: Vec<u8> = parts.weights.iter().map(|w| w.cast_unsigned()).collect();
    let one: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat();
    let two = 5.0f32.to_le_bytes();
    let files: [(&str, &[u8]); 5] = [
        ("model.toml", TABLE.as_bytes()),
        ("one.f32", &one),
        ("two.f32", &two),
        ("program", &parts.program),
        ("weights", &weights),
    ];
    let models = bundle::load(&*stream(&files)).expect("a bundle");
    let [(manifest, graph)] = &models[..] else {
        panic!("{} models", models.len())
    };
    assert_eq!(manifest.classes, ["left", "right"]);
    let row = |table: &str, row: &str| manifest.table(table).and_then(|t| Table::row(t, row));
    assert_eq!(row("one", "b"), Some(&[3.0, 4.0][..]));
    assert_eq!(row("two", "a"), Some(&[5.0][..]));
    assert!(graph.run(&[("clip", clip().1)]).is_ok());
    assert_eq!(manifest.title(), "m@1");

    // Without graphs it is a description, and with them none.
    let described = bundle::describe(&*stream(&files[..3])).expect("a description");
    assert_eq!(described[0].tables[1].values, [5.0]);
    let error = bundle::describe(&*stream(&files)).expect_err("a graph");
    assert!(error.to_string().contains("expected model.toml"), "{error}");

    // Missing, in another order, cut short.
    let without: Vec<_> = [0, 1, 3, 4].map(|index| files[index]).to_vec();
    let other: Vec<_> = [0, 2, 1, 3, 4].map(|index| files[index]).to_vec();
    let mut short = files;
    short[1].1 = &one[..12];
    for (files, expected) in [
        (&files[..1], "table one is missing"),
        (&without, "expected two.f32, got \"program\""),
        (&other, "expected one.f32, got \"two.f32\""),
        (&short, "expected 16 bytes"),
    ] {
        let error = bundle::load(&*stream(files)).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}
