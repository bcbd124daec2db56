//! Which pages may subscribe. A browser lets any page open a WebSocket to any host, and says whose page it is.

use std::net::IpAddr;
use std::str::FromStr;

/// The origins whose pages may subscribe, besides the relay's own.
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    all: bool,
    listed: Vec<String>,
}

impl FromIterator<AllowedOrigin> for AllowedOrigins {
    fn from_iter<T: IntoIterator<Item = AllowedOrigin>>(origins: T) -> Self {
        let mut allowed = Self::default();
        for AllowedOrigin(origin) in origins {
            match &*origin {
                "*" => allowed.all = true,
                _ => allowed.listed.push(origin),
            }
        }
        allowed
    }
}

impl AllowedOrigins {
    /// Whether a page may subscribe. No `Origin` means no page: a program, whose word is as good as its network.
    pub fn allows(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let own = || {
            origin
                .split_once("://")
                .is_some_and(|(_, authority)| Some(authority) == host)
        };
        self.all || own() || self.listed.iter().any(|listed| listed == origin)
    }

    /// Whether a relay that only its own machine can reach may be called so. Any page can give a name of its own the
    /// address of this machine, and then read what is here as if it were its own; an address or `localhost` is no such
    /// name, and a listed one is meant.
    pub fn may_be_called(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        self.all
            || address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.listed.iter().any(|listed| {
                let authority = listed
                    .split_once("://")
                    .map_or("", |(_, authority)| authority);
                authority == host.to_ascii_lowercase() || authority == name
            })
    }
}

/// One origin, as a browser writes it, or `*` for all.
#[derive(Clone, Debug)]
pub struct AllowedOrigin(String);

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let well_formed = text.split_once("://").is_some_and(|(scheme, authority)| {
            matches!(scheme, "http" | "https") && !authority.is_empty() && !authority.contains('/')
        });
        if text == "*" || well_formed {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!(
                "expected an origin such as https://status.example.org, or *, got \"{text}\""
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relays_own_pages_and_listed_ones_may_subscribe_and_others_not() {
        let allowed: AllowedOrigins = ["https://a.example".parse().expect("an origin")]
            .into_iter()
            .collect();
        assert!(allowed.allows(None, Some("relay:8080")));
        assert!(allowed.allows(Some("http://relay:8080"), Some("relay:8080")));
        assert!(allowed.allows(Some("https://a.example"), Some("relay:8080")));
        assert!(!allowed.allows(Some("https://b.example"), Some("relay:8080")));
        assert!(!allowed.allows(Some("null"), Some("relay:8080")));
        assert!("a.example".parse::<AllowedOrigin>().is_err());
    }

    #[test]
    fn a_relay_of_this_machine_goes_by_addresses_localhost_and_listed_names_only() {
        let allowed: AllowedOrigins = ["https://a.example", "http://b.example:8080"]
            .into_iter()
            .map(|origin| origin.parse::<AllowedOrigin>().expect("an origin"))
            .collect();
        for host in [
            "localhost",
            "LocalHost:8080",
            "relay.localhost:80",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "a.example",
            "a.example:443",
            "B.example:8080",
        ] {
            assert!(allowed.may_be_called(host), "{host}");
        }
        for host in [
            "evil.example:8080",
            "b.example:81",
            "localhost.evil",
            "",
            "x:y",
        ] {
            assert!(!allowed.may_be_called(host), "{host}");
        }
    }
}
