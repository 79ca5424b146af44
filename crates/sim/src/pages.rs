//! The version 1 side of a world: pages with a socket each.

use std::collections::BTreeSet;

use partysync_protocol::{ErrorCode, Millis};

use crate::checks::{Checked, Promise, Violation, ensure};
use crate::fates::Known;
use crate::lacks::Early;
use crate::model::CHANNELS;
use crate::network::{Lane, Wire};
use crate::page::{Columns, Page, Told};
use crate::script;
use crate::slow::Down;
use crate::world::World;

/// The code of a socket whose page is left.
const GOING_AWAY: u16 = 1001;

/// A browser's tab with a page of version 1 in one room.
pub(crate) struct Tab {
    pub(crate) site: usize,
    pub(crate) wire: Option<Wire>,
    pub(crate) page: Page,
    identity: String,
    key: Key,
    /// The page's `_pk`.
    pk: Option<String>,
}

/// How a page gets its `_pk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    /// Another one each time that the page is loaded, as `partysocket` does it.
    EachLoad,
    /// Always the same, as an app may choose.
    Fixed,
}

impl World {
    /// A tab, with its page open.
    pub(crate) fn open_tab(&mut self, number: usize) {
        let site = self.rng.index(self.sites.len());
        let key = *self.rng.pick(&[Key::None, Key::EachLoad, Key::EachLoad, Key::EachLoad, Key::Fixed]);
        let identity = format!("page {number}");
        let page = Page::default();
        self.tabs.push(Tab { site, wire: None, page, identity, key, pk: None });
        self.load(number);
    }

    /// The page is loaded.
    fn load(&mut self, tab: usize) {
        let word = self.rng.word();
        let tab = &mut self.tabs[tab];
        tab.pk = match (tab.key, tab.pk.take()) {
            (Key::None, _) => None,
            (Key::Fixed, Some(pk)) => Some(pk),
            _ => Some(format!("{word:016x}")),
        };
        let all = CHANNELS.len() as u64;
        let shown = 1 + word % all;
        (0..CHANNELS.len())
            .filter(|channel| (*channel as u64 + word / all) % all < shown)
            .for_each(|channel| tab.page.mount(channel));
    }

    /// Something happens to a page.
    pub(crate) fn page_step(&mut self) -> Checked {
        let tab = self.rng.index(self.tabs.len());
        match self.rng.below(100) {
            0..30 => {
                let is_slow = self.tabs[tab].wire.as_ref().is_some_and(|wire| wire.down.is_slow());
                let frames = if is_slow && self.rng.chance(700) { 0 } else { 1 + self.rng.below(4) };
                (0..frames).try_for_each(|_| self.hear_one(tab).map(drop))
            }
            30..50 => self.call(tab),
            50..62 => self.connect_tab(tab),
            62..66 => self.cut_tab(tab),
            66..69 => {
                let keeps_stored = self.rng.chance(800);
                self.reload_tab(tab, keeps_stored)
            }
            69..72 => {
                let channel = self.rng.index(CHANNELS.len());
                self.tabs[tab].page.mount(channel);
                Ok(())
            }
            72..80 => self.read_stored(tab),
            80..84 => self.call_again(tab),
            84..90 => {
                self.tabs[tab].wire.iter_mut().for_each(Wire::ping);
                Ok(())
            }
            _ => {
                self.clock += self.rng.below(3_000) as Millis;
                self.give_up_calls(tab);
                Ok(())
            }
        }
    }

    /// Reads what the page stored, and asks for the rest.
    fn read_stored(&mut self, tab: usize) -> Checked {
        let frames = self.tabs[tab].page.read();
        frames.into_iter().for_each(|frame| self.send_or_queue(tab, frame));
        Ok(())
    }

    fn send_or_queue(&mut self, tab: usize, frame: String) {
        let Tab { wire, page, .. } = &mut self.tabs[tab];
        match wire {
            Some(wire) => wire.send_up(0, frame),
            None => page.queue.push_back(frame),
        }
    }

    /// The user does something on a page.
    fn call(&mut self, tab: usize) -> Checked {
        let Tab { site, page, .. } = &self.tabs[tab];
        let site = *site;
        let shown: Vec<usize> = (0..CHANNELS.len()).filter(|channel| page.has_asked(*channel)).collect();
        let nonce = self.new_nonce(site);
        let (channel, request) = script::request(&mut self.rng, nonce, self.kind.is_large);
        let known = CHANNELS.iter().position(|known| *known == channel);
        if known.is_some_and(|known| !shown.contains(&known)) {
            return Ok(());
        }
        let action = serde_json::to_string(&request).unwrap_or_default();
        self.sites[site].ledger.requests.insert(nonce, request);
        let id = format!("{:08x}", self.rng.word() as u32);
        let frame = self.tabs[tab].page.call(&id, channel, &action, nonce, self.clock);
        self.send_or_queue(tab, frame);
        Ok(())
    }

    /// A caller that has heard nothing sends its call again, under the same id. It is the same for a day, if it is known whose.
    fn call_again(&mut self, tab: usize) -> Checked {
        let Tab { page, pk, .. } = &self.tabs[tab];
        if pk.is_none() || !self.kind.calls_again || page.calls.is_empty() {
            return Ok(());
        }
        let index = self.rng.index(page.calls.len());
        if let Some(frame) = page.calls.values().nth(index).map(|call| call.frame.clone()) {
            self.stats.called_again += 1;
            self.send_or_queue(tab, frame);
        }
        Ok(())
    }

    fn give_up_calls(&mut self, tab: usize) {
        let Tab { site, page, .. } = &mut self.tabs[tab];
        let late = page.expire(self.clock);
        self.sites[*site].ledger.give_up(&late);
    }

    pub(crate) fn connect_tab(&mut self, tab: usize) -> Checked {
        let site = self.tabs[tab].site;
        if self.tabs[tab].wire.is_some() || self.sites[site].room.is_none() {
            return Ok(());
        }
        let (lane, window) = (Lane { site, id: self.new_connection() }, self.window());
        let tab = &mut self.tabs[tab];
        let mut wire = Wire::of_page(lane, tab.identity.clone(), tab.pk.clone(), window, self.clock);
        tab.page.queue.drain(..).for_each(|frame| wire.send_up(0, frame));
        tab.wire = Some(wire);
        Ok(())
    }

    /// A frame arrives at a page, if there is one.
    fn hear_one(&mut self, tab: usize) -> Result<bool, Violation> {
        let has_heard = self.hear_frame(tab)?;
        self.note_caught_up(tab);
        Ok(has_heard)
    }

    /// Notes if a page has all that it was sent, and that is all that it missed.
    fn note_caught_up(&mut self, tab: usize) {
        let Tab { site, wire, page, .. } = &mut self.tabs[tab];
        let Some(wire) = wire.as_ref().filter(|wire| wire.down.is_empty() && !wire.down.is_behind()) else { return };
        if let Some(id) = wire.id().filter(|id| self.sites[*site].ledger.is_caught_up(*id)) {
            page.caught_up(id);
        }
    }

    fn hear_frame(&mut self, tab: usize) -> Result<bool, Violation> {
        let Tab { site, wire, page, .. } = &mut self.tabs[tab];
        let Some(wire) = wire else { return Ok(false) };
        let Some(id) = wire.id() else { return Ok(false) };
        let Some((_, down)) = wire.down.pop() else { return Ok(false) };
        let text = match down {
            Down::Ping(mark) => {
                wire.pong(mark);
                return Ok(true);
            }
            Down::Text(text) => text,
        };
        let ledger = &mut self.sites[*site].ledger;
        match page.hear(id, &text) {
            Some(Told::Applied(nonce, channel)) => {
                if let Some(channel) = channel.filter(|_| ledger.is_told_early(nonce)) {
                    page.lacks_mut(channel).stored_early(id, Early::Result);
                }
                ledger.check_told(nonce, Known::Applied)?;
            }
            Some(Told::Failed(nonce, error)) => {
                let is_open = [ErrorCode::Busy, ErrorCode::StorageFull, ErrorCode::StorageFailed];
                let is_open = is_open.iter().any(|code| code.text() == error);
                ledger.check_told(nonce, if is_open { Known::Unknown } else { Known::Rejected })?;
            }
            Some(Told::Ignored(nonce, Some(channel))) => {
                page.lacks_mut(channel).missed(ledger.told_once(nonce, CHANNELS[channel]).into_iter());
            }
            Some(Told::Rows(channel)) => {
                page.lacks_mut(channel).answered(id, ledger.was_blind(id, CHANNELS[channel]));
            }
            Some(Told::Ignored(_, None)) | None => {}
        }
        Ok(true)
    }

    pub(crate) fn cut_tab(&mut self, tab: usize) -> Checked {
        let arriving = self.tabs[tab].wire.as_ref().map_or(0, |wire| wire.down.under_way());
        for _ in 0..self.rng.index(arriving + 1) {
            self.hear_one(tab)?;
        }
        self.end_tab(tab, None);
        Ok(())
    }

    fn end_tab(&mut self, tab: usize, code: Option<u16>) {
        let Some(mut wire) = self.tabs[tab].wire.take() else { return };
        self.stats.cuts += 1;
        let arriving = self.rng.index(wire.up_len() + 1);
        wire.close_up(arriving, code);
        self.lingering.push(wire);
    }

    fn reload_tab(&mut self, tab: usize, keeps_stored: bool) -> Checked {
        let code = self.rng.chance(700).then_some(GOING_AWAY);
        self.note_caught_up(tab);
        self.end_tab(tab, code);
        let Tab { site, page, .. } = &mut self.tabs[tab];
        let open: Vec<u64> = page.calls.values().map(|call| call.nonce).collect();
        self.sites[*site].ledger.give_up(&open);
        page.reload(keeps_stored);
        self.load(tab);
        Ok(())
    }

    /// An old copy took a room's place: version 1 knows no resets, so its users clear what their browsers stored.
    pub(crate) fn clear_pages(&mut self, site: usize) -> Checked {
        (0..self.tabs.len())
            .filter(|tab| self.tabs[*tab].site == site)
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|tab| self.reload_tab(tab, false))
    }

    /// Without faults, and with time, everything arrives.
    pub(crate) fn rest_tabs(&mut self) -> Checked {
        for tab in 0..self.tabs.len() {
            self.connect_tab(tab)?;
            self.read_stored(tab)?;
            self.give_up_calls(tab);
        }
        Ok(())
    }

    pub(crate) fn hear_all(&mut self) -> Checked {
        for tab in 0..self.tabs.len() {
            while self.hear_one(tab)? {}
        }
        Ok(())
    }

    /// Pages that nobody can help are loaded anew, with nothing stored. Returns whether there are any.
    pub(crate) fn clear_helpless(&mut self) -> Result<bool, Violation> {
        let mut helpless: Vec<usize> = (0..self.tabs.len()).collect();
        helpless.retain(|tab| {
            let may_lack = |c| self.leaves_out(*tab, c) || self.tabs[*tab].page.lacks(c).is_something();
            (0..CHANNELS.len()).any(|channel| self.tabs[*tab].page.has_asked(channel) && may_lack(channel))
        });
        self.stats.beyond_help += helpless.len() as u64;
        helpless.iter().try_for_each(|tab| self.reload_tab(*tab, false))?;
        Ok(!helpless.is_empty())
    }

    /// Whether the room took the page for one that has just opened, and waits for it to ask for a channel.
    fn leaves_out(&self, tab: usize, channel: usize) -> bool {
        let Tab { site, wire, .. } = &self.tabs[tab];
        let id = wire.as_ref().and_then(Wire::id);
        id.is_some_and(|id| self.sites[*site].ledger.leaves_out(id, CHANNELS[channel]))
    }

    pub(crate) fn is_tab_at_rest(&self, tab: usize) -> bool {
        let Tab { wire, page, .. } = &self.tabs[tab];
        wire.as_ref().is_some_and(|wire| wire.is_quiet() && !wire.is_fresh())
            && page.calls.is_empty()
            && !page.is_reading()
    }

    /// P10: a page shows what the room holds, but for what nobody can help it with.
    pub(crate) fn check_tab(&self, tab: usize) -> Checked {
        let Tab { site, page, .. } = &self.tabs[tab];
        let held = self.sites[*site].ledger.head_rows();
        for (channel, held) in held.iter().enumerate().filter(|(channel, _)| page.has_asked(*channel)) {
            if self.leaves_out(tab, channel) {
                continue;
            }
            let (shown, held): (_, BTreeSet<&str>) = (page.shown(channel), held.iter().map(String::as_str).collect());
            let counts = |row: &&&str| Columns::of(row).is_none_or(|row| !page.lacks(channel).row(&row.id));
            let more: Vec<_> = shown.difference(&held).filter(counts).collect();
            let less: Vec<_> = held.difference(&shown).filter(counts).collect();
            let name = CHANNELS[channel];
            ensure!(
                more.is_empty() && less.is_empty(),
                P10,
                "at rest a page shows in {name} {more:#?}, which the room does not hold, and lacks {less:#?}"
            );
        }
        Ok(())
    }
}
