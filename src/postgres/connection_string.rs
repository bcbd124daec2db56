//! Splits a libpq connection string, in either of its two notations, into settings by name.
//!
//! What the settings mean is not decided here; see [`super::config`]. No error repeats a value, because any value may
//! be a piece of a badly quoted password.

use std::{collections::BTreeMap, str::FromStr};

use percent_encoding::percent_decode_str;

use super::config::ConfigError;

/// The settings of a connection string that nobody has asked for yet. Of one given twice the later counts, as in libpq.
#[derive(Default)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Takes a setting as it is.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes a setting that is one of a few words, and returns what the word stands for.
    pub(super) fn take_choice<T: Copy>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        choices
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, meaning)| Some(*meaning))
            .ok_or(ConfigError::Invalid { name, expected })
    }

    /// Takes a setting that is a number, an address or the like.
    pub(super) fn take_parsed<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        self.take(name)
            .map(|value| value.trim().parse())
            .transpose()
            .map_err(|_| ConfigError::Invalid { name, expected })
    }

    /// Takes a list; an element may be empty, which means its default.
    pub(super) fn take_list(&mut self, name: &str) -> Vec<String> {
        self.take(name).map_or_else(Vec::new, |value| {
            value
                .split(',')
                .map(|item| item.trim().to_owned())
                .collect()
        })
    }

    /// Refuses what nobody took.
    pub(super) fn expect_empty(self) -> Result<(), ConfigError> {
        let Some((name, _)) = self.0.into_iter().next() else {
            return Ok(());
        };
        let is_a_name =
            name.len() <= 32 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        Err(if is_a_name {
            ConfigError::Unknown { name }
        } else {
            ConfigError::Syntax {
                expected: "settings that libpq knows",
            }
        })
    }

    fn insert(&mut self, name: &str, value: String) {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// Parses `postgres://…` (also `postgresql://…`) or `host=… dbname=…`.
///
/// Several hosts, and their ports, are kept as one value each, separated by commas.
pub(super) fn parse(text: &str) -> Result<Settings, ConfigError> {
    let text = text.trim();
    let url = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    match url {
        Some(rest) => parse_url(rest),
        None => parse_pairs(text),
    }
}

fn parse_url(rest: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let (rest, query) = split_query(rest);
    let (credentials, rest) = match rest.split_once('@') {
        Some((credentials, rest)) => (credentials, rest),
        None => ("", rest),
    };
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
    insert_decoded(&mut settings, "user", user)?;
    insert_decoded(&mut settings, "password", password)?;
    insert_decoded(&mut settings, "dbname", database)?;
    if !hosts.is_empty() {
        let (hosts, ports) = split_hosts(hosts)?;
        insert_decoded(&mut settings, "host", &hosts)?;
        insert_decoded(&mut settings, "port", &ports)?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(ConfigError::Syntax {
            expected: "name=value in each part of the URL after the '?'",
        })?;
        match (name, value) {
            ("ssl", "true") => insert_decoded(&mut settings, "sslmode", "require")?,
            _ => insert_decoded(&mut settings, name, value)?,
        }
    }
    Ok(settings)
}

/// The part before the `?` and the part after it. A `?` in the credentials belongs to them.
fn split_query(rest: &str) -> (&str, &str) {
    let after_credentials = rest.find('@').unwrap_or(0);
    match rest[after_credentials..].find('?') {
        Some(offset) => {
            let at = after_credentials + offset;
            (&rest[..at], &rest[at + 1..])
        }
        None => (rest, ""),
    }
}

/// `a:1,[::1]:2,c` becomes the hosts `a,::1,c` and the ports `1,2,`.
fn split_hosts(list: &str) -> Result<(String, String), ConfigError> {
    let mut hosts = Vec::new();
    let mut ports = Vec::new();
    for item in list.split(',') {
        let (host, port) = match item.strip_prefix('[') {
            Some(item) => {
                let (host, after) = item.split_once(']').ok_or(ConfigError::Syntax {
                    expected: "a ']' after the address in \"host\"",
                })?;
                (host, after.strip_prefix(':').unwrap_or(after))
            }
            None => item.split_once(':').unwrap_or((item, "")),
        };
        hosts.push(host);
        ports.push(port);
    }
    Ok((hosts.join(","), ports.join(",")))
}

fn insert_decoded(settings: &mut Settings, name: &str, value: &str) -> Result<(), ConfigError> {
    let value = percent_decode_str(value)
        .decode_utf8()
        .map_err(|_| ConfigError::Syntax {
            expected: "UTF-8 after percent-decoding",
        })?;
    settings.insert(name, value.into_owned());
    Ok(())
}

fn parse_pairs(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(ConfigError::Syntax {
            expected: "name=value pairs, or a URL that begins with postgres://",
        })?;
        let name = name.trim();
        if name.contains(char::is_whitespace) {
            return Err(ConfigError::Syntax {
                expected: "single quotes around a value with a space in it",
            });
        }
        let (value, after) = take_value(after.trim_start())?;
        settings.insert(name, value);
        rest = after.trim_start();
    }
    Ok(settings)
}

/// Takes one value, quoted or not, off the front; a backslash keeps the next character as it is.
fn take_value(text: &str) -> Result<(String, &str), ConfigError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            '\'' if quoted => return Ok((value, &body[at + 1..])),
            space if !quoted && space.is_whitespace() => return Ok((value, &body[at..])),
            other => value.push(other),
        }
    }
    if quoted {
        return Err(ConfigError::Syntax {
            expected: "a closing single quote",
        });
    }
    Ok((value, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Vec<(String, String)> {
        parse(text)
            .expect("a valid connection string")
            .0
            .into_iter()
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_url_with_several_hosts_is_split_into_its_settings() {
        assert_eq!(
            settings("postgresql://me:p%40ss?@a:1,[::1]:2,c/db?target_session_attrs=read-write"),
            pairs(&[
                ("dbname", "db"),
                ("host", "a,::1,c"),
                ("password", "p@ss?"),
                ("port", "1,2,"),
                ("target_session_attrs", "read-write"),
                ("user", "me"),
            ])
        );
    }

    #[test]
    fn a_socket_folder_can_stand_in_a_url() {
        assert_eq!(
            settings("postgres://%2Frun%2Fpostgresql/db?ssl=true"),
            pairs(&[
                ("dbname", "db"),
                ("host", "/run/postgresql"),
                ("sslmode", "require"),
            ])
        );
    }

    #[test]
    fn pairs_may_be_quoted_escaped_and_spaced() {
        assert_eq!(
            settings(r"host = a user=it\'s password='two words \\' dbname=''"),
            pairs(&[
                ("host", "a"),
                ("password", r"two words \"),
                ("user", "it's")
            ])
        );
    }

    #[test]
    fn errors_never_repeat_the_password() {
        for text in [
            "host=a password=one secret two=3",
            "password='secret",
            "secret-part=1",
            "secret",
        ] {
            let error = parse(text)
                .and_then(Settings::expect_empty)
                .expect_err("badly quoted");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
