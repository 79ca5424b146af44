//! The bytes that so many actions cause.

use super::actions::Crowd;
use super::fresh_rooms;
use crate::error::Error;
use crate::net::Net;
use crate::options::{Bytes, Load, Target};
use crate::result::Outcome;
use crate::target::Served;

pub(crate) fn run(target: &Target, bytes: &Bytes) -> Result<Outcome, Error> {
    let served = Served::start(target)?;
    let mut net = Net::new()?;
    let rooms = [fresh_rooms()];
    let Bytes { clients, in_flight, .. } = *bytes;
    let load = Load { clients, in_flight, seconds: 0.0, warmup: 0.0, rows: 0, unsynced: false };
    let mut crowd = Crowd::open(&served, &mut net, &rooms, &load)?;
    crowd.most = bytes.actions / clients.max(1);
    let actions = crowd.most * clients;

    // All have joined: what it took to get there is not counted.
    let before = net.traffic;
    crowd.start(&mut net, in_flight)?;
    let expected = (actions * clients) as u64;
    net.turn_until(&mut crowd, "all answers", |crowd| crowd.counts.received + crowd.counts.wrong >= expected)?;
    let traffic = net.traffic.since(before);

    let mut outcome = Outcome::new("bytes", &target.label);
    outcome.add("protocol", served.protocol.number());
    outcome.add("clients", clients);
    outcome.add("in_flight", in_flight);
    outcome.add("actions", actions);
    outcome.add("up_bytes", traffic.up);
    outcome.add("down_bytes", traffic.down);
    let each = |bytes: u64| bytes as f64 / actions.max(1) as f64;
    outcome.add_rounded("up_bytes_per_action", each(traffic.up));
    outcome.add_rounded("down_bytes_per_action", each(traffic.down));
    crowd.check(&served, &mut net, &rooms, &load, &mut outcome)?;
    outcome.say(format!(
        "{actions} actions by {clients} clients: {} bytes up, {} down; {:.0} and {:.0} an action",
        traffic.up,
        traffic.down,
        each(traffic.up),
        each(traffic.down)
    ));
    Ok(outcome)
}
