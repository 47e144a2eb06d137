use super::*;

fn deadlines() -> Deadlines<u64> {
    let limit = |ns| Some(Duration::from_nanos(ns));
    Deadlines::new(&Overdue { answer: limit(10), first_byte: limit(25), idle: limit(5) })
}

fn expired(deadlines: &mut Deadlines<u64>, now_ns: u64) -> Vec<(u64, Deadline, u64)> {
    std::iter::from_fn(|| deadlines.expire(now_ns))
        .map(|passed| (passed.watched.subject, passed.deadline, passed.due_ns))
        .collect()
}

#[test]
fn each_request_passes_its_first_deadline_once() {
    let mut deadlines = deadlines();
    let watched: Vec<_> = (0..3).map(|subject| deadlines.watch(subject)).collect();
    for (now_ns, request) in watched.iter().enumerate() {
        deadlines.start(Deadline::Answer, request, now_ns as u64);
        deadlines.start(Deadline::FirstByte, request, now_ns as u64);
    }
    // Request 1 answers, and its body stalls after two chunks.
    deadlines.stop(Deadline::Answer, &watched[1]);
    assert_eq!(expired(&mut deadlines, 9), []);
    assert_eq!(expired(&mut deadlines, 11), [(0, Deadline::Answer, 10)]);
    assert!(deadlines.take(&watched[0], 1_000).is_none(), "its other deadlines are off");
    assert!(deadlines.take(&watched[2], 11).is_none());
    deadlines.stop(Deadline::FirstByte, &watched[1]);
    deadlines.start(Deadline::Idle, &watched[1], 12);
    deadlines.start(Deadline::Idle, &watched[1], 14);
    assert_eq!(expired(&mut deadlines, 18), [(2, Deadline::Answer, 12)]);
    assert_eq!(expired(&mut deadlines, 1_000), [(1, Deadline::Idle, 19)]);
    assert_eq!(expired(&mut deadlines, 10_000), []);
}

#[test]
fn of_two_that_pass_within_a_tick_the_earlier_one_counts() {
    let limit = |ns| Some(Duration::from_nanos(ns));
    let mut deadlines =
        Deadlines::new(&Overdue { answer: limit(10), first_byte: limit(8), idle: None });
    let watched = deadlines.watch(7);
    deadlines.start(Deadline::Answer, &watched, 0);
    deadlines.start(Deadline::FirstByte, &watched, 0);
    deadlines.start(Deadline::Idle, &watched, 0);
    let passed = deadlines.take(&watched, 50).unwrap();
    assert_eq!((passed.deadline, passed.due_ns), (Deadline::FirstByte, 8));
    assert!(deadlines.take(&watched, 50).is_none());
    assert_eq!(expired(&mut deadlines, 50), []);
}

/// A stream of a million chunks, beside requests that come and go: the queues hold no more than the
/// requests in flight, twice.
#[test]
fn the_memory_is_bounded_by_the_requests_in_flight() {
    let mut deadlines = deadlines();
    let stream = deadlines.watch(0);
    let mut in_flight = VecDeque::new();
    for now_ns in 0..1_000_000 {
        deadlines.start(Deadline::Idle, &stream, now_ns);
        let request = deadlines.watch(now_ns);
        deadlines.start(Deadline::Answer, &request, now_ns);
        in_flight.push_back(request);
        if in_flight.len() > 100 {
            deadlines.stop_all(&in_flight.pop_front().unwrap());
        }
        let held = deadlines.queues.iter().map(|queue| queue.entries.len()).max();
        assert!(held.unwrap() <= 2 * 101 + SMALL, "{held:?}");
    }
}
