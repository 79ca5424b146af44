use partysync_model::{ActionError, Table, Tx};
use partysync_protocol::{Millis, Token, Version, WireError};

/// Applies an action, of a channel and as JSON, to predict its effect: the same code as the server's.
pub type Apply = Box<dyn Fn(&mut Tx<'_>, &str, &str) -> Result<(), ActionError> + Send>;

/// What a client is a client of.
pub struct Config {
    /// `party/room`.
    pub room: String,
    /// The channels whose rows it holds. Others that the room has are left out.
    pub tables: Vec<&'static Table>,
    /// How to predict. `None`: pending actions show nothing.
    pub apply: Option<Apply>,
}

/// What the core does not have itself.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// The time now: for predicted rows, pings and delays. Nothing is decided by it.
    pub now: Millis,
    /// 128 random bits, new for each call.
    pub random: [u8; 16],
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A socket is open.
    Opened,
    /// A socket is open and was greeted already, for another room that it carries (SPEC 8.32): this is its `welcome`.
    Welcomed(String),
    /// The socket is gone.
    Closed,
    /// A text frame came.
    Text(String),
    /// The user wants something.
    Act {
        /// The channel it is for.
        channel: String,
        /// The action's JSON.
        action: String,
    },
    /// The app has a text for its own code in the room (SPEC 14.7). It is not kept: without a socket in the room it is lost.
    Say(String),
    /// What proves to the room's door who it is, from now on; `None`: nothing. A home that has a token hands it in before the first
    /// [`Opened`](Self::Opened), and another one whenever it likes.
    Token(Option<Token>),
    /// The time that [`Effect::TickAt`] asked for has come, or may have.
    Tick,
}

/// What the home has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Send a text frame on the open socket.
    Send(String),
    /// Rows may differ from before: show them again.
    Changed,
    /// An action's fate is known; it is pending no more.
    Settled {
        /// The number it had when it was settled.
        number: u64,
        /// What became of it.
        fate: Fate,
    },
    /// The app's own code in the room sent a text (SPEC 14.5).
    Message(String),
    /// The server said what a developer or user should see, about no action in particular.
    Error(WireError),
    /// Close the socket and open another one after a delay.
    Reconnect,
    /// Another token is wanted: hand it in with [`Event::Token`]. Without `refused` the old one does until the admission by it ends, soon.
    /// With it the room is left, for the token it had, and entered again when another one is there. Don't ask the app for it in a loop:
    /// once at once, then after the delays of [`delay_ms`](partysync_protocol::delay_ms) (SPEC 9.8).
    Token {
        /// What the room's door said, if it is left.
        refused: Option<WireError>,
    },
    /// The room is not to be had, for this reason: don't reconnect unchanged.
    Left(WireError),
    /// Send [`Event::Tick`] at this time.
    TickAt(Millis),
}

/// What became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was applied; its effect is in the confirmed rows, from this version on.
    Applied {
        /// A version at which it shows.
        version: Version,
    },
    /// It was rejected for good.
    Rejected(WireError),
    /// Nobody can say: the server has forgotten. Send it again only if doing it twice does no harm.
    Unknown(WireError),
}
