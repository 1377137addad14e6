//! The options of what asks and does not watch: `portwatch why`, `portwatch explain`.

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Why {
    /// Port, or address and port: 80, 127.0.0.1:80, [::1]:80, localhost:80. A port alone is asked
    /// about on 0.0.0.0 and [::], with --connect on 127.0.0.1 and [::1]
    #[arg(value_name = "[ADDR:]PORT")]
    pub target: String,

    /// About UDP; TCP if not given
    #[arg(long)]
    pub udp: bool,

    /// About a connect to that address, not a bind
    #[arg(long)]
    pub connect: bool,

    /// Make the call too, as the one who is asked about, and compare
    #[arg(long = "try")]
    pub try_it: bool,

    /// By the rules of this system: linux, macos-14, macos-10.13 …
    #[arg(long, value_name = "SYSTEM", default_value = std::env::consts::OS)]
    pub os: String,

    /// Print one JSON object instead of text (docs/EVENTS.md)
    #[arg(long)]
    pub json: bool,

    /// By this user, by name or number; by whoever asks if not given, and under sudo by whoever
    /// called it
    #[arg(short, long, value_name = "USER", help_heading = "By whom, and where")]
    pub user: Option<String>,

    /// By this process, in its network namespace
    #[arg(
        short,
        long,
        value_name = "PID",
        conflicts_with = "user",
        help_heading = "By whom, and where"
    )]
    pub pid: Option<u32>,

    /// In this network namespace: a name as `ip netns` has it, a file, or pid:PID
    #[arg(long, value_name = "NAMESPACE", help_heading = "By whom, and where")]
    pub netns: Option<String>,

    /// Only IPv4 addresses
    #[arg(short = '4', conflicts_with = "ipv6", help_heading = "The socket")]
    pub ipv4: bool,

    /// Only IPv6 addresses
    #[arg(short = '6', help_heading = "The socket")]
    pub ipv6: bool,

    /// With SO_REUSEADDR
    #[arg(long, help_heading = "The socket")]
    pub reuseaddr: bool,

    /// With SO_REUSEPORT
    #[arg(long, help_heading = "The socket")]
    pub reuseport: bool,

    /// Limited to IPv6 (IPV6_V6ONLY); as net.ipv6.bindv6only says if not given
    #[arg(long, conflicts_with = "dual_stack", help_heading = "The socket")]
    pub v6only: bool,

    /// Not limited to IPv6
    #[arg(long, help_heading = "The socket")]
    pub dual_stack: bool,

    /// With IP_FREEBIND
    #[arg(long, help_heading = "The socket")]
    pub freebind: bool,

    /// Bound to this interface (SO_BINDTODEVICE)
    #[arg(long, value_name = "INTERFACE", help_heading = "The socket")]
    pub device: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ExplainCause {
    /// An error by name or number, or a cause: EACCES, 13, low_port_no_capability
    #[arg(value_name = "ERROR|CAUSE")]
    pub what: String,

    /// By the rules of this system: linux, macos-14, macos-10.13 …
    #[arg(long, value_name = "SYSTEM", default_value = std::env::consts::OS)]
    pub os: String,

    /// Print one JSON object instead of text (docs/EVENTS.md)
    #[arg(long)]
    pub json: bool,
}
