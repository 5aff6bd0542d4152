//! A request's path -> the function that answers it, by the rules of `[[trigger.http]] route`.
//!
//! `/a/b` is that path alone, `:name` in a route is any one segment, and a final `/...` is everything below. A slash at a path's end
//! changes nothing. Where several routes match, they are compared from the left: a literal segment wins over a named one, and that over
//! the wildcard, whatever their order in the manifest.

use std::str::FromStr;

use anyhow::{Error, Result, ensure};

/// What a route matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    route: String,
    segments: Vec<Segment>,
}

/// One part of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// The final `...`: no segment, or any number of them.
    Rest,
    /// `:name`: any one segment that is not empty.
    Named(String),
    /// This segment, to the byte.
    Literal(String),
}

/// A route that matches a path, and what of the path its parts matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The route as the manifest has it.
    pub route: &'a str,
    /// What `...` stood for, with its leading slash; empty without a wildcard.
    pub rest: String,
    /// What each `:name` stood for.
    pub named: Vec<(&'a str, String)>,
}

/// The routes of a project.
#[derive(Debug, Default)]
pub struct Routes {
    entries: Vec<(Pattern, String)>,
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(route: &str) -> Result<Self> {
        ensure!(
            route.starts_with('/'),
            "route `{route}`: expected a leading slash"
        );
        let mut segments = Vec::new();
        let mut parts = parts(route).peekable();
        while let Some(part) = parts.next() {
            segments.push(match part.strip_prefix(':') {
                Some(name) => {
                    ensure!(
                        header_name(name),
                        "route `{route}`: expected letters, digits, `-` and `_` after `:`"
                    );
                    Segment::Named(name.to_owned())
                }
                None if part == "..." => {
                    ensure!(
                        parts.peek().is_none(),
                        "route `{route}`: `...` can only be its last segment"
                    );
                    Segment::Rest
                }
                None => {
                    ensure!(
                        !part.contains('*'),
                        "route `{route}`: `*` is no wildcard, `/...` at the end is one"
                    );
                    Segment::Literal(part.to_owned())
                }
            });
        }
        Ok(Self {
            route: route.to_owned(),
            segments,
        })
    }
}

/// The name becomes part of a header's.
fn header_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.bytes().all(plain)
}

/// What lies between a path's slashes, without the first of them and the last.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    inner.split('/').filter(move |_| !inner.is_empty())
}

impl Pattern {
    /// The route without its wildcard: `/a` for `/a/...`.
    pub fn fixed(route: &str) -> &str {
        route.strip_suffix("/...").unwrap_or(route)
    }

    fn find<'a>(&'a self, function: &'a str, path: &str) -> Option<Found<'a>> {
        let mut found = Found {
            function,
            route: &self.route,
            rest: String::new(),
            named: Vec::new(),
        };
        let mut rest = path;
        let mut parts = parts(path);
        for segment in &self.segments {
            if *segment == Segment::Rest {
                rest.clone_into(&mut found.rest);
                return Some(found);
            }
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Named(name) if !part.is_empty() => {
                    found.named.push((name, part.to_owned()));
                }
                _ => return None,
            }
            rest = rest.strip_prefix('/')?.strip_prefix(part)?;
        }
        parts.next().is_none().then_some(found)
    }

    /// Whether both match the same paths.
    fn same(&self, other: &Self) -> bool {
        let alike = |pair: (&Segment, &Segment)| match pair {
            (Segment::Named(_), Segment::Named(_)) => true,
            (one, other) => one == other,
        };
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(alike)
    }
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    ///
    /// A route that matches the same paths as one before it.
    pub fn add(&mut self, pattern: Pattern, function: String) -> Result<()> {
        if let Some((known, _)) = self.entries.iter().find(|(known, _)| known.same(&pattern)) {
            anyhow::bail!(
                "route `{}` is given twice, before as `{}`",
                pattern.route,
                known.route
            );
        }
        // Sorted once: the first that matches is the one that wins.
        let place = self
            .entries
            .partition_point(|(known, _)| rank(known).cmp(rank(&pattern)).is_gt());
        self.entries.insert(place, (pattern, function));
        Ok(())
    }

    /// Whether `path` has a route other than the one that takes every path.
    pub fn names(&self, path: &str) -> bool {
        let mut patterns = self.entries.iter().map(|(pattern, _)| pattern);
        patterns
            .any(|pattern| pattern.segments != [Segment::Rest] && pattern.find("", path).is_some())
    }

    /// The function that answers `path` (no query), or none.
    pub fn find(&self, path: &str) -> Option<&str> {
        self.lookup(path).map(|found| found.function)
    }

    /// The route that `path` (no query) leads along, or none.
    pub fn lookup(&self, path: &str) -> Option<Found<'_>> {
        let mut entries = self.entries.iter();
        entries.find_map(|(pattern, function)| pattern.find(function, path))
    }
}

/// What routes are sorted by: kinds of segments from the left, and the end, which matches less than a wildcard. Names do not matter.
fn rank(pattern: &Pattern) -> impl Iterator<Item = u8> {
    let segments = pattern.segments.iter().map(|segment| match segment {
        Segment::Rest => 0,
        Segment::Named(_) => 1,
        Segment::Literal(_) => 2,
    });
    segments.chain([3])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes(entries: &[&str]) -> Routes {
        let mut routes = Routes::default();
        for route in entries {
            let pattern = route.parse().expect(route);
            routes.add(pattern, (*route).into()).expect(route);
        }
        routes
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = routes(&[
            "/a/...", "/a", "/a/b/...", "/a/:x", "/a/:x/c", "/:y/b/c", "/c", "/:y/...",
        ]);
        let cases = [
            ("/a", Some("/a")),
            ("/a/", Some("/a")),
            ("/a/x", Some("/a/:x")),
            ("/a/x/y", Some("/a/...")),
            ("/a/x/c", Some("/a/:x/c")),
            ("/a/b", Some("/a/b/...")),
            ("/a/b/c/d", Some("/a/b/...")),
            ("/a/b/c", Some("/a/b/...")),
            ("/z/b/c", Some("/:y/b/c")),
            ("/ab", Some("/:y/...")),
            ("/c", Some("/c")),
            ("/c/", Some("/c")),
            ("/", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(routes.find(path), expected, "{path}");
        }
    }

    #[test]
    fn parts_of_a_path_are_told() {
        let routes = routes(&["/users/:id/files/...", "/x", "/..."]);
        let found = routes.lookup("/users/7/files/a/b.png").expect("a route");
        assert_eq!(found.route, "/users/:id/files/...");
        assert_eq!(found.rest, "/a/b.png");
        assert_eq!(found.named, [("id", "7".to_owned())]);
        let cases = [
            ("/users/7/files", ""),
            ("/users/7/files/", "/"),
            ("/x", ""),
            ("/", "/"),
            ("/y/z/", "/y/z/"),
        ];
        for (path, rest) in cases {
            assert_eq!(routes.lookup(path).expect(path).rest, rest, "{path}");
        }
        assert_eq!(Pattern::fixed("/a/..."), "/a");
        assert_eq!(Pattern::fixed("/..."), "");
        assert_eq!(Pattern::fixed("/a"), "/a");
    }

    #[test]
    fn the_root_wildcard_takes_every_path() {
        let routes = routes(&["/..."]);
        for path in ["/", "/x", "/x/y", "//"] {
            assert_eq!(routes.find(path), Some("/..."), "{path}");
        }
    }

    #[test]
    fn routes_we_cannot_honour_are_refused() {
        for route in ["", "a", "...", "/.../b", "/a/*", "/:", "/:a b"] {
            assert!(route.parse::<Pattern>().is_err(), "{route}");
        }
        for (one, two) in [("/a", "/a"), ("/a", "/a/"), ("/:a/x", "/:b/x")] {
            let mut routes = routes(&[one]);
            let error = routes
                .add(two.parse().expect("a route"), "two".into())
                .expect_err(two);
            assert!(error.to_string().contains("given twice"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_path_is_the_route_with_its_parts_put_in(path in "(/[a-c/]{0,6}){0,3}") {
            let routes = routes(&["/a/:x/...", "/:y/b", "/..."]);
            if let Some(found) = routes.lookup(&path) {
                let mut said = Pattern::fixed(found.route).to_owned();
                for (name, value) in &found.named {
                    said = said.replace(&format!(":{name}"), value);
                }
                said += &found.rest;
                prop_assert_eq!(said.trim_end_matches('/'), path.trim_end_matches('/'));
            }
        }
    }
}
