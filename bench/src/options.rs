use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::wire::Protocol;

/// Puts load on a server of rooms and measures what it costs.
///
/// Prints a line for people on standard error and one of JSON on standard output. Counts that must be 0 and are not make it fail.
#[derive(Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Clients of one room, each with so many actions in flight.
    Actions {
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        target: Target,
    },
    /// The same in many rooms at once.
    Rooms {
        /// How many rooms; `--clients` is for each.
        #[arg(long, default_value_t = 50)]
        rooms: usize,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        target: Target,
    },
    /// One writer at a steady rate, many listeners.
    Fanout {
        #[command(flatten)]
        fanout: Fanout,
        #[command(flatten)]
        target: Target,
    },
    /// Clients that join a room with many rows.
    Join {
        #[command(flatten)]
        join: Join,
        #[command(flatten)]
        target: Target,
    },
    /// Clients that come back to a large room and missed a little, against clients that have nothing.
    Resume {
        #[command(flatten)]
        resume: Resume,
        #[command(flatten)]
        target: Target,
    },
    /// The bytes that so many actions cause, up and down.
    Bytes {
        #[command(flatten)]
        bytes: Bytes,
        #[command(flatten)]
        target: Target,
    },
    /// What a connection costs that does nothing.
    Idle {
        #[command(flatten)]
        idle: Idle,
        #[command(flatten)]
        target: Target,
    },
    /// Many rooms, one action each: time, memory, disk.
    ManyRooms {
        #[command(flatten)]
        many: ManyRooms,
        #[command(flatten)]
        target: Target,
    },
    /// Kills the server under load, again and again, and looks whether it kept its promises.
    Kill(Kill),
    /// Cost against listeners, rows and rooms: a table, and a chart of each.
    Report(Report),
    /// The server that the others start if they are told of none.
    #[command(hide = true)]
    Serve(Serve),
}

/// Whom to load.
#[derive(Args, Clone, Default)]
pub(crate) struct Target {
    /// A server of the todo example that is running, such as 127.0.0.1:8787. Without it one is started.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,
    /// The process of that server, to tell what it costs.
    #[arg(long, requires = "address")]
    pub(crate) pid: Option<u32>,
    /// Where the server that is started keeps its rooms: a folder is made in it and removed. The default is the system's for
    /// temporary files.
    #[arg(long, value_name = "DIR", conflicts_with = "address")]
    pub(crate) data: Option<PathBuf>,
    /// The party of the rooms.
    #[arg(long, default_value = "todos")]
    pub(crate) party: String,
    /// Length of the text in a row.
    #[arg(long, default_value_t = 32)]
    pub(crate) text_bytes: usize,
    /// Copied into the result.
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// The version of the protocol that the clients speak.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) protocol: Protocol,
    /// Clients of version 1 say who they are, as partysocket has them do: what they ask for is then run once, as version 2 has it
    /// always.
    #[arg(long)]
    pub(crate) keyed: bool,
    /// Measures both versions of the protocol, in turn and so many times each, and tells the medians and their ratios.
    #[arg(long, value_name = "RUNS", conflicts_with_all = ["protocol", "address"])]
    pub(crate) versus: Option<usize>,
}

#[derive(Args, Clone)]
pub(crate) struct Load {
    #[arg(long, short, default_value_t = 1)]
    pub(crate) clients: usize,
    /// Actions of each client that are not answered yet.
    #[arg(long, short = 'k', default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Seconds that count.
    #[arg(long, short = 'd', default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before anything counts.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Rows that are in each room before it starts.
    #[arg(long, default_value_t = 0)]
    pub(crate) rows: usize,
    /// Clients do not ask for the rows, so that they hear of nothing but their own actions. In version 2 all ask.
    #[arg(long)]
    pub(crate) unsynced: bool,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Fanout {
    #[arg(long, short = 'm', default_value_t = 100)]
    pub(crate) listeners: usize,
    /// Actions a second.
    #[arg(long, short, default_value_t = 50.0)]
    pub(crate) rate: f64,
    /// Seconds that count.
    #[arg(long, short = 'd', default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before anything counts.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) warmup: f64,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Join {
    /// Rows in the room.
    #[arg(long, short = 'n', default_value_t = 10_000)]
    pub(crate) rows: usize,
    /// Clients that join.
    #[arg(long, short, default_value_t = 20)]
    pub(crate) clients: usize,
    /// One after the other, instead of all at once.
    #[arg(long)]
    pub(crate) one_by_one: bool,
    /// Rows that somebody else makes, before each of them.
    #[arg(long, default_value_t = 0, requires = "one_by_one")]
    pub(crate) changes: u32,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Resume {
    /// Rows in the room.
    #[arg(long, short = 'n', default_value_t = 1_000_000)]
    pub(crate) rows: usize,
    /// Rows that were made while they were away.
    #[arg(long, short = 'm', default_value_t = 10)]
    pub(crate) missed: u32,
    /// Clients that come back, one after the other.
    #[arg(long, short, default_value_t = 1_000)]
    pub(crate) clients: usize,
    /// Clients that have nothing, one after the other.
    #[arg(long, default_value_t = 5)]
    pub(crate) newcomers: usize,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Bytes {
    #[arg(long, short, default_value_t = 10)]
    pub(crate) clients: usize,
    /// Actions of all clients together.
    #[arg(long, short = 'n', default_value_t = 1_000)]
    pub(crate) actions: usize,
    /// Actions of each client that are not answered yet.
    #[arg(long, short = 'k', default_value_t = 1)]
    pub(crate) in_flight: usize,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct Idle {
    #[arg(long, short, default_value_t = 1_000)]
    pub(crate) connections: usize,
    #[arg(long, default_value_t = 10)]
    pub(crate) rooms: usize,
    /// Seconds to wait before memory is read.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) settle: f64,
}

#[derive(Args, Clone)]
#[group(skip)]
pub(crate) struct ManyRooms {
    #[arg(long, default_value_t = 1_000)]
    pub(crate) rooms: usize,
    /// Seconds to wait before memory is read, while rooms that nobody uses go to sleep.
    #[arg(long, default_value_t = 15.0)]
    pub(crate) settle: f64,
}

#[derive(Args)]
#[group(skip)]
pub(crate) struct Kill {
    #[arg(long, default_value_t = 200)]
    pub(crate) kills: u64,
    /// When it is killed, and what is asked for again: the same seed, the same choices.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the server keeps its rooms: a folder is made in it and removed. The default is the system's for temporary files.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Args)]
#[group(skip)]
pub(crate) struct Report {
    /// Where the table, the results and the charts go.
    #[arg(long, value_name = "DIR", default_value = "target/bench-report")]
    pub(crate) out: PathBuf,
    /// As in the other commands.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Seconds that count, for each point.
    #[arg(long, short = 'd', default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// Runs of each point, of which the median is drawn.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: usize,
    /// Leave out points above this, for a quick look.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) most: usize,
}

#[derive(Args)]
#[group(skip)]
pub(crate) struct Serve {
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// 0: as many as the server's own default.
    #[arg(long, default_value_t = 0)]
    pub(crate) idle_ms: u64,
}
