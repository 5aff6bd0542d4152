//! What Spin tells a component about its request, as headers.
//!
//! In: a request, the route that it came along and who sent it. Out: the same request with the `spin-*` headers of that route, and without
//! any that the client sent: components trust them.

use std::net::SocketAddr;

use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Uri};

use crate::routes::{Found, Pattern};

/// Whose request it is: an extension of a request that came over a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) SocketAddr);

const PREFIX: &str = "spin-";

/// Replaces the `spin-*` headers of a request to `uri`.
pub(crate) fn set(headers: &mut HeaderMap, uri: &Uri, found: &Found<'_>, client: Option<Client>) {
    let sent: Vec<_> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in sent {
        headers.remove(name);
    }
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST).and_then(text).unwrap_or("localhost"),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("http://{host}{path}");
    let mut set = |name: &str, value: &str| {
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        // What cannot be in a header could not have come in a request either.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    };
    set("full-url", &url);
    set("path-info", &found.rest);
    set("matched-route", found.route);
    set("raw-component-route", found.route);
    set("component-route", Pattern::fixed(found.route));
    // Routes have no common base here.
    set("base-path", "/");
    if let Some(Client(address)) = client {
        set("client-addr", &address.to_string());
    }
    for (name, value) in &found.named {
        set(&format!("path-match-{name}"), value);
    }
}

fn ours(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Routes;

    #[test]
    fn a_component_is_told_its_route_and_not_what_a_client_says_of_it() {
        let mut routes = Routes::default();
        for route in ["/users/:id/...", "/exact"] {
            let pattern = route.parse().expect(route);
            routes.add(pattern, "f".into()).expect(route);
        }
        let client = Some(Client(([127, 0, 0, 1], 9).into()));
        type Expected = (&'static str, Option<&'static str>);
        let cases: [(&str, &[Expected]); 2] = [
            (
                "/users/7/a/b?c=d",
                &[
                    ("spin-full-url", Some("http://a.org:1/users/7/a/b?c=d")),
                    ("spin-path-info", Some("/a/b")),
                    ("spin-matched-route", Some("/users/:id/...")),
                    ("spin-raw-component-route", Some("/users/:id/...")),
                    ("spin-component-route", Some("/users/:id")),
                    ("spin-base-path", Some("/")),
                    ("spin-client-addr", Some("127.0.0.1:9")),
                    ("spin-path-match-id", Some("7")),
                    ("spin-secret", None),
                    ("accept", Some("*/*")),
                ],
            ),
            (
                "/exact",
                &[
                    ("spin-path-info", Some("")),
                    ("spin-component-route", Some("/exact")),
                    ("spin-path-match-id", None),
                ],
            ),
        ];
        for (target, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("host", "a.org:1"),
                ("accept", "*/*"),
                ("spin-secret", "1"),
                ("spin-path-match-id", "admin"),
                ("spin-path-info", "/forged"),
            ] {
                headers.append(name, HeaderValue::from_static(value));
            }
            let uri: Uri = target.parse().expect(target);
            let found = routes.lookup(uri.path()).expect(target);
            set(&mut headers, &uri, &found, client);
            for (name, value) in expected {
                assert_eq!(headers.get(*name).and_then(text), *value, "{target} {name}");
            }
        }
    }
}
