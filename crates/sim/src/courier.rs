//! Who delivers what a room puts into its outbox, and loses word of it.

use partysync_room::{Event, OutboxItem};

use crate::Tamper;
use crate::checks::Checked;
use crate::site::Site;
use crate::world::World;

impl World {
    /// A room hands out an item.
    pub(crate) fn hand_out(&mut self, site: usize, item: OutboxItem) -> Checked {
        let mut item = item;
        if self.tamper == Tamper::NewKeys && item.tries > 0 {
            item.key.push('0');
        }
        let Site { ledger, courier, .. } = &mut self.sites[site];
        let known = ledger.handed_out(&item)?;
        courier.push((known, item.key));
        Ok(())
    }

    /// Word of some of the items that are on their way. Without faults all of them arrive.
    pub(crate) fn word(&mut self, site: usize, faults: bool) -> Vec<Event> {
        let mut events = Vec::new();
        for (item, key) in std::mem::take(&mut self.sites[site].courier) {
            let (fails, is_lost) = (faults && self.rng.chance(200), faults && self.rng.chance(100));
            if faults && self.rng.chance(300) {
                self.sites[site].courier.push((item, key));
                continue;
            }
            if !fails {
                self.sites[site].ledger.delivered.insert(item);
                self.stats.delivered += 1;
            }
            if !is_lost {
                events.push(if fails { Event::DeliverFailed { key } } else { Event::Delivered { key } });
            }
        }
        events
    }

    /// The process is gone: some of what was on its way arrives, and nobody hears of it.
    pub(crate) fn lose_courier(&mut self, site: usize) {
        for (item, _) in std::mem::take(&mut self.sites[site].courier) {
            if self.rng.chance(500) {
                self.sites[site].ledger.delivered.insert(item);
            }
        }
    }
}
