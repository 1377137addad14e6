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
        figures::{Call, Case, Figure, Others},
        guest::{Calls, HELD, HOLD, Holders, Process, Reader, Tracer, hold},
    };

    /// Ports that are free, each for a while: a tracer that looks at a socket holds it, and with it
    /// the port, a moment longer than its process.
    const FREE: RangeInclusive<u16> = 10_001..=11_000;
    /// The boot's background work doubles the first figures.
    const BOOT: Duration = Duration::from_secs(10);
    const WARM_UP: u64 = 200;
    /// The same of those that are made by themselves.
    const LONE_WARM_UP: usize = 8;
    /// The first argument of the process that passes the time.
    const PASS_TIME: &str = "pass-time";

    pub(super) fn main() -> Result<()> {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let argument = arguments.first().context("no cases were ordered")?;
        if argument == HOLD {
            return hold(&arguments[1..]);
        }
        if argument == PASS_TIME {
            loop {
                std::hint::spin_loop();
            }
        }
        let cases: Vec<Case> = serde_json::from_str(argument)?;
        thread::sleep(BOOT);
        let bench = Bench::new()?;
        let result = cases.iter().try_for_each(|case| bench.run(case));
        let Bench { mut idler, .. } = bench;
        idler.kill()?;
        idler.wait()?;
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

        fn run(&self, case: &Case) -> Result<()> {
            let is_among_sockets = |call: &&Call| **call == Call::LoneFailedBind(Others::Sockets);
            let (among, others): (Vec<&Call>, Vec<&Call>) =
                case.calls.iter().partition(is_among_sockets);
            self.trace(case, &others)?;
            if among.is_empty() {
                return Ok(());
            }
            // Before the tracer: that they are bound is not what is measured.
            let _hoard = Holders::hoard()?;
            self.trace(case, &among)
        }

        fn trace(&self, case: &Case, calls: &[&Call]) -> Result<()> {
            let mut tracer = Tracer::start(&case.name, &case.argv, Reader::Counts)?;
            let first = match calls.first() {
                Some(&&call) if Call::IN_A_ROW.contains(&call) => call,
                _ => Call::FailedBind,
            };
            match tracer.wait_until_ready(|| self.repeat(first, 1)) {
                Err(error) if case.foreign => {
                    writeln!(io::stderr(), "{error:#}")?;
                    return tracer.stop().map(drop);
                }
                waited => waited?,
            }
            for &&call in calls {
                if case.argv.is_empty() || call == Call::Bind {
                    // What the kernel still has to do after its own start, or the tracer's, falls into
                    // the first one.
                    self.measure(case, call, &tracer)?;
                }
                let figure = self.measure(case, call, &tracer)?;
                writeln!(io::stderr(), "{}: {}", case.name, call.name())?;
                writeln!(io::stdout(), "{}", serde_json::to_string(&figure)?)?;
            }
            tracer.stop().map(drop)
        }

        fn measure(&self, case: &Case, call: Call, tracer: &Tracer) -> Result<Figure> {
            if let Call::LoneFailedBind(others) = call {
                // Bound while the tracer watches, as most ports are.
                let _holders = Holders::among(others)?;
                let ports: Vec<u16> = HELD.collect();
                let (warm_up, measured) = ports.split_at(LONE_WARM_UP);
                self.alone(call, warm_up, tracer)?;
                return self.measured(case, call, tracer, measured.len() as u64, || {
                    self.alone(call, measured, tracer)
                });
            }
            self.repeat(call, WARM_UP)?;
            let calls = match call {
                Call::Bind => 2000,
                _ => 1000,
            };
            self.measured(case, call, tracer, calls, || {
                let begun = own_time();
                self.repeat(call, calls)?;
                Ok(own_time() - begun)
            })
        }

        /// What is spent while so many calls are made, which gives what this thread took for them.
        fn measured(
            &self,
            case: &Case,
            call: Call,
            tracer: &Tracer,
            calls: u64,
            make: impl FnOnce() -> Result<u64>,
        ) -> Result<Figure> {
            tracer.come_to_rest()?;
            // Only now: while nothing is measured, waiting shall take no time.
            self.signal_idler(Signal::CONT)?;
            let before = self.look(tracer)?;
            let calling = make()?;
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

        /// Makes a call for each port, with a rest after each. Gives what the calls alone took.
        fn alone(&self, call: Call, ports: &[u16], tracer: &Tracer) -> Result<u64> {
            let mut calling = 0;
            for &port in ports {
                let begun = own_time();
                self.calls.make(call, port)?;
                calling += own_time() - begun;
                tracer.finish_one()?;
            }
            Ok(calling)
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
