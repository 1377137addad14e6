//! Where the thread that reads the ring asks: it never waits for an answer.
//!
//! An inquiry goes to the thread that looks things up, and its answer comes back when it is there. A
//! holder that was found less than a second ago, and still has the socket, answers at once.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Instant,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::{
    Gatherer, Inquiry, Wanted, answers::Answers, budget::Budget, lsms, nothing, own_netns,
};
use crate::{
    event::{Attempt, Unseen},
    explain::{Asked, Facts, Namespace, Ticket},
    sockets::{
        holder::{Witness, still_holds},
        kernel::Kernel,
    },
};

/// Inquiries that wait at once: beyond that, nothing is looked up.
const WAITING: usize = 256;

/// Inquiries that are answered together.
const BATCH: usize = 128;

/// Asks, remembers what was seen and what was answered.
#[derive(Debug)]
pub struct Desk {
    witness: Witness,
    answers: Answers,
    lsms: Vec<String>,
    /// The source tells of resets
    resets_seen: bool,
    own_netns: Option<u32>,
    last: u64,
    inquiries: SyncSender<Task>,
    answered: mpsc::Receiver<(Ticket, Inquiry, Facts)>,
}

type Task = (Ticket, Inquiry, Facts);

impl Desk {
    /// Starts the thread that looks things up.
    pub fn open(kernel: Option<Box<dyn Kernel>>, resets_seen: bool) -> std::io::Result<Self> {
        let (inquiries, tasks) = sync_channel(WAITING);
        let (answer, answered) = mpsc::channel(WAITING + BATCH);
        thread::Builder::new()
            .name("looker".to_owned())
            .spawn(move || Looker::new(kernel).work(&tasks, &answer))?;
        Ok(Self {
            witness: Witness::default(),
            answers: Answers::default(),
            lsms: lsms(),
            resets_seen,
            own_netns: own_netns(),
            last: 0,
            inquiries,
            answered,
        })
    }

    /// Takes note of a bind or connect that succeeded, so that it can be told later who has the port.
    pub fn remember(&mut self, attempt: &Attempt) {
        self.witness.remember(attempt);
    }

    /// Asks about an attempt that ended with `ret`; `None` where nothing helps to explain it, as of most
    /// that succeed.
    pub fn ask(&mut self, attempt: &Attempt, ret: i32) -> Option<Asked> {
        let wanted = Wanted::by(attempt, ret)?;
        if wanted.enters()
            && let Some(known) = self
                .answers
                .get(attempt, wanted, Instant::now(), still_holds)
        {
            return Some(Asked::Known(known));
        }
        let facts = self.begin(attempt, wanted);
        let is_known = facts.namespace.is_some() || !wanted.namespace;
        if !wanted.enters() && is_known {
            return Some(Asked::Known(Arc::new(facts)));
        }
        self.last += 1;
        let ticket = Ticket(self.last);
        let inquiry = Inquiry::new(attempt, ret, &self.witness)?;
        Some(match self.inquiries.try_send((ticket, inquiry, facts)) {
            Ok(()) => Asked::Waiting(ticket),
            Err(TrySendError::Full((_, _, facts)) | TrySendError::Disconnected((_, _, facts))) => {
                Asked::Known(Arc::new(not_in_time(facts)))
            }
        })
    }

    /// The facts about an attempt for which no answer came in time.
    pub fn not_in_time(&self, attempt: &Attempt, ret: i32) -> Facts {
        let wanted = Wanted::by(attempt, ret).unwrap_or_default();
        not_in_time(self.begin(attempt, wanted))
    }

    /// What takes no look.
    fn begin(&self, attempt: &Attempt, wanted: Wanted) -> Facts {
        let is_own = attempt.netns.is_some() && attempt.netns == self.own_netns;
        Facts {
            resets_seen: self.resets_seen,
            lsms: if wanted.lsms {
                self.lsms.clone()
            } else {
                Vec::new()
            },
            namespace: (wanted.namespace && is_own).then_some(Namespace::Own),
            ..Facts::default()
        }
    }

    /// The next answer. It may come for an inquiry that nobody waits for any more.
    pub async fn answer(&mut self) -> (Ticket, Arc<Facts>) {
        match self.answered.recv().await {
            Some(answered) => self.take(answered),
            None => std::future::pending().await,
        }
    }

    /// The next answer that is there already.
    pub fn try_answer(&mut self) -> Option<(Ticket, Arc<Facts>)> {
        let answered = self.answered.try_recv().ok()?;
        Some(self.take(answered))
    }

    fn take(&mut self, (ticket, inquiry, facts): Task) -> (Ticket, Arc<Facts>) {
        let facts = Arc::new(facts);
        self.answers
            .put(&inquiry, Instant::now(), Arc::clone(&facts));
        (ticket, facts)
    }
}

fn not_in_time(mut facts: Facts) -> Facts {
    nothing(&mut facts, Unseen::Time);
    facts
}

/// The thread that looks things up.
struct Looker {
    gatherer: Gatherer,
    budget: Budget,
}

impl Looker {
    fn new(kernel: Option<Box<dyn Kernel>>) -> Self {
        Self {
            gatherer: Gatherer::new(kernel),
            budget: Budget::new(Instant::now()),
        }
    }

    /// Answers whatever has come meanwhile at once, until nobody asks any more.
    fn work(mut self, tasks: &Receiver<Task>, answer: &mpsc::Sender<Task>) {
        self.spend(Gatherer::take_stock);
        while let Ok(first) = tasks.recv() {
            let mut batch = vec![first];
            batch.extend(tasks.try_iter().take(BATCH - 1));
            if self.answer(batch, answer).is_break() {
                return;
            }
        }
    }

    /// What is known is told first; then one pass serves all others.
    fn answer(&mut self, batch: Vec<Task>, answer: &mpsc::Sender<Task>) -> ControlFlow<()> {
        let mut unknown = Vec::new();
        for (ticket, inquiry, mut facts) in batch {
            if self.spend(|gatherer| gatherer.recall(&inquiry, &mut facts)) {
                tell(answer, (ticket, inquiry, facts))?;
            } else {
                unknown.push((ticket, inquiry, facts));
            }
        }
        if unknown.len() > 1 && self.budget.allows(Instant::now()) {
            let wanted = unknown.iter().map(|(_, inquiry, _)| inquiry.wanted);
            self.spend(|gatherer| gatherer.begin_pass(wanted));
        }
        for (ticket, inquiry, mut facts) in unknown {
            let may_search = self.budget.allows(Instant::now());
            self.spend(|gatherer| gatherer.gather(&inquiry, may_search, &mut facts));
            tell(answer, (ticket, inquiry, facts))?;
        }
        self.gatherer.end_pass();
        ControlFlow::Continue(())
    }

    /// Does something, and takes note of what that took of the processor.
    fn spend<T>(&mut self, work: impl FnOnce(&mut Gatherer) -> T) -> T {
        let begun = cpu_time();
        let done = work(&mut self.gatherer);
        self.budget.spend(cpu_time().saturating_sub(begun));
        done
    }
}

/// Breaks off where nobody waits any more.
fn tell(answer: &mpsc::Sender<Task>, task: Task) -> ControlFlow<()> {
    match answer.blocking_send(task) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// What this thread has used of its processor: on a busy machine most of the time is waiting.
fn cpu_time() -> std::time::Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default()
}
