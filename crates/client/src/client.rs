use std::borrow::Cow;

use partysync_model::Value;
use partysync_protocol::v2::{Down, Joined, Later, Patch, Snapshot, Up, VERSION};
use partysync_protocol::{ClientId, Cursor, ErrorCode, MAX_INTEGER, Millis, Token, Version, WireError, limits};
use serde_json::value::RawValue;

use crate::session::{Link, Session};
use crate::view::{Replay, View};
use crate::{Config, Effect, Event, Fate, Input, Pending, State};

/// A server that was not heard for so many ping intervals is gone (SPEC 8.26).
const DEAD_PINGS: i64 = 3;

/// One client of one room. See the crate's documentation.
pub struct Client {
    config: Config,
    id: ClientId,
    last: u64,
    settled: u64,
    born: Option<Version>,
    cursor: Option<Cursor>,
    pending: Vec<Pending>,
    /// What the room had decided when it was joined: numbers up to the one, which the rows of the version show.
    decided: Option<(u64, Version)>,
    view: View,
    session: Session,
    token: Option<Token>,
    /// The last one that did not let it in. It is never shown again (SPEC 9.8).
    refused: Option<Token>,
    /// The room was left for the token it had, and there is no other one yet.
    waits_for_token: bool,
    /// What to do about actions that the server could not take.
    retry: Option<Retry>,
    input: Input,
}

/// What is done after a delay.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Millis,
    /// The room and the client disagree about numbers: join again, instead of sending again.
    rejoin: bool,
}

impl Client {
    /// A client that holds nothing yet. `random` becomes its id: 128 bits that nobody can guess.
    pub fn new(config: Config, random: [u8; 16]) -> Self {
        Client {
            view: View::new(&config),
            config,
            id: ClientId::from_random(random),
            last: 0,
            settled: 0,
            born: None,
            cursor: None,
            pending: Vec::new(),
            decided: None,
            session: Session::Closed,
            token: None,
            refused: None,
            waits_for_token: false,
            retry: None,
            input: Input { now: 0, random },
        }
    }

    /// A client that goes on where another one stopped. Rows that cannot be read are thrown away, with the cursor: they come
    /// again. Pending actions are kept.
    pub fn restore(config: Config, state: State) -> Self {
        let State { client, last, settled, born, cursor, rows, pending } = state;
        let mut restored = Client { last, settled, born, cursor, pending, ..Client::new(config, *client.as_bytes()) };
        let replay = replay(&restored.config, restored.id, &restored.pending, 0);
        let put_all = |confirmed: &mut crate::view::Confirmed<'_>| {
            rows.iter()
                .flat_map(|(c, rows)| rows.iter().map(move |r| (c, r)))
                .try_for_each(|(c, r)| confirmed.put(c, r.get()))
        };
        if restored.view.rebase(&replay, put_all).is_err() {
            restored.cursor = None;
            // Without rows there is nothing that shows what came of an action.
            restored.pending.iter_mut().for_each(|p| p.included = false);
            let replay = self::replay(&restored.config, restored.id, &restored.pending, 0);
            let _ = restored.view.rebase(&replay, |confirmed| {
                confirmed.clear();
                Ok(())
            });
        }
        restored
    }

    /// What to keep for [`restore`](Self::restore).
    pub fn save(&mut self) -> State {
        let replay = replay(&self.config, self.id, &self.pending, self.input.now);
        State {
            client: self.id,
            last: self.last,
            settled: self.settled,
            born: self.born,
            cursor: self.cursor,
            rows: self.view.confirmed(&replay),
            pending: self.pending.clone(),
        }
    }

    /// A channel's rows as the user sees them, in the order of their ids, times included.
    pub fn rows(&self, channel: &str) -> impl Iterator<Item = &[Value]> {
        self.view.rows(channel)
    }

    /// What is not settled yet, in order.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// The version that the confirmed rows are at. `None` before the first snapshot.
    pub fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// Whether the room's changes are coming in.
    pub fn is_live(&self) -> bool {
        self.session.is_live()
    }

    /// Handles an event. The effects are to be carried out in order.
    pub fn handle(&mut self, input: Input, event: Event, effects: &mut Vec<Effect>) {
        self.input = input;
        match event {
            Event::Opened => {
                self.session = Session::Greeting(Link::new(input.now));
                self.send(&Up::Hello { versions: vec![VERSION] }, effects);
            }
            Event::Welcomed(welcome) => {
                self.session = Session::Greeting(Link::new(input.now));
                self.text(&welcome, effects);
            }
            Event::Closed => self.session = Session::Closed,
            Event::Text(text) => self.text(&text, effects),
            Event::Act { channel, action } => self.act(channel, action, effects),
            Event::Say(text) => self.say(text, effects),
            Event::Token(token) => self.renew(token, effects),
            Event::Tick => self.tick(effects),
        }
        self.schedule(effects);
    }

    fn act(&mut self, channel: String, action: String, effects: &mut Vec<Effect>) {
        if self.pending.len() >= limits::OPEN_ACTIONS {
            return effects.push(Effect::Error(ErrorCode::Busy.into()));
        }
        let checked =
            Up::check_action(&action).and_then(|()| RawValue::from_string(action).map_err(|_| ErrorCode::BadAction));
        let action = match checked {
            Ok(action) => action,
            Err(code) => return effects.push(Effect::Error(code.into())),
        };
        self.last += 1;
        let pending = Pending {
            number: self.last,
            channel,
            action,
            sent: false,
            in_flight: false,
            applied_at: None,
            included: false,
        };
        self.view.predict(&replay(&self.config, self.id, &[], self.input.now), &pending);
        self.pending.push(pending);
        effects.push(Effect::Changed);
        self.send_pending(effects);
    }

    fn text(&mut self, text: &str, effects: &mut Vec<Effect>) {
        let now = self.input.now;
        let Some(link) = self.session.link() else { return };
        link.heard_at = now;
        let down = match Down::parse(text) {
            Ok(Down::Welcome(welcome)) => {
                link.ping_ms = welcome.ping_ms.max(1_000);
                link.have_patches = welcome.have_patches.unwrap_or(link.have_patches).max(1);
                link.have_ms = welcome.have_ms.unwrap_or(link.have_ms).max(1_000);
                if self.waits_for_token {
                    // Another socket brings nobody back either.
                    self.session = Session::Refused(*link);
                    return;
                }
                return self.join(effects);
            }
            // The app's text to a socket that has not said what it speaks; it comes again (SPEC 14.6).
            _ if matches!(self.session, Session::Greeting(_)) => return,
            // What was on its way when the room was left.
            Ok(_) if matches!(self.session, Session::Refused(_)) => return,
            Ok(down) => down,
            Err(_) => return self.give_up(effects),
        };
        // Another client's, on the same socket (SPEC 8.32).
        if down.room().is_some_and(|room| room != self.config.room) {
            return;
        }
        match down {
            Down::Joined(joined) => self.joined(&joined, effects),
            Down::Snapshot(snapshot) => self.snapshot(&snapshot, effects),
            Down::Patch(patch) => self.patch(&patch, effects),
            Down::Ack { number, version, .. } => self.acked(number, version, effects),
            Down::Reject(reject) => self.settle(reject.number, fate_of(reject.error), effects),
            Down::Later(later) => self.later(&later),
            Down::Error(message) => effects.push(Effect::Error(message.error)),
            Down::Left(left) => self.left(left.error, effects),
            Down::Expires(_) => effects.push(Effect::Token { refused: None }),
            Down::Message { text, .. } => effects.push(Effect::Message(text.into_owned())),
            Down::Welcome(_) | Down::Pong | Down::Unknown => {}
        }
    }

    fn say(&mut self, text: String, effects: &mut Vec<Effect>) {
        if matches!(self.session, Session::Loading { .. } | Session::Live(_)) {
            let frame = Up::Message { room: self.config.room.as_str().into(), text: text.into() }.encode();
            self.send_frame(frame, effects);
        }
    }

    fn join(&mut self, effects: &mut Vec<Effect>) {
        if let Some(link) = self.session.link().copied() {
            self.session = Session::Joining(link);
        }
        self.retry = None;
        let frame = Up::Join {
            room: self.config.room.as_str().into(),
            client: self.id,
            cursor: self.cursor,
            born: self.born,
            token: self.token.clone(),
        }
        .encode();
        self.send_frame(frame, effects);
    }

    /// There is another token. One that was refused brings nobody back (SPEC 9.8).
    fn renew(&mut self, token: Option<Token>, effects: &mut Vec<Effect>) {
        if token == self.token || (token.is_some() && token == self.refused) {
            return;
        }
        self.waits_for_token &= token.is_none();
        self.token = token;
        match (&self.session, &self.token) {
            (Session::Closed | Session::Greeting(_), _) | (_, None) => {}
            (Session::Refused(_), Some(_)) => self.join(effects),
            (_, Some(token)) => {
                let frame = Up::Token { room: self.config.room.as_str().into(), token: token.clone() }.encode();
                self.send_frame(frame, effects);
            }
        }
    }

    fn joined(&mut self, joined: &Joined<'_>, effects: &mut Vec<Effect>) {
        let Some(link) = self.session.link().copied() else { return };
        // An old copy of the room counts anew: versions of the history that it lost say nothing of who was dropped in this one.
        self.born = Some(self.born.map_or(joined.version, |born| born.min(joined.version)));
        // What was acked and is in this history shows once all that follows is here. The version that the ack named may lie ahead, if an old copy was put back.
        for pending in &mut self.pending {
            pending.applied_at = pending.applied_at.map(|version| version.min(joined.leads_to()));
        }
        if !joined.known {
            self.fates_unknown(u64::MAX, effects);
            return self.start_over(u64::MAX, effects);
        }
        if joined.last < self.settled {
            // This history lost what another one settled: a restored backup. What of the rest was run in it is not run again.
            self.fates_unknown(joined.last, effects);
            return self.start_over(joined.last, effects);
        }
        if joined.last > self.last || self.pending.iter().any(|p| !p.sent && p.number <= joined.last) {
            // Somebody else used this client's numbers: a copy of its state. Nobody can say whose was run.
            self.fates_unknown(u64::MAX, effects);
            return self.start_over(u64::MAX, effects);
        }
        self.decided = Some((joined.last, joined.leads_to()));
        if joined.reset {
            self.session = Session::Loading { link, cursor: joined.cursor(), rows: Vec::new() };
            return;
        }
        self.session = Session::Live(link);
        if self.cursor.is_some_and(|cursor| self.include(cursor.version)) {
            self.predict_again(effects);
        }
        self.send_all_again(effects);
    }

    /// What the room had decided when it was joined is not predicted any more, once the rows that show it are here. Returns whether
    /// that changes anything.
    fn include(&mut self, version: Version) -> bool {
        let Some((number, _)) = self.decided.take_if(|(_, at)| *at <= version) else { return false };
        let mut changes = false;
        for pending in &mut self.pending {
            // What another history had decided may be open in this one.
            let included = pending.sent && pending.applied_at.is_none() && pending.number <= number;
            changes |= std::mem::replace(&mut pending.included, included) != included;
        }
        changes
    }

    /// Nobody will say any more what became of what was sent, up to a number (SPEC 6.7, 9.5).
    fn fates_unknown(&mut self, until: u64, effects: &mut Vec<Effect>) {
        let is_unknown = |p: &Pending| p.sent && p.applied_at.is_none() && p.number <= until;
        for p in self.pending.iter().filter(|p| is_unknown(p)) {
            let fate = Fate::Unknown(ErrorCode::ClientUnknown.into());
            effects.push(Effect::Settled { number: p.number, fate });
        }
        self.pending.retain(|p| !is_unknown(p));
    }

    /// Takes a fresh id, under which what is pending gets new numbers, and joins with it (SPEC 9.5). What was acked, up to a
    /// number, is in the room's history: it waits for its rows, under a number that no action of the new id will have.
    fn start_over(&mut self, in_history: u64, effects: &mut Vec<Effect>) {
        self.id = ClientId::from_random(self.input.random);
        self.settled = 0;
        self.last = 0;
        self.born = None;
        let mut spare = MAX_INTEGER.unsigned_abs();
        for pending in &mut self.pending {
            if pending.applied_at.is_some() && pending.number <= in_history {
                pending.number = spare;
                spare -= 1;
                continue;
            }
            self.last += 1;
            pending.number = self.last;
            pending.sent = false;
            pending.in_flight = false;
            pending.applied_at = None;
            pending.included = false;
        }
        self.predict_again(effects);
        self.join(effects);
    }

    fn snapshot(&mut self, snapshot: &Snapshot<'_>, effects: &mut Vec<Effect>) {
        let Session::Loading { rows, .. } = &mut self.session else { return };
        let channel = &*snapshot.channel;
        rows.extend(snapshot.rows.iter().map(|row| (channel.to_owned(), row.get().to_owned())));
        if snapshot.more {
            return;
        }
        let Session::Loading { link, cursor, rows } = std::mem::replace(&mut self.session, Session::Closed) else {
            return;
        };
        self.session = Session::Live(link);
        self.pending.retain(|p| !settles_at(p, cursor.version, effects));
        self.include(cursor.version);
        let replay = replay(&self.config, self.id, &self.pending, self.input.now);
        let replaced = self.view.rebase(&replay, |confirmed| {
            confirmed.clear();
            rows.iter().try_for_each(|(channel, row)| confirmed.put(channel, row))
        });
        self.advance(cursor, replaced.is_ok(), effects);
        self.send_all_again(effects);
    }

    fn patch(&mut self, patch: &Patch<'_>, effects: &mut Vec<Effect>) {
        let (Session::Live(link), Some(cursor)) = (&mut self.session, self.cursor) else { return };
        link.unconfirmed += 1;
        let have_patches = link.have_patches;
        if patch.to <= cursor.version {
            return;
        }
        if patch.from > cursor.version {
            return self.join(effects);
        }
        self.pending.retain(|p| !settles_at(p, patch.to, effects));
        self.include(patch.to);
        let replay = replay(&self.config, self.id, &self.pending, self.input.now);
        let applied = self.view.rebase(&replay, |confirmed| confirmed.apply(patch));
        self.advance(Cursor { version: patch.to, stamp: patch.stamp }, applied.is_ok(), effects);
        self.have(have_patches, effects);
    }

    /// The confirmed rows are at a new version; or they are spoilt, and all is asked for again.
    fn advance(&mut self, cursor: Cursor, intact: bool, effects: &mut Vec<Effect>) {
        self.cursor = intact.then_some(cursor);
        effects.push(Effect::Changed);
        if !intact {
            self.give_up(effects);
        }
    }

    /// Nothing more is said or heard on this socket, however long it takes until there is another one.
    fn give_up(&mut self, effects: &mut Vec<Effect>) {
        self.session = Session::Closed;
        effects.push(Effect::Reconnect);
    }

    fn acked(&mut self, number: u64, version: Version, effects: &mut Vec<Effect>) {
        if self.cursor.is_some_and(|c| c.version >= version) {
            self.settle(number, Fate::Applied { version }, effects);
        } else {
            self.settled = self.settled.max(number);
            // Its effect comes with a patch: it goes in the same step (P6).
            self.pending.iter_mut().filter(|p| p.number == number).for_each(|p| p.applied_at = Some(version));
        }
    }

    fn settle(&mut self, number: u64, fate: Fate, effects: &mut Vec<Effect>) {
        self.settled = self.settled.max(number);
        let before = self.pending.len();
        self.pending.retain(|p| p.number != number);
        if self.pending.len() < before {
            effects.push(Effect::Settled { number, fate });
            self.predict_again(effects);
        }
    }

    /// The number of the first action whose outcome is still to come.
    fn first_open(&self) -> Option<u64> {
        self.pending.iter().find(|p| p.applied_at.is_none()).map(|p| p.number)
    }

    /// The server could not take an action now, nor those behind it.
    fn later(&mut self, later: &Later<'_>) {
        self.pending.iter_mut().filter(|p| p.number >= later.number).for_each(|p| p.in_flight = false);
        let delay = Millis::try_from(later.after_ms).unwrap_or(Millis::MAX / 2);
        let first = self.first_open();
        // Those behind one that has to wait have a gap before them. If the first one has, the room lacks what this client
        // knows to be settled.
        let gap = later.error.retry == partysync_protocol::Retry::Rejoin && first == Some(later.number);
        let rejoin = gap || self.retry.is_some_and(|retry| retry.rejoin);
        self.retry = Some(Retry { at: self.input.now.saturating_add(delay), rejoin });
    }

    fn left(&mut self, error: Option<WireError>, effects: &mut Vec<Effect>) {
        match (error, self.session.link().copied()) {
            (Some(error), Some(link)) if error.is_unauthorized() => {
                self.session = Session::Refused(link);
                self.refused.clone_from(&self.token);
                self.waits_for_token = true;
                effects.push(Effect::Token { refused: Some(error) });
            }
            (Some(error), _) if error.retry == partysync_protocol::Retry::Never => {
                self.session = Session::Closed;
                effects.push(Effect::Left(error));
            }
            _ => self.give_up(effects),
        }
    }

    fn predict_again(&mut self, effects: &mut Vec<Effect>) {
        let replay = replay(&self.config, self.id, &self.pending, self.input.now);
        let _ = self.view.rebase(&replay, |_| Ok(()));
        effects.push(Effect::Changed);
    }

    /// After a join: what was sent before gets its outcome, what was not gets its first try.
    fn send_all_again(&mut self, effects: &mut Vec<Effect>) {
        self.retry = None;
        self.pending.iter_mut().for_each(|p| p.in_flight = false);
        self.send_pending(effects);
    }

    fn send_pending(&mut self, effects: &mut Vec<Effect>) {
        if !self.session.is_live() || self.retry.is_some() {
            return;
        }
        let room = self.config.room.as_str();
        let mut frames = Vec::new();
        for p in self.pending.iter_mut().filter(|p| !p.in_flight && p.applied_at.is_none()) {
            p.sent = true;
            p.in_flight = true;
            let action = Up::Action {
                room: room.into(),
                number: p.number,
                channel: p.channel.as_str().into(),
                action: &p.action,
            };
            frames.push(action.encode());
        }
        frames.into_iter().for_each(|frame| self.send_frame(frame, effects));
    }

    /// Says what it holds, if so many patches came since it last did.
    fn have(&mut self, patches: u64, effects: &mut Vec<Effect>) {
        let (Session::Live(link), Some(cursor)) = (&mut self.session, self.cursor) else { return };
        if link.unconfirmed < patches {
            return;
        }
        link.unconfirmed = 0;
        // A later outcome may be known before one that is still to come: an action's commit failed, and is there all the same.
        let number = self.first_open().map_or(self.settled, |first| first.saturating_sub(1));
        let room = Cow::from(self.config.room.as_str());
        let frame = Up::Have { room, version: cursor.version, number }.encode();
        self.send_frame(frame, effects);
    }

    fn tick(&mut self, effects: &mut Vec<Effect>) {
        let now = self.input.now;
        if let Some(Retry { rejoin, .. }) = self.retry.take_if(|retry| retry.at <= now) {
            if rejoin && self.session.is_live() {
                self.join(effects);
            }
            self.send_pending(effects);
        }
        let Some(link) = self.session.link().copied() else { return };
        let ping_ms = link.ping_ms as Millis;
        if now - link.heard_at >= DEAD_PINGS * ping_ms {
            return self.give_up(effects);
        }
        if now - link.sent_at >= link.have_ms as Millis {
            self.have(1, effects);
        }
        if now - link.sent_at >= ping_ms {
            self.send(&Up::Ping, effects);
        }
    }

    /// Asks for the next tick. Asking too often does no harm.
    fn schedule(&mut self, effects: &mut Vec<Effect>) {
        let Some(link) = self.session.link().copied() else { return };
        let have = (self.session.is_live() && link.unconfirmed > 0).then_some(link.sent_at + link.have_ms as Millis);
        let ping = Some(link.sent_at + link.ping_ms as Millis);
        if let Some(at) = [have, ping, self.retry.map(|retry| retry.at)].into_iter().flatten().min() {
            effects.push(Effect::TickAt(at.max(self.input.now)));
        }
    }

    fn send(&mut self, up: &Up<'_>, effects: &mut Vec<Effect>) {
        self.send_frame(up.encode(), effects);
    }

    fn send_frame(&mut self, frame: String, effects: &mut Vec<Effect>) {
        let now = self.input.now;
        if let Some(link) = self.session.link() {
            link.sent_at = now;
            effects.push(Effect::Send(frame));
        }
    }
}

fn replay<'a>(config: &'a Config, client: ClientId, pending: &'a [Pending], now: Millis) -> Replay<'a> {
    Replay { config, client, pending, now }
}

/// Whether an acked action's effect is there at a version; then its fate is told.
fn settles_at(pending: &Pending, version: Version, effects: &mut Vec<Effect>) -> bool {
    match pending.applied_at {
        Some(applied_at) if applied_at <= version => {
            let fate = Fate::Applied { version: applied_at };
            effects.push(Effect::Settled { number: pending.number, fate });
            true
        }
        _ => false,
    }
}

fn fate_of(error: WireError) -> Fate {
    let forgotten = error.code == ErrorCode::OutcomeForgotten.as_str();
    if forgotten { Fate::Unknown(error) } else { Fate::Rejected(error) }
}
