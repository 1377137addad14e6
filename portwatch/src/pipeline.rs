//! From a source to the output: look up, filter, count, print, and end cleanly.

mod causes;
mod connects;
mod ends;
mod follow;
mod pace;
mod precedence;

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    causes::Causes,
    ends::{Ends, ReaderGone},
    follow::{finish, follow, outlive},
    pace::Pace,
    precedence::Precedence,
};
use crate::{
    clock::now,
    command::{Order, Prepared},
    config::Config,
    confine,
    event::{
        Attempt, Degradation, Degraded, Event, LossReason, Lost, Op, Outcome, Place, Start, Summary,
    },
    explain,
    filter::{Filter, Needs},
    manager::Manager,
    memory,
    outcomes::Outcomes,
    output::Printers,
    ready,
    sink::Sinks,
    source::{
        Backend, Callers, Kind, Opened, Source,
        record::{LossCount, Record},
    },
    surroundings::{Known, Surroundings},
    top::Top,
    users::Users,
};

/// Watches until something ends it, and writes the summary; tells the exit code. Must run inside a
/// tokio runtime.
pub async fn watch(
    config: &Config,
    opened: Opened,
    users: Users,
    order: Option<&Order>,
) -> anyhow::Result<u8> {
    let begun = Instant::now();
    let mut source = opened.source;
    let mut ends = Ends::new(config.duration)?;
    let reader = ReaderGone::new(config);
    let command = order.map(Order::prepare).transpose()?;
    let known = known(opened.backend, &opened.hooks);
    let mut degradations = opened.degradations;
    // Whoever looks things up keeps it, and nobody can take it any more once that much is given up.
    let precedence = Precedence::take();
    confine(config, command.is_some())?;
    let surroundings = surroundings(config, known, &mut source, &mut degradations)?;
    drop(precedence);
    let sink = Sinks::open(config)?;
    let (time, begun_ns) = (now(), source.clock_ns());
    let mut stream = Stream::new(config, known, surroundings, users, begun_ns);
    stream.top = config.on_screen.then(|| Top::open(config)).transpose()?;
    // Whatever it does comes after the stream's begin.
    let mut command = command.map(Prepared::start).transpose()?;
    degradations.extend(stream.surroundings.degradations(&config.filter));
    // After the command, which may have huge pages.
    memory::settle();
    stream.write(&Event::Start(Box::new(Start {
        time,
        system: opened.system,
        backend: opened.backend.name().into(),
        ring_bytes: opened.ring_bytes,
        hooks: opened.hooks,
        missing: opened.missing,
        degradations,
        kernel: release(),
        filters: config.filters_typed.clone(),
        pid: std::process::id(),
    })))?;
    sink.put(&mut stream.lines);
    let mut manager = Manager::ready();
    let running = command.as_mut();
    follow(
        &mut source,
        &mut stream,
        &sink,
        &mut ends,
        &reader,
        &mut manager,
        running,
    )
    .await?;
    stream.end_ns = Some(source.clock_ns());
    // It gives the terminal back.
    stream.top = None;
    manager.stopping();
    finish(&mut source, &mut stream, &sink, &mut ends, begun).await?;
    let verdict = source.verdict();
    let code = match command {
        Some(command) if verdict.is_ok() => outlive(command, &mut ends, config.quiet).await,
        _ => 0,
    };
    // It leaves a child behind, which is none of the command's.
    source.part();
    verdict.map(|()| code)
}

/// Gives up what the watch does not take.
fn confine(config: &Config, runs_command: bool) -> anyhow::Result<()> {
    confine::enter(&confine::Needs {
        log_file: config.logs_to_file(),
        command: runs_command,
        user: config.user_after.as_ref(),
    })
    .context("cannot become the user of --user-after")
}

/// The kernel's release, as `uname -r` prints it.
fn release() -> String {
    let release = rustix::system::uname();
    release.release().to_string_lossy().into_owned()
}

/// What looks things up beside the attempts. Without the kernel's iterator holders are found more slowly,
/// and not all of them: that is said.
fn surroundings(
    config: &Config,
    known: Known,
    source: &mut Source,
    degradations: &mut Vec<Degradation>,
) -> anyhow::Result<Surroundings> {
    let kernel = source.kernel().map(|(kernel, fault)| {
        degradations.extend(fault.map(|why| Degradation {
            what: "who holds a port is looked for in /proc".to_owned(),
            why,
            remedy: Some("portwatch doctor".to_owned()),
        }));
        kernel
    });
    Surroundings::new(config, known, kernel).context("cannot start the thread that looks things up")
}

/// What a cause may rest on.
fn known(backend: Backend, hooks: &[String]) -> Known {
    match backend {
        Backend::Ebpf(Kind::Tracepoint) => Known::Call,
        Backend::Ebpf(Kind::Fexit | Kind::Kprobe) => Known::Most {
            resets: hooks.iter().any(|hook| hook == RESETS),
        },
        Backend::Dtrace => Known::All,
    }
}

/// What is written: its numbering, its counts, its lines.
struct Stream<'a> {
    config: &'a Config,
    printers: Printers,
    /// A live view, which is beside the printers
    top: Option<Top>,
    users: Users,
    surroundings: Surroundings,
    /// What the filter asks of cgroups, and of parents, alone
    of_cgroup: Filter,
    of_tree: Filter,
    /// What the filter asks for
    needs: Needs,
    /// By the source's clock, in nanoseconds: attempts that began before it are none of this watch's
    begun_ns: u64,
    /// Likewise those that began later: set when it is over
    end_ns: Option<u64>,
    /// Number of the last attempt that was written
    seq: u64,
    summary: Summary,
    outcomes: Outcomes,
    /// What waits for its cause
    causes: Causes,
    repeats: explain::Repeats,
    /// Whoever the source is to rule out
    ruled_out: Vec<Callers>,
    /// Since when the time of the outcomes runs
    begun: Instant,
    /// Read from the ring and not yet looked at
    records: VecDeque<Record>,
    pace: Pace,
    /// Of each output, whole lines that are not yet with its sink
    lines: Vec<Vec<u8>>,
    ring_is_empty: bool,
    /// Nothing more is to be written but the summary
    over: bool,
    window: Option<Signal>,
    /// Taken only where there is a log file; elsewhere it ends the process, as ever
    hangup: Option<Signal>,
}

/// The hook that tells what TCP was refused by.
const RESETS: &str = "tp_btf:tcp_receive_reset";
/// Records that are taken from the ring at once: enough for few hand-overs, few enough for little memory.
const RECORDS: usize = 256;

/// Whether a record is about the same descriptor of the same process.
fn is_about(record: &Record, attempt: &Attempt) -> bool {
    matches!(record, Record::Attempt(other) if other.tgid == attempt.tgid && other.fd == attempt.fd)
}

/// In a live view somebody may ask for anything yet.
fn needs(config: &Config) -> Needs {
    if config.on_screen {
        Needs::ALL
    } else {
        config.filter.needs()
    }
}

impl<'a> Stream<'a> {
    fn new(
        config: &'a Config,
        known: Known,
        surroundings: Surroundings,
        users: Users,
        begun_ns: u64,
    ) -> Self {
        Self {
            config,
            printers: Printers::new(config),
            top: None,
            users,
            surroundings,
            of_cgroup: config.filter.of_cgroup(),
            of_tree: config.filter.of_tree(),
            needs: needs(config),
            begun_ns,
            end_ns: None,
            seq: 0,
            summary: Summary::default(),
            outcomes: Outcomes::default(),
            causes: Causes::default(),
            repeats: explain::Repeats::default(),
            ruled_out: Vec::new(),
            begun: Instant::now(),
            records: VecDeque::with_capacity(RECORDS),
            pace: Pace::new(matches!(known, Known::Most { .. }), Instant::now()),
            lines: vec![Vec::new(); config.outputs.len()],
            ring_is_empty: false,
            over: false,
            window: signal(SignalKind::window_change()).ok(),
            hangup: config
                .logs_to_file()
                .then(|| signal(SignalKind::hangup()).ok())
                .flatten(),
        }
    }

    /// Reads a batch from the ring, and passes on what comes of it.
    fn read(&mut self, source: &mut Source, sink: &Sinks) -> anyhow::Result<ControlFlow<()>> {
        self.ring_is_empty = source.fill(&mut self.records, RECORDS);
        // What look-ups add to them waits until there was a look at the sink: in a flood there would
        // be no end to it.
        for _ in 0..self.records.len() {
            if let Some(record) = self.records.pop_front()
                && !self.over
            {
                self.take(record, source)?;
            }
        }
        for callers in self.ruled_out.drain(..) {
            source.rule_out(callers);
        }
        let now = Instant::now();
        if self.is_drained() {
            self.pace.emptied(now);
        }
        self.users.forget_if_stale(now);
        if self.is_drained() {
            self.tell_overdue(now)?;
        }
        if source.has_losses() || self.outcomes.has_lost() {
            self.write_losses(source)?;
        }
        if self.printers.due().is_some_and(|due| due <= now) {
            self.printers.draw(&mut self.lines)?;
        }
        sink.put(&mut self.lines);
        Ok(if self.over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Nothing is left to be looked at.
    fn is_drained(&self) -> bool {
        self.ring_is_empty && self.records.is_empty()
    }

    /// As many attempts as were asked for are written.
    fn is_full(&self) -> bool {
        self.config.count.is_some_and(|count| self.seq >= count)
    }

    fn take(&mut self, record: Record, source: &mut Source) -> anyhow::Result<()> {
        self.pace.note(record.caller());
        match record {
            Record::Attempt(attempt) => self.take_attempt(attempt, source),
            Record::Ended(ended) => {
                let step = self.outcomes.end(ended, &self.config.filter);
                self.carry_out(step)
            }
            Record::Notice | Record::Module => Ok(()),
        }
    }

    fn take_attempt(&mut self, mut attempt: Attempt, source: &mut Source) -> anyhow::Result<()> {
        if self.end_ns.is_some_and(|end| attempt.id.start_ns > end) {
            self.over = true;
            return Ok(());
        }
        if attempt.id.start_ns < self.begun_ns || !self.look_up(&mut attempt, source) {
            return Ok(());
        }
        // What was asked for is written, and waits for its end.
        if self.is_full() {
            return Ok(());
        }
        if self.config.explain.is_some() {
            // Also of a bind that is not shown: it may be what a later one meets.
            self.surroundings.remember(&attempt);
        }
        if attempt.op == Op::Connect && self.outcomes.concern(&attempt) {
            if self.causes.holds(attempt.id.tid) {
                // While its process is there.
                self.enrich(&mut attempt);
                self.causes.line_up_connect(attempt);
                return Ok(());
            }
            return self.take_connect(attempt);
        }
        self.take_closed(attempt)
    }

    /// An attempt that is over.
    fn take_closed(&mut self, mut attempt: Attempt) -> anyhow::Result<()> {
        if attempt.op == Op::Connect {
            self.outcomes.settle(&mut attempt);
        }
        if !self.is_wanted(&mut attempt) {
            self.rule_out(&attempt);
            return Ok(());
        }
        self.enrich(&mut attempt);
        self.write_explained(Event::Attempt(attempt))
    }

    fn note_over(&mut self) {
        self.over = self.is_full() && !self.outcomes.await_news();
    }

    /// Adds what is shown beside an attempt whose end is to come, and numbers it: it waits for nothing.
    /// The attempt stays where it is: each move is a copy of half a kilobyte.
    fn complete(&mut self, attempt: &mut Attempt) {
        self.enrich(attempt);
        if let Some(ret) = attempt.ret.filter(|_| self.config.explain.is_some()) {
            let facts = self.surroundings.not_in_time(attempt, ret);
            attempt.cause = explain::explain(attempt, &facts).map(Arc::from);
        }
        self.seq += 1;
    }

    /// Adds what the source could not know; false where that shows the attempt to be none of ours.
    fn look_up(&mut self, attempt: &mut Attempt, source: &mut Source) -> bool {
        self.surroundings.look_up(attempt, |attempt| {
            // Whatever has come of the descriptor since is in the ring by now.
            self.ring_is_empty = source.fill(&mut self.records, RECORDS * 2);
            self.records.iter().any(|record| is_about(record, attempt))
        })
    }

    /// Applies the filter, after looking up what it asks for.
    fn is_wanted(&mut self, attempt: &mut Attempt) -> bool {
        self.surroundings.add_needed(attempt, self.needs);
        self.config.filter.passes(attempt)
    }

    /// Where it is the cgroup that is not wanted, or the process by its parents, no other attempt
    /// of theirs need come here.
    fn rule_out(&mut self, attempt: &Attempt) {
        if let Some(cgroup_id) = attempt.cgroup_id
            && !self.of_cgroup.passes(attempt)
            && self.surroundings.knows_cgroup(attempt)
        {
            self.ruled_out.push(Callers::Cgroup(cgroup_id));
        }
        if let Some(start) = attempt.process_start
            && !self.of_tree.passes(attempt)
            && Surroundings::knows_parents(attempt)
        {
            let tgid = attempt.tgid;
            self.ruled_out.push(Callers::Process { tgid, start });
        }
    }

    /// Adds what stands behind the caller, for output that shows it and for causes that name it.
    fn enrich(&mut self, attempt: &mut Attempt) {
        let named = self.config.explain.is_some() && attempt.outcome() == Outcome::Failed;
        if named || self.config.shows_origin() {
            self.surroundings.add_origin(attempt);
        }
    }

    fn write_losses(&mut self, source: &mut Source) -> anyhow::Result<()> {
        for loss in source.losses()? {
            self.write_loss(loss)?;
        }
        let count = self.outcomes.lost();
        if count > 0 {
            self.write_loss(LossCount {
                reason: LossReason::PendingFull,
                place: Place::Here,
                count,
            })?;
        }
        while let Some(degradation) = source.degradation() {
            self.write(&Event::Degraded(Degraded {
                time: now(),
                degradation,
            }))?;
        }
        Ok(())
    }

    fn write_loss(&mut self, loss: LossCount) -> anyhow::Result<()> {
        let LossCount {
            reason,
            place,
            count,
        } = loss;
        *self.summary.lost.entry(reason).or_default() += count;
        self.write(&Event::Lost(Lost {
            time: now(),
            count,
            reason,
            place,
        }))
    }

    fn write_summary(&mut self, run_time: Duration) -> anyhow::Result<()> {
        let summary = Summary {
            time: now(),
            run_time,
            unended: self.outcomes.unended(),
            ..std::mem::take(&mut self.summary)
        };
        self.write(&Event::Summary(Box::new(summary)))
    }

    fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        if let Some(top) = &mut self.top {
            top.take(event);
        }
        self.printers
            .print(&mut self.lines, self.seq, event, &mut self.users)
            .context("cannot format an event")
    }

    /// Waits for a signal that concerns the output, and follows it: the terminal has another size,
    /// or log files were moved away, or counts that somebody watches are to be drawn anew.
    async fn adjusted(&mut self, sinks: &Sinks) -> anyhow::Result<ControlFlow<()>> {
        // What has ended may be in the ring.
        let tells = sinks.has_room() && self.is_drained();
        let due = self.due();
        tokio::select! {
            flow = turned(&mut self.top, self.config, &mut self.users) => return flow,
            () = received(&mut self.window) => self.printers.resize(),
            () = received(&mut self.hangup) => sinks.reopen(),
            () = ready::at(self.printers.due()), if sinks.has_room() => {
                self.printers.draw(&mut self.lines)?;
                sinks.put(&mut self.lines);
            }
            () = ready::at(due), if tells => {
                self.tell_overdue(Instant::now())?;
                sinks.put(&mut self.lines);
            }
            (ticket, facts) = self.surroundings.answer(), if sinks.has_room() => {
                self.take_answer(ticket, facts)?;
                sinks.put(&mut self.lines);
            }
            () = ready::at(self.causes.due()), if sinks.has_room() => {
                self.write_overdue(Instant::now())?;
                sinks.put(&mut self.lines);
            }
        }
        Ok(if self.over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }
}

/// What somebody does who looks at a live view.
async fn turned(
    top: &mut Option<Top>,
    config: &Config,
    users: &mut Users,
) -> anyhow::Result<ControlFlow<()>> {
    match top {
        Some(top) => top
            .turn(config, users)
            .await
            .context("cannot use the terminal"),
        None => std::future::pending().await,
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
