//! `frames CLIP [COUNT] [OUT]`: samples COUNT frames of a clip (16 if not given), says what it took, and writes their bytes to OUT.
//!
//! ```sh
//! cargo run --release -p ephemera-video --example frames -- clip.mp4 16
//! cargo build --profile guest --target wasm32-wasip1 -p ephemera-video --example frames
//! wasmtime run --dir . target/wasm32-wasip1/guest/examples/frames.wasm clip.mp4 16
//! ```

use std::io::Write;
use std::time::Instant;

use ephemera_video::{Clip, Error, Limits};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let path = arguments.get(1).ok_or("usage: frames CLIP [COUNT] [OUT]")?;
    let count = arguments.get(2).map_or(Ok(16), |count| count.parse())?;
    let mut out = arguments.get(3).map(std::fs::File::create).transpose()?;
    let bytes = std::fs::read(path)?;
    println!("{} bytes, memory {}", bytes.len(), memory());
    let start = Instant::now();
    let clip = Clip::open(vec![bytes], &Limits::default())?;
    let total = clip.frames();
    println!(
        "{} of {total} frames, opened in {:?}",
        clip.kind(),
        start.elapsed()
    );
    let indices = indices(total, count);
    let start = Instant::now();
    let mut size = (0, 0);
    clip.sample(&indices, |_, frame| {
        size = (frame.width, frame.height);
        if let Some(out) = &mut out
            && let Err(error) = out.write_all(&frame.data)
        {
            eprintln!("{error}");
        }
        Ok::<(), Error>(())
    })?;
    println!(
        "{count} frames of {} x {} in {:?}, memory {}",
        size.0,
        size.1,
        start.elapsed(),
        memory()
    );
    Ok(())
}

/// `count` indices from the first frame to the last, rounded down.
fn indices(total: usize, count: usize) -> Vec<usize> {
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(|i| i * (total - 1) / steps).collect()
}

/// How much there is, if this is WebAssembly.
fn memory() -> String {
    #[cfg(target_arch = "wasm32")]
    let text = format!(
        "{:.1} MiB",
        core::arch::wasm32::memory_size(0) as f64 / 16.0
    );
    #[cfg(not(target_arch = "wasm32"))]
    let text = "not counted".to_owned();
    text
}
