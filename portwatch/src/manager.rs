//! What a service manager is told (sd_notify(3)): that everything is attached, that portwatch still
//! works, and that it ends. Without a service manager nothing is told, and nobody is woken for it.

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager that started portwatch, if one did.
#[derive(Debug)]
pub struct Manager {
    /// Twice as often as it wants to hear from us (`WATCHDOG_USEC`)
    signs_of_life: Option<Interval>,
}

impl Manager {
    /// Everything is attached: what was to start after portwatch may start. Must run inside a tokio
    /// runtime.
    pub fn ready() -> Self {
        tell(&[NotifyState::Ready]);
        let signs_of_life = sd_notify::watchdog_enabled().map(|patience| {
            let mut signs = interval((patience / 2).max(std::time::Duration::from_millis(1)));
            signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
            signs
        });
        Self { signs_of_life }
    }

    /// Waits until a sign of life is due, and gives it. It is given by the loop that passes events
    /// on, so that a loop that is stuck gives none.
    pub async fn hears(&mut self) {
        match &mut self.signs_of_life {
            Some(signs) => {
                signs.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }

    /// What is left in the ring is still written, and that is no failure to stop.
    pub fn stopping(self) {
        tell(&[NotifyState::Stopping]);
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("the service manager cannot be told how portwatch does: {error}");
    }
}
