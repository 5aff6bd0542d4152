//! Who is let in, and who waits.

use super::*;

const MIB: u64 = 1 << 20;

/// Waits long where a test does not wait for it.
fn admission(memory_mib: u64, instances: u32, waiting: usize) -> Admission {
    waiting_for(Duration::from_secs(600), memory_mib, instances, waiting)
}

fn waiting_for(wait_time: Duration, memory_mib: u64, instances: u32, waiting: usize) -> Admission {
    Admission::new(Budget {
        memory_bytes: memory_mib * MIB,
        instances,
        waiting,
        wait_time,
    })
}

/// Functions and priorities of requests in the order in which they were let in, one at a time.
async fn order(admission: &'static Admission, asked: &[(&'static str, Priority)]) -> Vec<String> {
    let (send, mut let_in) = tokio::sync::mpsc::unbounded_channel();
    let first = admission.slot("first", MIB, Priority::Interactive);
    let first = first.await.expect("nobody else is there");
    let mut tasks = tokio::task::JoinSet::new();
    for &(function, priority) in asked {
        let send = send.clone();
        tasks.spawn(async move {
            let _slot = admission
                .slot(function, MIB, priority)
                .await
                .expect("a turn");
            let _ = send.send(format!("{function} {priority:?}"));
        });
        // Each is in its queue before the next one comes.
        tokio::task::yield_now().await;
    }
    drop((first, send));
    let mut seen = vec![];
    while let Some(one) = let_in.recv().await {
        seen.push(one);
    }
    tasks.join_all().await;
    seen
}

fn leaked(admission: Admission) -> &'static Admission {
    Box::leak(Box::new(admission))
}

#[tokio::test]
async fn memory_and_instances_bound_what_runs() {
    let admission = admission(10, 3, 0);
    let slot = |mib: u64| admission.slot("f", mib * MIB, Priority::Interactive);
    let first = slot(4).await.expect("4 of 10");
    let second = slot(6).await.expect("10 of 10");
    assert!(
        matches!(slot(1).await, Err(Failure::Busy { .. })),
        "11 of 10"
    );
    drop(second);
    let small = (slot(1).await.expect("5"), slot(1).await.expect("6"));
    assert!(
        matches!(slot(1).await, Err(Failure::Busy { .. })),
        "a fourth"
    );
    assert_eq!(
        (admission.load().running, admission.load().admitted_bytes),
        (3, 6 * MIB)
    );
    drop((first, small));
    // More than there is runs alone.
    let large = slot(11).await.expect("alone");
    assert!(matches!(slot(1).await, Err(Failure::Busy { .. })));
    drop(large);
    let load = admission.load();
    assert_eq!((load.running, load.waiting, load.admitted_bytes), (0, 0, 0));
}

#[tokio::test]
async fn who_takes_long_lets_others_run_and_keeps_its_memory() {
    let admission = admission(3, 1, 0);
    let slot = || admission.slot("f", MIB, Priority::Interactive);
    let mut first = slot().await.expect("nobody is there");
    assert!(admission.is_full(MIB, Priority::Interactive));
    first.step_aside();
    first.step_aside();
    assert!(!admission.is_full(MIB, Priority::Interactive));
    let mut second = slot().await.expect("the first takes long");
    second.step_aside();
    assert!(admission.is_full(MIB, Priority::Interactive), "one may");
    let many = (admission.load().admitted_bytes, admission.load().running);
    assert_eq!(many, (2 * MIB, 2));
    let large = admission.slot("f", 2 * MIB, Priority::Interactive);
    assert!(matches!(large.await, Err(Failure::Busy { .. })), "4 of 3");
    drop((first, second));
    let load = admission.load();
    assert_eq!((load.running, load.admitted_bytes), (0, 0));
}

#[tokio::test]
async fn what_is_in_hand_leaves_less_for_others() {
    let admission = Arc::new(waiting_for(Duration::from_millis(20), 3, 5, 10));
    let slot = || admission.slot("f", MIB, Priority::Batch);
    let held = admission.hold(5 * MIB);
    assert_eq!(admission.load().held_bytes, 5 * MIB);
    let first = slot().await.expect("one runs whatever is in hand");
    assert!(matches!(slot().await, Err(Failure::Busy { .. })));
    drop(held);
    let second = slot().await.expect("there is room again");
    drop((first, second));
    let load = admission.load();
    assert_eq!((load.running, load.held_bytes), (0, 0));
}

#[tokio::test]
async fn small_inputs_cost_nobody_a_place() {
    for (held_bytes, abandoned_bytes, second) in [
        (1, 0, true),
        (MIB, 0, true),
        (MIB + 1, 0, false),
        (0, 1, false),
    ] {
        let admission = Arc::new(waiting_for(Duration::from_millis(20), 8, 5, 10));
        let slot = || admission.slot("f", 4 * MIB, Priority::Batch);
        // Of the one that runs and of the one that is to run.
        let held = [held_bytes / 2, held_bytes.div_ceil(2)];
        let held = held.map(|bytes| admission.hold(bytes));
        let abandoned = admission.hold_abandoned(abandoned_bytes);
        let first = slot().await.expect("one runs in any case");
        let fits = slot().await.is_ok();
        assert_eq!(fits, second, "{held_bytes} {abandoned_bytes}");
        drop((first, held, abandoned));
        let load = admission.load();
        assert_eq!((load.held_bytes, load.abandoned_bytes), (0, 0));
    }
}

#[tokio::test]
async fn who_waits_too_long_leaves_its_place() {
    let admission = leaked(waiting_for(Duration::from_millis(20), 10, 1, 1));
    let running = admission
        .slot("f", MIB, Priority::Interactive)
        .await
        .expect("free");
    let waiting = tokio::spawn(async {
        let slot = admission.slot("f", MIB, Priority::Interactive).await;
        slot.map(drop)
    });
    tokio::task::yield_now().await;
    assert_eq!(admission.load().waiting, 1);
    let third = admission.slot("f", MIB, Priority::Interactive).await;
    assert!(matches!(third, Err(Failure::Busy { .. })), "one may wait");
    assert!(matches!(waiting.await, Ok(Err(Failure::Busy { .. }))));
    assert_eq!(admission.load().waiting, 0);

    // Who goes away does so as well, and who comes next gets the slot.
    let gone = tokio::spawn(admission.slot("f", MIB, Priority::Interactive));
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.is_err());
    assert_eq!(admission.load().waiting, 0);
    drop(running);
    drop(
        admission
            .slot("f", MIB, Priority::Interactive)
            .await
            .expect("free"),
    );
    assert_eq!(admission.load().running, 0);
}

#[tokio::test]
async fn functions_take_turns() {
    let admission = leaked(admission(1, 1, 99));
    let now = Priority::Interactive;
    let asked = [("a", now), ("a", now), ("a", now), ("b", now), ("b", now)];
    let expected = ["a", "b", "a", "b", "a"].map(|name| format!("{name} Interactive"));
    assert_eq!(order(admission, &asked).await, expected);
    // What a function did not ask for before is not owed to it: not both of `c` first.
    let asked = [("a", now), ("a", now), ("c", now), ("c", now)];
    let expected = ["c", "a", "c", "a"].map(|name| format!("{name} Interactive"));
    assert_eq!(order(admission, &asked).await, expected);
}

#[tokio::test]
async fn batch_gets_one_turn_in_eight() {
    let admission = leaked(admission(1, 1, 99));
    let mut asked = vec![("f", Priority::Batch); 3];
    asked.extend([("f", Priority::Interactive); 10]);
    let order = order(admission, &asked).await;
    let batch = order
        .iter()
        .enumerate()
        .filter(|(_, one)| one.ends_with("Batch"));
    let places: Vec<usize> = batch.map(|(place, _)| place).collect();
    // The turn counts from the request that ran first.
    assert_eq!(places, [6, 11, 12]);
}

#[tokio::test]
async fn a_large_request_is_not_overtaken() {
    let admission = leaked(admission(10, 9, 9));
    let half = admission
        .slot("f", 5 * MIB, Priority::Interactive)
        .await
        .expect("free");
    let large = tokio::spawn(admission.slot("f", 8 * MIB, Priority::Interactive));
    tokio::task::yield_now().await;
    // Of another function, which was given nothing yet.
    let small = tokio::spawn(admission.slot("g", MIB, Priority::Interactive));
    tokio::task::yield_now().await;
    assert_eq!(admission.load().waiting, 2, "1 MiB would fit");
    drop(half);
    let large = large.await.expect("no panic").expect("its turn");
    let small = small.await.expect("no panic").expect("beside it");
    assert_eq!(admission.load().admitted_bytes, 9 * MIB);
    drop((large, small));
}

#[tokio::test]
async fn a_smaller_share_lets_fewer_in() {
    let admission = leaked(admission(10, 9, 9));
    admission.limit(0.5);
    let slot = || admission.slot("f", 3 * MIB, Priority::Interactive);
    let first = slot().await.expect("3 of 5");
    let second = tokio::spawn(slot());
    tokio::task::yield_now().await;
    assert_eq!((admission.load().running, admission.load().waiting), (1, 1));
    admission.limit(1.0);
    let second = second.await.expect("no panic").expect("6 of 10");
    admission.limit(0.0);
    drop((first, second));
    drop(slot().await.expect("one always runs"));
}

#[tokio::test]
async fn batch_leaves_places_to_those_somebody_waits_for() {
    let admission = leaked(admission(1, 1, 3));
    let running = admission
        .slot("f", MIB, Priority::Batch)
        .await
        .expect("free");
    let mut waiting = vec![];
    for priority in [Priority::Batch, Priority::Batch, Priority::Interactive] {
        waiting.push(tokio::spawn(admission.slot("f", MIB, priority)));
        tokio::task::yield_now().await;
    }
    for priority in [Priority::Batch, Priority::Interactive] {
        assert!(matches!(
            admission.slot("f", MIB, priority).await,
            Err(Failure::Busy { .. })
        ));
    }
    assert_eq!(admission.load().waiting, 3);
    waiting.remove(2).abort();
    let refused = admission.slot("f", MIB, Priority::Batch).await;
    assert!(matches!(refused, Err(Failure::Busy { .. })), "two of three");
    for one in waiting {
        one.abort();
    }
    drop(running);
}

/// Batch and interactive requests of a function do not pay for each other: a standing queue of the one buys the other no turns.
#[tokio::test]
async fn turns_are_counted_by_priority() {
    let admission = leaked(admission(1, 1, 99));
    let (now, later) = (Priority::Interactive, Priority::Batch);
    let mut asked = vec![("a", later)];
    asked.extend([("g", now); 5]);
    asked.extend([("a", now); 3]);
    let order = order(admission, &asked).await;
    let expected = ["a", "g", "a", "g", "a", "g"].map(|name| format!("{name} Interactive"));
    assert_eq!(order[..6], expected);
}

#[test]
fn priorities_have_names() {
    assert_eq!(Priority::named(" Batch"), Some(Priority::Batch));
    assert_eq!(Priority::named("interactive"), Some(Priority::Interactive));
    assert_eq!(Priority::named("urgent"), None);
}
