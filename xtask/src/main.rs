//! portwatch's development tasks; `cargo xtask --help` lists them.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stderr,
    reason = "progress and errors are this program's interface"
)]

mod artifact;
mod bench;
mod build_std;
mod command;
mod darwin;
mod deny;
mod dist;
mod fuzz;
mod lint;
mod load;
mod platform;
mod run;
mod setup;
mod tables;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// portwatch's development tasks
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install what the build and the tests need; the other tasks do it as they need it
    Setup,
    /// Build portwatch and run it as root
    Run(run::Options),
    /// Lint, then run all tests: units, the kernel tests here, and those in VMs of other kernels
    Test(test::Options),
    /// Check formatting, lints and the layers of portwatch's modules
    Lint,
    /// Check what is depended on: licences, versions, where it comes from, known faults
    Deny(deny::Options),
    /// Measure what tracing costs in the test kernels, beside other tracers, and rewrite the tables of
    /// docs/PERFORMANCE.md
    Bench(bench::Options),
    /// Measure what portwatch can take, here and in the test kernels, what it takes at rest, and how fast
    /// it starts, and rewrite the tables of docs/PERFORMANCE.md
    Load(load::Options),
    /// Build portwatch as it is handed out: one file that needs nothing else
    Dist(dist::Options),
    /// Rewrite the tables of docs/KERNELS.md that are measured or follow from the kernel tests
    Tables(tables::Options),
    /// Feed whatever reads what others wrote with made-up bytes, for some time
    Fuzz(fuzz::Options),
    /// Boot a test kernel with portwatch in it, and run a command there, or a shell
    Vm(vm::Options),
}

fn main() -> ExitCode {
    match start(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::run()?,
        Task::Run(options) => run::run(&options)?,
        Task::Test(options) => return test::run(&options),
        Task::Lint => lint::run_all()?,
        Task::Deny(options) => deny::run(&options)?,
        Task::Bench(options) => bench::run(&options)?,
        Task::Load(options) => load::run(&options)?,
        Task::Dist(options) => dist::run(&options)?,
        Task::Tables(options) => tables::run(&options)?,
        Task::Fuzz(options) => fuzz::run(&options)?,
        Task::Vm(options) => return vm::run(options),
    }
    Ok(ExitCode::SUCCESS)
}
