//! What many measurements say together.

use serde::{Deserialize, Serialize};

/// The middle of many values, and between which two the middle half of them lies.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) count: usize,
}

impl Spread {
    /// `None`: there are no values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            median: quantile(values, 0.5)?,
            low: quantile(values, 0.25)?,
            high: quantile(values, 0.75)?,
            count: values.len(),
        })
    }
}

/// The value that this part (0 to 1) of the values does not exceed, between two of them where it falls between.
/// `None`: there are no values.
pub(crate) fn quantile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// By how much y grows with x, by least squares. `None`: not from these points.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let slope = both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    slope.is_finite().then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.95), Some(95.0));
        assert_eq!(quantile(&[10.0, 20.0], 0.25), Some(12.5));
        assert_eq!(quantile(&values, 2.0), Some(100.0));
    }

    #[test]
    fn one_outlier_moves_the_spread_little() {
        let spread = Spread::of(&[1.0, 1.0, 1.0, 1.0, 1000.0]).unwrap();
        assert_eq!(spread, Spread { median: 1.0, low: 1.0, high: 1.0, count: 5 });
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn three_round_trips_have_the_slope_three() {
        let points = [0.0, 20.0, 40.0, 80.0].map(|delay| (delay, 12.0 + 3.0 * delay));
        assert!((slope(&points).unwrap() - 3.0).abs() < 1e-9);
        let noisy = [(0.0, 11.0), (0.0, 13.0), (10.0, 33.0), (10.0, 31.0)];
        assert!((slope(&noisy).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn one_delay_has_no_slope() {
        assert_eq!(slope(&[(20.0, 1.0), (20.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}
