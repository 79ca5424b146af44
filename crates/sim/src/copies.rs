//! Old copies of rooms, of their files and of what clients store.

use partysync_client::Client;

use crate::checks::{Checked, Promise, Violation};
use crate::clients::{Core, config};
use crate::door::Pass;
use crate::site::{Backup, room_name};
use crate::world::World;

/// The name of a copy that is opened as if it were another room's file.
const COPY: &str = "copy.db";

impl World {
    /// Somebody copies a room's files.
    pub(crate) fn back_up(&mut self, site: usize) -> Checked {
        let site = &mut self.sites[site];
        if site.room.is_some() {
            let files = site.files().into_iter().map(|file| (file.clone(), self.disk.copy(&file))).collect();
            site.backup = Some(Backup { files, history: site.ledger.history.clone() });
        }
        Ok(())
    }

    /// The server is stopped, and a room gets its old files back.
    pub(crate) fn restore(&mut self, site: usize) -> Checked {
        let Some(Backup { files, history }) = self.sites[site].backup.take() else { return Ok(()) };
        self.kill()?;
        for (file, content) in files {
            self.disk.replace(&file, content);
        }
        self.sites[site].ledger.go_back(history);
        self.stats.restored += 1;
        self.clear_pages(site)
    }

    /// Somebody puts the copy of a room where another room's file is looked for: P9.
    pub(crate) fn pass_off(&mut self, site: usize) -> Checked {
        let Some(Backup { files, .. }) = &self.sites[site].backup else { return Ok(()) };
        let file = self.sites[site].file();
        let copies: Vec<_> = files.iter().map(|(name, content)| (name.replace(&file, COPY), content.clone())).collect();
        let names: Vec<String> = copies.iter().map(|(name, _)| name.clone()).collect();
        copies.into_iter().for_each(|(name, content)| self.disk.replace(&name, content));
        let taken = self.open_as(site, COPY, &room_name(site + 1)).is_ok();
        names.iter().for_each(|name| self.disk.replace(name, None));
        if taken {
            let what = format!("a copy of room {site} was opened as another room");
            return Err(Violation { promise: Promise::P9, what });
        }
        Ok(())
    }

    /// A client's state is stored, with nothing pending.
    pub(crate) fn store_state(&mut self, device: usize, core: usize) {
        let core = &mut self.devices[device].cores[core];
        if core.client.pending().count() == 0 {
            core.stored = Some(core.client.save());
        }
    }

    /// A device loses what it stored of a room: its page opens anew, as a client that holds nothing.
    pub(crate) fn wipe(&mut self, device: usize, core: usize) -> Checked {
        self.hang_up(device)?;
        let random = self.rng.bytes();
        let core = &mut self.devices[device].cores[core];
        let pending: Vec<u64> = core.pending().into_iter().map(|(_, nonce)| nonce).collect();
        let site = core.site;
        *core = Core::new(site, random);
        self.sites[site].ledger.give_up(&pending);
        self.stats.wiped += 1;
        self.connect(device)
    }

    /// A device is restored from what was stored of it: it has forgotten what it did since. Nothing of that is under way any more,
    /// as two would use one client id otherwise (SPEC 9.5).
    pub(crate) fn roll_back(&mut self, device: usize, core: usize) -> Checked {
        let Some(state) = self.devices[device].cores[core].stored.take() else { return Ok(()) };
        self.drop_wire(device)?;
        let core = &mut self.devices[device].cores[core];
        let pending: Vec<u64> = core.pending().into_iter().map(|(_, nonce)| nonce).collect();
        let (client, last, site) = (state.client, state.last, core.site);
        core.client = Client::restore(config(site), state);
        core.pass = Pass::default();
        let ledger = &mut self.sites[site].ledger;
        ledger.abandon(client, last, &pending);
        self.stats.rolled_back += 1;
        ledger.check_client(&mut core.client)
    }
}
