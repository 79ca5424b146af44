//! Steps that a socket or a request causes, and what they send (SPEC 14).

use std::sync::Arc;

use partysync_model::{ActionError, Db, Seed};
use partysync_protocol::{ErrorCode, Fault, Retry, WireError, limits, v1, v2};

use crate::connection::Protocol;
use crate::event::{ConnectionId, Effect, RequestId};
use crate::reply::Reply;
use crate::request::{Request, Response};
use crate::server::{Handled, Message};
use crate::sockets::{Member, Members, Sent, Socket, Sockets, close_reason};
use crate::step::{Body, Lost, Outcome, Plan, Ran, Stepper};
use crate::{Changed, ConnectionInfo, Room, SyncServer};

/// A step of the app that is neither an action nor an alarm.
#[derive(Debug, Clone)]
pub(crate) struct HookWork {
    /// Its place in the batch.
    pub(crate) place: usize,
    pub(crate) hook: Hook,
}

#[derive(Debug, Clone)]
pub(crate) enum Hook {
    Connect(ConnectionId, Arc<ConnectionInfo>),
    /// The door says anew who it is. No code of the app runs.
    Admit(ConnectionId, Arc<ConnectionInfo>),
    Close {
        connection: ConnectionId,
        code: Option<u16>,
        reason: String,
    },
    Message(ConnectionId, Received),
    Request(RequestId, Request),
}

/// A frame that is the app's.
#[derive(Debug, Clone)]
pub(crate) enum Received {
    Text(String),
    Binary(Vec<u8>),
}

/// What a hook says, and what a step sends.
#[derive(Debug, Default)]
pub(crate) struct HookRan {
    pub(crate) sent: Vec<Sent>,
    pub(crate) handled: Option<Handled>,
    pub(crate) response: Option<Response>,
}

impl Hook {
    /// The name of the app's function: in the log, in reports.
    fn name(&self) -> &'static str {
        match self {
            Hook::Connect(..) | Hook::Admit(..) => "on_connect",
            Hook::Close { .. } => "on_close",
            Hook::Message(..) => "on_message",
            Hook::Request(..) => "on_request",
        }
    }

    /// The socket whose frame it is: once it is closed, nothing that it sends counts.
    pub(crate) fn sender(&self) -> Option<ConnectionId> {
        if let Hook::Message(connection, _) = self { Some(*connection) } else { None }
    }

    /// What the step changes of who is there, before the app's code.
    fn begin(&self, members: &Members) {
        match self {
            Hook::Connect(connection, info) => members.arrive(*connection, Member::new(Arc::clone(info))),
            Hook::Admit(connection, info) => members.admit(*connection, info),
            _ => {}
        }
    }

    /// What it changes whatever became of the app's code.
    fn end(&self, members: &Members, is_done: bool) {
        match self {
            Hook::Connect(connection, _) if !is_done => members.refuse(*connection),
            Hook::Close { connection, .. } => members.leave(*connection),
            _ => {}
        }
    }

    /// The step destroyed its transaction: it is not run again.
    pub(crate) fn give_up(&self, members: &Members) {
        self.begin(members);
        self.end(members, false);
    }
}

impl<S: SyncServer> Stepper<'_, S> {
    /// Runs a hook in the open transaction, as a step of its own.
    pub(crate) fn hook(&mut self, db: &mut dyn Db, work: &HookWork) -> Result<Ran, Lost> {
        let members = self.members;
        work.hook.begin(members);
        let is_nobodys = matches!(work.hook, Hook::Close { connection, .. } if !members.is_known(connection));
        if is_nobodys || matches!(work.hook, Hook::Admit(..)) {
            work.hook.end(members, true);
            return Ok(Ran::of(Outcome::Applied { version: self.head.cursor.version, own: false }));
        }
        let mut made = Vec::new();
        let started = self.ensure_started(db)?;
        let mut hook = HookRan::default();
        let done = match started {
            Ok(version) => {
                made.extend(version);
                self.call_hook(db, work, &mut hook)?
            }
            Err(error) => Err(error),
        };
        work.hook.end(members, done.is_ok());
        let (outcome, report) = match done {
            Ok(version) => (self.applied(version, &mut made), None),
            Err(error) => (Outcome::Rejected(error.to_wire()), crate::step::report(work.hook.name(), &error)),
        };
        Ok(Ran { made, outcome, report, hook })
    }

    fn call_hook(
        &mut self,
        db: &mut dyn Db,
        work: &HookWork,
        ran: &mut HookRan,
    ) -> Result<Result<Option<crate::step::Made>, ActionError>, Lost> {
        let members = self.members;
        let what = format!("{} {}", self.input.random, work.place);
        let plan = Plan::of_hook(work.hook.name(), Seed::of_step(work.hook.name(), what.as_bytes()));
        let body: &mut Body<'_, S> = &mut |server, tx| {
            match &work.hook {
                Hook::Admit(..) => {}
                Hook::Connect(connection, _) => server.on_connect(tx, Socket::new(*connection, members))?,
                Hook::Close { connection, code, reason } => {
                    server.on_close(tx, Socket::new(*connection, members), *code, reason)?;
                }
                Hook::Message(connection, received) => {
                    let handled = server.on_message(tx, Socket::new(*connection, members), received.as_message())?;
                    ran.handled = Some(handled);
                }
                Hook::Request(_, request) => {
                    let response = server.on_request(tx, request, Sockets::new(members))?;
                    if response.as_ref().is_some_and(|r| r.body.len() > limits::RESPONSE_BYTES) {
                        let detail = "the response is over the limit";
                        return Err(ActionError::with_detail(ErrorCode::AppError, detail));
                    }
                    ran.response = response;
                }
            }
            Ok(Changed::Captured)
        };
        self.on_instance(db, &plan, body, &mut |_, _| Ok(()))
    }
}

impl Received {
    fn as_message(&self) -> Message<'_> {
        match self {
            Received::Text(text) => Message::Text(text),
            Received::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl<S: SyncServer, D: Db> Room<S, D> {
    /// Answers a hook. Closing a socket that is not let in is not put off: nothing that it sent may be answered.
    pub(crate) fn hook_done(&mut self, hook: &Hook, ran: &Ran, effects: &mut Vec<Effect>) {
        self.v1_broadcast_all(&ran.made, effects);
        let error = match &ran.outcome {
            Outcome::Rejected(error) | Outcome::Unsettled(error) => Some(error),
            _ => None,
        };
        match hook {
            Hook::Connect(connection, _) => {
                if let Some(error) = error {
                    let (code, reason) = not_let_in(error);
                    self.connections.set_closing(*connection);
                    effects.push(Effect::Close { connection: *connection, code, reason: reason.into() });
                } else {
                    self.ask_siblings(*connection, effects);
                }
            }
            Hook::Close { .. } | Hook::Admit(..) => {}
            Hook::Message(connection, _) if self.connections.is_closing(*connection) => {}
            Hook::Message(connection, received) => {
                let error = match (error, ran.hook.handled) {
                    (Some(error), _) => error.clone(),
                    (None, Some(Handled::Yes)) => return,
                    (None, _) => ErrorCode::BadMessage.into(),
                };
                effects.extend(self.message_failed(*connection, received, error));
            }
            Hook::Request(request, _) => {
                let response = match error {
                    Some(error) => Response::of_error(error),
                    None => ran.hook.response.clone().unwrap_or_else(Response::nothing_here),
                };
                effects.push(Effect::Respond { request: *request, response });
            }
        }
    }

    /// What a socket hears of a frame that the app did not take.
    fn message_failed(&mut self, to: ConnectionId, received: &Received, error: WireError) -> Option<Effect> {
        let is_default = error.code == ErrorCode::BadMessage.as_str();
        let is_v2 = matches!(self.connections.get_mut(to)?.protocol, Protocol::V2 { .. });
        match received {
            Received::Binary(_) if is_default && is_v2 => {
                self.connections.set_closing(to);
                let reason = "this protocol has no binary frames".into();
                Some(Effect::Close { connection: to, code: 1003, reason })
            }
            Received::Binary(_) if is_default => None,
            _ if is_v2 => {
                let message = v2::ErrorMessage { room: Some(self.name.address().into()), error };
                Some(Effect::Send { to, frame: v2::encode(&message).into() })
            }
            _ => Some(Effect::Send { to, frame: v1::exception(&error.text).into() }),
        }
    }

    /// What a step sent, as effects. Who speaks version 2 gets it wrapped in a `message` (SPEC 14.6).
    pub(crate) fn send_all(&mut self, sent: &[Sent], effects: &mut Vec<Effect>) {
        for sent in sent {
            match sent {
                Sent::Message { to, text } => self.send_message(to, text, effects),
                Sent::Close { connection, code, reason } => {
                    self.connections.set_closing(*connection);
                    effects.push(Effect::Close { connection: *connection, code: *code, reason: reason.clone().into() });
                }
            }
        }
    }

    fn send_message(&mut self, to: &[ConnectionId], text: &Arc<str>, effects: &mut Vec<Effect>) {
        let (mut plain, mut wrapped) = (Vec::new(), Vec::new());
        for id in to {
            let Some(connection) = self.connections.get_mut(*id) else { continue };
            match connection.protocol {
                Protocol::Unknown { .. } => {
                    connection.keep_early(text);
                    plain.push(*id);
                }
                // It ignores what comes before `welcome`.
                Protocol::Greeting => connection.keep_early(text),
                Protocol::V2 { .. } => wrapped.push(*id),
                Protocol::V1 { .. } => plain.push(*id),
                Protocol::Closing => {}
            }
        }
        if !plain.is_empty() {
            effects.push(Effect::Message { to: plain.into(), frame: text.to_string().into() });
        }
        if !wrapped.is_empty() {
            effects.push(Effect::Message { to: wrapped.into(), frame: v2::message(self.name.address(), text).into() });
        }
    }
}

/// How a socket is closed that `on_connect` did not let in.
fn not_let_in(error: &WireError) -> (u16, String) {
    match (error.fault, error.retry) {
        (Fault::Client, _) => (1008, close_reason(error.text.clone())),
        (_, Retry::Later) => (1013, close_reason(error.text.clone())),
        _ => (1011, "the server failed".to_owned()),
    }
}

/// Notes a hook to be run.
pub(crate) fn ask(works: &mut Vec<crate::step::Work>, hook: Hook) -> Reply {
    works.push(crate::step::Work::Hook(HookWork { place: works.len(), hook }));
    Reply::Hook(works.len() - 1)
}
