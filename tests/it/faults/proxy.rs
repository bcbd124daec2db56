//! A network that can be broken: a TCP proxy between relay and database.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It carries everything at once.
    Fair,
    /// It carries everything this much later, one packet after the other.
    Slow(Duration),
    /// It takes everything and carries nothing; no connection ends. Those that were there when it began stay so for
    /// good, as after a firewall has forgotten them; new ones share its fate while it lasts.
    Swallows,
    /// Nobody can connect.
    Refuses,
}

/// A proxy in front of one port of this machine.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Counts the times when every connection was cut.
    cuts: watch::Sender<u64>,
    carried: Arc<AtomicUsize>,
    /// Ports of our own at which the database sees connections that carry nothing any more.
    silent: Arc<Mutex<BTreeSet<u16>>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Begins to carry, in fair weather.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (weather, cuts) = (watch::Sender::new(Weather::Fair), watch::Sender::new(0));
        let carried = Arc::<AtomicUsize>::default();
        let silent = Arc::<Mutex<BTreeSet<u16>>>::default();
        let (forecast, ends, count) = (weather.subscribe(), cuts.subscribe(), carried.clone());
        let silenced = silent.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *forecast.borrow() == Weather::Refuses {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                for stream in [&near, &far] {
                    stream.set_nodelay(true).expect("a TCP stream");
                }
                let port = far.local_addr().expect("connected").port();
                let ((near_read, near_write), (far_read, far_write)) =
                    (near.into_split(), far.into_split());
                let (mut ends, forecast) = (ends.clone(), forecast.clone());
                let silenced = silenced.clone();
                let weather = move || {
                    let is_silent = silenced.lock().expect("no panic").contains(&port);
                    if is_silent {
                        Weather::Swallows
                    } else {
                        *forecast.borrow()
                    }
                };
                ends.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(near_read, far_write, &weather) => {}
                        () = carry(far_read, near_write, &weather) => {}
                        // Also when the proxy is gone.
                        _ = ends.changed() => {}
                    }
                });
            }
        });
        Self {
            address,
            weather,
            cuts,
            carried,
            silent,
            accepting,
        }
    }

    /// The URL of a database behind the port, through this proxy.
    pub(crate) fn url(&self, direct: &str) -> String {
        let (before, after) = direct.split_once("127.0.0.1:").expect("a local server");
        let (_, path) = after.split_once('/').expect("a database");
        format!("{before}{}/{path}", self.address)
    }

    /// Changes the weather, for the connections that are there too.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Cuts every connection that is there.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Lets one connection carry nothing any more: the one that the database sees coming from this port.
    pub(crate) fn silence(&self, port: u16) {
        self.silent.lock().expect("no panic").insert(port);
    }

    /// How many connections it has carried so far.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one direction until its sender has finished.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, weather: &impl Fn() -> Weather) {
    let mut buffer = vec![0; 256 * 1024];
    let mut is_lost = false;
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            if is_lost {
                // Not even the end is carried.
                std::future::pending::<()>().await;
            }
            return;
        };
        match weather() {
            Weather::Swallows => is_lost = true,
            Weather::Slow(delay) => sleep(delay).await,
            Weather::Fair | Weather::Refuses => {}
        }
        if !is_lost && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
