//! Threads that give way to those that serve.

/// Makes this thread one that gives way, with a `nice` value from 1 to 19, or more if it has more already: threads begin as
/// those that start them. Where that is refused, threads only share more evenly.
///
/// It says who gets how much of a core that both want, and not how soon: a thread that has begun its slice, some
/// milliseconds, may finish it. Slices of other lengths (`sched_setattr(2)`) were tried and made lookups wait longer.
pub fn give_way(nice: i32) {
    assert!((1..=19).contains(&nice), "a thread gives way with a nice value of 1 to 19");
    let nice = rustix::process::getpriority_process(None).map_or(nice, |known| known.max(nice));
    let _ = rustix::process::setpriority_process(None, nice);
}

#[cfg(test)]
mod tests {
    use super::give_way;

    #[test]
    fn only_the_thread_that_asks_gives_way_and_those_that_it_starts() {
        let nice = || rustix::process::getpriority_process(None).expect("everybody may ask");
        let before = nice();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                give_way(7);
                assert_eq!(nice(), 7.max(before));
                let begun = || {
                    give_way(5);
                    nice()
                };
                let found = std::thread::scope(|scope| scope.spawn(begun).join().expect("it ends"));
                assert_eq!(found, 7.max(before), "none takes back what it gave");
            });
        });
        assert_eq!(nice(), before);
    }
}
