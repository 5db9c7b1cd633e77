//! How work is cut into pieces.

use super::*;

#[test]
fn pieces_cover_everything_once_and_are_about_equal() {
    for total in 0..100 {
        for count in 1..40 {
            let pieces: Vec<Range<usize>> = (0..count).map(|i| piece(total, i, count)).collect();
            assert_eq!((pieces[0].start, pieces[count - 1].end), (0, total));
            assert!(pieces.windows(2).all(|w| w[0].end == w[1].start), "{total} in {count}: {pieces:?}");
            let lens: Vec<usize> = pieces.iter().map(ExactSizeIterator::len).collect();
            let (least, most) = (lens.iter().min().unwrap(), lens.iter().max().unwrap());
            assert!(most - least <= 1, "{total} in {count}: {pieces:?}");
        }
    }
}

#[test]
fn pieces_of_large_totals_do_not_overflow() {
    let total = usize::MAX - 3;
    let pieces: Vec<Range<usize>> = (0..128).map(|i| piece(total, i, 128)).collect();
    assert_eq!((pieces[0].start, pieces[127].end), (0, total));
    assert!(pieces.windows(2).all(|w| w[0].end == w[1].start));
}
