//! `ephemera top`: looks at a server that runs.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use ephemera::top;

use super::executor;

#[derive(Args)]
pub(crate) struct Top {
    /// Where the server is, or the listener that its metrics have.
    #[arg(long, default_value = "http://127.0.0.1:3000")]
    url: String,
    /// Print what happened since the server started, and end.
    #[arg(long)]
    once: bool,
    /// The same as one JSON object.
    #[arg(long)]
    json: bool,
    /// Seconds between looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=3600))]
    interval: u16,
    /// Rates and quantiles are of the last so many seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    window: u32,
}

pub(crate) fn top(options: &Top) -> Result<()> {
    let executor = executor()?;
    let look = top::Options {
        url: options.url.clone(),
        interval: Duration::from_secs(options.interval.into()),
        window: Duration::from_secs(options.window.into()),
    };
    if options.once || options.json {
        let mut out = std::io::stdout();
        return executor.block_on(top::once(&look, options.json, &mut out));
    }
    top::watch(&executor, &look)
}
