//! The filters as options.

use std::path::PathBuf;

use clap::ArgAction;

/// Lists are `80,443,8000-8100,!22`: one of the values, or any value at all if every one has a `!`,
/// and none of those with a `!`.
#[derive(Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(next_help_heading = "Filters (all that are given must hold)")]
pub struct Filters {
    /// Only these processes: 4711,100-200. Every LIST may be given several times, has commas
    /// between its values, and takes a ! before those that are not wanted
    #[arg(short, long, value_name = "LIST")]
    pub pid: Vec<String>,

    /// Only these processes, and all that come of them
    #[arg(long, value_name = "LIST")]
    pub ppid_tree: Vec<String>,

    /// Only these users (effective user), by name or number
    #[arg(short, long, visible_alias = "uid", value_name = "LIST")]
    pub user: Vec<String>,

    /// Only threads of these command names, which may hold * and ?
    #[arg(long, value_name = "LIST")]
    pub comm: Vec<String>,

    /// Only these ports: the one asked for, or of a bind to port 0 the one given: 80,8000-8100,!22
    #[arg(short = 'P', long, value_name = "LIST")]
    pub port: Vec<String>,

    /// Only these ports of the socket itself: of a connect, its local port
    #[arg(short = 'L', long, value_name = "LIST")]
    pub lport: Vec<String>,

    /// Only connects to these ports
    #[arg(short = 'D', long, value_name = "LIST")]
    pub dport: Vec<String>,

    /// Only these addresses, as they were asked for: 10.0.0.0/8,::1
    #[arg(long, value_name = "LIST")]
    pub addr: Vec<String>,

    /// Only IPv4 addresses; with -6, both
    #[arg(short = '4', long)]
    pub ipv4: bool,

    /// Only IPv6 addresses
    #[arg(short = '6', long)]
    pub ipv6: bool,

    /// Only sockets of these protocols: tcp,udp,sctp,raw, or a number
    #[arg(long, value_name = "LIST")]
    pub proto: Vec<String>,

    /// Only these operations: bind,connect,listen
    #[arg(long, value_name = "LIST")]
    pub op: Vec<String>,

    /// Only these errors, by name or number: EACCES,EPERM
    #[arg(long, value_name = "LIST", allow_negative_numbers = true)]
    pub errno: Vec<String>,

    /// Only attempts that failed [short alias: -E]
    #[arg(short = 'x', short_alias = 'E', long)]
    pub failed: bool,

    /// Only sockets in these network namespaces: inode, name, path or pid:N
    #[arg(short = 'N', long, value_name = "LIST")]
    pub netns: Vec<String>,

    /// Only these cgroups and those below them: /system.slice
    #[arg(long, value_name = "LIST")]
    pub cgroup: Vec<String>,

    /// Only these containers, by id, the beginning of one, or name
    #[arg(long, value_name = "LIST")]
    pub container: Vec<String>,

    /// Only these systemd units, which may hold * and ?
    #[arg(long, value_name = "LIST")]
    pub unit: Vec<String>,

    /// Only callers whose cgroup's id is in this pinned BPF hash map, whoever keeps it:
    /// /sys/fs/bpf/...
    #[arg(long, value_name = "FILE")]
    pub cgroupmap: Option<PathBuf>,

    /// Only callers whose mount namespace's inode is in this one
    #[arg(long, value_name = "FILE")]
    pub mntnsmap: Option<PathBuf>,

    /// Not what asks for an address of this host's loopback
    #[arg(long)]
    pub no_loopback: bool,

    /// Only what may become a server: listens, and binds to a port that was asked for
    #[arg(long)]
    pub listeners: bool,

    /// Only what an expression holds for: 'port=80 and (user=1000 or errno=EACCES)'; its fields are
    /// named like these options (docs/FILTERS.md)
    #[arg(long, value_name = "EXPR")]
    pub filter: Vec<String>,

    /// What other tools show only when asked (-t time, -U user, -w wide) is always shown
    #[arg(short = 't', short_aliases = ['U', 'w'], action = ArgAction::Count, hide = true)]
    pub shown_anyway: u8,
}
