//! Which of the folders that a component is given a path is in.

/// The folder among `names` that `path` is in, by its place, and the rest of the path. The longest name wins; a folder called `.` or `/`
/// holds all paths.
pub fn find<'p>(names: &[&str], path: &'p str) -> Option<(usize, &'p str)> {
    let found = names
        .iter()
        .enumerate()
        .filter_map(|(index, name)| Some((index, plain(name).len(), below(name, path)?)));
    let (index, _, rest) = found.max_by_key(|&(index, length, _)| (length, usize::MAX - index))?;
    Some((index, rest))
}

fn below<'p>(name: &str, path: &'p str) -> Option<&'p str> {
    let name = plain(name);
    if name.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(name)?.strip_prefix('/')?;
    (!rest.is_empty()).then_some(rest)
}

/// `name` without what changes nothing about it.
fn plain(name: &str) -> &str {
    let name = name.trim_end_matches('/').trim_start_matches('/');
    let name = name.strip_prefix("./").unwrap_or(name);
    if name == "." { "" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_wins() {
        for (names, path, expected) in [
            (&["pages", "out"][..], "out/a/b.txt", Some((1, "a/b.txt"))),
            (&[".", "out"], "out/a", Some((1, "a"))),
            (&[".", "out"], "outer/a", Some((0, "outer/a"))),
            (&["/"], "a", Some((0, "a"))),
            (&["/in/", "/in/deep"], "in/deep/a", Some((1, "a"))),
            (&["./in"], "in/a", Some((0, "a"))),
            (&["in"], "in", None),
            (&["in"], "a", None),
            (&[], "a", None),
        ] {
            assert_eq!(find(names, path), expected, "{names:?} {path}");
        }
    }
}
