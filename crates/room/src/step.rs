//! One step: an action, an alarm or a start, in a savepoint of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use partysync_model::{ActionError, Db, DbError, DbErrorKind, Origin, Seed, Tx, Verdict};
use partysync_protocol::{ClientId, Cursor, ErrorCode, Millis, Stamp, Version, WireError, limits};

use crate::capture::{Change, capture, check_claims};
use crate::channel::ChannelTable;
use crate::clients::{ClientName, Clients, may_have_been_dropped, next_client};
use crate::event::{ConnectionId, Report};
use crate::instance::{Instance, panicked};
use crate::lifecycle::{HookRan, HookWork};
use crate::outbox::{self, Settlement};
use crate::purge::Timers;
use crate::sockets::{Members, Socket, Sockets};
use crate::store::{self, CallOutcome, Client, Head, LogEntry};
use crate::{Call, Changed, Input, SyncServer};

/// The name of the timer behind `on_alarm`.
pub(crate) const ALARM: &str = "alarm";

/// A step that somebody asked for.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Action(ActionWork),
    Alarm,
    Hook(HookWork),
    Settle(Settlement),
}

impl Work {
    /// The socket that asks for it: once it is closed, nothing that it sends counts.
    fn sender(&self) -> Option<ConnectionId> {
        match self {
            Work::Action(work) => Some(work.connection),
            Work::Alarm | Work::Settle(_) => None,
            Work::Hook(work) => work.hook.sender(),
        }
    }
}

/// An action that is to be run.
#[derive(Debug, Clone)]
pub(crate) struct ActionWork {
    pub(crate) connection: ConnectionId,
    pub(crate) sender: Sender,
    /// An index into the room's channels; or why it is refused without being run.
    pub(crate) channel: Result<usize, ErrorCode>,
    /// Its place in the batch.
    pub(crate) place: usize,
    pub(crate) action: String,
    pub(crate) author: Option<String>,
    pub(crate) data: Option<Arc<str>>,
    /// If the app has hooks.
    pub(crate) hooked: Option<Box<Hooked>>,
}

/// What an app with hooks said to an action, or wants to know of it.
#[derive(Debug, Clone)]
pub(crate) struct Hooked {
    /// What the hook before actions prepared, or why it failed the action.
    pub(crate) prepared: Result<Option<Arc<str>>, ActionError>,
    /// The home wants to know when it is applied.
    pub(crate) tell: bool,
}

/// How an action is named, so that it runs once.
#[derive(Debug, Clone)]
pub(crate) enum Sender {
    /// Version 2: by a client and its number. `known` is the highest number whose outcome the client has, `born` the room's
    /// version when it first joined, `None` if it just did.
    Numbered { client: ClientId, number: u64, known: u64, born: Option<Version> },
    /// Version 1: by `_pk` and the call's id as JSON. Without `_pk` it has no name.
    Keyed { key: Option<String>, call: String },
}

/// What a step did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The versions it made: at most one of its own, after those of `on_start` if the instance was made anew.
    pub(crate) made: Vec<Made>,
    pub(crate) outcome: Outcome,
    pub(crate) report: Option<Report>,
    pub(crate) hook: HookRan,
}

impl Ran {
    /// A step that changed nothing.
    pub(crate) fn of(outcome: Outcome) -> Self {
        Ran { made: Vec::new(), outcome, report: None, hook: HookRan::default() }
    }
}

/// A version and what it changed.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) head: Head,
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its effect shows at this version. `own`: it made the last of [`Ran::made`].
    Applied { version: Version, own: bool },
    /// It was applied before, making this version if any.
    Repeated { version: Option<Version> },
    /// For good.
    Rejected(WireError),
    /// Not settled: it may be sent again.
    Unsettled(WireError),
}

/// The transaction is gone, and all steps in it with it.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) cause: ActionError,
}

/// What runs steps: the parts of a room that they touch.
pub(crate) struct Stepper<'r, S> {
    pub(crate) channels: &'r [ChannelTable],
    pub(crate) instance: &'r mut Instance<S>,
    pub(crate) clients: &'r mut Clients,
    pub(crate) head: &'r mut Head,
    pub(crate) timers: &'r mut Timers,
    pub(crate) members: &'r Members,
    /// See [`Room::dropped`](crate::Room).
    pub(crate) dropped: Option<Version>,
    pub(crate) input: Input,
    /// Whether each step has a savepoint of its own. Without, a step that fails takes its transaction with it.
    pub(crate) has_savepoints: bool,
}

/// Who is behind a step, for the log.
#[derive(Default, Clone, Copy)]
struct Origins<'a> {
    handle: Option<i64>,
    number: Option<u64>,
    author: Option<&'a str>,
    action: Option<&'a str>,
}

/// What a step is, apart from the app's code in it.
pub(crate) struct Plan<'a> {
    origin: Origin,
    seed: Seed,
    who: Origins<'a>,
    /// The channel for which the app may claim rows.
    claims: Option<usize>,
    /// The app's alarm goes, unless the step sets it again.
    takes_alarm: bool,
}

impl<'a> Plan<'a> {
    pub(crate) fn of_hook(name: &'a str, seed: Seed) -> Self {
        let who = Origins { author: Some(name), ..Origins::default() };
        Plan { origin: Origin::Action, seed, who, claims: None, takes_alarm: false }
    }
}

type Settle<'s> = dyn FnMut(&mut dyn Db, Option<Version>) -> Result<(), DbError> + 's;

pub(crate) type Body<'b, S> = dyn FnMut(&mut S, &mut Tx<'_>) -> Result<Changed, ActionError> + 'b;

impl<S: SyncServer> Stepper<'_, S> {
    /// Runs a step in the open transaction.
    pub(crate) fn run(&mut self, db: &mut dyn Db, work: &Work) -> Result<Ran, Lost> {
        if work.sender().is_some_and(|sender| !self.members.is_open(sender)) {
            return Ok(Ran::of(Outcome::Applied { version: self.head.cursor.version, own: false }));
        }
        let mut ran = match work {
            Work::Hook(work) => self.hook(db, work)?,
            Work::Settle(settlement) => return Ok(self.settle_item(db, *settlement)),
            _ => self.run_work(db, work)?,
        };
        ran.hook.sent = self.members.take_sent();
        Ok(ran)
    }

    fn run_work(&mut self, db: &mut dyn Db, work: &Work) -> Result<Ran, Lost> {
        let mut made = Vec::new();
        match self.ensure_started(db)? {
            Ok(version) => made.extend(version),
            Err(error) => return Ok(failed_start(error)),
        }
        let (outcome, report) = match work {
            Work::Action(work) => self.action(db, work, &mut made),
            _ => self.alarm(db, &mut made),
        }?;
        Ok(Ran { made, report, ..Ran::of(outcome) })
    }

    /// Makes the app's value if there is none, with `on_start` as a step of its own.
    pub(crate) fn ensure_started(&mut self, db: &mut dyn Db) -> Result<Result<Option<Made>, ActionError>, Lost> {
        if self.instance.is_started() {
            return Ok(Ok(None));
        }
        let mut server = match self.instance.make() {
            Ok(server) => server,
            Err(error) => return Ok(Err(error)),
        };
        let plan = Plan {
            origin: Origin::Setup,
            seed: Seed::of_step("start", &self.input.random.to_be_bytes()),
            who: Origins { author: Some("on_start"), ..Origins::default() },
            claims: None,
            takes_alarm: false,
        };
        let mut body = |server: &mut S, tx: &mut Tx<'_>| server.on_start(tx).map(|()| Changed::Captured);
        let started = self.savepoint(db, &plan, &mut server, &mut body, &mut |_, _| Ok(()))?;
        if started.is_ok() {
            self.instance.set_started(server);
        }
        Ok(started)
    }

    /// Runs `on_alarm` if it is due. The timer goes in the same savepoint as the effect comes.
    fn alarm(&mut self, db: &mut dyn Db, made: &mut Vec<Made>) -> Result<(Outcome, Option<Report>), Lost> {
        match store::timer(db, ALARM) {
            Ok(Some(at)) if at <= self.input.now => {}
            Ok(_) => return Ok((Outcome::Applied { version: self.head.cursor.version, own: false }, None)),
            Err(error) => return Ok((Outcome::Unsettled(ActionError::from(error).to_wire()), None)),
        }
        let plan = Plan {
            origin: Origin::Action,
            seed: Seed::of_step(ALARM, &self.head.cursor.stamp.get().to_be_bytes()),
            who: Origins { author: Some("on_alarm"), ..Origins::default() },
            claims: None,
            takes_alarm: true,
        };
        let sockets = Sockets::new(self.members);
        let mut body = |server: &mut S, tx: &mut Tx<'_>| server.on_alarm(tx, sockets).map(|()| Changed::Captured);
        Ok(match self.on_instance(db, &plan, &mut body, &mut |_, _| Ok(()))? {
            Ok(version) => (self.applied(version, made), None),
            Err(error) => (Outcome::Unsettled(error.to_wire()), report("on_alarm", &error)),
        })
    }

    fn action(
        &mut self,
        db: &mut dyn Db,
        work: &ActionWork,
        made: &mut Vec<Made>,
    ) -> Result<(Outcome, Option<Report>), Lost> {
        let (name, client) = match self.sender(db, work) {
            Ok(sender) => sender,
            Err(outcome) => return Ok((outcome, None)),
        };
        let channel = match work.channel {
            Ok(channel) if work.action.len() <= limits::ACTION_BYTES => channel,
            refused => {
                let code = refused.err().unwrap_or(ErrorCode::TooLarge);
                // A number has to be settled, or those after it are never run. A version 1 call is refused again instead.
                let numbered = work.sender.number().and(name.zip(client));
                return Ok((self.settle_rejected(db, work, numbered, code.into()), None));
            }
        };
        let who = Origins {
            handle: client.as_ref().map(|c| c.handle),
            number: work.sender.number(),
            author: work.author.as_deref(),
            action: Some(&work.action),
        };
        let call = Call {
            channel: &self.channels[channel].name,
            action: &work.action,
            author: work.author.as_deref(),
            data: work.data.as_deref(),
            prepared: work.prepared(),
            socket: Socket::new(work.connection, self.members),
        };
        let mut body = |server: &mut S, tx: &mut Tx<'_>| server.on_action(tx, &call);
        let now = self.input.now;
        let mut settle = |db: &mut dyn Db, version| settle_applied(db, work, client.as_ref(), version, now);
        let seed = work.seed(self.input);
        let plan = Plan { origin: Origin::Action, seed, who, claims: Some(channel), takes_alarm: false };
        let done = match work.failed_before() {
            None => self.on_instance(db, &plan, &mut body, &mut settle)?,
            Some(error) => Err(error.clone()),
        };
        let error = match done {
            Ok(version) => {
                match (name.zip(client), &work.sender) {
                    (Some((name, client)), Sender::Numbered { number, known, .. }) => {
                        self.clients.keep_unsaved(name, next_client(&client, *number, *known, now));
                    }
                    (Some((name, client)), Sender::Keyed { .. }) => self.clients.keep(name, client),
                    (None, _) => {}
                }
                return Ok((self.applied(version, made), None));
            }
            Err(error) => error,
        };
        // A repeated call may fail because its first run succeeded: then that is its outcome.
        match stored_call(db, work, client.as_ref()) {
            Ok(Some(outcome)) => return Ok((outcome, None)),
            Ok(None) => {}
            Err(error) => return Ok((Outcome::Unsettled(ActionError::from(error).to_wire()), None)),
        }
        let report = report(if work.failed_before().is_none() { "on_action" } else { "before_action" }, &error);
        if error.code().retry() == partysync_protocol::Retry::Later {
            return Ok((Outcome::Unsettled(error.to_wire()), report));
        }
        Ok((self.settle_rejected(db, work, name.zip(client), error.to_wire()), report))
    }

    /// Who sends, and whether this number or call is to be run. Version 1 calls are looked up only once they ran, as
    /// nearly all of them are new.
    fn sender(&mut self, db: &mut dyn Db, work: &ActionWork) -> Result<(Option<ClientName>, Option<Client>), Outcome> {
        let unsettled = |error: DbError| Outcome::Unsettled(ActionError::from(error).to_wire());
        let Some(name) = work.client_name() else { return Ok((None, None)) };
        let author = work.author.as_deref();
        let client = match self.clients.find(db, &name).map_err(unsettled)? {
            Some(client) => client,
            None => {
                // One that may have been dropped may have had its first number run long ago.
                if let Sender::Numbered { number, born, .. } = work.sender
                    && (number > 1 || may_have_been_dropped(born, self.dropped))
                {
                    return Err(Outcome::Unsettled(ErrorCode::NumberGap.into()));
                }
                store::add_client(db, &name.stored(), author, self.head.cursor.version, self.input.now)
                    .map_err(unsettled)?
            }
        };
        let Sender::Numbered { number, .. } = work.sender else {
            let client = self.seen(db, client).map_err(unsettled)?;
            return Ok((Some(name), Some(client)));
        };
        if client.identity.as_deref() != author {
            return Err(Outcome::Unsettled(ErrorCode::ClientTaken.into()));
        }
        if number > client.last + 1 {
            return Err(Outcome::Unsettled(ErrorCode::NumberGap.into()));
        }
        if number <= client.last {
            return Err(self.repeated(db, &client, number).unwrap_or_else(unsettled));
        }
        Ok((Some(name), Some(client)))
    }

    /// Notes, once a day, that a version 1 client is still there.
    fn seen(&self, db: &mut dyn Db, client: Client) -> Result<Client, DbError> {
        if self.input.now - client.seen_at < limits::DAY_MS {
            return Ok(client);
        }
        let client = Client { seen_at: self.input.now, ..client };
        store::save_client(db, &client)?;
        Ok(client)
    }

    /// The outcome of a number that was settled before (SPEC 6.4, 6.6).
    fn repeated(&self, db: &mut dyn Db, client: &Client, number: u64) -> Result<Outcome, DbError> {
        if number <= client.forgotten || number + limits::OUTCOMES_KEPT <= client.last {
            return Ok(Outcome::Rejected(ErrorCode::OutcomeForgotten.into()));
        }
        Ok(match store::rejection(db, client.handle, number)? {
            Some(error) => {
                Outcome::Rejected(serde_json::from_str(&error).unwrap_or_else(|_| ErrorCode::OutcomeForgotten.into()))
            }
            None => Outcome::Applied { version: self.head.cursor.version, own: false },
        })
    }

    /// Records a rejection for good. If even that cannot be stored, the action is not settled.
    fn settle_rejected(
        &mut self,
        db: &mut dyn Db,
        work: &ActionWork,
        sender: Option<(ClientName, Client)>,
        error: WireError,
    ) -> Outcome {
        let Some((name, client)) = sender else { return Outcome::Rejected(error) };
        let now = self.input.now;
        let stored = match &work.sender {
            Sender::Numbered { number, known, .. } => {
                let json = partysync_protocol::v2::encode(&error);
                let client = next_client(&client, *number, *known, now);
                store::reject(db, client.handle, *number, &json, now)
                    .and_then(|()| store::forget_rejections(db, client.handle, client.forgotten))
                    .and_then(|()| store::save_client(db, &client))
                    .map(|()| client)
            }
            Sender::Keyed { call, .. } => {
                store::add_call(db, client.handle, call, &Err(error.text.clone()), now).map(|()| client)
            }
        };
        match stored {
            Ok(client) => {
                self.clients.keep(name, client);
                Outcome::Rejected(error)
            }
            Err(error) => Outcome::Unsettled(ActionError::from(error).to_wire()),
        }
    }

    /// Records a rejection in a transaction of its own, after the action destroyed the one it ran in.
    pub(crate) fn reject_alone(&mut self, db: &mut dyn Db, work: &ActionWork, error: WireError) -> Outcome {
        let (name, client) = match self.sender(db, work) {
            Ok(sender) => sender,
            Err(outcome) => return outcome,
        };
        match stored_call(db, work, client.as_ref()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) => self.settle_rejected(db, work, name.zip(client), error),
            Err(error) => Outcome::Unsettled(ActionError::from(error).to_wire()),
        }
    }

    pub(crate) fn applied(&self, version: Option<Made>, made: &mut Vec<Made>) -> Outcome {
        let own = version.is_some();
        made.extend(version);
        Outcome::Applied { version: self.head.cursor.version, own }
    }

    pub(crate) fn on_instance(
        &mut self,
        db: &mut dyn Db,
        plan: &Plan<'_>,
        body: &mut Body<'_, S>,
        settle: &mut Settle<'_>,
    ) -> Result<Result<Option<Made>, ActionError>, Lost> {
        // Taken out, so that a step that never returns it leaves no value behind.
        let Some(mut server) = self.instance.take() else {
            return Ok(Err(ErrorCode::Busy.into()));
        };
        let done = self.savepoint(db, plan, &mut server, body, settle);
        if done.is_ok() || !self.has_savepoints {
            self.instance.set_started(server);
        }
        if !matches!(done, Ok(Ok(_))) {
            self.instance.spoil();
        }
        done
    }

    /// Runs app code, captures and stamps what it changed, logs it and settles it, all in one savepoint.
    fn savepoint(
        &mut self,
        db: &mut dyn Db,
        plan: &Plan<'_>,
        server: &mut S,
        body: &mut Body<'_, S>,
        settle: &mut Settle<'_>,
    ) -> Result<Result<Option<Made>, ActionError>, Lost> {
        let (before, input) = (*self.head, self.input);
        let head = next_head(before, input);
        let channels = self.channels;
        let timers = &mut *self.timers;
        let (members, mark) = (self.members, self.members.mark());
        let mut run = |db: &mut dyn Db| {
            let (changed, outbox) = call_app(db, plan, head.at, timers, server, body)?;
            let changes = capture(db, channels, head)?;
            check_claims(&changed, plan.claims, &changes)?;
            let made = (!changes.is_empty()).then_some(Made { head, changes });
            if made.is_some() {
                let Origins { handle, number, author, action } = plan.who;
                store::append(db, &LogEntry { head, client: handle, number, author, action })?;
            }
            let shown = if made.is_some() { head } else { before };
            outbox::keep(db, timers, shown.cursor.version, input.now.max(shown.at), &outbox, input)?;
            settle(db, made.as_ref().map(|m| m.head.cursor.version))?;
            Ok(made)
        };
        if !self.has_savepoints {
            let made: Option<Made> = run(db).map_err(|cause: ActionError| Lost { cause })?;
            if let Some(made) = &made {
                *self.head = made.head;
            }
            return Ok(Ok(made));
        }
        let mut result = None;
        let transaction = db.transaction(&mut |db| {
            let done = run(db);
            let verdict = if done.is_ok() { Verdict::Keep } else { Verdict::Undo };
            if done.is_err() {
                members.undo(mark);
            }
            result = Some(done);
            verdict
        });
        let result = result.unwrap_or_else(|| Err(ErrorCode::StorageFailed.into()));
        match (transaction, result) {
            (Ok(()), Ok(made)) => {
                if let Some(made) = &made {
                    *self.head = made.head;
                }
                Ok(Ok(made))
            }
            (Ok(()), Err(error)) => Ok(Err(error)),
            (Err(_), Err(cause)) => Err(Lost { cause }),
            (Err(error), Ok(_)) => Err(Lost { cause: error.into() }),
        }
    }
}

impl Sender {
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Sender::Numbered { number, .. } => Some(*number),
            Sender::Keyed { .. } => None,
        }
    }
}

impl ActionWork {
    fn client_name(&self) -> Option<ClientName> {
        match &self.sender {
            Sender::Numbered { client, .. } => Some(ClientName::Numbered(*client)),
            Sender::Keyed { key, .. } => {
                let identity = self.author.clone().unwrap_or_default();
                key.clone().map(|key| ClientName::Keyed { identity, key })
            }
        }
    }

    fn prepared(&self) -> Option<&str> {
        self.hooked.as_ref()?.prepared.as_ref().ok()?.as_deref()
    }

    /// Why the app's hook failed it.
    fn failed_before(&self) -> Option<&ActionError> {
        self.hooked.as_ref()?.prepared.as_ref().err()
    }

    fn seed(&self, input: Input) -> Seed {
        match &self.sender {
            Sender::Numbered { client, number, .. } => Seed::of_action(client, *number),
            // Nobody predicts these ids. That each is another one is all that counts.
            Sender::Keyed { .. } => {
                let place = (self.place as u128) << 64;
                Seed::of_step("call", &(place | u128::from(input.random)).to_be_bytes())
            }
        }
    }
}

/// Runs the app's code; returns what it put into the outbox, too. A panic is an error like any other.
fn call_app<S>(
    db: &mut dyn Db,
    plan: &Plan<'_>,
    at: Millis,
    timers: &mut Timers,
    server: &mut S,
    body: &mut Body<'_, S>,
) -> Result<(Changed, Vec<String>), ActionError> {
    let mut tx = Tx::new(db, plan.origin, at, plan.seed);
    // Whatever the panic left half done is dropped: the rows with the savepoint, the value by `Instance::spoil`.
    let changed =
        catch_unwind(AssertUnwindSafe(|| body(server, &mut tx))).unwrap_or_else(|panic| Err(panicked(panic)))?;
    let outbox = tx.take_outbox();
    if let Some(alarm) = tx.alarm().or(plan.takes_alarm.then_some(None)) {
        timers.forget();
        store::set_timer(db, ALARM, alarm)?;
    }
    Ok((changed, outbox))
}

/// Writes down that an action was applied, in its own savepoint (SPEC 6.5). Its number is written at the end of the group, in the same
/// transaction: [`Clients::save`].
fn settle_applied(
    db: &mut dyn Db,
    work: &ActionWork,
    client: Option<&Client>,
    version: Option<Version>,
    now: Millis,
) -> Result<(), DbError> {
    let Some(client) = client else { return Ok(()) };
    match &work.sender {
        Sender::Keyed { call, .. } => store::add_call(db, client.handle, call, &Ok(version), now),
        Sender::Numbered { number, known, .. } => {
            let next = next_client(client, *number, *known, now);
            if next.forgotten > client.forgotten {
                store::forget_rejections(db, client.handle, next.forgotten)?;
            }
            Ok(())
        }
    }
}

pub(crate) fn next_head(head: Head, input: Input) -> Head {
    let version = head.cursor.version + 1;
    let stamp = Stamp::from_random(mix(input.random.wrapping_add(version)));
    Head { cursor: Cursor { version, stamp }, at: input.now.max(head.at + 1) }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): one random word serves all versions of a batch.
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The outcome of a version 1 call that ran before.
fn stored_call(db: &mut dyn Db, work: &ActionWork, client: Option<&Client>) -> Result<Option<Outcome>, DbError> {
    match (&work.sender, client) {
        (Sender::Keyed { call, .. }, Some(client)) => Ok(store::call(db, client.handle, call)?.map(repeated_call)),
        _ => Ok(None),
    }
}

fn repeated_call(outcome: CallOutcome) -> Outcome {
    match outcome {
        Ok(version) => Outcome::Repeated { version },
        Err(text) => Outcome::Rejected(WireError { text, ..ErrorCode::Rejected.into() }),
    }
}

/// The app cannot start: nothing can run, and nothing is settled by that.
fn failed_start(error: ActionError) -> Ran {
    Ran { report: report("on_start", &error), ..Ran::of(Outcome::Unsettled(ErrorCode::Busy.into())) }
}

/// What the operator should hear of: a mistake of the app or the server, not of a client.
pub(crate) fn report(during: &'static str, error: &ActionError) -> Option<Report> {
    let theirs = error.code().fault() == partysync_protocol::Fault::Client
        && error.db_error().is_none_or(|e| e.kind == DbErrorKind::Duplicate || e.kind == DbErrorKind::Constraint);
    (!theirs).then(|| Report { during, error: error.to_string() })
}
