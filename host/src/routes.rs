//! A request's path -> the function that answers it, by the rules of `[[trigger.http]] route`.
//!
//! `/a/b` is that path alone; `/a/...` is `/a` and every path below it. An exact route wins over a wildcard, a longer wildcard over a
//! shorter one, whatever their order in the manifest.

use std::str::FromStr;

use anyhow::{Error, Result, ensure};

/// What a route matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This path, to the byte.
    Exact(String),
    /// This path (without its last slash) and everything below it.
    Under(String),
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
        let (path, wild) = match route.strip_suffix("/...") {
            Some(path) => (path, true),
            None => (route, false),
        };
        // Spin's `:name` segments and inner wildcards; nobody here reads what they capture.
        let plain = path
            .split('/')
            .all(|segment| !segment.starts_with(':') && segment != "...");
        ensure!(
            plain && !path.contains('*'),
            "route `{route}`: only exact routes and a final `/...` are supported"
        );
        Ok(if wild {
            Self::Under(path.to_owned())
        } else {
            Self::Exact(path.to_owned())
        })
    }
}

impl Pattern {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Under(base) => path
                .strip_prefix(base.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }

    /// Greater wins.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(path) => (true, path.len()),
            Self::Under(base) => (false, base.len()),
        }
    }
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    ///
    /// The same pattern twice.
    pub fn add(&mut self, pattern: Pattern, function: String) -> Result<()> {
        ensure!(
            self.entries.iter().all(|(known, _)| *known != pattern),
            "route given twice: {pattern:?}"
        );
        self.entries.push((pattern, function));
        Ok(())
    }

    /// Whether `path` has a route other than the one that takes every path.
    pub fn names(&self, path: &str) -> bool {
        let everything = Pattern::Under(String::new());
        let mut patterns = self.entries.iter().map(|(pattern, _)| pattern);
        patterns.any(|pattern| *pattern != everything && pattern.matches(path))
    }

    /// The function that answers `path` (no query), or none.
    pub fn find(&self, path: &str) -> Option<&str> {
        self.entries
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .max_by_key(|(pattern, _)| pattern.rank())
            .map(|(_, function)| function.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins() {
        let mut routes = Routes::default();
        for (route, function) in [
            ("/a/...", "under-a"),
            ("/a", "exactly-a"),
            ("/a/b/...", "under-ab"),
            ("/c", "c"),
        ] {
            let pattern = route.parse().expect(route);
            routes.add(pattern, function.into()).expect(route);
        }
        let cases = [
            ("/a", Some("exactly-a")),
            ("/a/", Some("under-a")),
            ("/a/x", Some("under-a")),
            ("/a/b", Some("under-ab")),
            ("/a/b/c/d", Some("under-ab")),
            ("/ab", None),
            ("/c", Some("c")),
            ("/c/", None),
            ("/", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(routes.find(path), expected, "{path}");
        }
    }

    #[test]
    fn the_root_wildcard_takes_every_path() {
        let mut routes = Routes::default();
        routes
            .add("/...".parse().expect("a route"), "all".into())
            .expect("the first");
        for path in ["/", "/x", "/x/y"] {
            assert_eq!(routes.find(path), Some("all"), "{path}");
        }
    }

    #[test]
    fn routes_we_cannot_honour_are_refused() {
        for route in ["", "a", "...", "/:id", "/a/:id/b", "/.../b", "/a/*"] {
            assert!(route.parse::<Pattern>().is_err(), "{route}");
        }
        let mut routes = Routes::default();
        let pattern: Pattern = "/a".parse().expect("a route");
        routes.add(pattern.clone(), "one".into()).expect("new");
        assert!(routes.add(pattern, "two".into()).is_err());
    }
}
