//! `allowed_outbound_hosts` -> what of it allows a destination, and which of its addresses.
//!
//! An entry is `scheme://host:port` as Spin has it: a scheme or `*`; a name, an address, a block of addresses, `*`, `*.name` or `self`; a
//! port, `*`, `8000..9000` (without its end) or `{80,443}`. Names can lead anywhere, so an address that is not the internet's must be
//! allowed by more than a wildcard, and one of this machine must be listed itself.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

/// Calls between components go to such names.
const INTERNAL: &str = "spin.internal";

/// Where the requests of a component may go; nowhere by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// `None` is any.
    scheme: Option<Scheme>,
    host: Host,
    /// `None` is any.
    ports: Option<Vec<Range<u32>>>,
}

/// What we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Redis,
    /// Redis in TLS.
    Rediss,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    /// With the leading dot.
    Below(String),
    Name(String),
    Block(IpNet),
    Own,
}

/// Where a request wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) scheme: Scheme,
    /// A name in lower case, or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Scheme {
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Redis | Self::Rediss => 6379,
        }
    }
}

impl Hosts {
    /// Reads entries whose variables are filled in.
    ///
    /// # Errors
    ///
    /// The first that is none, or that needs what is not supported, with its text.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self> {
        let entries = entries.iter().map(|entry| {
            let entry = entry.as_ref().trim();
            Entry::parse(entry).with_context(|| format!("allowed_outbound_hosts: `{entry}`"))
        });
        Ok(Self(entries.collect::<Result<_>>()?))
    }

    /// Whether requests to the application itself are allowed by this scheme.
    pub(crate) fn allow_own(&self, scheme: Scheme) -> bool {
        let own = |entry: &Entry| entry.host == Host::Own && entry.speaks(scheme);
        self.0.iter().any(own)
    }

    /// Whether any server of Redis may be allowed.
    pub(crate) fn allow_redis(&self) -> bool {
        let redis = |entry: &Entry| {
            entry.host != Host::Own && (entry.speaks(Scheme::Redis) || entry.speaks(Scheme::Rediss))
        };
        self.0.iter().any(redis)
    }

    /// Whether anything allows `to`, by its name.
    pub(crate) fn allow(&self, to: &Destination) -> bool {
        self.0.iter().any(|entry| entry.allows(to))
    }

    /// Whether `to`, which was found to be at `address`, may be connected to there.
    pub(crate) fn allow_address(&self, to: &Destination, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let mut entries = self.0.iter().filter(|entry| entry.fits(to));
        match reach(address) {
            Reach::Internet => self.allow(to),
            Reach::Private => entries.any(|entry| entry.allows(to) && entry.names_it(address)),
            Reach::Machine => entries.any(|entry| match &entry.host {
                Host::Block(block) => block.contains(&address),
                Host::Name(name) => name == "localhost" && to.host == *name,
                Host::Any | Host::Below(_) | Host::Own => false,
            }),
        }
    }
}

impl Entry {
    fn parse(entry: &str) -> Result<Self> {
        ensure!(
            entry != "insecure:allow-all",
            "not an entry: `*://*:*` allows everything"
        );
        let (scheme, rest) = entry
            .split_once("://")
            .context("expected scheme://host:port")?;
        let scheme = match scheme {
            "*" => None,
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            "redis" => Some(Scheme::Redis),
            "rediss" => Some(Scheme::Rediss),
            other => bail!(
                "the scheme `{other}` is not supported: expected http, https, redis, rediss or *"
            ),
        };
        let (host, port) = split(rest.trim_end_matches('/'))?;
        let host = Host::parse(host)?;
        let ports = match (port, scheme) {
            (Some("*"), _) => None,
            (Some(port), _) => Some(ports(port)?),
            // A request to ourselves goes to where we listen.
            (None, _) if host == Host::Own => None,
            (None, Some(scheme)) => Some(vec![one(scheme.port())]),
            (None, None) => bail!("expected a port or `*` after a scheme of `*`"),
        };
        Ok(Self {
            scheme,
            host,
            ports,
        })
    }

    fn speaks(&self, scheme: Scheme) -> bool {
        self.scheme.is_none_or(|only| only == scheme)
    }

    /// Scheme and port.
    fn fits(&self, to: &Destination) -> bool {
        let port = u32::from(to.port);
        let ports = self.ports.as_ref();
        self.speaks(to.scheme)
            && ports.is_none_or(|ports| ports.iter().any(|range| range.contains(&port)))
    }

    fn allows(&self, to: &Destination) -> bool {
        let host = match &self.host {
            Host::Any => true,
            Host::Below(suffix) => to.host.ends_with(suffix.as_str()),
            Host::Name(name) => to.host == *name,
            Host::Block(block) => {
                let address = address(&to.host);
                address.is_some_and(|address| block.contains(&address))
            }
            Host::Own => false,
        };
        host && self.fits(to)
    }

    /// Whether it is about this very host, by name or address.
    fn names_it(&self, address: IpAddr) -> bool {
        match &self.host {
            Host::Name(_) => true,
            Host::Block(block) => block.contains(&address),
            Host::Any | Host::Below(_) | Host::Own => false,
        }
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self> {
        let host = host.to_ascii_lowercase();
        let internal = host == INTERNAL || host.ends_with(&format!(".{INTERNAL}"));
        ensure!(
            !internal,
            "calls between components ({INTERNAL}) are not supported"
        );
        if host == "*" {
            return Ok(Self::Any);
        }
        if host == "self" {
            return Ok(Self::Own);
        }
        if let Ok(block) = host.parse::<IpNet>() {
            return Ok(Self::Block(block));
        }
        if let Some(address) = address(&host) {
            return Ok(Self::Block(address.into()));
        }
        ensure!(!host.contains('/'), "expected a host without a path");
        let name = host.strip_prefix("*.").unwrap_or(&host);
        ensure!(
            !name.contains('*'),
            "expected `*` alone or at the start, as in *.example.org"
        );
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        ensure!(
            !name.is_empty() && name.bytes().all(plain),
            "expected a host's name or address, got `{host}`"
        );
        Ok(match host.strip_prefix('*') {
            Some(suffix) => Self::Below(suffix.to_owned()),
            None => Self::Name(host),
        })
    }
}

/// `host:port`, where an IPv6 address is in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').context("`[` without `]`")?;
        let port = match rest {
            "" => None,
            rest => Some(
                rest.strip_prefix(':')
                    .context("expected a port after `]`")?,
            ),
        };
        return Ok((host, port));
    }
    let (host, port) = text.split_once(':').unzip();
    ensure!(
        port.is_none_or(|port| !port.contains(':')),
        "expected an IPv6 address in brackets"
    );
    ensure!(
        port.is_none_or(|port| !port.contains('/')),
        "expected no path after the port"
    );
    Ok((host.unwrap_or(text), port))
}

fn ports(text: &str) -> Result<Vec<Range<u32>>> {
    let list = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let number = |text: &str| {
        let number = text.trim().parse::<u16>();
        number.with_context(|| format!("expected a port, got `{text}`"))
    };
    let range = |text: &str| match text.split_once("..") {
        None => Ok(one(number(text)?)),
        Some((start, end)) => {
            let (start, end) = (number(start)?, number(end)?);
            ensure!(start < end, "the range of ports `{text}` is empty");
            Ok(start.into()..end.into())
        }
    };
    list.unwrap_or(text).split(',').map(range).collect()
}

fn one(port: u16) -> Range<u32> {
    let port = u32::from(port);
    port..port + 1
}

/// The address that a URL's host is, if it is one.
pub(crate) fn address(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = inner.unwrap_or(host).parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

/// How far away an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Internet,
    /// Of a private network: RFC 1918, RFC 4193, what carriers share (RFC 6598), benchmarks (RFC 2544), protocols (RFC 6890) and the
    /// site-local addresses that RFC 3879 deprecates.
    Private,
    /// This machine and its links, and what is no host's address: services that trust who can reach them listen there.
    Machine,
}

/// What virtual machines of Azure ask their host, at a public address that leads nowhere else (Microsoft's documentation of that address).
const PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            if v4 == PLATFORM
                || a == 0
                || a >= 224
                || v4.is_loopback()
                || v4.is_link_local()
                || v4 == Ipv4Addr::BROADCAST
            {
                Reach::Machine
            } else if v4.is_private()
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || (a, b, c) == (192, 0, 0)
            {
                Reach::Private
            } else {
                Reach::Internet
            }
        }
        IpAddr::V6(v6) => {
            let [a, b, c, .., y, z] = v6.segments();
            let embedded = |high, low| {
                let [[h0, h1], [l0, l1]] = [u16::to_be_bytes(high), u16::to_be_bytes(low)];
                reach(Ipv4Addr::new(h0, h1, l0, l1).into())
            };
            // Translators and tunnels lead to the IPv4 address inside: RFC 6052, RFC 3056.
            if (a, b) == (0x64, 0xff9b) {
                embedded(y, z)
            } else if a == 0x2002 {
                embedded(b, c)
            } else if v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
            {
                Reach::Machine
            } else if v6.is_unique_local() || a & 0xffc0 == 0xfec0 {
                Reach::Private
            } else {
                Reach::Internet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to(url: &str) -> Destination {
        let (scheme, rest) = url.split_once("://").expect(url);
        let scheme = match scheme {
            "http" => Scheme::Http,
            _ => Scheme::Https,
        };
        let (host, port) = split(rest).expect(url);
        Destination {
            scheme,
            host: host.to_owned(),
            port: port.map_or(scheme.port(), |port| port.parse().expect(url)),
        }
    }

    #[test]
    fn destinations_are_allowed_as_spin_does() {
        let cases = [
            ("https://a.org", "https://a.org", true),
            ("https://a.org/", "https://a.org:443", true),
            ("https://A.org", "https://a.org", true),
            ("https://a.org", "http://a.org", false),
            ("https://a.org", "https://b.a.org", false),
            ("https://a.org", "https://a.org:8443", false),
            ("https://a.org:*", "https://a.org:8443", true),
            ("*://a.org:80", "http://a.org", true),
            ("*://a.org:80", "https://a.org:80", true),
            ("http://*.a.org", "http://b.a.org", true),
            ("http://*.a.org", "http://c.b.a.org", true),
            ("http://*.a.org", "http://a.org", false),
            ("http://*.a.org", "http://xa.org", false),
            ("http://*", "http://any.example", true),
            ("http://a.org:8000..8002", "http://a.org:8001", true),
            ("http://a.org:8000..8002", "http://a.org:8002", false),
            ("http://a.org:{80,8080..8082}", "http://a.org:8081", true),
            ("http://a.org:{80,8080}", "http://a.org:81", false),
            ("http://10.0.0.0/8:80", "http://10.9.8.7", true),
            ("http://10.0.0.0/8", "http://11.9.8.7", false),
            ("http://10.0.0.0/8", "http://a.org", false),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("http://self", "http://self", false),
        ];
        for (entry, url, expected) in cases {
            let hosts = Hosts::parse(&[entry]).expect(entry);
            assert_eq!(hosts.allow(&to(url)), expected, "{entry} {url}");
        }
        assert!(!Hosts::default().allow(&to("https://a.org")));
        let own = Hosts::parse(&["http://self"]).expect("an entry");
        assert!(own.allow_own(Scheme::Http) && !own.allow_own(Scheme::Https));
    }

    #[test]
    fn addresses_that_are_not_the_internets_must_be_listed() {
        let cases = [
            ("http://a.org", "http://a.org", "93.184.215.14", true),
            ("http://a.org", "http://b.org", "93.184.215.14", false),
            ("http://a.org", "http://a.org", "10.0.0.1", true),
            ("http://*.a.org", "http://b.a.org", "10.0.0.1", false),
            ("http://*", "http://a.org", "192.168.1.1", false),
            ("http://*", "http://192.168.1.1", "192.168.1.1", false),
            (
                "http://192.168.1.1",
                "http://192.168.1.1",
                "192.168.1.1",
                true,
            ),
            (
                "http://192.168.0.0/16",
                "http://192.168.1.1",
                "192.168.1.1",
                true,
            ),
            ("http://a.org", "http://a.org", "127.0.0.1", false),
            ("http://a.org", "http://a.org", "169.254.169.254", false),
            ("http://a.org", "http://a.org", "168.63.129.16", false),
            ("http://*.a.org", "http://x.a.org", "198.19.0.1", false),
            ("http://*.a.org", "http://x.a.org", "192.0.0.8", false),
            ("http://*.a.org", "http://x.a.org", "192.0.1.8", true),
            ("http://*.a.org", "http://x.a.org", "fec0::1", false),
            ("http://x.a.org", "http://x.a.org", "198.18.0.1", true),
            ("http://a.org", "http://a.org", "::ffff:127.0.0.1", false),
            ("http://a.org", "http://a.org", "fe80::1", false),
            ("http://a.org", "http://a.org", "64:ff9b::7f00:1", false),
            ("http://a.org", "http://a.org", "64:ff9b::5db8:d70e", true),
            ("http://a.org", "http://a.org", "2002:a9fe:a9fe::1", false),
            ("http://*", "http://a.org", "2606:2800::1", true),
            ("http://a.org", "http://a.org", "0.0.0.0", false),
            ("http://*", "http://localhost", "127.0.0.1", false),
            ("http://localhost", "http://localhost", "127.0.0.1", true),
            ("http://127.0.0.1", "http://127.0.0.1", "127.0.0.1", true),
            (
                "http://127.0.0.1:81",
                "http://127.0.0.1",
                "127.0.0.1",
                false,
            ),
            ("http://[::1]", "http://[::1]", "::1", true),
            ("http://[fd00::]/8", "http://[fd00::1]", "fd00::1", false),
        ];
        for (entry, url, address, expected) in cases {
            let Ok(hosts) = Hosts::parse(&[entry]) else {
                assert!(!expected, "{entry}");
                continue;
            };
            let address = address.parse().expect(address);
            let actual = hosts.allow_address(&to(url), address);
            assert_eq!(actual, expected, "{entry} {url} {address}");
        }
        // A name that is allowed by a wildcard, and its address by an entry of its own.
        let hosts = Hosts::parse(&["http://*", "http://127.0.0.1"]).expect("entries");
        assert!(hosts.allow_address(&to("http://a.org"), IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn what_is_no_entry_is_said() {
        for (entry, expected) in [
            ("a.org", "expected scheme://host:port"),
            ("mysql://a.org:6379", "scheme `mysql` is not supported"),
            ("*://a.org", "expected a port or `*`"),
            ("http://a.*.org", "expected `*` alone or at the start"),
            ("http://a.org/path", "without a path"),
            ("http://a.org:80/path", "no path after the port"),
            ("http://a.org:x", "expected a port, got `x`"),
            ("http://a.org:9..9", "is empty"),
            ("http://::1", "in brackets"),
            ("http://", "expected a host's name"),
            ("http://a b", "expected a host's name"),
            (
                "http://gait.spin.internal",
                "(spin.internal) are not supported",
            ),
            (
                "http://*.spin.internal",
                "(spin.internal) are not supported",
            ),
            ("insecure:allow-all", "*://*:*"),
        ] {
            let error = format!("{:#}", Hosts::parse(&[entry]).expect_err(entry));
            assert!(error.contains(expected) && error.contains(entry), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn nothing_that_is_parsed_panics(entry in "[a-z*]{0,5}(://)?[a-z0-9.*:/{},\\[\\]]{0,20}") {
            if let Ok(hosts) = Hosts::parse(&[entry]) {
                hosts.allow(&to("https://a.org"));
            }
        }
    }
}
