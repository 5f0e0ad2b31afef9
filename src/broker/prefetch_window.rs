//! How many requests the broker is asked for at a time: as many as the setting allows while they
//! are small, fewer when they are large. The broker counts messages and not bytes, so this does.

use crate::limits::{WINDOW_BYTES_MAX, WINDOW_RESUME_BYTES};

/// A subscription begins with so few at most, until it has seen what comes, and that it can be
/// settled: a worker that can't store anything should not hold what others could.
const FIRST_MAX: usize = 16;

/// Over about how many requests the mean of their sizes is taken.
const MEAN_OVER: u32 = 16;

/// So many are looked at, or as many as were asked for, before more are asked for.
const LOOK_AT: u32 = 64;

/// What to do about the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// Ask for nothing more for now.
    Pause,
    /// Ask for so many at a time.
    Ask(u16),
}

/// What was asked for, and what came.
#[derive(Debug)]
pub(super) struct PrefetchWindow {
    first: u16,
    most: u16,
    /// What the broker was asked for at last.
    asked: u16,
    /// It is asked for nothing now.
    paused: bool,
    /// The mean size of what comes, in bytes.
    mean: f64,
    /// How many have come in all, and since the broker was asked.
    seen: u32,
    seen_since: u32,
}

impl PrefetchWindow {
    /// At most `most` requests at a time; of `body_max` bytes each, if the producers keep to it.
    pub(super) fn new(most: u16, body_max: u64) -> Self {
        let held =
            usize::try_from(body_max).map_or(0, |body_max| WINDOW_BYTES_MAX / body_max.max(1));
        let first = u16::try_from(held.clamp(1, FIRST_MAX)).map_or(most, |first| first.min(most));
        Self {
            first,
            most,
            asked: first,
            paused: true,
            mean: 0.0,
            seen: 0,
            seen_since: 0,
        }
    }

    /// The most requests that are ever asked for.
    pub(super) fn most(&self) -> u16 {
        self.most
    }

    /// A request of so many bytes came in.
    pub(super) fn saw(&mut self, bytes: usize) {
        self.seen = self.seen.saturating_add(1);
        self.seen_since = self.seen_since.saturating_add(1);
        self.mean += (bytes as f64 - self.mean) / f64::from(self.seen.min(MEAN_OVER));
    }

    /// The broker was asked for so many at a time.
    pub(super) fn asked(&mut self, prefetch: u16) {
        (self.asked, self.paused, self.seen_since) = (prefetch, false, 0);
    }

    /// The broker was asked for nothing more.
    pub(super) fn paused(&mut self) {
        self.paused = true;
    }

    /// Whether the broker is asked for nothing now.
    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// What to do when so many bytes are held; `has_settled` if anything was settled yet.
    pub(super) fn step(&self, held: usize, has_settled: bool) -> Step {
        let wanted = if has_settled {
            self.wanted()
        } else {
            self.wanted().min(self.first)
        };
        let is_wide = self.asked > self.first;
        if self.paused {
            if held <= WINDOW_RESUME_BYTES {
                Step::Ask(wanted)
            } else {
                Step::Stay
            }
        } else if (is_wide && held > WINDOW_BYTES_MAX) || wanted < self.asked / 2 {
            Step::Pause
        } else if wanted / 2 >= self.asked && self.seen_since >= LOOK_AT.min(u32::from(self.asked))
        {
            Step::Ask(wanted)
        } else {
            Step::Stay
        }
    }

    /// So many of the mean size are half of what may be held.
    fn wanted(&self) -> u16 {
        let fitting = WINDOW_RESUME_BYTES as f64 / self.mean.max(1.0);
        (fitting as u16).clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn begun() -> PrefetchWindow {
        let mut window = PrefetchWindow::new(1500, 10 << 20);
        assert_eq!(
            window.step(0, false),
            Step::Ask(3),
            "three of the largest fit"
        );
        window.asked(3);
        window
    }

    fn see(window: &mut PrefetchWindow, count: usize, bytes: usize) {
        (0..count).for_each(|_| window.saw(bytes));
    }

    #[test]
    fn small_requests_get_the_whole_window_once_something_was_settled() {
        let mut window = begun();
        see(&mut window, 3, 300);
        assert_eq!(window.step(1200, false), Step::Stay);
        assert_eq!(window.step(1200, true), Step::Ask(1500));
        window.asked(1500);
        see(&mut window, 100_000, 300);
        assert_eq!(window.step(1500 * 300, true), Step::Stay);
    }

    #[test]
    fn large_requests_never_get_more_than_can_be_held() {
        let mut window = begun();
        see(&mut window, 3, 10 * MIB);
        assert_eq!(window.step(40 * MIB, true), Step::Stay);
        see(&mut window, 1000, 10 * MIB);
        assert_eq!(window.step(40 * MIB, true), Step::Stay);
    }

    #[test]
    fn large_ones_after_small_ones_narrow_it_and_small_ones_widen_it_again() {
        let mut window = begun();
        see(&mut window, 500, 300);
        window.asked(1500);
        see(&mut window, 1, 10 * MIB);
        assert_eq!(window.step(10 * MIB, true), Step::Pause);
        window.paused();
        assert_eq!(window.step(20 * MIB, true), Step::Stay);
        let Step::Ask(few) = window.step(15 * MIB, true) else {
            panic!("half of it is done")
        };
        assert!((10..100).contains(&few), "{few}");
        window.asked(few);
        see(&mut window, 200, 300);
        assert_eq!(window.step(MIB, true), Step::Ask(1500));
    }

    #[test]
    fn too_much_is_not_asked_for_on_top_but_the_first_few_are_whatever_their_size() {
        let mut window = begun();
        assert_eq!(window.step(3 * 128 * MIB, true), Step::Stay);
        window.asked(1500);
        assert_eq!(window.step(60 * MIB, true), Step::Pause);
    }

    #[test]
    fn one_at_a_time_stays_one_at_a_time() {
        let mut window = PrefetchWindow::new(1, 10 << 20);
        assert_eq!(window.step(0, false), Step::Ask(1));
        window.asked(1);
        see(&mut window, 100, 300);
        assert_eq!(window.step(300, true), Step::Stay);
    }
}
