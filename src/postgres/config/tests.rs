use super::*;

fn config(text: &str) -> DatabaseConfig {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> String {
    let error = text.parse::<DatabaseConfig>().expect_err(text);
    error.to_string()
}

#[test]
fn a_dead_link_is_noticed_in_seconds_unless_told_otherwise() {
    let host = &config("postgres://me@somewhere/db").hosts[0];
    assert!(host.get_keepalives());
    assert_eq!(host.get_keepalives_idle(), DEFAULT_KEEPALIVES_IDLE);
    assert_eq!(
        host.get_keepalives_interval(),
        Some(DEFAULT_KEEPALIVES_INTERVAL)
    );
    assert_eq!(
        host.get_keepalives_retries(),
        Some(DEFAULT_KEEPALIVES_COUNT)
    );
    assert_eq!(host.get_tcp_user_timeout(), Some(&DEFAULT_TCP_USER_TIMEOUT));
    assert_eq!(host.get_connect_timeout(), Some(&DEFAULT_CONNECT_TIMEOUT));

    let settings =
        "host=somewhere keepalives=0 keepalives_idle=60 tcp_user_timeout=2500 connect_timeout=7";
    let host = &config(settings).hosts[0];
    assert!(!host.get_keepalives());
    assert_eq!(host.get_keepalives_idle(), Duration::from_secs(60));
    assert_eq!(
        host.get_tcp_user_timeout(),
        Some(&Duration::from_millis(2500))
    );
    assert_eq!(host.get_connect_timeout(), Some(&Duration::from_secs(7)));
}

#[test]
fn each_host_has_its_port_and_all_have_the_rest() {
    let config = config("postgres://me:secret@a:1,[::1]:2,c/db?target_session_attrs=primary");
    assert_eq!(config.to_string(), "postgres://me@a:1,[::1]:2,c:5432/db");
    for host in &config.hosts {
        assert_eq!(host.get_password(), Some(&b"secret"[..]));
        assert_eq!(
            host.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
    }
    let named = "host=a,b port=6432 hostaddr=127.0.0.1,127.0.0.2 dbname=db";
    assert_eq!(
        self::config(named).to_string(),
        "postgres://a:6432,b:6432/db"
    );
}

#[test]
fn an_address_without_a_name_is_the_name_that_a_certificate_is_checked_against() {
    let config = config("hostaddr=127.0.0.1 dbname=db");
    assert_eq!(
        config.hosts[0].get_hosts(),
        [Host::Tcp("127.0.0.1".to_owned())]
    );
}

#[test]
fn a_refusal_names_the_setting_and_what_it_may_be() {
    for (text, expected) in [
        (
            "host=a sslmode=on",
            "sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
        ),
        ("host=a port=0", "port must be a number from 1 to 65535"),
        (
            "host=a,b port=1,2,3",
            "port must be one number, or a list as long as host",
        ),
        (
            "host=a,b hostaddr=127.0.0.1",
            "hostaddr must be a list as long as host",
        ),
        ("hostaddr=localhost", "hostaddr must be an IP address"),
        (
            "host=a connect_timeout=soon",
            "connect_timeout must be a whole number of seconds",
        ),
        (
            "host=a tcp_user_timeout=5s",
            "tcp_user_timeout must be a whole number of milliseconds",
        ),
        (
            "host=a target_session_attrs=best",
            "target_session_attrs must be any, read-write, primary, read-only or standby",
        ),
        (
            "postgres://a/db?schema=public",
            "unknown setting \"schema\"",
        ),
        (
            "postgres://a/db?sslnegotiation=direct",
            "sslmode must be require, verify-ca or verify-full where sslnegotiation is direct",
        ),
        (
            "localhost",
            "expected name=value pairs, or a URL that begins with postgres://",
        ),
    ] {
        assert_eq!(
            refusal(text),
            format!("database connection string: {expected}")
        );
    }
}

#[test]
fn nothing_that_is_printed_has_the_password_in_it() {
    let config = config("postgres://me:secret@a/db");
    assert!(!format!("{config} {config:?}").contains("secret"));
}
