//! What views own, what they refuse; for Miri too.

use std::mem::MaybeUninit;

use super::*;

#[test]
fn two_threads_write_to_column_blocks_of_one_buffer() {
    let mut data = [0i32; 4 * 7];
    let c = MatMut::with_row_stride(&mut data, 4, 6, 7).unwrap();
    let (left, right) = c.split_at_column(2).unwrap();
    let fill = |mut c: MatMut<'_, i32>, first: i32| {
        for i in 0..c.rows() {
            let row = c.row_mut(i);
            row.iter_mut().enumerate().for_each(|(j, x)| *x = first + 10 * i as i32 + j as i32);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill(left, 1));
        scope.spawn(|| fill(right, 3));
    });
    for (i, row) in data.chunks(7).enumerate() {
        let expected: Vec<i32> = (0..6).map(|j| 1 + 10 * i as i32 + j).chain([0]).collect();
        assert_eq!(row, expected);
    }
}

#[test]
fn a_and_c_interleave_in_one_buffer() {
    let mut data: Vec<u8> = (0..12).collect();
    let (a, mut c) = MatMut::row_major(&mut data, 3, 4).unwrap().split_at_column(2).unwrap();
    let a = a.into_ref();
    for i in 0..3 {
        let row = a.row(i).unwrap();
        c.row_mut(i).iter_mut().zip(row).for_each(|(to, from)| *to = 100 + from);
        assert_eq!(a.at(i, 1), row[1]);
    }
    assert_eq!(data, [0, 1, 100, 101, 4, 5, 104, 105, 8, 9, 108, 109]);
}

#[test]
fn rows_split_and_join_nothing() {
    let mut data = [0u8; 6];
    let mut c = MatMut::row_major(&mut data, 3, 2).unwrap();
    for i in 0..=3 {
        let (mut top, mut bottom) = c.reborrow().split_at_row(i).unwrap();
        assert_eq!((top.rows(), bottom.rows()), (i, 3 - i));
        (0..i).for_each(|i| top.row_mut(i).fill(1));
        (0..3 - i).for_each(|i| bottom.row_mut(i).fill(2));
    }
    assert!(matches!(c.reborrow().split_at_row(4), Err(Error::OutOfRange { high: 3, given: 4, .. })));
    assert!(matches!(c.reborrow().split_at_column(3), Err(Error::OutOfRange { high: 2, given: 3, .. })));
    assert_eq!(data, [1; 6]);
}

#[test]
fn outputs_need_not_be_initialised() {
    let mut data = Vec::<f32>::with_capacity(6);
    let mut c = MatMut::row_major(&mut data.spare_capacity_mut()[..6], 2, 3).unwrap();
    assert!(!AnyMut::from(&mut c).is_initialised());
    for i in 0..2 {
        c.row_mut(i).iter_mut().for_each(|x| *x = MaybeUninit::new(i as f32));
    }
    // SAFETY: each element has been written to.
    let c = unsafe { c.assume_init() };
    assert_eq!(c.as_ref().row(1), Some(&[1.0; 3][..]));
    let mut any = AnyMut::from(c);
    assert!(any.is_initialised());
    assert_eq!((any.element(), any.row_stride_bytes()), (ElementType::F32, 12));
    // SAFETY: element (0, 0) is an f32 of this view's.
    unsafe { any.as_mut_ptr().cast::<f32>().write(5.0) };
    // SAFETY: all six are initialised.
    unsafe { data.set_len(6) };
    assert_eq!(data, [5.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
}

#[test]
fn raw_views_own_their_elements_only() {
    let mut data: Vec<i8> = (0..10).collect();
    let start = data.as_mut_ptr();
    // SAFETY: elements 0, 3, 6 are read, 1 and 2, 4 and 5, 7 and 8 written, in a vector that outlives both views.
    let (a, mut c) = unsafe {
        (MatRef::from_raw(start, 3, 1, 3, 7).unwrap(), MatMut::from_raw(start.wrapping_add(1), 3, 2, 3).unwrap())
    };
    for i in 0..3 {
        c.row_mut(i).fill(-a.at(i, 0));
    }
    assert_eq!(a.row_bytes().unwrap().row(2), Some(&[6u8][..]));
    assert_eq!(data, [0, 0, 0, 3, -3, -3, 6, -6, -6, 9]);
}

#[test]
fn pointers_are_checked_where_there_are_elements() {
    let (null, odd) = (std::ptr::null_mut::<f32>(), std::ptr::without_provenance_mut::<f32>(2));
    for (start, rows, cols) in [(null, 0, 3), (null, 3, 0), (odd, 0, 0)] {
        // SAFETY: there are no elements.
        let (a, c) = unsafe { (MatRef::from_raw(start, rows, cols, 9, 9), MatMut::from_raw(start, rows, cols, 9)) };
        assert_eq!((a.unwrap().get(0, 0), c.unwrap().as_ref().get(0, 0)), (None, None));
    }
    for start in [null, odd] {
        // SAFETY: the views are refused.
        let (a, c) = unsafe { (MatRef::from_raw(start, 1, 1, 1, 1), MatMut::from_raw(start, 1, 1, 1)) };
        assert!(matches!((a, c), (Err(Error::Unsupported { .. }), Err(Error::Unsupported { .. }))));
    }
}

#[test]
fn strides_of_zero_repeat() {
    let m = MatRef::with_strides(&[1u8, 2, 3], 4, 3, 0, 1).unwrap();
    assert_eq!((m.row(3), m.get(4, 0)), (Some(&[1, 2, 3][..]), None));
    let (once, one) = (m.without_repeats(), MatRef::with_strides(&[7i32], 5, 5, 0, 0).unwrap());
    assert_eq!((once.rows(), once.cols()), (1, 3));
    assert_eq!((one.at(4, 4), one.row(2), one.without_repeats().row(0)), (7, None, Some(&[7][..])));
}

#[test]
fn rows_as_bytes() {
    let data = [1i32, -1, 7, 3, 4, 7];
    let m = MatRef::with_strides(&data, 2, 2, 3, 1).unwrap();
    let bytes = m.row_bytes().unwrap();
    assert_eq!((bytes.rows(), bytes.cols(), bytes.row_stride()), (2, 8, 12));
    assert_eq!(bytes.row(1), Some(bytemuck::cast_slice(&[3i32, 4])));
    assert!(m.transposed().row_bytes().is_none());
    let one = MatRef::with_strides(&data, 1, 2, usize::MAX, 1).unwrap();
    assert_eq!(one.row_bytes().map(|bytes| bytes.row_stride()), Some(0));
    let none = MatRef::with_strides(&data, 0, usize::MAX, usize::MAX, 1).unwrap();
    assert_eq!(none.row_bytes().map(|bytes| bytes.rows()), Some(0));
}

#[test]
fn views_without_elements() {
    let none = MatRef::<u8>::with_strides(&[], usize::MAX, 0, usize::MAX, usize::MAX).unwrap();
    assert_eq!(none.row(5), Some(&[][..]));
    assert_eq!(none.row_range(usize::MAX, 0).unwrap().rows(), 0);
    assert_eq!(none.transposed().columns(7, 9).unwrap().cols(), 9);
    let mut c = MatMut::<u8>::with_row_stride(&mut [], 3, 0, usize::MAX).unwrap();
    assert_eq!((c.row_mut(2).len(), AnyMut::from(&mut c).row_stride_bytes()), (0, 0));
    let (top, bottom) = c.split_at_row(2).unwrap();
    assert_eq!((top.rows(), bottom.rows()), (2, 1));
    let (left, right) = MatMut::<u8>::row_major(&mut [], 0, 9).unwrap().split_at_column(4).unwrap();
    assert_eq!((left.cols(), right.cols()), (4, 5));
}

#[test]
fn ranges_and_reaches_that_do_not_fit_are_refused() {
    let data = [0f32; 4];
    let m = MatRef::row_major(&data, 2, 2).unwrap();
    assert!(matches!(m.columns(1, 2), Err(Error::OutOfRange { given: 3, .. })));
    assert!(matches!(m.row_range(2, 1), Err(Error::OutOfRange { given: 3, .. })));
    assert!(matches!(m.columns(1, usize::MAX), Err(Error::Overflow { .. })));
    assert!(matches!(m.row_range(1, usize::MAX), Err(Error::Overflow { .. })));
    assert!(matches!(MatRef::row_major(&data, 2, 3), Err(Error::TooShort { needed: 6, given: 4, .. })));
    assert!(matches!(MatRef::row_major(&data, usize::MAX, 2), Err(Error::Overflow { .. })));
    assert!(matches!(MatRef::with_strides(&data, 2, 1, usize::MAX / 4, 1), Err(Error::Overflow { .. })));
    // SAFETY: the views are refused.
    let (a, c) = unsafe {
        let start = data.as_ptr();
        (MatRef::from_raw(start, 2, 2, usize::MAX, 1), MatMut::from_raw(start.cast_mut(), 3, 1, usize::MAX / 2))
    };
    assert!(matches!((a, c), (Err(Error::Overflow { .. }), Err(Error::Overflow { .. }))));
    assert!(matches!(MatMut::row_major(&mut [0u8; 3], 2, 2), Err(Error::TooShort { .. })));
    assert!(matches!(MatMut::with_row_stride(&mut [0u8; 9], 2, 3, 2), Err(Error::Overlap { .. })));
}

#[test]
#[should_panic(expected = "(1, 2) of 2 x 2")]
fn an_element_outside_panics() {
    let _ = MatRef::row_major(&[0u8; 4], 2, 2).unwrap().at(1, 2);
}

#[test]
#[should_panic(expected = "row 2 of 2")]
fn a_row_outside_panics() {
    let _ = MatRef::row_major(&[0u8; 4], 2, 2).unwrap().row(2);
}

#[test]
fn types_are_known_when_the_program_runs() {
    fn check<T: Element>() {
        let data = [T::default(); 6];
        let any = AnyRef::from(MatRef::with_strides(&data, 2, 2, 3, 2).unwrap());
        assert_eq!((any.element(), any.rows(), any.cols()), (T::TYPE, 2, 2));
        assert_eq!((any.row_stride(), any.col_stride(), T::TYPE.bytes()), (3, 2, size_of::<T>()));
        assert_eq!(std::any::type_name::<T>().rsplit("::").next(), Some(T::TYPE.name()));
    }
    check::<u8>();
    check::<i8>();
    check::<i32>();
    check::<f32>();
    check::<half::f16>();
    check::<half::bf16>();
}
