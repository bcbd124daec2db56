//! Who is connected to this relay, in memory. Somebody else writes it down, in batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use uuid::Uuid;

/// A connected subscriber.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// How it is connected: `websocket` or `sse`.
    pub transport: &'static str,
    /// Its network address.
    pub address: Option<String>,
    /// Its program, as it names itself.
    pub user_agent: Option<String>,
    /// Round trip in milliseconds, where it has been measured.
    pub latency_ms: Option<f64>,
}

/// Everyone who is connected; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    clients: Arc<Mutex<HashMap<Uuid, Client>>>,
}

impl Presence {
    /// Counts a client as connected until the visit is dropped.
    pub fn join(&self, client: Client) -> Visit {
        let id = Uuid::new_v4();
        self.lock().insert(id, client);
        Visit {
            id,
            presence: self.clone(),
        }
    }

    /// How many are connected.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Everyone who is connected now.
    pub fn present(&self) -> HashMap<Uuid, Client> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Client>> {
        self.clients.lock().expect("no holder of this lock panics")
    }
}

/// A client's stay.
#[derive(Debug)]
pub struct Visit {
    id: Uuid,
    presence: Presence,
}

impl Visit {
    /// The connection's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Records a measured round trip, where it differs enough from the one before to be worth telling: by half, and by
    /// more than five milliseconds.
    pub fn measured(&self, latency_ms: f64) {
        if let Some(client) = self.presence.lock().get_mut(&self.id) {
            let tells = |held: f64| (latency_ms - held).abs() > (held / 2.0).max(5.0);
            if client.latency_ms.is_none_or(tells) {
                client.latency_ms = Some((latency_ms * 10.0).round() / 10.0);
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.presence.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_present_for_the_length_of_its_visit_and_small_changes_are_not_told() {
        let presence = Presence::default();
        let visit = presence.join(Client {
            transport: "sse",
            address: None,
            user_agent: None,
            latency_ms: None,
        });
        let latency = || presence.present()[&visit.id()].latency_ms;
        visit.measured(20.04);
        visit.measured(24.0);
        assert_eq!(latency(), Some(20.0));
        visit.measured(90.0);
        assert_eq!(latency(), Some(90.0));
        drop(visit);
        assert_eq!(presence.count(), 0);
    }
}
