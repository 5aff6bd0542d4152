//! The shapes of known networks with drawn weights, as QDQ graphs: manifests and ONNX files.

#[path = "../functions/engine/tests/common/mod.rs"]
#[allow(unreachable_pub)]
mod sketch;

use ephemera_engine::Manifest;
use sketch::{Sketch, Value};

/// A network to run.
pub(crate) struct Network {
    pub(crate) name: &'static str,
    /// Its inputs as the measuring program wants them.
    pub(crate) inputs: &'static [&'static str],
    pub(crate) manifest: Manifest,
    /// The manifest as a file.
    pub(crate) table: String,
    pub(crate) onnx: Vec<u8>,
}

/// MobileNetV2 1.0 at 224 x 224 (Sandler et al. 2018): widening, channels, blocks, stride of the first block.
const STAGES: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];

/// MobileNetV2: pointwise and depthwise convolutions, ReLU6, residual sums; 0.3 GMAC.
pub(crate) fn mobilenet_v2() -> Network {
    let mut draw = Draw::new(&[("x", &[1, 3, 224, 224])]);
    let mut x = draw.conv("x_q", [32, 3], &[3, 3], 2, After::Relu6);
    let mut channels = 32;
    for [widening, narrow, blocks, first] in STAGES {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            let wide = channels * widening;
            let mut y = x.clone();
            if widening > 1 {
                y = draw.conv(&y, [wide, channels], &[1, 1], 1, After::Relu6);
            }
            y = draw.conv(&y, [wide, 1], &[3, 3], stride, After::Relu6);
            y = draw.conv(&y, [narrow, wide], &[1, 1], 1, After::Nothing);
            x = match stride == 1 && channels == narrow {
                true => draw.node("Add", &format!("{x} {y}"), &[], After::Nothing),
                false => y,
            };
            channels = narrow;
        }
    }
    let x = draw.conv(&x, [1280, channels], &[1, 1], 1, After::Relu6);
    let x = draw.node("GlobalAveragePool", &x, &[], After::Nothing);
    let x = draw.node("Flatten", &x, &[], After::Nothing);
    let logits = draw.gemm(&x, [1000, 1280], After::Nothing);
    draw.finish("mobilenet-v2", &["x=1x3x224x224"], &logits)
}

/// The gait student: three 3-D convolutions with max pools, two dense layers; 6.6 GMAC.
pub(crate) fn gait_student() -> Network {
    let inputs: [(_, &[usize]); 2] = [("clip", &[1, 3, 16, 224, 224]), ("condition", &[1, 768])];
    let mut draw = Draw::new(&inputs);
    let (mut x, mut channels) = ("clip_q".to_owned(), 3);
    let pool = [
        ("kernel_shape", Value::Ints(&[1, 2, 2])),
        ("strides", Value::Ints(&[1, 2, 2])),
    ];
    for wider in [16, 32, 64] {
        x = draw.conv(&x, [wider, channels], &[3, 3, 3], 1, After::Relu);
        x = draw.node("MaxPool", &x, &pool, After::Nothing);
        channels = wider;
    }
    let mean = [
        ("kernel_shape", Value::Ints(&[1, 4, 4])),
        ("strides", Value::Ints(&[1, 4, 4])),
    ];
    let x = draw.node("AveragePool", &x, &mean, After::Nothing);
    let x = draw.node("Flatten", &x, &[], After::Nothing);
    let condition = draw.gemm("condition_q", [128, 768], After::Nothing);
    let axis = [("axis", Value::Int(1))];
    let x = draw.node("Concat", &format!("{x} {condition}"), &axis, After::Nothing);
    let x = draw.gemm(&x, [256, 64 * 16 * 7 * 7 + 128], After::Relu);
    let logits = draw.gemm(&x, [9, 256], After::Nothing);
    draw.finish(
        "gait-student",
        &["clip=1x3x16x224x224", "condition=1x768"],
        &logits,
    )
}

/// What follows an operator, before its result is quantised.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    Relu,
    Relu6,
}

/// A graph in the making. Every tensor's real values have a deviation of about one.
struct Draw {
    sketch: Sketch,
    nodes: usize,
    /// Of a linear congruential generator (Knuth's MMIX).
    state: u64,
}

impl Draw {
    /// With these f32 inputs, quantised as `<name>_q`.
    fn new(inputs: &[(&str, &[usize])]) -> Self {
        let mut sketch = Sketch::default();
        for (name, shape) in inputs {
            let shape: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let shape: Vec<&str> = shape.iter().map(String::as_str).collect();
            sketch.input(name, &shape);
            sketch.pair(name, SIGNED_STEP, 0);
        }
        Self {
            sketch,
            nodes: 0,
            state: 1,
        }
    }

    /// `shape`: outputs, and inputs of each: one for a depthwise convolution. Padded so that only strides shrink.
    fn conv(
        &mut self,
        x: &str,
        shape: [usize; 2],
        kernel: &[usize],
        stride: usize,
        after: After,
    ) -> String {
        let axes = kernel.len();
        let [wide, deep] = shape;
        let weights = self.weights(&[&shape[..], kernel].concat(), wide);
        let pads: Vec<i64> = kernel.iter().map(|extent| *extent as i64 / 2).collect();
        let group = if deep == 1 { wide as i64 } else { 1 };
        let attributes = [
            ("group", Value::Int(group)),
            ("pads", Value::Ints(&[&pads[..], &pads].concat())),
            ("strides", Value::Ints(&vec![stride as i64; axes])),
        ];
        self.node("Conv", &format!("{x} {weights}"), &attributes, after)
    }

    /// `shape`: outputs, inputs.
    fn gemm(&mut self, x: &str, shape: [usize; 2], after: After) -> String {
        let weights = self.weights(&shape, shape[0]);
        let attributes = [("transB", Value::Int(1))];
        self.node("Gemm", &format!("{x} {weights}"), &attributes, after)
    }

    /// An operator and the round trip of its result.
    fn node(&mut self, op: &str, x: &str, attributes: &[(&str, Value)], after: After) -> String {
        let name = self.name();
        self.sketch.node(op, x, &name, attributes);
        match after {
            After::Nothing => self.sketch.pair(&name, SIGNED_STEP, 0),
            After::Relu => {
                let clipped = self.name();
                self.sketch.node("Relu", &name, &clipped, &[]);
                self.sketch.pair(&clipped, SIGNED_STEP / 2.0, -128)
            }
            After::Relu6 => {
                let [clipped, low, high] = [self.name(), self.name(), self.name()];
                self.sketch.reals(&low, &[], &[0.0]);
                self.sketch.reals(&high, &[], &[6.0]);
                let inputs = format!("{name} {low} {high}");
                self.sketch.node("Clip", &inputs, &clipped, &[]);
                self.sketch.pair(&clipped, 6.0 / 255.0, -128)
            }
        }
    }

    /// i8 weights of seven bits, scaled so that sums keep a deviation of about one, and a bias: the names of both.
    fn weights(&mut self, shape: &[usize], outputs: usize) -> String {
        let count: usize = shape.iter().product();
        let values: Vec<i8> = (0..count).map(|_| self.byte()).collect();
        let [name, scale, zero, real, bias] = [(); 5].map(|()| self.name());
        // The deviation of whole numbers spread evenly over -64..=63 is 37.
        let step = 1.0 / (37.0 * ((count / outputs) as f32).sqrt());
        self.sketch.bytes(&name, shape, &values);
        self.sketch.reals(&scale, &[], &[step]);
        self.sketch.bytes(&zero, &[], &[0]);
        let inputs = format!("{name} {scale} {zero}");
        self.sketch.node("DequantizeLinear", &inputs, &real, &[]);
        let values: Vec<f32> = (0..outputs)
            .map(|_| f32::from(self.byte()) / 64.0)
            .collect();
        self.sketch.reals(&bias, &[outputs], &values);
        format!("{real} {bias}")
    }

    /// -64..=63.
    fn byte(&mut self) -> i8 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 57) as i8 - 64
    }

    fn name(&mut self) -> String {
        self.nodes += 1;
        format!("n{}", self.nodes)
    }

    fn finish(self, name: &'static str, inputs: &'static [&'static str], output: &str) -> Network {
        let mut table = format!(
            "name = {name:?}\nversion = \"0\"\nsource = \"\"\nsource_sha256 = \"\"\nlicence = \"\"\nsha256 = \"\"\ntraining_data = \"\"\n"
        );
        for input in inputs {
            let (name, shape) = input.split_once('=').expect("a name and a shape");
            let shape = shape.replace('x', ", ");
            table += &format!("[[inputs]]\nname = {name:?}\nshape = [{shape}]\n");
        }
        table += &format!("[[outputs]]\nname = {output:?}\nshape = []\n");
        let (manifest, onnx) = self.sketch.finish(&[output]);
        Network {
            name,
            inputs,
            manifest,
            table,
            onnx,
        }
    }
}

/// Bytes reach to three deviations on either side.
const SIGNED_STEP: f32 = 3.0 / 127.0;
