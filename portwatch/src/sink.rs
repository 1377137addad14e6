//! Where lines go: a thread that writes, so that a slow reader never stops the rest.
//!
//! The two sides swap buffers: what is written while the writer is busy collects in one of a
//! bounded size. When that is full, [`Sink::has_room`] says so; whoever fills it then waits,
//! and what happens meanwhile is counted where it is lost, in the kernel.

mod datagram;
mod log_file;
mod set;

use std::{
    fs::File,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

pub use self::set::Sinks;

/// Bytes that may wait for a slow reader.
const CAPACITY: usize = 256 * 1024;

/// What a buffered writer waits for, and how long at most.
const BLOCK: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// What the thread writes to.
pub trait Output: Write + Send + 'static {
    /// Opens it again, where that makes sense.
    fn reopen(&mut self) {}
}

impl Output for File {}

/// The end that lines are put into.
pub struct Sink {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// For the writer: there is something to write, or nothing more will come
    filled: Condvar,
    /// For the other side: there is room again, or the writer has ended
    emptied: Arc<Notify>,
    /// Lines may wait for more to come
    buffer: bool,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    closed: bool,
    reopen: bool,
    /// How the writer ended
    ended: Option<io::Result<()>>,
}

impl Sink {
    /// Starts the thread that writes to `out`, and notifies `emptied`.
    pub fn start(out: impl Output, emptied: Arc<Notify>, buffer: bool) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied,
            buffer,
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || writer.write_to(out))?;
        Ok(Self { shared })
    }

    /// Takes whole lines over; `lines` is empty afterwards.
    pub fn put(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        if state.pending.is_empty() {
            std::mem::swap(&mut state.pending, lines);
        } else {
            state.pending.append(lines);
        }
        drop(state);
        self.shared.filled.notify_one();
    }

    pub fn has_room(&self) -> bool {
        self.shared.lock().pending.len() < CAPACITY
    }

    /// Whether the writer has ended, which it does by itself only when writing failed.
    pub fn has_ended(&self) -> bool {
        self.shared.lock().ended.is_some()
    }

    /// Has the writer open its file again.
    pub fn reopen(&self) {
        self.shared.lock().reopen = true;
        self.shared.filled.notify_one();
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }

    /// Says that nothing more will come, waits until all is written, and tells how it went.
    pub async fn finish(&self) -> io::Result<()> {
        self.close();
        loop {
            let emptied = self.shared.emptied.notified();
            if let Some(result) = self.shared.lock().ended.take() {
                return result;
            }
            emptied.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Neither side panics while it holds the lock; if one did, the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Output) {
        let mut lines = Vec::new();
        let result = loop {
            let reopen = self.take(&mut lines);
            if reopen {
                out.reopen();
            } else if lines.is_empty() {
                break Ok(());
            }
            if let Err(error) = out.write_all(&lines).and_then(|()| out.flush()) {
                break Err(error);
            }
            lines.clear();
        };
        self.lock().ended = Some(result);
        self.emptied.notify_one();
    }

    /// Waits for lines, and tells whether to open the file again before they are written. No lines
    /// mean that none will come.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let wait = |state: &mut State, enough: usize| {
            state.pending.len() < enough && !state.closed && !state.reopen
        };
        let filled = self.filled.wait_while(self.lock(), |state| wait(state, 1));
        let mut state = filled.unwrap_or_else(PoisonError::into_inner);
        if self.buffer {
            let filled = self
                .filled
                .wait_timeout_while(state, PATIENCE, |state| wait(state, BLOCK));
            state = filled.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.pending, lines);
        let reopen = std::mem::take(&mut state.reopen);
        drop(state);
        self.emptied.notify_one();
        reopen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands over what is written, and blocks until somebody takes it.
    struct Rendezvous(mpsc::SyncSender<Vec<u8>>);

    impl Write for Rendezvous {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.send(bytes.to_vec()) {
                Ok(()) => Ok(bytes.len()),
                Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Rendezvous {}

    fn start(sender: mpsc::SyncSender<Vec<u8>>, buffer: bool) -> (Sink, Arc<Notify>) {
        let emptied = Arc::new(Notify::new());
        let sink = Sink::start(Rendezvous(sender), Arc::clone(&emptied), buffer).unwrap();
        (sink, emptied)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    }

    #[test]
    fn everything_put_is_written_in_order() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (sink, _) = start(sender, false);
        let reader = thread::spawn(move || receiver.iter().flatten().collect::<Vec<u8>>());
        let mut expected = Vec::new();
        for number in 0..1000 {
            let mut lines = format!("{number}\n").into_bytes();
            expected.extend_from_slice(&lines);
            sink.put(&mut lines);
            assert!(lines.is_empty());
        }
        runtime().block_on(sink.finish()).unwrap();
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn a_reader_that_stalls_leaves_no_room_and_blocks_nobody() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (sink, emptied) = start(sender, false);
        let mut lines = 0;
        while sink.has_room() {
            sink.put(&mut vec![b'x'; 1024]);
            lines += 1;
        }
        assert!(
            lines <= CAPACITY / 1024 * 2,
            "one buffer is with the writer, one is pending"
        );
        let reader = thread::spawn(move || receiver.iter().flatten().count());
        runtime().block_on(async {
            while !sink.has_room() {
                emptied.notified().await;
            }
            sink.finish().await.unwrap();
        });
        assert_eq!(reader.join().unwrap(), lines * 1024);
    }

    #[test]
    fn a_reader_that_goes_away_is_noticed() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (sink, emptied) = start(sender, false);
        drop(receiver);
        sink.put(&mut b"line\n".to_vec());
        runtime().block_on(async {
            while !sink.has_ended() {
                emptied.notified().await;
            }
            assert_eq!(
                sink.finish().await.unwrap_err().kind(),
                io::ErrorKind::BrokenPipe
            );
        });
    }

    #[test]
    fn a_buffered_sink_writes_blocks_and_at_last_the_rest() {
        let (sender, receiver) = mpsc::sync_channel(0);
        let (sink, _) = start(sender, true);
        let reader =
            thread::spawn(move || receiver.iter().map(|block| block.len()).collect::<Vec<_>>());
        // Less than a block at a time: what is written first holds a whole one, unless a second
        // has passed.
        for _ in 0..BLOCK / 1024 * 2 {
            sink.put(&mut vec![b'x'; 1024]);
        }
        runtime().block_on(sink.finish()).unwrap();
        let blocks = reader.join().unwrap();
        assert_eq!(blocks.iter().sum::<usize>(), BLOCK * 2);
    }
}
