//! What an app sees of its room's sockets, and what it does with them.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::sync::Arc;

use partysync_model::{ActionError, ErrorCode};
use partysync_protocol::limits;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::note_once;
use crate::hibernate::kept_bytes;
use crate::sorted::SortedMap;
use crate::{ConnectionId, ConnectionInfo};

/// The longest reason that fits a WebSocket's close frame.
const REASON_BYTES: usize = 123;

/// The room's sockets, as one step of the app sees them.
///
/// What a step does here takes effect with its rows: messages leave after the commit, and if the step fails it is all as if
/// it had not been (P5). A socket that is gone is no error: nothing happens.
///
/// ```
/// use partysync_model::{ActionError, Schema, Tx};
/// use partysync_room::{Call, Changed, Socket, Sockets, SyncServer};
///
/// struct Chat;
///
/// impl SyncServer for Chat {
///     fn schema(&self) -> Schema {
///         Schema::new()
///     }
///
///     fn on_connect(&mut self, _: &mut Tx<'_>, socket: Socket<'_>) -> Result<(), ActionError> {
///         let Some(name) = socket.identity() else {
///             return Err(ActionError::reject("who", "Tell who you are."));
///         };
///         socket.set_tags(&["people"])?;
///         socket.room().send_to_tag("people", format!("{name} is here"))
///     }
///
///     fn on_action(&mut self, _: &mut Tx<'_>, call: &Call<'_>) -> Result<Changed, ActionError> {
///         // Everybody but the sender.
///         call.socket().send_to_others("something happens")?;
///         Ok(Changed::Captured)
///     }
///
///     fn on_alarm(&mut self, tx: &mut Tx<'_>, sockets: Sockets<'_>) -> Result<(), ActionError> {
///         tx.set_alarm(tx.now() + 60_000);
///         sockets.send_to_all("another minute")
///     }
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Sockets<'a> {
    members: &'a Members,
}

/// The socket that a step is about: a member of the room's [`Sockets`].
#[derive(Clone, Copy)]
pub struct Socket<'a> {
    id: ConnectionId,
    members: &'a Members,
}

impl<'a> Sockets<'a> {
    pub(crate) fn new(members: &'a Members) -> Self {
        Sockets { members }
    }

    /// Those that are open, in the order of their ids.
    pub fn iter(self) -> impl Iterator<Item = Socket<'a>> {
        self.members.ids(|_| true).into_iter().map(move |id| self.socket(id))
    }

    /// Those that are open and have a tag.
    pub fn tagged(self, tag: &str) -> impl Iterator<Item = Socket<'a>> {
        self.members.ids(|m| m.has_tag(tag)).into_iter().map(move |id| self.socket(id))
    }

    /// One of them, if it is open.
    pub fn get(self, id: ConnectionId) -> Option<Socket<'a>> {
        self.members.read(id, |m| m.standing == Standing::Open)?.then(|| self.socket(id))
    }

    /// Sends a text to all.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] past [`limits::STEP_MESSAGES`] or [`limits::STEP_MESSAGE_BYTES`] of one step.
    pub fn send_to_all(self, text: impl Into<String>) -> Result<(), ActionError> {
        self.members.send(self.members.ids(|_| true), text.into())
    }

    /// Sends a text to all that have a tag.
    ///
    /// # Errors
    ///
    /// As [`send_to_all`](Self::send_to_all).
    pub fn send_to_tag(self, tag: &str, text: impl Into<String>) -> Result<(), ActionError> {
        self.members.send(self.members.ids(|m| m.has_tag(tag)), text.into())
    }

    fn socket(self, id: ConnectionId) -> Socket<'a> {
        Socket { id, members: self.members }
    }
}

impl<'a> Socket<'a> {
    pub(crate) fn new(id: ConnectionId, members: &'a Members) -> Self {
        Socket { id, members }
    }

    /// Its id. A socket that slept has the same one, or another: see [`Event::Restored`](crate::Event::Restored).
    pub fn id(self) -> ConnectionId {
        self.id
    }

    /// The id that a version 1 client chose for itself (`_pk`).
    pub fn key(self) -> Option<String> {
        self.members.read(self.id, |m| m.info.key.clone()).flatten()
    }

    /// Who it is, as the app's door found out.
    pub fn identity(self) -> Option<String> {
        self.members.read(self.id, |m| m.info.identity.clone()).flatten()
    }

    /// What else the app's door found out, as JSON.
    pub fn data(self) -> Option<Arc<str>> {
        self.members.read(self.id, |m| m.info.data.clone()).flatten()
    }

    /// Its tags.
    pub fn tags(self) -> Vec<String> {
        self.members.read(self.id, |m| m.tags.clone()).unwrap_or_default()
    }

    /// Gives it these tags, in place of those it had.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] past [`limits::CONNECTION_TAGS`], [`limits::TAG_BYTES`] or [`limits::CONNECTION_BYTES`].
    pub fn set_tags(self, tags: &[&str]) -> Result<(), ActionError> {
        if tags.len() > limits::CONNECTION_TAGS || tags.iter().any(|tag| tag.len() > limits::TAG_BYTES) {
            return Err(over("the tags are over the limit"));
        }
        self.members.change(self.id, |m| m.tags = tags.iter().map(|&tag| tag.to_owned()).collect())
    }

    /// What the app keeps of it. `None` if it keeps nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] if it is no `T`.
    pub fn state<T: DeserializeOwned>(self) -> Result<Option<T>, ActionError> {
        let json = self.members.read(self.id, |m| m.state.clone()).flatten();
        let state = json.map(|json| serde_json::from_str(&json)).transpose();
        state.map_err(|error| over(&format!("the connection's state: {error}")))
    }

    /// Keeps something of it, as long as it is open: a restart of the server ends it, hibernation does not.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] if it is no JSON, or all that is kept of the connection is past [`limits::CONNECTION_BYTES`].
    pub fn set_state(self, state: &impl Serialize) -> Result<(), ActionError> {
        let json = serde_json::to_string(state).map_err(|error| over(&format!("the connection's state: {error}")))?;
        self.members.change(self.id, |m| m.state = Some(json.into()))
    }

    /// Sends it a text.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] past [`limits::STEP_MESSAGES`] or [`limits::STEP_MESSAGE_BYTES`] of one step.
    pub fn send(self, text: impl Into<String>) -> Result<(), ActionError> {
        let to = self.room().get(self.id).map(|socket| socket.id);
        self.members.send(to.into_iter().collect(), text.into())
    }

    /// Sends all others a text.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_to_others(self, text: impl Into<String>) -> Result<(), ActionError> {
        let mut to = self.members.ids(|_| true);
        to.retain(|id| *id != self.id);
        self.members.send(to, text.into())
    }

    /// Closes it, after what was sent to it. Nothing more that it sends is looked at. `on_close` comes as for any other.
    ///
    /// As much of the reason is sent as fits the frame: 123 bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::AppError`] if the code is not one that may be sent: 1000, 1001, 1003, 1007 to 1014, or 3000 to 4999.
    pub fn close(self, code: u16, reason: impl Into<String>) -> Result<(), ActionError> {
        if !matches!(code, 1000 | 1001 | 1003 | 1007..=1014 | 3000..=4999) {
            return Err(over("this close code may not be sent"));
        }
        if self.room().get(self.id).is_some() {
            self.members.set_standing(self.id, Standing::Closing);
            let reason = close_reason(reason.into());
            self.members.0.borrow_mut().sent.push(Sent::Close { connection: self.id, code, reason });
        }
        Ok(())
    }

    /// All of the room's sockets.
    pub fn room(self) -> Sockets<'a> {
        Sockets { members: self.members }
    }
}

/// As much of a close frame's reason as fits: 123 bytes.
pub fn close_reason(mut reason: String) -> String {
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.truncate(end);
    reason
}

fn over(detail: &str) -> ActionError {
    ActionError::with_detail(ErrorCode::AppError, detail)
}

/// The sockets as steps see them, one after the other. What a step does is noted, so that it can be taken back.
///
/// The room's own [`Connections`](crate::connection::Connections) run ahead of it: they know of a whole batch's frames before
/// the batch's first step is run.
#[derive(Default)]
pub(crate) struct Members(RefCell<State>);

#[derive(Default)]
struct State {
    all: SortedMap<ConnectionId, Member>,
    /// What members were before they were changed, oldest first.
    before: Vec<(ConnectionId, Option<Member>)>,
    /// What the step has sent so far.
    sent: Vec<Sent>,
    sent_bytes: usize,
    /// See [`Connections::take_touched`](crate::connection::Connections::take_touched).
    touched: Option<Vec<ConnectionId>>,
}

/// A socket that the app has seen.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) info: Arc<ConnectionInfo>,
    pub(crate) tags: Vec<String>,
    /// The app's, as JSON.
    pub(crate) state: Option<Arc<str>>,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    /// The app closes it.
    Closing,
    /// The app did not let it in, so it will not hear of its end.
    Refused,
}

/// Something for sockets, to be sent once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Message { to: Vec<ConnectionId>, text: Arc<str> },
    Close { connection: ConnectionId, code: u16, reason: String },
}

impl Member {
    pub(crate) fn new(info: Arc<ConnectionInfo>) -> Self {
        Member::restored(info, Vec::new(), None)
    }

    pub(crate) fn restored(info: Arc<ConnectionInfo>, tags: Vec<String>, state: Option<Arc<str>>) -> Self {
        Member { info, tags, state, standing: Standing::Open }
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }
}

impl Members {
    /// A socket is there, with what was known of it.
    pub(crate) fn arrive(&self, id: ConnectionId, member: Member) {
        self.0.borrow_mut().replace(id, Some(member));
    }

    /// It is known anew who is at a socket.
    pub(crate) fn admit(&self, id: ConnectionId, info: &Arc<ConnectionInfo>) {
        let member = self.get(id).map(|member| Member { info: Arc::clone(info), ..member });
        if member.is_some() {
            self.0.borrow_mut().replace(id, member);
        }
    }

    /// A socket is gone.
    pub(crate) fn leave(&self, id: ConnectionId) {
        self.0.borrow_mut().replace(id, None);
    }

    /// The app does not want a socket.
    pub(crate) fn refuse(&self, id: ConnectionId) {
        self.set_standing(id, Standing::Refused);
    }

    /// Whether what a socket sends still counts.
    pub(crate) fn is_open(&self, id: ConnectionId) -> bool {
        self.read(id, |m| m.standing == Standing::Open).unwrap_or(false)
    }

    /// Whether the app has let a socket in.
    pub(crate) fn is_known(&self, id: ConnectionId) -> bool {
        self.read(id, |m| m.standing != Standing::Refused).unwrap_or(false)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<Member> {
        self.read(id, Member::clone)
    }

    /// A point to which what is done from now on can be taken back.
    pub(crate) fn mark(&self) -> usize {
        self.0.borrow().before.len()
    }

    /// Takes back what was done since a mark, and what the step sent.
    pub(crate) fn undo(&self, mark: usize) {
        let state = &mut *self.0.borrow_mut();
        for (id, member) in state.before.drain(mark..).rev() {
            match member {
                Some(member) => state.all.insert(id, member),
                None => state.all.remove(&id),
            };
        }
        state.sent.clear();
        state.sent_bytes = 0;
    }

    /// What was done is durable.
    pub(crate) fn commit(&self) {
        let state = &mut *self.0.borrow_mut();
        let changed = state.before.drain(..).map(|(id, _)| id);
        if let Some(touched) = &mut state.touched {
            changed.for_each(|id| note_once(touched, id));
        }
    }

    /// As of [`Connections`](crate::connection::Connections::take_touched).
    pub(crate) fn take_touched(&self) -> Vec<ConnectionId> {
        self.0.borrow_mut().touched.replace(Vec::new()).unwrap_or_default()
    }

    /// What the step sent.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        let mut state = self.0.borrow_mut();
        state.sent_bytes = 0;
        std::mem::take(&mut state.sent)
    }

    fn read<T>(&self, id: ConnectionId, read: impl FnOnce(&Member) -> T) -> Option<T> {
        let member = Ref::filter_map(self.0.borrow(), |state| state.all.get(&id)).ok()?;
        Some(read(&member))
    }

    /// Those that are open and that a step may send something to.
    fn ids(&self, wanted: impl Fn(&Member) -> bool) -> Vec<ConnectionId> {
        let is_wanted = |m: &Member| m.standing == Standing::Open && wanted(m);
        self.0.borrow().all.iter().filter(|(_, m)| is_wanted(m)).map(|(id, _)| *id).collect()
    }

    fn change(&self, id: ConnectionId, change: impl FnOnce(&mut Member)) -> Result<(), ActionError> {
        let Some(mut member) = self.get(id) else { return Ok(()) };
        change(&mut member);
        if kept_bytes(&member) > limits::CONNECTION_BYTES {
            return Err(over("what is kept of the connection is over the limit"));
        }
        self.0.borrow_mut().replace(id, Some(member));
        Ok(())
    }

    fn set_standing(&self, id: ConnectionId, standing: Standing) {
        let member = self.get(id).map(|member| Member { standing, ..member });
        if member.is_some() {
            self.0.borrow_mut().replace(id, member);
        }
    }

    fn send(&self, to: Vec<ConnectionId>, text: String) -> Result<(), ActionError> {
        let state = &mut *self.0.borrow_mut();
        state.sent_bytes += text.len();
        if state.sent.len() >= limits::STEP_MESSAGES || state.sent_bytes > limits::STEP_MESSAGE_BYTES {
            return Err(over("the messages of a step are over the limit"));
        }
        if !to.is_empty() {
            state.sent.push(Sent::Message { to, text: text.into() });
        }
        Ok(())
    }
}

impl State {
    fn replace(&mut self, id: ConnectionId, member: Option<Member>) {
        let before = match member {
            Some(member) => self.all.insert(id, member),
            None => self.all.remove(&id),
        };
        self.before.push((id, before));
    }
}

impl fmt::Debug for Sockets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sockets").field(&self.members.0.borrow().all.len()).finish()
    }
}

impl fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.id).finish()
    }
}
