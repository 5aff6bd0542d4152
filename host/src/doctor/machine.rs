//! The processor's vectors, and how the kernel hands out memory.

use super::{Check, read};

pub(super) fn checks() -> Vec<Check> {
    vec![
        processor(),
        huge_pages(read("/sys/kernel/mm/transparent_hugepage/enabled").as_deref()),
        pressure(read("/proc/pressure/memory").as_deref()),
    ]
}

/// Names of what the kernels use, and whether this processor has it.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("AVX2", is_x86_feature_detected!("avx2")),
        ("AVX-VNNI", is_x86_feature_detected!("avxvnni")),
        ("AVX-512 BW", is_x86_feature_detected!("avx512bw")),
        ("AVX-512 VNNI", is_x86_feature_detected!("avx512vnni")),
    ]
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<(&'static str, bool)> {
    use std::arch::is_aarch64_feature_detected;
    vec![
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
    ]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}

fn processor() -> Check {
    let features = features();
    let named = |wanted: bool| {
        let names = features.iter().filter(|(_, has)| *has == wanted);
        let names: Vec<_> = names.map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let (has, lacks) = (named(true), named(false));
    let found = match (has.as_str(), lacks.as_str()) {
        ("", "") => "no vectors that we know of".to_owned(),
        ("", lacks) => format!("none of {lacks}"),
        (has, "") => has.to_owned(),
        (has, lacks) => format!("{has}; not {lacks}"),
    };
    // The first is what the slower kernels need.
    match features.first() {
        Some((_, true)) => Check::good("processor", found),
        _ => Check::warning(
            "processor",
            found,
            "dense products will be several times slower here: take a processor with AVX2 or dotprod",
        ),
    }
}

fn huge_pages(enabled: Option<&str>) -> Check {
    let name = "transparent huge pages";
    let chosen = enabled.and_then(|text| text.split(['[', ']']).nth(1));
    match chosen {
        Some("always") => Check::warning(
            name,
            "always: a page that an instance touches may take 2 MiB",
            "run `echo madvise > /sys/kernel/mm/transparent_hugepage/enabled` as root",
        ),
        Some(chosen) => Check::good(name, chosen),
        None => Check::note(name, "the kernel does not tell"),
    }
}

fn pressure(text: Option<&str>) -> Check {
    let name = "pressure stall information";
    match text {
        Some(text) if text.starts_with("some ") => Check::good(name, "available"),
        _ => Check::warning(
            name,
            "not available: a shortage of memory is only seen by a control group's own events",
            "boot with `psi=1`, or a kernel built with CONFIG_PSI",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_kernels_files_are_judged() {
        for (text, expected) in [
            (Some("always [madvise] never\n"), State::Good),
            (Some("[always] madvise never\n"), State::Warning),
            (Some(""), State::Note),
            (None, State::Note),
        ] {
            assert_eq!(huge_pages(text).state, expected, "{text:?}");
        }
        let stalls = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(pressure(Some(stalls)).state, State::Good);
        assert_eq!(pressure(None).state, State::Warning);
    }

    #[test]
    fn the_processor_is_described() {
        let found = processor().found;
        assert!(!found.is_empty(), "{found}");
    }
}
