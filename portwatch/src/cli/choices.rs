//! Options that take one of a few words.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    #[default]
    Text,
    /// Columns of one field each, whatever the terminal's width
    Wide,
    /// JSON Lines: one object a line (docs/EVENTS.md)
    Json,
    /// key=value pairs
    Logfmt,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// Elastic Common Schema 9.4, one document a line
    Ecs,
    /// Open Cybersecurity Schema Framework 1.8, one event a line
    Ocsf,
    /// OpenTelemetry log records, one OTLP JSON message a line
    Otel,
    /// Nothing: for --log-file, --journald and --syslog alone
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Explain {
    /// The cause, what would have come next, and the first fix
    #[default]
    Short,
    /// Also the evidence, who has the port, and every fix
    Full,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Source {
    #[default]
    Auto,
    /// Trampolines (fentry, fexit): sees most and costs least; needs BTF
    Fexit,
    /// kprobes and kretprobes; needs BTF
    Kprobe,
    /// System call tracepoints: what works where kprobes are refused
    Tracepoint,
    /// DTrace: what there is on macOS
    Dtrace,
}
