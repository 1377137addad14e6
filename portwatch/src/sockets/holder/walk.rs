//! Who has a port where the kernel has no iterator for it: a walk over /proc.

use rustix::net::sockopt;

use super::{
    Found, Question, entries, holder_of, holding_process, look_at, with_bind, with_options,
};
use crate::{
    event::{Holder, Holders, Lookup, Unseen},
    netns::Namespace,
    process,
    sockets::{
        borrow::Borrowed,
        diag::{self, Entry},
        known::{Known, Place},
        namespace_inode,
        owner::{Owner, Owners, each_socket, hidden_processes},
        proto,
    },
};

/// Without the kernel's iterator: the tables first, then a walk over /proc for whose the sockets are.
pub(super) fn holders(
    question: &Question<'_>,
    namespace: &Namespace,
    stock: &Known,
    mut found: Found,
) -> Holders {
    let (mut entries, mut unseen) = entries(question, namespace);
    found.take_queues(&entries);
    if found.answers(question) {
        return found.finish(Some(Unseen::NotAsked));
    }
    let inodes = |entries: &[Entry]| -> Vec<u32> {
        let inodes = entries.iter().map(|entry| entry.inode);
        inodes.filter(|&inode| inode != 0).collect()
    };
    let mut owners = Owners::find(&inodes(&entries));
    let all_found = |owners: &Owners, entries: &[Entry]| {
        let mut inodes = inodes(entries).into_iter();
        inodes.all(|inode| !owners.of(inode).is_empty())
    };
    if !all_found(&owners, &entries) {
        (entries, unseen) = self::entries(question, namespace);
        owners = Owners::find(&inodes(&entries));
    }
    found.take_queues(&entries);
    for entry in entries {
        let owned = owners.of(entry.inode);
        if owned.is_empty() && !found.has(entry.inode) {
            let process = match owners.unseen {
                Some(why) if entry.inode != 0 => Lookup::NotSeen(why),
                _ => Lookup::NotThere,
            };
            found.push(with_bind(question, stock, holder_of(entry, process)));
        }
        for &owner in owned {
            let holder = held_by(entry, owner);
            found.push(with_bind(question, stock, holder));
        }
    }
    // What the table does not show is looked for at every process.
    let is_tcp = diag::table(question.proto) == Some(diag::TCP);
    if is_tcp && !found.answers(question) && !diag::shows_idle_binds() {
        unseen = unseen.or(look_at_all(question, stock, &mut found));
    }
    found.finish(unseen)
}

/// Looks at every socket of every process; tells why some could not be.
fn look_at_all(question: &Question<'_>, stock: &Known, found: &mut Found) -> Option<Unseen> {
    let mut unseen = hidden_processes();
    for tgid in process::all() {
        let mut sockets = Vec::new();
        let whole = each_socket(tgid, &mut |fd, inode| sockets.push((fd, inode)));
        unseen = unseen.or(whole.err());
        for (fd, inode) in sockets {
            if found.has(inode) {
                continue;
            }
            let place = Place {
                tgid,
                fd,
                bind: None,
            };
            match look_at(question, inode, place, |socket| {
                is_meant(question, socket, tgid)
            }) {
                Lookup::Found(holder) => found.push(with_bind(question, stock, holder)),
                Lookup::NotSeen(why) if why != Unseen::Gone => unseen = unseen.or(Some(why)),
                Lookup::NotSeen(_) | Lookup::NotThere => {}
            }
            if found.answers(question) {
                return Some(Unseen::NotAsked);
            }
        }
    }
    unseen
}

/// Whether a socket that was not seen before is one of those in question. `None`: it does not tell.
fn is_meant(question: &Question<'_>, socket: &Borrowed, tgid: u32) -> Option<bool> {
    let kind = sockopt::socket_type(socket).ok()?;
    let protocol = sockopt::socket_protocol(socket).ok()?;
    // By the socket itself, or where it may not be asked, by its process.
    let netns = namespace_inode(socket).or_else(|| Namespace::inode_of_process(tgid));
    let is_in_table = diag::table(proto(kind, protocol)) == diag::table(question.proto);
    Some(is_in_table && netns == Some(question.netns))
}

fn held_by(entry: Entry, owner: Owner) -> Holder {
    let holder = holder_of(entry, holding_process(owner.tgid, owner.fd));
    // What was read of the process is that of the owner if it has the socket still.
    match Borrowed::new(owner.tgid, owner.fd, entry.inode) {
        Lookup::Found(socket) => with_options(holder, &socket),
        Lookup::NotThere | Lookup::NotSeen(_) => holder,
    }
}
