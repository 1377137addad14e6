//! Measures, in a test VM whose clock counts instructions, what tracing costs the whole machine.
//!
//! With one CPU and QEMU's `-icount`, a nanosecond is an instruction. A process that only passes the
//! time (`SCHED_IDLE`) keeps the CPU from idling: whatever is not its time was spent on the calls, on
//! interrupts, or on the tracer.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod guest {
    use std::{
        env,
        io::{self, Write as _},
        ops::RangeInclusive,
        process::{Child, Command},
        thread,
        time::{Duration, Instant},
    };

    use anyhow::{Context as _, Result, ensure};
    use rustix::{
        process::{Pid, Signal, kill_process},
        time::{ClockId, Timespec, clock_gettime},
    };
    use xtask::{
        figures::{Call, Case, Figure},
        guest::{Calls, Process, Reader, Tracer},
    };

    /// Ports that are free, each for a while: a tracer that looks at a socket holds it, and with it
    /// the port, a moment longer than its process.
    const FREE: RangeInclusive<u16> = 10_001..=11_000;
    /// The boot's background work doubles the first figures.
    const BOOT: Duration = Duration::from_secs(10);
    const WARM_UP: u64 = 200;
    /// The first argument of the process that passes the time.
    const PASS_TIME: &str = "pass-time";

    pub(super) fn main() -> Result<()> {
        let argument = env::args().nth(1).context("no cases were ordered")?;
        if argument == PASS_TIME {
            loop {
                std::hint::spin_loop();
            }
        }
        let cases: Vec<Case> = serde_json::from_str(&argument)?;
        thread::sleep(BOOT);
        let mut bench = Bench::new()?;
        let result = cases.iter().try_for_each(|case| bench.run(case));
        bench.idler.kill()?;
        bench.idler.wait()?;
        result
    }

    struct Bench {
        /// Passes the time
        idler: Child,
        calls: Calls,
    }

    impl Bench {
        fn new() -> Result<Self> {
            let idler = Command::new("chrt")
                .args(["--idle", "0"])
                .arg(env::current_exe()?)
                .arg(PASS_TIME)
                .spawn();
            let bench = Self {
                idler: idler.context("chrt cannot be started")?,
                calls: Calls::new()?,
            };
            bench.signal_idler(Signal::STOP)?;
            Ok(bench)
        }

        fn signal_idler(&self, signal: Signal) -> Result<()> {
            Ok(kill_process(Pid::from_child(&self.idler), signal)?)
        }

        fn run(&mut self, case: &Case) -> Result<()> {
            let mut tracer = Tracer::start(&case.name, &case.argv, Reader::Counts)?;
            let first = case.calls.first().copied().unwrap_or(Call::Bind);
            match tracer.wait_until_ready(|| self.repeat(first, 1)) {
                Err(error) if case.foreign => {
                    writeln!(io::stderr(), "{error:#}")?;
                    return tracer.stop().map(drop);
                }
                waited => waited?,
            }
            for &call in &case.calls {
                if case.argv.is_empty() {
                    // What the kernel still has to do after its start falls into the first one, and
                    // all others are held against this.
                    self.measure(case, call, &tracer)?;
                }
                let figure = self.measure(case, call, &tracer)?;
                writeln!(io::stderr(), "{}: {}", case.name, call.name())?;
                writeln!(io::stdout(), "{}", serde_json::to_string(&figure)?)?;
            }
            tracer.stop().map(drop)
        }

        fn measure(&self, case: &Case, call: Call, tracer: &Tracer) -> Result<Figure> {
            self.repeat(call, WARM_UP)?;
            tracer.come_to_rest()?;
            let calls = match call {
                Call::Bind => 2000,
                Call::FailedBind | Call::Connect => 1000,
            };
            // Only now: while nothing is measured, waiting shall take no time.
            self.signal_idler(Signal::CONT)?;
            let before = self.look(tracer)?;
            let begun = own_time();
            self.repeat(call, calls)?;
            let calling = own_time() - begun;
            tracer.come_to_rest()?;
            let after = self.look(tracer)?;
            self.signal_idler(Signal::STOP)?;
            let lines = after.lines - before.lines;
            ensure!(
                !case.tells || lines >= calls,
                "{} wrote {lines} lines of {calls} calls: {}",
                case.name,
                tracer.errors()
            );
            Ok(Figure {
                case: case.name.clone(),
                call,
                calls,
                // To look, and to wait, costs instructions too.
                instructions: after.spent() - before.spent() + calling,
                tracer: after.tracer.saturating_sub(before.tracer),
            })
        }

        fn repeat(&self, call: Call, times: u64) -> Result<()> {
            for (port, _) in FREE.cycle().zip(0..times) {
                self.calls.make(call, port)?;
            }
            Ok(())
        }

        fn look(&self, tracer: &Tracer) -> Result<Look> {
            Ok(Look {
                begun: tracer.begun,
                at: Instant::now(),
                own: own_time(),
                idle: Process(self.idler.id()).run_time()?,
                reader: tracer.reader_time()?,
                tracer: tracer.run_time()?,
                lines: tracer.lines(),
            })
        }
    }

    /// What had been spent at one moment.
    struct Look {
        begun: Instant,
        at: Instant,
        own: u64,
        idle: u64,
        reader: u64,
        tracer: u64,
        lines: u64,
    }

    impl Look {
        /// By all but this thread, and those whose time does not count.
        fn spent(&self) -> u64 {
            let passed = u64::try_from((self.at - self.begun).as_nanos()).unwrap_or(u64::MAX);
            [self.own, self.idle, self.reader]
                .into_iter()
                .fold(passed, u64::wrapping_sub)
        }
    }

    /// Nanoseconds that this thread has run until now: schedstat is behind for one that runs.
    fn own_time() -> u64 {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
        u64::try_from(tv_sec * 1_000_000_000 + tv_nsec).unwrap_or(0)
    }
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    guest::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
