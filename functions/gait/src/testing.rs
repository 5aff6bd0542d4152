//! A model that answers what a test wants, in place of weights, and pictures to send.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use ephemera_engine::{Data, Manifest, Model, Tensor};

use crate::{Gait, Network};

/// Sides of the fake's frames, in pixels.
pub(crate) const SIDE: usize = 4;
/// Frames that it looks at.
pub(crate) const FRAMES: usize = 3;

/// What the fake was given, run after run: the clip's bytes, and the condition's numbers.
pub(crate) type Seen = Arc<Mutex<Vec<(Vec<u8>, Vec<f32>)>>>;

/// Answers with the same logits to every clip.
struct Fake {
    logits: Vec<f32>,
    seen: Seen,
}

impl Model for Fake {
    fn run(
        &self,
        inputs: &[(&str, Tensor)],
    ) -> Result<Vec<(String, Tensor)>, ephemera_engine::Error> {
        let [("clip", clip), ("condition", condition)] = inputs else {
            panic!("expected the inputs clip and condition")
        };
        assert_eq!(clip.shape, [1, FRAMES, SIDE, SIDE, 3]);
        assert_eq!(condition.shape, [1, 2]);
        let Data::U8(pixels) = &clip.data else {
            panic!("a clip is bytes")
        };
        let embedding = condition.as_f32().expect("a condition is numbers");
        let mut seen = self.seen.lock().expect("no test panics here");
        seen.push((pixels.clone(), embedding.to_vec()));
        let logits = Tensor::f32(&[1, self.logits.len()], self.logits.clone())?;
        Ok(vec![("logits".to_owned(), logits)])
    }
}

/// A network of three frames of 4 x 4 px with two conditions and three classes.
pub(crate) const MANIFEST: &str = r#"
name = "gait-student"
version = "1"
licence = "Apache-2.0"
source = "a test"
source_sha256 = "0"
sha256 = "0123456789abcdef"
training_data = "nothing at all"
classes = ["Normal", "KOA_Early", "PD_Early"]

[[inputs]]
name = "clip"
shape = [1, 3, 3, 4, 4]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[[inputs]]
name = "condition"
shape = [1, 2]

[[outputs]]
name = "logits"
shape = [1, 3]

[[tables]]
name = "conditions"
file = "conditions.f32"
sha256 = "0"
rows = ["Normal", "PD_Early"]
columns = 2
"#;

/// The manifest in `text`, its table filled with 1, 2, 3 and so on.
pub(crate) fn manifest(text: &str) -> Manifest {
    let mut manifest = Manifest::parse(text).expect("a whole manifest");
    for table in &mut manifest.tables {
        table.values = (1..=table.rows.len() * table.columns)
            .map(|value| value as f32)
            .collect();
    }
    manifest
}

/// The function with a model that answers `logits`, and what it sees.
pub(crate) fn gait(logits: &[f32]) -> (Gait, Seen) {
    let seen = Seen::default();
    let fake = Fake {
        logits: logits.to_vec(),
        seen: Arc::clone(&seen),
    };
    let network = Network::new(manifest(MANIFEST), Box::new(fake)).expect("the manifest fits");
    (Gait { network }, seen)
}

/// A PNG of one shade.
pub(crate) fn png(width: u32, height: u32, shade: u8) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(width, height, image::Rgb([shade; 3]))
        .write_to(&mut out, image::ImageFormat::Png)
        .expect("a valid picture");
    out.into_inner()
}

/// A form of fields with these names and contents, to be declared as [`FORM`].
pub(crate) fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend(head.into_bytes());
        body.extend_from_slice(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--edge--\r\n");
    body
}

/// The type of a body that [`multipart`] makes.
pub(crate) const FORM: &str = "multipart/form-data; boundary=edge";
