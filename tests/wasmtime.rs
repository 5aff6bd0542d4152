//! `wasmtime serve` and `wasmtime run` as their users have them, for the tests to start.

use clap::Parser;
use wasmtime_cli::commands::{RunCommand, ServeCommand};

#[derive(Parser)]
enum Command {
    /// Serves requests from a component.
    Serve(Box<ServeCommand>),
    /// Runs a command, such as the engine's unit tests compiled for WebAssembly.
    Run(Box<RunCommand>),
}

fn main() -> wasmtime::Result<()> {
    match Command::parse() {
        Command::Serve(serve) => serve.execute(),
        Command::Run(run) => run.execute(),
    }
}
