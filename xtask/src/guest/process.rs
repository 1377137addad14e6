//! What the kernel says of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// A process, by number.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// Nanoseconds that its threads have run.
    pub fn run_time(self) -> Result<u64> {
        self.of_threads("schedstat", first)
    }

    /// How often its threads left a CPU, of themselves or not.
    pub fn switches(self) -> Result<u64> {
        self.of_threads("status", |text| {
            let own = field(text, "voluntary_ctxt_switches")?;
            Ok(own + field(text, "nonvoluntary_ctxt_switches")?)
        })
    }

    /// KiB that are resident, and the most that were since [`Self::forget_highest`].
    pub fn resident(self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        Ok((field(&text, "VmRSS")?, field(&text, "VmHWM")?))
    }

    pub fn forget_highest(self) -> Result<()> {
        // Documentation/filesystems/proc.rst
        const HIGHEST: &str = "5";
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), HIGHEST)?)
    }

    fn of_threads(self, file: &str, number: impl Fn(&str) -> Result<u64>) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0))? {
            sum += number(&fs::read_to_string(thread?.path().join(file))?)?;
        }
        Ok(sum)
    }
}

/// Nanoseconds that a thread of this process has run.
pub fn schedstat(thread: u32) -> Result<u64> {
    first(&fs::read_to_string(format!(
        "/proc/self/task/{thread}/schedstat"
    ))?)
}

fn first(text: &str) -> Result<u64> {
    let word = text.split_whitespace().next();
    Ok(word.context("an empty line")?.parse()?)
}

/// `name:` and the number behind it.
fn field(text: &str, name: &str) -> Result<u64> {
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    first(rest.with_context(|| format!("there is no {name}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_those_that_end_alike() {
        let text =
            "VmRSS:\t   812 kB\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(field(text, "VmRSS").unwrap(), 812);
        assert_eq!(field(text, "voluntary_ctxt_switches").unwrap(), 3);
        assert!(field(text, "VmHWM").is_err());
    }

    #[test]
    fn what_is_resident_is_at_most_the_highest() {
        let (now, highest) = Process(std::process::id()).resident().unwrap();
        assert!(0 < now && now <= highest);
    }
}
