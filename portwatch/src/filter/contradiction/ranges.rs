//! Sets of numbers.

/// Ranges in ascending order, which do not touch; first and last are included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn new(first: u128, last: u128) -> Self {
        Self(vec![(first, last)])
    }

    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn or(&self, other: &Self) -> Self {
        let mut all = [&self.0[..], &other.0].concat();
        all.sort_unstable();
        let mut whole: Vec<(u128, u128)> = Vec::new();
        for (first, last) in all {
            match whole.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => whole.push((first, last)),
            }
        }
        Self(whole)
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        let meet = |&(first, last): &(u128, u128)| {
            other.0.iter().filter_map(move |&(from, to)| {
                let (first, last) = (first.max(from), last.min(to));
                (first <= last).then_some((first, last))
            })
        };
        Self(self.0.iter().flat_map(meet).collect())
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for &(from, to) in &other.0 {
            let cut = |(first, last): (u128, u128)| {
                let before = (from > first).then(|| (first, last.min(from.saturating_sub(1))));
                let after = (to < last).then(|| (first.max(to.saturating_add(1)), last));
                let parts = [before, after].into_iter().flatten();
                parts.filter(|(first, last)| first <= last)
            };
            left = left.into_iter().flat_map(cut).collect();
        }
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn ranges(of: &[(u8, u8)]) -> Ranges {
        of.iter().fold(Ranges::none(), |all, &(a, b)| {
            all.or(&Ranges::new(a.min(b).into(), a.max(b).into()))
        })
    }

    fn contains(of: &[(u8, u8)], number: u8) -> bool {
        of.iter()
            .any(|&(a, b)| a.min(b) <= number && number <= a.max(b))
    }

    fn has(ranges: &Ranges, number: u8) -> bool {
        let number = Ranges::new(number.into(), number.into());
        ranges.and(&number).any()
    }

    #[test]
    fn the_ends_of_all_numbers_are_numbers() {
        let all = Ranges::new(0, u128::MAX);
        assert!(!all.without(&all).any());
        assert_eq!(all.or(&Ranges::new(7, 9)), all);
        let last = Ranges::new(u128::MAX, u128::MAX);
        assert_eq!(all.without(&Ranges::new(0, u128::MAX - 1)), last);
    }

    proptest! {
        #[test]
        fn sets_hold_what_their_numbers_say(a in vec(any::<(u8, u8)>(), 0..4), b in vec(any::<(u8, u8)>(), 0..4)) {
            let (one, other) = (ranges(&a), ranges(&b));
            for number in 0..=u8::MAX {
                let (is_in, is_out) = (contains(&a, number), contains(&b, number));
                prop_assert_eq!(has(&one.or(&other), number), is_in || is_out);
                prop_assert_eq!(has(&one.and(&other), number), is_in && is_out);
                prop_assert_eq!(has(&one.without(&other), number), is_in && !is_out);
            }
        }
    }
}
