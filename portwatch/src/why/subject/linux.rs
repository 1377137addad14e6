//! Processes, as /proc shows them.

use std::{fs, sync::Arc};

use super::{NoPerson, Person, subject};
pub(super) use crate::facts::Credentials;
use crate::{
    cgroup::Cgroups,
    event::{Comm, Process},
    explain::predict::Caller,
};

pub(super) fn process(tgid: u32) -> Result<Person, NoPerson> {
    let credentials = Credentials::of_pid(tgid).ok_or(NoPerson::Process(tgid))?;
    let comm = fs::read(format!("/proc/{tgid}/comm")).unwrap_or_default();
    let comm = Comm::cut(comm.strip_suffix(b"\n").unwrap_or(&comm));
    let exe = fs::read_link(format!("/proc/{tgid}/exe")).ok();
    Ok(Person {
        name: format!("{} (pid {tgid})", String::from_utf8_lossy(comm.as_bytes())),
        note: None,
        caller: Caller {
            comm,
            tgid,
            process: Some(Arc::new(Process { exe, cmdline: None })),
            cgroup: Cgroups::new().of_process(tgid),
        },
        subject: subject(&credentials),
        gid: credentials.gid.effective,
        is_caller: false,
        process: Some(tgid),
    })
}
