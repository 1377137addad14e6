//! From the first record to the last: what wakes a watch, and what ends it.

use std::{io::Write as _, time::Instant};

use anyhow::Context as _;

use super::{
    Stream,
    ends::{Ends, ReaderGone},
};
use crate::{command::Running, manager::Manager, ready, sink::Sinks, source::Source};

/// Passes events on until something says that it is enough.
pub(super) async fn follow(
    source: &mut Source,
    stream: &mut Stream<'_>,
    sink: &Sinks,
    ends: &mut Ends,
    reader: &ReaderGone,
    manager: &mut Manager,
    mut command: Option<&mut Running>,
) -> anyhow::Result<()> {
    // Children that have ended, and are not buried yet.
    let mut dead = false;
    while !sink.has_ended() {
        let room = sink.has_room();
        // For what is left in the ring nobody is woken. One batch at a time, so that in a flood
        // too a signal is seen.
        let left = room && !stream.is_drained();
        let pause = stream.pace.until();
        let ready = tokio::select! {
            biased;
            end = ends.reached() => {
                if !end.is_for(command.as_deref()) {
                    return Ok(());
                }
                false
            }
            () = reader.gone() => return Ok(()),
            () = manager.hears() => false,
            result = stream.adjusted(sink) => {
                if result?.is_break() {
                    return Ok(());
                }
                false
            }
            () = std::future::ready(()), if left => true,
            () = sink.emptied() => false,
            () = ready::at(pause), if room => true,
            ready = source.readable(), if room && pause.is_none() => {
                ready.context("cannot wait for events")?;
                true
            }
            () = died(&mut command), if room => {
                dead = true;
                true
            }
        };
        if ready && stream.read(source, sink)?.is_break() || source.has_ended() {
            return Ok(());
        }
        // Of what is left in the ring the parents are still to be looked up.
        if dead && stream.is_drained() {
            dead = false;
            if command.as_mut().is_some_and(|command| command.bury()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn died(command: &mut Option<&mut Running>) {
    match command {
        Some(command) => command.died().await,
        None => std::future::pending().await,
    }
}

/// Stays as long as the command, and tells what it ended with.
pub(super) async fn outlive(mut command: Running, ends: &mut Ends, quiet: bool) -> u8 {
    while !command.bury() {
        tokio::select! {
            () = command.died() => {}
            end = ends.interrupted() => if !end.is_for(Some(&command)) {
                break;
            }
        }
    }
    if command.has_survivors() && !quiet {
        // Nobody may be there to read it.
        drop(writeln!(
            std::io::stderr(),
            "portwatch: the command has ended; processes that came of it live on, unwatched"
        ));
    }
    command.exit_code()
}

/// Writes what is still in the ring, then the summary; a second signal cuts it short.
pub(super) async fn finish(
    source: &mut Source,
    stream: &mut Stream<'_>,
    sink: &Sinks,
    ends: &mut Ends,
    begun: Instant,
) -> anyhow::Result<()> {
    source.stop();
    let rest = async {
        while !sink.has_ended() && stream.read(source, sink)?.is_continue() {
            if stream.is_drained() && !source.wait_for_more().await {
                break;
            }
            while !sink.has_room() && !sink.has_ended() {
                sink.emptied().await;
            }
        }
        source.settle().await;
        stream.give_up()?;
        while !stream.causes.is_empty() && !sink.has_ended() {
            stream.await_cause().await?;
            sink.put(&mut stream.lines);
        }
        log::info!(
            "{} records were read from the kernel, {} attempts written",
            source.records_read(),
            stream.seq
        );
        stream.write_losses(source)?;
        stream.write_summary(begun.elapsed())?;
        stream.printers.finish(&mut stream.lines)?;
        sink.put(&mut stream.lines);
        sink.finish().await?;
        stream.printers.part();
        Ok(())
    };
    tokio::select! {
        result = rest => result,
        () = ends.signal() => Ok(()),
    }
}
