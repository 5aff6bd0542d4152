//! Claims taken, lost and left, on files of a temporary folder.

use std::time::SystemTime;

use super::*;

const LEASE: Duration = Duration::from_secs(60);

fn item(inode: u64) -> Identity {
    Identity {
        inode,
        bytes: 2,
        modified_ns: 3,
    }
}

#[test]
fn one_has_it_and_the_next_knows_what_happened() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let take = || {
        Claim::take(&path, Path::new("b"), item(1), LEASE).expect("a folder that can be written to")
    };
    let mut first = take().expect("nobody has it");
    assert!(take().is_none(), "somebody has it");
    first.record.reason = Some("because".to_owned());
    first.renew().expect("written");
    // As if it had died: the kernel lets go, and nobody puts anything back.
    drop(first);
    let mut second = take().expect("its holder is dead");
    assert_eq!(second.record.deaths, 1);
    assert_eq!(second.record.reason.as_deref(), Some("because"));
    second.record.failures = 1;
    second.put_back(Duration::from_secs(100)).expect("written");
    let third = take().expect("it was put back");
    assert_eq!((third.record.deaths, third.record.failures), (1, 1));
    assert!(third.record.not_before > now() + 90);
    third.finish().expect("removed");
    assert!(!path.exists());
    assert_eq!(take().expect("as new").record.deaths, 0);
}

#[test]
fn another_machines_lease_holds_until_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    for (expires, taken) in [(now() + 60, false), (now() - 1, true)] {
        let record = Record {
            item: Some(item(1)),
            machine: "another".to_owned(),
            expires,
            ..Record::default()
        };
        std::fs::write(&path, serde_json::to_vec(&record).expect("JSON")).expect("written");
        let claim = Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable");
        assert_eq!(claim.is_some(), taken, "{expires}");
    }
    std::fs::write(&path, "{\"machi").expect("written");
    assert!(
        Claim::take(&path, Path::new("b"), item(1), LEASE)
            .expect("readable")
            .is_some(),
        "cut short"
    );
}

#[test]
fn a_clock_that_is_days_ahead_holds_nothing_for_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let record = Record {
        machine: "another".to_owned(),
        expires: now() + 1_000_000,
        lease_s: 60,
        ..Record::default()
    };
    for (written_s_ago, taken) in [(0, false), (30, false), (100, true)] {
        std::fs::write(&path, serde_json::to_vec(&record).expect("JSON")).expect("written");
        let file = File::options().write(true).open(&path).expect("there");
        let when = SystemTime::now() - Duration::from_secs(written_s_ago);
        file.set_modified(when).expect("it is ours");
        let claim = Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable");
        assert_eq!(claim.is_some(), taken, "{written_s_ago}");
    }
}

#[test]
fn what_is_lost_is_not_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("claims/a");
    let take = || Claim::take(&path, Path::new("b"), item(1), LEASE).expect("its folder is made");
    let said = |result: Result<()>| result.expect_err("it is lost").to_string();
    let mut first = take().expect("nobody has it");
    std::fs::remove_dir_all(folder.path().join("claims")).expect("removed");
    let mut second = take().expect("nothing says that somebody has it");
    assert!(said(first.renew()).contains("its file is gone"));
    assert!(said(first.put_back(Duration::ZERO)).contains("its file is gone"));
    second.renew().expect("it is ours");

    let other = Record {
        machine: "another".to_owned(),
        ..second.record.clone()
    };
    std::fs::write(&path, serde_json::to_vec(&other).expect("JSON")).expect("written");
    assert!(said(second.renew()).contains("another worker has it"));
    assert!(said(second.finish()).contains("another worker has it"));
    assert!(path.exists());
}

#[test]
fn another_file_of_the_same_name_starts_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    for (inode, failures) in [(1, 0), (1, 1), (2, 0)] {
        let claim = Claim::take(&path, Path::new("b"), item(inode), LEASE).expect("readable");
        let mut claim = claim.expect("nobody has it");
        assert_eq!(claim.record.failures, failures, "{inode}");
        claim.record.failures += 1;
        claim.put_back(Duration::ZERO).expect("written");
    }
}

#[test]
fn many_at_once_take_it_one_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let holders = std::sync::atomic::AtomicU32::new(0);
    let taken = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                use std::sync::atomic::Ordering::SeqCst;
                for _ in 0..200 {
                    let Some(claim) =
                        Claim::take(&path, Path::new("b"), item(1), LEASE).expect("readable")
                    else {
                        continue;
                    };
                    assert_eq!(holders.fetch_add(1, SeqCst), 0, "alone");
                    taken.fetch_add(1, SeqCst);
                    holders.fetch_sub(1, SeqCst);
                    claim.finish().expect("removed");
                }
            });
        }
    });
    assert!(taken.into_inner() > 0);
}
