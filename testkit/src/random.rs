//! Numbers that follow from a seed alone (SplitMix64), so that a run can be repeated.

/// A source of such numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The source of this seed and purpose: one purpose does not disturb the numbers of another.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95));
        random.bits();
        random
    }

    /// 64 of them, of which each is as good as another.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// From `from` to `to`, both included.
    pub fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// True so often out of a hundred.
    pub fn percent(&mut self, often: usize) -> bool {
        self.below(100) < often
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            let other = self.below(end);
            items.swap(end - 1, other);
        }
    }

    /// Letters and digits that don't compress to nothing.
    pub fn text(&mut self, length: usize) -> String {
        let digit = |four: u64| char::from(b"0123456789abcdef"[(four & 15) as usize]);
        let mut text = String::with_capacity(length + 16);
        while text.len() < length {
            let number = self.bits();
            text.extend((0..16).map(|place| digit(number >> (place * 4))));
        }
        text.truncate(length);
        text
    }
}
