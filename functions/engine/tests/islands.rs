//! Operators without a form of ours, in the midst of operators that have one: tract evaluates them as steps, and the
//! rest stays in int8.

#![cfg(feature = "tract")]

mod common;

use common::{Sketch, Value};
use ephemera_engine::{Graph, Model, Tensor};

/// Both ways round to bytes of one step, and twice: each may go the other way.
const STEP_TOL: f32 = 2.001;

/// Scale of every activation.
const STEP: f32 = 1.0 / 64.0;

/// `x` -> conv -> `between`, which makes `y` of `c_q` -> a byte round trip, next to the same in tract as a whole. Returns
/// the operators that tract evaluates.
fn compared(shape: &[&str], given: &[usize], between: impl Fn(&mut Sketch)) -> Vec<String> {
    let mut sketch = Sketch::default();
    sketch.input("x", shape);
    let x = sketch.pair("x", STEP, 3);
    let weight = sketch.weight("w", &[5, 3, 1, 1], 1.0 / 256.0);
    sketch.node("Conv", &format!("{x} {weight}"), "c", &[]);
    sketch.pair("c", STEP, 0);
    between(&mut sketch);
    sketch.pair("y", STEP, 0);
    let (manifest, onnx) = sketch.finish(&["y_q"]);
    let graph = Graph::load(&manifest, &onnx).expect("tract takes what we do not");
    assert_eq!(graph.float_reason(), None);
    let whole = Graph::load_float(&manifest, &onnx).expect("tract takes all of it");
    let count: usize = given.iter().product();
    let values = (0..count).map(|index| (index * 29 % 128) as f32 * STEP - 1.0);
    let x = Tensor::f32(given, values.collect()).expect("as many as the shape says");
    let inputs = [("x", x)];
    let actual = graph.run(&inputs).expect("the program runs");
    let expected = whole.run(&inputs).expect("tract runs");
    assert_eq!(actual[0].1.shape, expected[0].1.shape);
    let [actual, expected] =
        [&actual, &expected].map(|outputs| outputs[0].1.as_f32().expect("f32"));
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let apart = (actual - expected).abs() / STEP;
        assert!(
            apart <= STEP_TOL,
            "[{index}]: expected {expected}, got {actual}"
        );
    }
    let steps = graph.report(&inputs).expect("it has run");
    assert!(
        steps.iter().any(|step| step.op.starts_with("conv 1x1")),
        "{steps:?}"
    );
    let islands = graph.float_steps();
    assert_eq!(
        graph.parts().is_none(),
        !islands.is_empty(),
        "tract has no form in bytes"
    );
    assert!(islands.iter().all(|step| !step.reason.is_empty()));
    islands.into_iter().map(|step| step.op).collect()
}

const FIXED: &[&str] = &["1", "3", "4", "6"];
const SYMBOLIC: &[&str] = &["1", "3", "2*h", "w"];
const GIVEN: &[usize] = &[1, 3, 4, 6];

#[test]
fn one_operator() {
    let cubic = |sketch: &mut Sketch| {
        sketch.reals("factors", &[4], &[1.0, 1.0, 2.0, 2.0]);
        sketch.node(
            "Resize",
            "c_q - factors",
            "y",
            &[("mode", Value::Text("cubic"))],
        );
    };
    assert_eq!(compared(FIXED, GIVEN, cubic), ["Resize"]);
    let normalised = |sketch: &mut Sketch| {
        let size = [("size", Value::Int(3)), ("alpha", Value::Float(0.5))];
        sketch.node("LRN", "c_q", "y", &size);
    };
    assert_eq!(compared(FIXED, GIVEN, normalised).len(), 1);
}

#[test]
fn shapes_with_symbols() {
    let normalised = |sketch: &mut Sketch| {
        sketch.node(
            "LpNormalization",
            "c_q",
            "y",
            &[("axis", Value::Int(1)), ("p", Value::Int(2))],
        );
    };
    assert!(!compared(SYMBOLIC, GIVEN, normalised).is_empty());
    assert!(!compared(SYMBOLIC, &[1, 3, 2, 9], normalised).is_empty());
}

#[test]
fn what_is_between_is_not_f32() {
    // Where one tensor is greater than another, neither being a function of the other.
    let chosen = |sketch: &mut Sketch| {
        sketch.node("Softmax", "c_q", "s", &[("axis", Value::Int(-1))]);
        sketch.node("Greater", "c_q s", "greater", &[]);
        sketch.node("Not", "greater", "not", &[]);
        sketch.node("Where", "not s c_q", "y", &[]);
    };
    assert_eq!(compared(FIXED, GIVEN, chosen), ["Iff"]);
    let index = |sketch: &mut Sketch| {
        sketch.node("ArgMax", "c_q", "index", &[("axis", Value::Int(1))]);
        sketch.node("Cast", "index", "y", &[("to", Value::Int(1))]);
    };
    assert_eq!(compared(FIXED, GIVEN, index), ["Cast"]);
}

#[test]
fn functions_of_one_tensor_are_tables_whatever_they_are() {
    let chosen = |sketch: &mut Sketch| {
        sketch.node("Softplus", "c_q", "plus", &[]);
        sketch.node("Greater", "plus c_q", "greater", &[]);
        sketch.node("Round", "plus", "round", &[]);
        sketch.node("Where", "greater round c_q", "y", &[]);
    };
    assert!(compared(SYMBOLIC, GIVEN, chosen).is_empty());
    for unary in [
        "Elu",
        "Selu",
        "Celu",
        "Mish",
        "Softsign",
        "ThresholdedRelu",
        "Sin",
        "Floor",
        "Sign",
    ] {
        let one = |sketch: &mut Sketch| {
            sketch.node(unary, "c_q", "y", &[]);
        };
        assert!(compared(FIXED, GIVEN, one).is_empty(), "{unary}");
    }
}

#[test]
fn several_outputs_and_several_readers() {
    let split = |sketch: &mut Sketch| {
        sketch.node("Sigmoid", "c_q", "s", &[]);
        sketch.integers("k", &[1], &[3]);
        sketch.node("TopK", "s k", "values indices", &[("axis", Value::Int(-1))]);
        sketch.node("Cast", "indices", "i", &[("to", Value::Int(1))]);
        sketch.node("Mul", "values i", "y", &[]);
    };
    assert_eq!(compared(FIXED, GIVEN, split).len(), 2);
}

#[test]
fn what_is_cut_off_is_no_border_of_a_convolution() {
    for (from, to) in [([0, 0], [3, 4]), ([0, 1], [3, 6]), ([1, 0], [4, 5])] {
        let cut = |sketch: &mut Sketch| {
            sketch.integers("from", &[2], &from);
            sketch.integers("to", &[2], &to);
            sketch.integers("axes", &[2], &[2, 3]);
            sketch.node("Slice", "c_q from to axes", "cut", &[]);
            let cut = sketch.pair("cut", STEP, 0);
            let weight = sketch.weight("v", &[2, 5, 3, 3], 1.0 / 2048.0);
            let pads = [("pads", Value::Ints(&[1, 1, 1, 1]))];
            sketch.node("Conv", &format!("{cut} {weight}"), "y", &pads);
        };
        assert!(compared(FIXED, GIVEN, cut).is_empty());
    }
}

#[test]
fn a_graph_without_int8_products_stays_whole() {
    let mut sketch = Sketch::default();
    sketch.input("x", FIXED);
    sketch.reals("w", &[2, 3, 1, 1], &[0.5; 6]);
    sketch.node("Conv", "x w", "c", &[]);
    sketch.node("Relu", "c", "y", &[]);
    let (manifest, onnx) = sketch.finish(&["y"]);
    let graph = Graph::load(&manifest, &onnx).expect("tract takes it");
    let reason = graph.float_reason().expect("nothing is quantised");
    assert!(reason.contains("nothing is multiplied in int8"), "{reason}");
}
