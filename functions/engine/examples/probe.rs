//! Runs one model and says how long it took and what came out, natively and, as the same program, inside WebAssembly.
//!
//! ```text
//! probe --manifest model.toml --graph model.onnx            --input x=1x3x736x736 [--float]
//! probe --manifest model.toml --graph program --weights w   --input x=1x3x736x736
//!       [--isa NAME] [--runs N] [--profile] [--pack FOLDER]
//! ```
//!
//! `--input`: the shape in the graph, for each input; the values are made from a fixed seed, pixels or reals in -1..=1.
//! Prints one JSON object: `isa`, `median_ms`, `min_ms`, `peak_bytes` (linear memory, or the most resident natively), `hash`
//! (of the outputs' bits) and, with `--profile`, `steps` with their medians. `--pack`: only writes `program` and `weights`.

use std::collections::HashMap;
use std::error::Error;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use ephemera_engine::{Data, Graph, Isa, Manifest, Model, Tensor};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    let manifest = Manifest::parse(&std::fs::read_to_string(arguments.one("manifest")?)?)?;
    let graph = load(&manifest, &arguments)?;
    if let Some(folder) = arguments.optional("pack") {
        return pack(&graph, Path::new(folder));
    }
    let graph = match arguments.optional("isa") {
        None => graph,
        Some(name) => {
            let mut sets = Isa::available().into_iter();
            let isa = sets.find(|isa| isa.name() == name);
            graph.with_isa(isa.ok_or_else(|| format!("no instruction set {name} here"))?)
        }
    };
    let inputs = inputs(&manifest, &arguments)?;
    let runs: usize = arguments.optional("runs").unwrap_or("1").parse()?;
    let outputs = graph.run(&inputs)?;
    let mut times = vec![];
    let mut profile: Vec<Vec<f64>> = vec![];
    for _ in 0..runs {
        let start = Instant::now();
        let mut last = start;
        graph.run_observed(&inputs, &mut |index| {
            if arguments.has("profile") {
                let now = Instant::now();
                profile.resize(profile.len().max(index + 1), vec![]);
                profile[index].push((now - last).as_secs_f64() * 1e3);
                last = now;
            }
        })?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let (median, least) = summary(&mut times);
    let mut line = serde_json::json!({
        "isa": arguments.optional("isa").unwrap_or(Isa::best().name()),
        "median_ms": median,
        "min_ms": least,
        "peak_bytes": peak_bytes(),
        "arena_bytes": graph.arena_bytes(&inputs)?,
        "hash": format!("{:016x}", hash(&outputs)),
        "macs": graph.report(&inputs)?.iter().map(|step| step.macs).sum::<u64>(),
    });
    if arguments.has("profile") {
        let steps = graph.report(&inputs)?.into_iter().zip(&mut profile);
        let steps = steps.map(|(step, times)| {
            let (median, _) = summary(times);
            serde_json::json!({"name": step.name, "op": step.op, "output": step.output, "macs": step.macs, "median_ms": median})
        });
        line["steps"] = steps.collect();
    }
    println!("{line}");
    Ok(())
}

fn load(manifest: &Manifest, arguments: &Arguments) -> Result<Graph> {
    let bytes = std::fs::read(arguments.one("graph")?)?;
    if let Some(weights) = arguments.optional("weights") {
        // As a function reads them: straight to where they stay.
        let mut file = std::fs::File::open(weights)?;
        let mut weights = Vec::with_capacity(usize::try_from(file.metadata()?.len())?);
        let mut buffer = [0; 4096];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => weights.extend(buffer[..read].iter().map(|&byte| byte as i8)),
            }
        }
        return Ok(Graph::from_parts(manifest, &bytes, weights)?);
    }
    imported(manifest, &bytes, arguments)
}

#[cfg(feature = "tract")]
fn imported(manifest: &Manifest, onnx: &[u8], arguments: &Arguments) -> Result<Graph> {
    if !arguments.has("float") {
        let graph = Graph::load(manifest, onnx)?;
        if let Some(reason) = graph.float_reason() {
            eprintln!("runs in tract, f32: {reason}");
        }
        return Ok(graph);
    }
    // tract cannot follow every symbolic shape, and here they are known.
    let mut manifest = manifest.clone();
    for (name, shape) in shapes(arguments)? {
        let known = manifest.inputs.iter_mut().find(|input| input.name == name);
        if let Some(input) = known {
            input.shape = shape.into_iter().map(ephemera_engine::Dim::Fixed).collect();
        }
    }
    Ok(Graph::load_float(&manifest, onnx)?)
}

#[cfg(not(feature = "tract"))]
fn imported(_: &Manifest, _: &[u8], _: &Arguments) -> Result<Graph> {
    Err("built without tract: --weights is needed".into())
}

fn pack(graph: &Graph, folder: &Path) -> Result<()> {
    let parts = graph.parts().ok_or("the graph runs in tract")?;
    let weights: Vec<u8> = parts.weights.iter().map(|&weight| weight as u8).collect();
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("program"), parts.program)?;
    std::fs::write(folder.join("weights"), weights)?;
    Ok(())
}

/// Values that are the same everywhere.
fn inputs<'a>(manifest: &Manifest, arguments: &'a Arguments) -> Result<Vec<(&'a str, Tensor)>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 40
    };
    let mut inputs = vec![];
    for (name, shape) in shapes(arguments)? {
        let spec = manifest.inputs.iter().find(|input| input.name == name);
        let image = spec.is_some_and(|input| !input.mean.is_empty());
        let count = shape.iter().product();
        let tensor = match *shape {
            [n, c, ref pixels @ ..] if image => Tensor::u8(
                &[&[n], pixels, &[c]].concat(),
                (0..count).map(|_| (random() & 255) as u8).collect(),
            )?,
            _ => Tensor::f32(
                &shape,
                (0..count)
                    .map(|_| random() as f32 / (1 << 23) as f32 - 1.0)
                    .collect(),
            )?,
        };
        inputs.push((name, tensor));
    }
    Ok(inputs)
}

/// Each `--input`: its name, and its shape in the graph.
fn shapes(arguments: &Arguments) -> Result<Vec<(&str, Vec<usize>)>> {
    let parse = |given: &'_ str| -> Result<Vec<usize>> {
        Ok(given
            .split('x')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?)
    };
    let inputs = arguments.all("input").iter().map(|given| {
        let (name, shape) = given.split_once('=').ok_or("--input NAME=AxBxC")?;
        Ok((name, parse(shape)?))
    });
    inputs.collect()
}

/// Median and least.
fn summary(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    match times {
        [] => (0.0, 0.0),
        times => (times[times.len() / 2], times[0]),
    }
}

/// FNV-1a over the bits of every output.
fn hash(outputs: &[(String, Tensor)]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (_, tensor) in outputs {
        if let Data::F32(values) = &tensor.data {
            for byte in values
                .iter()
                .flat_map(|value| value.to_bits().to_le_bytes())
            {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    hash
}

#[cfg(target_family = "wasm")]
fn peak_bytes() -> usize {
    core::arch::wasm32::memory_size(0) * 65_536
}

#[cfg(not(target_family = "wasm"))]
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// `--name value` pairs and `--name` flags.
struct Arguments(HashMap<String, Vec<String>>);

const FLAGS: [&str; 2] = ["float", "profile"];

impl Arguments {
    fn parse() -> Result<Self> {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let name = argument
                .strip_prefix("--")
                .ok_or_else(|| format!("unexpected {argument}"))?;
            let values = values.entry(name.to_owned()).or_default();
            if !FLAGS.contains(&name) {
                values.push(
                    arguments
                        .next()
                        .ok_or_else(|| format!("--{name} needs a value"))?,
                );
            }
        }
        Ok(Self(values))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn optional(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    fn one(&self, name: &str) -> Result<&str> {
        self.optional(name)
            .ok_or_else(|| format!("--{name} is missing").into())
    }
}
