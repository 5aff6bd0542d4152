//! `wasmtime serve` as its users have it, for the tests to start.

use clap::Parser;
use wasmtime_cli::commands::ServeCommand;

#[derive(Parser)]
enum Command {
    /// Serves requests from a component.
    Serve(Box<ServeCommand>),
}

fn main() -> wasmtime::Result<()> {
    match Command::parse() {
        Command::Serve(serve) => serve.execute(),
    }
}
