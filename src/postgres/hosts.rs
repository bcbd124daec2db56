//! The hosts of a connection string, each with its port.

use std::path::Path;

use tokio_postgres::Config;

use super::{config::ConfigError, connection_string::Settings};

/// Where PostgreSQL listens unless told otherwise.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// One configuration for each host of the list.
pub(super) fn take_hosts(
    base: &Config,
    settings: &mut Settings,
) -> Result<Vec<Config>, ConfigError> {
    let names = settings.take_list("host");
    let addresses = settings.take_list("hostaddr");
    let ports = settings.take_list("port");
    let count = names.len().max(addresses.len()).max(1);
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        return Err(ConfigError::Invalid {
            name: "hostaddr",
            expected: "a list as long as host",
        });
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(ConfigError::Invalid {
            name: "port",
            expected: "one number, or a list as long as host",
        });
    }
    let given =
        |list: &[String], index: usize| list.get(index).filter(|item| !item.is_empty()).cloned();
    (0..count)
        .map(|index| {
            let mut config = base.clone();
            let port = given(&ports, if ports.len() == 1 { 0 } else { index });
            config.port(port.map_or(Ok(DEFAULT_PORT), parse_port)?);
            let address = given(&addresses, index);
            // An address alone is the name to check a certificate against, too.
            let name = given(&names, index).or_else(|| address.clone());
            config.host(name.unwrap_or_else(default_host));
            if let Some(address) = address {
                config.hostaddr(address.parse().map_err(|_| ConfigError::Invalid {
                    name: "hostaddr",
                    expected: "an IP address",
                })?);
            }
            Ok(config)
        })
        .collect()
}

fn parse_port(text: String) -> Result<u16, ConfigError> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ConfigError::Invalid {
            name: "port",
            expected: "a number from 1 to 65535",
        }),
    }
}

/// The local server, as libpq finds it.
fn default_host() -> String {
    ["/run/postgresql", "/var/run/postgresql"]
        .into_iter()
        .find(|folder| Path::new(folder).is_dir())
        .unwrap_or("localhost")
        .to_owned()
}
