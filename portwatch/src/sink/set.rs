//! All the places that events go to at once. The slowest of them sets the pace.

use std::{fs::File, io, sync::Arc};

use anyhow::Context as _;
use tokio::sync::Notify;

use super::{Sink, datagram::Datagrams, log_file::LogFile};
use crate::config::{Config, Target};

pub struct Sinks {
    sinks: Vec<Named>,
    emptied: Arc<Notify>,
}

struct Named {
    sink: Sink,
    target: Target,
}

impl Sinks {
    /// Opens every output of the configuration, in its order.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let emptied = Arc::new(Notify::new());
        let sinks = config.outputs.iter().map(|output| {
            let target = output.target.clone();
            let sink = start(&target, &emptied, config.buffer)
                .with_context(|| format!("cannot write to {target}"))?;
            Ok(Named { sink, target })
        });
        Ok(Self {
            sinks: sinks.collect::<anyhow::Result<_>>()?,
            emptied,
        })
    }

    /// Takes whole lines over, of each output its own; `lines` are empty afterwards.
    pub fn put(&self, lines: &mut [Vec<u8>]) {
        for (Named { sink, .. }, lines) in self.sinks.iter().zip(lines) {
            sink.put(lines);
        }
    }

    pub fn has_room(&self) -> bool {
        self.sinks.iter().all(|named| named.sink.has_room())
    }

    /// Waits for a writer to take what is pending, or to end.
    pub async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// Whether a writer has ended, which it does by itself only when writing failed.
    pub fn has_ended(&self) -> bool {
        self.sinks.iter().any(|named| named.sink.has_ended())
    }

    /// Opens log files again, after they were moved away.
    pub fn reopen(&self) {
        for named in &self.sinks {
            named.sink.reopen();
        }
    }

    /// Says that nothing more will come, waits until all is written, and tells how it went.
    pub async fn finish(&self) -> anyhow::Result<()> {
        for named in &self.sinks {
            named.sink.close();
        }
        for Named { sink, target } in &self.sinks {
            match sink.finish().await {
                // A reader that has seen enough (`| head`) is no failure.
                Err(error)
                    if matches!(target, Target::Stdout | Target::Stderr)
                        && error.kind() == io::ErrorKind::BrokenPipe => {}
                result => result.with_context(|| format!("cannot write to {target}"))?,
            }
        }
        Ok(())
    }
}

fn start(target: &Target, emptied: &Arc<Notify>, buffer: bool) -> io::Result<Sink> {
    let emptied = Arc::clone(emptied);
    match target {
        Target::Stdout => {
            let stdout = rustix::io::dup(rustix::stdio::stdout())?;
            Sink::start(File::from(stdout), emptied, buffer)
        }
        Target::Stderr => {
            let stderr = rustix::io::dup(rustix::stdio::stderr())?;
            Sink::start(File::from(stderr), emptied, buffer)
        }
        Target::File(path) => Sink::start(LogFile::open(path)?, emptied, buffer),
        Target::Journald(path) | Target::Syslog(path) => {
            Sink::start(Datagrams::open(path)?, emptied, buffer)
        }
    }
}

#[cfg(test)]
mod tests;
