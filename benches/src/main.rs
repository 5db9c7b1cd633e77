//! The command line of gemmill. Every subcommand has a file of its own; what they share:
//!
//! - `op`, `args`, `groups`, `hardware_dot`, `data`, `case`: what is multiplied, and what it has to give
//! - `measure`, `peak`, `peers`: how fast, and how fast it could be
//! - `table`, `npy_file`, `output`: what goes in and out
//! - `measured`: the figures of the documentation, which are files

mod args;
mod case;
mod convert;
mod data;
mod disasm;
mod gemm;
mod gemv;
mod groups;
mod hardware_dot;
mod measure;
mod measured;
mod npy;
mod npy_file;
mod npy_float;
mod op;
mod operands;
mod output;
mod peak;
mod peers;
mod plot;
mod summary;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

/// Measures and tries out gemmill, matrix products whose bits are the same everywhere. Without a subcommand: a summary
/// of this machine in less than a minute.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Gemm(gemm::GemmArgs),
    Gemv(gemv::GemvArgs),
    Npy(npy::NpyArgs),
    Peak(peak::PeakArgs),
    Convert(convert::ConvertArgs),
    Measure(measured::MeasureArgs),
    Disasm(disasm::DisasmArgs),
    Plot(plot::PlotArgs),
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(steps: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {pos}/{len} [{bar:30}] {eta} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what);
    bar.tick();
    bar
}

/// A sign of life on standard error, for work whose length is not known.
fn spinner(message: &'static str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no failure of ours.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    output::install_interrupt_handler()?;
    match &cli.command {
        None => summary::run(),
        Some(Command::Gemm(args)) => gemm::run(args),
        Some(Command::Gemv(args)) => gemv::run(args),
        Some(Command::Npy(args)) => npy::run(args),
        Some(Command::Peak(args)) => peak::run(args),
        Some(Command::Convert(args)) => convert::run(args),
        Some(Command::Measure(args)) => measured::run(args),
        Some(Command::Disasm(args)) => disasm::run(args),
        Some(Command::Plot(args)) => plot::run(args),
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    let is_one = |e: &std::io::Error| e.kind() == std::io::ErrorKind::BrokenPipe;
    e.chain().filter_map(|cause| cause.downcast_ref()).any(is_one)
}
