//! PID 1 of the test VMs: sets the guest up, runs one command, reports how it ended, powers off.
//!
//! Its own words go to the kernel's console; the command's go to the host in frames, over the
//! second serial port.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod guest {
    use std::{
        fs::{self, File},
        io::{self, Read, Write as _},
        os::fd::OwnedFd,
        path::Path,
        process::{Child, Command, Stdio},
        sync::{Arc, Mutex, PoisonError, mpsc},
        thread::{self, JoinHandle},
    };

    use anyhow::{Context as _, Result, bail, ensure};
    use rustix::{
        fs::{Mode, OFlags, open},
        mount::{MountFlags, mount},
        process::{WaitOptions, WaitStatus, wait},
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        system::{RebootCommand, reboot},
        termios::{OptionalActions, Winsize, tcdrain, tcgetattr, tcsetattr, tcsetwinsize},
    };
    use xtask::wire::{self, JOB, Job, Kind};

    const BUSYBOX: &str = "/bin/busybox";
    /// The first line of that kind is the console on x86-64; on aarch64 that is of another kind.
    const PORT: &str = if cfg!(target_arch = "x86_64") {
        "/dev/ttyS1"
    } else {
        "/dev/ttyS0"
    };
    const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

    /// What a command finds mounted: where, the type, and options.
    const MOUNTS: [(&str, &str, Option<&std::ffi::CStr>); 10] = [
        ("/proc", "proc", None),
        ("/sys", "sysfs", None),
        ("/dev", "devtmpfs", None),
        ("/dev/pts", "devpts", Some(c"ptmxmode=0666,mode=0620")),
        ("/tmp", "tmpfs", Some(c"mode=1777")),
        ("/run", "tmpfs", Some(c"mode=0755")),
        ("/sys/fs/cgroup", "cgroup2", None),
        ("/sys/kernel/tracing", "tracefs", None),
        ("/sys/kernel/security", "securityfs", None),
        ("/sys/fs/bpf", "bpf", None),
    ];

    /// What devtmpfs lacks, and every service manager adds.
    const LINKS: [(&str, &str); 4] = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];

    /// The line to the host; frames of several threads must not mix.
    #[derive(Clone)]
    struct Port(Arc<Mutex<File>>);

    /// The running command, and what carries its input and output.
    struct Running {
        child: Child,
        input: Option<File>,
        copies: Vec<JoinHandle<()>>,
    }

    pub(super) fn main() {
        if let Err(error) = serve() {
            report(&format!("init: {error:#}"));
        }
        if let Err(error) = reboot(RebootCommand::PowerOff) {
            report(&format!("init: cannot power off: {error}"));
        }
    }

    /// To the console, which the host shows when no exit status arrives.
    fn report(line: &str) {
        // Nobody is left to tell when the console is gone.
        drop(writeln!(io::stderr(), "{line}"));
    }

    fn serve() -> Result<()> {
        set_up()?;
        let job = Job::load(Path::new(JOB)).with_context(|| format!("cannot read {JOB}"))?;
        let (port, reader) = Port::open()?;
        port.send(Kind::Ready, &[])?;
        let status = match start(&job, &port) {
            Ok(running) => attend(running, reader)?,
            Err(error) => {
                port.send(Kind::Error, format!("{error:#}\n").as_bytes())?;
                127
            }
        };
        port.send(Kind::Exit, &[status])?;
        port.drain()
    }

    fn set_up() -> Result<()> {
        for (target, kind, options) in MOUNTS {
            let mounted = fs::create_dir_all(target)
                .and_then(|()| Ok(mount(kind, target, kind, MountFlags::empty(), options)?));
            mounted.with_context(|| format!("cannot mount {kind} on {target}"))?;
        }
        for (link, target) in LINKS {
            std::os::unix::fs::symlink(target, link)
                .with_context(|| format!("cannot make {link}"))?;
        }
        for directory in ["/root", "/usr/bin", "/usr/sbin", "/sbin", "/usr/local/bin"] {
            fs::create_dir_all(directory)?;
        }
        std::os::unix::fs::chown("/home/alice", Some(1000), Some(1000))?;
        busybox(&["--install", "-s"])?;
        busybox(&["hostname", "portwatch-vm"])?;
        busybox(&["ip", "link", "set", "lo", "up"])
    }

    fn busybox(arguments: &[&str]) -> Result<()> {
        let status = Command::new(BUSYBOX).args(arguments).status()?;
        ensure!(status.success(), "busybox {arguments:?} failed: {status}");
        Ok(())
    }

    impl Port {
        /// Opens the line as the plain bytes it must be; the second value is for reading.
        fn open() -> Result<(Self, File)> {
            let context = || format!("cannot set {PORT} up");
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            let port = open(PORT, flags, Mode::empty()).with_context(context)?;
            let mut settings = tcgetattr(&port).with_context(context)?;
            settings.make_raw();
            tcsetattr(&port, OptionalActions::Now, &settings).with_context(context)?;
            let port = File::from(port);
            let reader = port.try_clone().with_context(context)?;
            Ok((Self(Arc::new(Mutex::new(port))), reader))
        }

        fn send(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
            let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            wire::send(&mut *port, kind, bytes)
        }

        /// Waits until the last byte has left: power-off would drop it.
        fn drain(&self) -> Result<()> {
            let port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tcdrain(&*port).context("the serial line cannot be drained")
        }

        /// Copies a command's output to the host until it ends.
        fn copy(&self, kind: Kind, mut from: impl Read + Send + 'static) -> JoinHandle<()> {
            let port = self.clone();
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                // A terminal ends in an error (EIO), a pipe in nothing.
                while let Ok(count @ 1..) = from.read(&mut buffer) {
                    if let Err(error) = port.send(kind, &buffer[..count]) {
                        return report(&format!("init: output is lost: {error}"));
                    }
                }
            })
        }
    }

    fn start(job: &Job, port: &Port) -> Result<Running> {
        let Job {
            argv,
            env,
            terminal,
            input,
        } = job;
        let Some((program, arguments)) = argv.split_first() else {
            bail!("there is no command to run");
        };
        let mut command = Command::new(program);
        if terminal.is_some() {
            // A session of its own, or the shell has no job control and Ctrl-C no effect.
            command = Command::new(BUSYBOX);
            command.args(["setsid", "-c", program]);
        }
        command
            .args(arguments)
            .current_dir("/root")
            .env_clear()
            .envs([("PATH", PATH), ("HOME", "/root"), ("USER", "root")])
            .envs(env.iter().map(|(name, value)| (name, value)));
        match *terminal {
            Some(size) => start_on_terminal(command, size, port),
            None => start_on_pipes(command, *input, port),
        }
        .with_context(|| format!("{program} cannot be started"))
    }

    fn start_on_terminal(
        mut command: Command,
        (rows, columns): (u16, u16),
        port: &Port,
    ) -> Result<Running> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal: OwnedFd = open(name, flags, Mode::empty())?;
        tcsetwinsize(
            &terminal,
            Winsize {
                ws_row: rows,
                ws_col: columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            },
        )?;
        let child = command
            .stdin(terminal.try_clone()?)
            .stdout(terminal.try_clone()?)
            .stderr(terminal)
            .spawn()?;
        let controller = File::from(controller);
        Ok(Running {
            child,
            copies: vec![port.copy(Kind::Output, controller.try_clone()?)],
            input: Some(controller),
        })
    }

    fn start_on_pipes(mut command: Command, input: bool, port: &Port) -> Result<Running> {
        let mut child = command
            .stdin(if input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output pipe")?;
        let errors = child.stderr.take().context("no error pipe")?;
        let input = child
            .stdin
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe)));
        Ok(Running {
            child,
            input,
            copies: vec![
                port.copy(Kind::Output, output),
                port.copy(Kind::Error, errors),
            ],
        })
    }

    /// Feeds the command, reaps everyone's children, and returns the command's exit status.
    fn attend(running: Running, reader: File) -> Result<u8> {
        let Running {
            child,
            input,
            copies,
        } = running;
        if let Some(input) = input {
            feed(input, reader);
        }
        let status = reap_until(child.id())?;
        // What the command left running holds its output open, and would keep the copies waiting.
        // It fails when nobody is left.
        drop(busybox(&["kill", "-9", "-1"]));
        for copy in copies {
            ensure!(copy.join().is_ok(), "a thread that copied output panicked");
        }
        Ok(status)
    }

    /// Takes the command's input from the line on one thread and hands it over on another: a
    /// serial line that nobody reads drops bytes, and the command may be slow.
    fn feed(mut input: File, mut reader: File) {
        let (sender, receiver) = mpsc::channel::<Vec<u8>>();
        thread::spawn(move || {
            while let Ok(Some(frame)) = wire::receive(&mut reader) {
                // An empty frame is the end of the input, which the sender's end passes on.
                if frame.payload.is_empty() || sender.send(frame.payload).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            // A command that has stopped reading is no error.
            receiver
                .iter()
                .try_for_each(|bytes| input.write_all(&bytes))
        });
    }

    /// Waits for children, adopted ones too, until the given one has ended.
    fn reap_until(child: u32) -> Result<u8> {
        loop {
            let ended = match wait(WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other.context("the command cannot be waited for")?,
            };
            if let Some((pid, status)) = ended
                && pid.as_raw_nonzero().get().cast_unsigned() == child
            {
                return Ok(shell_status(status));
            }
        }
    }

    /// The status as a shell gives it: 128 and the signal's number for a killed command.
    fn shell_status(status: WaitStatus) -> u8 {
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 255,
        };
        u8::try_from(status).unwrap_or(255)
    }
}

#[cfg(target_os = "linux")]
fn main() {
    guest::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}
