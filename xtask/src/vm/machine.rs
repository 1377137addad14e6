//! One QEMU, from start to power-off.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use xtask::wire::{self, Frame, Kind};

use crate::platform::Arch;

/// How much of the console explains a failure.
const CONSOLE_LINES: usize = 40;

/// The virtual hardware.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    pub(crate) cpus: u32,
    /// As QEMU's -m takes it.
    pub(crate) memory: String,
    pub(crate) accelerator: Accelerator,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Accelerator {
    /// Emulation: works everywhere, boots in about five seconds.
    Tcg,
    /// Emulation whose clock counts instructions: a nanosecond is one, whatever else this machine does,
    /// and what is waited for is there at once.
    Icount,
    /// The host's virtualisation, where /dev/kvm works.
    Kvm,
}

/// What an architecture's machines differ in.
struct Board {
    qemu: &'static str,
    machine: &'static str,
    cpu: &'static str,
    /// As the kernel calls the first serial line
    terminal: &'static str,
    /// What gives the machine its second one, whose other end is called frames
    second_line: [&'static str; 2],
}

/// A command's output, as it comes.
pub(crate) type Sink<'a> = dyn FnMut(Kind, &[u8]) -> Result<()> + 'a;

/// A started QEMU; killed when dropped before its end.
pub(super) struct Machine {
    qemu: Child,
    input: Option<ChildStdin>,
    frames: Receiver<io::Result<Frame>>,
}

impl Hardware {
    /// What the tests run on.
    pub(crate) fn new(accelerator: Accelerator) -> Self {
        Self {
            cpus: 2,
            memory: "1G".to_owned(),
            accelerator,
        }
    }

    fn qemu(&self, arch: Arch, image: &Path, initramfs: &Path, console: &Path) -> Command {
        let (accelerator, clock): (_, &[_]) = match self.accelerator {
            // With a thread for each CPU one of them runs, now and then, into an instruction that the kernel
            // patches on the other, and the kernel dies of it (int3).
            Accelerator::Tcg => ("tcg,thread=single", &[]),
            Accelerator::Icount => ("tcg,thread=single", &["-icount", "shift=0,sleep=off"]),
            Accelerator::Kvm => ("kvm", &[]),
        };
        let Board {
            qemu,
            machine,
            cpu,
            terminal,
            second_line,
        } = Board::of(arch);
        let mut qemu = Command::new(qemu);
        qemu.args(["-machine", machine, "-accel", accelerator])
            .args(["-cpu", cpu, "-m", &self.memory])
            .args(clock)
            .args(["-smp", &self.cpus.to_string()])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(image)
            .arg("-initrd")
            .arg(initramfs)
            // A panic ends the machine, and with it this run.
            .args(["-append", &format!("console={terminal} panic=-1 quiet")])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-chardev", "stdio,id=frames"])
            .args(second_line);
        qemu
    }
}

impl Board {
    const fn of(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self {
                qemu: "qemu-system-x86_64",
                machine: "pc",
                cpu: "max",
                terminal: "ttyS0",
                second_line: ["-serial", "chardev:frames"],
            },
            Arch::Aarch64 => Self {
                qemu: "qemu-system-aarch64",
                machine: "virt",
                // To authenticate pointers as the architecture does takes most of the time.
                cpu: "max,pauth-impdef=on",
                terminal: "ttyAMA0",
                // The board has one line of its own for Linux.
                second_line: ["-device", "pci-serial,chardev=frames"],
            },
        }
    }
}

impl Machine {
    pub(super) fn start(
        hardware: &Hardware,
        arch: Arch,
        image: &Path,
        initramfs: &Path,
        console: &Path,
    ) -> Result<Self> {
        let mut qemu = hardware
            .qemu(arch, image, initramfs, console)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("QEMU cannot be started; run `cargo xtask setup`")?;
        let input = qemu.stdin.take();
        let output = qemu.stdout.take().context("QEMU has no output pipe")?;
        Ok(Self {
            qemu,
            input,
            frames: frames(output),
        })
    }

    /// Passes the command's output on until the machine is off; the command's exit status.
    ///
    /// The status is none when the machine went down without telling it.
    pub(super) fn attend(
        &mut self,
        forward_input: bool,
        limit: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Option<u8>> {
        let end = limit.map(|limit| Instant::now() + limit);
        let mut status = None;
        while let Some(Frame { kind, payload }) = self.next(end)? {
            match kind {
                Kind::Ready if forward_input => self.forward_input(),
                Kind::Ready | Kind::Input => {}
                Kind::Output | Kind::Error => sink(kind, &payload)?,
                Kind::Exit => status = payload.first().copied(),
            }
        }
        self.qemu.wait().context("QEMU cannot be waited for")?;
        Ok(status)
    }

    /// The next frame; none when QEMU has closed the line.
    fn next(&mut self, end: Option<Instant>) -> Result<Option<Frame>> {
        let received = match end {
            None => self
                .frames
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                self.frames.recv_timeout(left)
            }
        };
        match received {
            Ok(frame) => Ok(Some(frame.context("the guest cannot be understood")?)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the VM did not finish in time"),
        }
    }

    /// Sends this process's input to the guest, for as long as both last.
    fn forward_input(&mut self) {
        let Some(mut port) = self.input.take() else {
            return;
        };
        // Detached: a read from a terminal cannot be interrupted when the guest is done first.
        thread::spawn(move || -> io::Result<()> {
            let mut stdin = io::stdin().lock();
            let mut buffer = [0; 4096];
            loop {
                let count = stdin.read(&mut buffer)?;
                wire::send(&mut port, Kind::Input, &buffer[..count])?;
                if count == 0 {
                    // QEMU would take the line for closed in both directions.
                    std::mem::forget(port);
                    return Ok(());
                }
            }
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail when QEMU has ended, as it should have.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// Reads frames on a thread, so that waiting for one can have an end.
fn frames(mut output: ChildStdout) -> Receiver<io::Result<Frame>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while let Some(frame) = wire::receive(&mut output).transpose() {
            let broken = frame.is_err();
            if sender.send(frame).is_err() || broken {
                return;
            }
        }
    });
    receiver
}

/// The end of the console's log.
pub(super) fn console_tail(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let tail = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
    tail.iter().flat_map(|line| ["  | ", line, "\n"]).collect()
}

/// Creates the console's log, so that it is there even when QEMU does not start.
pub(super) fn create_console(console: &Path) -> Result<()> {
    File::create(console)
        .map(drop)
        .with_context(|| format!("cannot create {}", console.display()))
}
