//! A page image in, its text out.
//!
//! ```text
//! http.rs        method, path     -> route          one function for every runner
//! request.rs     body bytes       -> Request        framing, limits, names        (language/)
//! page.rs        Request          -> Page           upright RGB, at most 2048 px a side
//! detect.rs      Page             -> Vec<Line>      tilted rectangles             (detect/)
//! orientation.rs Page, Line       -> Quad, Text     whichever way it runs               (pitch.rs)
//! pose.rs        lines            -> Pose           quarter turns and skew: the level frame
//! choice.rs      Page, Quad       -> Text           by the pack that reads it     (pack.rs, headline.rs)
//! recognise.rs   Page, Quad       -> Text           characters, words, spelling   (recognise/, lookalikes.rs)
//! layout.rs      lines            -> Vec<Block>     reading order, kinds          (layout/)
//! identify.rs    text             -> its language
//! ink.rs         a line's picture -> its ink                for headlines and blanks
//! settings.rs    names, values    -> Settings       what the operator wants
//! render.rs      blocks           -> bytes          one file per format           (render/)
//! component.rs   the shell around it all            (the crate ephemera-http)
//! ```
//!
//! Everything but `component.rs` runs natively and as Wasm, with the same bits: it knows neither Spin nor WASI, reads no
//! clock and no file. The models come in through [`Network`]; their weights are the engine's business.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

mod choice;
#[cfg(all(target_family = "wasm", feature = "component"))]
mod component;
pub mod detect;
mod error;
mod headline;
mod http;
pub mod identify;
mod ink;
pub mod language;
pub mod layout;
mod lookalikes;
mod orientation;
pub mod pack;
pub mod page;
mod pitch;
pub mod pose;
pub mod recognise;
mod render;
pub mod request;
pub mod settings;
#[cfg(test)]
mod testing;

use ephemera_engine::{Manifest, Model, Tensor};
use ephemera_http::Stopwatch;
use ephemera_vision::{Options, Rgb};

pub use ephemera_http::{Clock, HttpAnswer, HttpRequest, MAX_BODY_BYTES};
pub use error::{Error, UnexpectedOutput};
pub use request::Request;
pub use settings::Settings;

use choice::{Choice, Chosen};
use language::Language;
use layout::{Block, ReadLine};
use orientation::Reader;
pub use pack::Pack;
use page::Page;
use pose::{Pose, Rotation};
use recognise::{Custom, with_straight_quotes};
use render::Asked;
use request::Format;

/// What a runner knows and a request does not say.
pub type Surroundings<'a> = ephemera_http::Surroundings<'a, Settings>;

/// What answers call this program beside its name.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The function with its models.
pub struct Ocr {
    /// Finds lines.
    pub detector: Network,
    /// Read them; at least one, and where several read a language the first of them does.
    packs: Vec<Pack>,
}

/// What was read on a page.
#[derive(Debug)]
pub struct Reading {
    /// The page, for its measures.
    pub page: Page,
    /// How its text is turned and tilted.
    pub pose: Pose,
    /// In reading order.
    pub blocks: Vec<Block>,
    /// Names and versions of the models that ran.
    pub model: String,
}

impl Reading {
    /// All lines in reading order.
    pub fn lines(&self) -> impl Iterator<Item = &ReadLine> {
        self.blocks.iter().flat_map(Block::lines)
    }
}

impl Ocr {
    /// The function with `models`, as a bundle has them, wherever they run; those with a character list are the packs, in this order.
    ///
    /// # Errors
    /// [`Error::Model`] when there is no detector or no pack, or one that is not as its kind has to be.
    pub fn new<M: Model + 'static>(models: Vec<(Manifest, M)>) -> Result<Ocr, Error> {
        let (recognisers, mut detectors): (Vec<_>, Vec<_>) = models
            .into_iter()
            .partition(|(manifest, _)| !manifest.characters.is_empty());
        let (detector, graph) = detectors.pop().ok_or_else(|| missing("detector"))?;
        let packs = recognisers
            .into_iter()
            .map(|(manifest, graph)| Pack::new(manifest, Box::new(graph)));
        Ocr::of(
            Network::new(detector, Box::new(graph))?,
            packs.collect::<Result<_, _>>()?,
        )
    }

    /// The function with a detector and packs.
    ///
    /// # Errors
    /// [`Error::Model`] when there is no pack.
    pub fn of(detector: Network, packs: Vec<Pack>) -> Result<Ocr, Error> {
        if packs.is_empty() {
            return Err(missing("recogniser").into());
        }
        Ok(Ocr { detector, packs })
    }

    /// Reads an image and writes the answer, under the operator's settings, with the time of each step in the header
    /// `Server-Timing`.
    ///
    /// # Errors
    /// [`Error::Image`], [`Error::Model`], [`Error::Output`].
    fn answer(&self, request: Request, around: &Surroundings<'_>) -> Result<HttpAnswer, Error> {
        let mut watch = Stopwatch::start(around.clock);
        let options = Options {
            limits: around.settings.limits,
            max_side: around.settings.max_page_side_px,
            max_strip_side: around.settings.max_strip_side_px,
            page: request.page,
            region: request.region,
        };
        let Request { mut image, .. } = request;
        let page = Page::open(&image, &options)?;
        if request.format != Format::Pdf {
            // Only a PDF shows the file; for anything else its memory is free before the models run.
            image = Vec::new();
        }
        watch.lap("decode");
        let language = &request.language;
        let reading = self.read(page, language, &mut watch)?;
        let asked = Asked {
            engine: request.engine,
            language: &language.requested,
            tag: &language.tag,
            words: request.words,
            image: &image,
        };
        let mut answer = render::render(&reading, asked, request.format);
        watch.lap("render");
        answer.headers.extend(watch.header());
        Ok(answer)
    }

    fn read(
        &self,
        page: Page,
        language: &Language,
        watch: &mut Stopwatch<'_>,
    ) -> Result<Reading, Error> {
        let custom = match language.is_sanskrit() {
            true => Custom::Sanskrit,
            false => Custom::ByLetters,
        };
        let choice = Choice::new(&self.packs, &language.packs, &page, custom);
        let mut reader = Reader::new(choice);
        let mut glance = detect::glance(&self.detector, &page, Rotation::Upright)?;
        let sample = detect::sample(&self.detector, &page, &glance)?;
        let telling = sample.map_or_else(|| glance.lines.clone(), |sample| sample.lines);
        watch.lap("detect");
        let rotation = reader.rotation(&telling)?;
        // It reads lines.
        watch.lap("recognise");
        if rotation != Rotation::Upright {
            glance = detect::glance(&self.detector, &page, rotation)?;
        }
        let pose =
            Pose::new(rotation, page.pixels.width, page.pixels.height).with_skew_of(&telling);
        let found = detect::closer(&self.detector, &page, &pose, glance)?;
        watch.lap("detect");
        reader.expect(&found);
        let mut lines = Vec::new();
        let mut readers = Vec::new();
        for line in found {
            if let Some((quad, Chosen { mut text, pack, .. })) = reader.line(&line)? {
                if self.packs[pack].reads_script("Grek") {
                    text.respell(lookalikes::greek(&text.content));
                }
                let level = pose.level(&line.quad);
                lines.push(ReadLine { quad, level, text });
                readers.push(pack);
            }
        }
        let mut blocks = layout::layout(lines);
        blocks
            .iter_mut()
            .for_each(|block| plain_quotes(block, &language.tag));
        watch.lap("recognise");
        Ok(Reading {
            page,
            pose,
            blocks,
            model: self.titles(&readers, language),
        })
    }

    /// The models that made a page's text. `readers`: the packs of its lines; where there are none, the first that may read it.
    fn titles(&self, readers: &[usize], language: &Language) -> String {
        let none = &language.packs[..language.packs.len().min(1)];
        let packs = self.packs.iter().enumerate().filter(|(place, _)| {
            readers.contains(place) || readers.is_empty() && none.contains(place)
        });
        let networks = packs.map(|(_, pack)| &pack.network);
        let titles = std::iter::once(&self.detector)
            .chain(networks)
            .map(|network| network.manifest.title());
        titles.collect::<Vec<_>>().join("+")
    }
}

fn missing(what: &str) -> ephemera_engine::Error {
    ephemera_engine::Error::Bundle(format!("expected a {what}, got none"))
}

/// Sanskrit has straight quotation marks, also where it was not asked for.
fn plain_quotes(block: &mut Block, tag: &str) {
    if matches!(identify::language(&block.plain(), tag), "sa" | "sa-Latn") {
        for line in block.rows.iter_mut().flatten() {
            line.text.respell(with_straight_quotes(&line.text.content));
        }
    }
}

/// A model and how to address it.
pub struct Network {
    manifest: Manifest,
    /// Name of its one input, an image.
    input: String,
    model: Box<dyn Model>,
}

impl Network {
    /// Puts a model beside what its manifest says.
    ///
    /// # Errors
    /// [`Error::Model`] when the manifest names no input.
    pub fn new(manifest: Manifest, model: Box<dyn Model>) -> Result<Network, Error> {
        let input = manifest.inputs.first().ok_or_else(|| {
            ephemera_engine::Error::Manifest(format!(
                "{}: expected an input, got none",
                manifest.name
            ))
        })?;
        Ok(Network {
            input: input.name.clone(),
            manifest,
            model,
        })
    }

    /// Runs the model on a picture and returns its first output.
    fn run(&self, image: Rgb) -> Result<Tensor, Error> {
        let input = Tensor::u8(&[1, image.height, image.width, 3], image.data)?;
        let outputs = self.model.run(&[(&self.input, input)])?;
        let first = outputs.into_iter().next();
        first
            .map(|(_, tensor)| tensor)
            .ok_or_else(|| self.unexpected("an output", "none"))
    }

    /// The values of an output that must have this shape.
    fn expect_f32<'a>(&self, output: &'a Tensor, shape: &[usize]) -> Result<&'a [f32], Error> {
        match output.as_f32() {
            Some(values)
                if output.shape == shape && values.len() == shape.iter().product::<usize>() =>
            {
                Ok(values)
            }
            _ => Err(self.unexpected(format!("f32 {shape:?}"), format!("{:?}", output.shape))),
        }
    }

    fn unexpected(&self, expected: impl Into<String>, actual: impl Into<String>) -> Error {
        Error::Output(UnexpectedOutput {
            model: self.manifest.name.clone(),
            expected: expected.into(),
            actual: actual.into(),
        })
    }
}

#[cfg(test)]
mod tests;
