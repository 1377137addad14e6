//! Measures, in a test VM whose clock counts instructions, what tracing costs the whole machine.
//!
//! With one CPU and QEMU's `-icount`, a nanosecond is an instruction. A process that only passes the
//! time (`SCHED_IDLE`) keeps the CPU from idling: whatever is not its time was spent on the calls, on
//! interrupts, or on the tracer.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod guest {
    use std::{
        env, fs,
        io::{self, Read as _, Write as _},
        net::{Ipv4Addr, SocketAddrV4},
        ops::RangeInclusive,
        os::fd::OwnedFd,
        path::PathBuf,
        process::{Child, ChildStdout, Command, Stdio},
        sync::{
            Arc,
            atomic::{AtomicU32, AtomicU64, Ordering},
        },
        thread::{self, JoinHandle},
        time::{Duration, Instant},
    };

    use anyhow::{Context as _, Result, ensure};
    use rustix::{
        net::{
            AddressFamily, SocketType, accept, bind, connect, listen, socket,
            sockopt::set_socket_linger,
        },
        process::{Pid, Signal, kill_process},
    };
    use xtask::figures::{Call, Case, Figure};

    /// Ports that are free, each for a while: a tracer that looks at a socket holds it, and with it
    /// the port, a moment longer than its process.
    const FREE: RangeInclusive<u16> = 10_001..=11_000;
    const TAKEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8082);
    /// The boot's background work doubles the first figures.
    const BOOT: Duration = Duration::from_secs(10);
    /// A tracer has come to rest that takes less than the one for the other.
    const LITTLE: u64 = 200_000;
    const WHILE: Duration = Duration::from_millis(10);
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
        listener: OwnedFd,
    }

    impl Bench {
        fn new() -> Result<Self> {
            let idler = Command::new("chrt")
                .args(["--idle", "0"])
                .arg(env::current_exe()?)
                .arg(PASS_TIME)
                .spawn();
            let listener = tcp()?;
            bind(&listener, &TAKEN)?;
            listen(&listener, 128)?;
            let bench = Self {
                idler: idler.context("chrt cannot be started")?,
                listener,
            };
            bench.signal_idler(Signal::STOP)?;
            Ok(bench)
        }

        fn signal_idler(&self, signal: Signal) -> Result<()> {
            Ok(kill_process(Pid::from_child(&self.idler), signal)?)
        }

        fn run(&mut self, case: &Case) -> Result<()> {
            let tracer = Tracer::start(case)?;
            match self.wait_until_traced(case, &tracer) {
                Err(error) if case.foreign => {
                    writeln!(io::stderr(), "{error:#}")?;
                    return tracer.stop();
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
            tracer.stop()
        }

        /// portwatch says when it is ready; of the others, what they show of calls does.
        fn wait_until_traced(&self, case: &Case, tracer: &Tracer) -> Result<()> {
            const PATIENCE: Duration = Duration::from_mins(2);
            let first = case.calls.first().copied().unwrap_or(Call::Bind);
            let seen = || tracer.lines.load(Ordering::Acquire);
            let before = seen();
            while tracer.child.is_some() && !tracer.errors().contains(READY) && seen() < before + 3
            {
                ensure!(
                    tracer.begun.elapsed() < PATIENCE,
                    "{} is not ready: {}",
                    case.name,
                    tracer.errors()
                );
                self.repeat(first, 1)?;
                thread::sleep(WHILE);
            }
            Ok(())
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
            self.repeat(call, calls)?;
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
                instructions: after.spent() - before.spent(),
                tracer: after.tracer.saturating_sub(before.tracer),
            })
        }

        fn repeat(&self, call: Call, times: u64) -> Result<()> {
            for (port, _) in FREE.cycle().zip(0..times) {
                let caller = tcp()?;
                match call {
                    Call::Bind => bind(&caller, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?,
                    Call::FailedBind => {
                        ensure!(bind(&caller, &TAKEN).is_err(), "port 8082 is free");
                    }
                    Call::Connect => {
                        // Both ends are gone at once: none waits in TIME_WAIT.
                        set_socket_linger(&caller, Some(Duration::ZERO))?;
                        connect(&caller, &TAKEN)?;
                        drop(accept(&self.listener)?);
                    }
                }
            }
            Ok(())
        }

        fn look(&self, tracer: &Tracer) -> Result<Look> {
            Ok(Look {
                begun: tracer.begun,
                at: Instant::now(),
                idle: run_time(self.idler.id())?,
                reader: tracer.reader_time()?,
                tracer: tracer.run_time()?,
                lines: tracer.lines.load(Ordering::Acquire),
            })
        }
    }

    /// What had been spent at one moment.
    struct Look {
        begun: Instant,
        at: Instant,
        idle: u64,
        reader: u64,
        tracer: u64,
        lines: u64,
    }

    impl Look {
        fn spent(&self) -> u64 {
            let passed = u64::try_from((self.at - self.begun).as_nanos()).unwrap_or(u64::MAX);
            passed.wrapping_sub(self.idle).wrapping_sub(self.reader)
        }
    }

    struct Tracer {
        begun: Instant,
        child: Option<Child>,
        lines: Arc<AtomicU64>,
        /// The thread that reads its output, by number
        reader: Arc<AtomicU32>,
        reading: Option<JoinHandle<io::Result<()>>>,
        /// Where its messages go
        messages: PathBuf,
    }

    /// How portwatch begins the line by which it says that it watches.
    const READY: &str = "portwatch: watching";

    impl Tracer {
        fn start(case: &Case) -> Result<Self> {
            let mut tracer = Self {
                begun: Instant::now(),
                child: None,
                lines: Arc::default(),
                reader: Arc::default(),
                reading: None,
                messages: env::temp_dir().join(case.name.replace(['/', ' '], "-")),
            };
            if let Some((program, arguments)) = case.argv.split_first() {
                let mut child = Command::new(program)
                    .args(arguments)
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(fs::File::create(&tracer.messages)?)
                    .spawn()
                    .with_context(|| format!("cannot start {program}"))?;
                let output = child.stdout.take().context("no pipe")?;
                let (lines, reader) = (Arc::clone(&tracer.lines), Arc::clone(&tracer.reader));
                tracer.reading = Some(thread::spawn(move || count(output, &lines, &reader)));
                tracer.child = Some(child);
            }
            Ok(tracer)
        }

        /// Waits until it takes next to no time any more: it has started, or has told all.
        fn come_to_rest(&self) -> Result<()> {
            // So much at least: one that has not begun yet is at rest too.
            const LEAST: u32 = 4;
            let mut quiet = 0;
            while quiet < LEAST {
                let before = self.run_time()?;
                thread::sleep(WHILE);
                // A thread may have ended.
                let took = self.run_time()?.saturating_sub(before);
                quiet = if took < LITTLE { quiet + 1 } else { 0 };
            }
            Ok(())
        }

        fn run_time(&self) -> Result<u64> {
            self.child
                .as_ref()
                .map_or(Ok(0), |child| run_time(child.id()))
        }

        fn reader_time(&self) -> Result<u64> {
            match self.reader.load(Ordering::Acquire) {
                0 => Ok(0),
                thread => schedstat(&format!("/proc/self/task/{thread}/schedstat")),
            }
        }

        fn errors(&self) -> String {
            fs::read_to_string(&self.messages).unwrap_or_default()
        }

        fn stop(mut self) -> Result<()> {
            if let Some(mut child) = self.child.take() {
                let pid = Pid::from_child(&child);
                kill_process(pid, Signal::INT)?;
                child.wait()?;
                // Its hooks are in the next one's way until the kernel has detached them.
                while hooks_are_attached()? {
                    thread::sleep(WHILE);
                }
            }
            if let Some(reading) = self.reading.take() {
                ensure!(reading.join().is_ok(), "the thread that read panicked");
            }
            Ok(())
        }
    }

    /// Whether any process has a program attached to something.
    fn hooks_are_attached() -> io::Result<bool> {
        let is_link = |fd: io::Result<fs::DirEntry>| {
            let target = fd.and_then(|fd| fs::read_link(fd.path()));
            target.is_ok_and(|target| target.as_os_str() == "anon_inode:bpf_link")
        };
        let mut processes = fs::read_dir("/proc")?.flatten();
        Ok(processes.any(|process| {
            let open = fs::read_dir(process.path().join("fd"))
                .into_iter()
                .flatten();
            open.into_iter().any(is_link)
        }))
    }

    fn count(mut output: ChildStdout, lines: &AtomicU64, reader: &AtomicU32) -> io::Result<()> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        reader.store(thread.unsigned_abs(), Ordering::Release);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = output.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            #[expect(clippy::naive_bytecount, reason = "its time is not counted")]
            let ends = buffer[..read].iter().filter(|&&byte| byte == b'\n').count();
            lines.fetch_add(ends as u64, Ordering::Release);
        }
    }

    /// Nanoseconds that the threads of a process have run.
    fn run_time(pid: u32) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = thread?.path().join("schedstat");
            sum += schedstat(&path.to_string_lossy())?;
        }
        Ok(sum)
    }

    fn schedstat(path: &str) -> Result<u64> {
        let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
        let first = text
            .split_whitespace()
            .next()
            .context("an empty schedstat")?;
        Ok(first.parse()?)
    }

    fn tcp() -> Result<OwnedFd> {
        Ok(socket(AddressFamily::INET, SocketType::STREAM, None)?)
    }
}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    guest::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
