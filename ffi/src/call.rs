//! What every entry point goes through: panics are caught, failures become a status and this thread's message.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{LockResult, MutexGuard, PoisonError};

use crate::status::Status;

/// Why a call is refused.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    message: String,
}

/// What the body of an entry point gives.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    /// Options that do not go together, or one that is missing.
    pub(crate) fn unsupported(message: impl Into<String>) -> Failure {
        Failure::new(Status::Unsupported, message)
    }

    /// An integer outside its range.
    pub(crate) fn out_of_range(what: impl Display, low: i64, high: i64, given: i64) -> Failure {
        Failure::new(Status::OutOfRange, format!("{what}: expected {low} to {high}, given {given}"))
    }
}

impl From<gemmill::Error> for Failure {
    fn from(e: gemmill::Error) -> Failure {
        Failure::new(Status::of(&e), e.to_string())
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// The status of `function`, whose work `body` does. Nothing unwinds out of it.
pub(crate) fn call(function: &str, body: impl FnOnce() -> Outcome) -> Status {
    // What a body that panics leaves behind: handles hold nothing but locks, whose poison is ignored where their
    // content is replaced as a whole, and values that are set once.
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Status::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => Failure::new(Status::Internal, format!("panicked: {}", panic_message(payload))),
    };
    remember(&format!("{function}: {}", failure.message));
    failure.status
}

/// What `body` gives, or `fallback` if it panics.
pub(crate) fn value<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        panic_message(payload);
        fallback
    })
}

fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "for no reason that is a text".to_owned(),
    };
    // The destructor of a payload might panic itself.
    std::mem::forget(payload);
    message
}

/// Makes `message` this thread's last error. While the thread ends, there is no place for it.
fn remember(message: &str) {
    let text = CString::new(message.replace('\0', "?")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
}

/// What a lock guards, whether or not a thread panicked while it held it: values are only ever replaced as a whole.
pub(crate) fn unpoisoned<T>(locked: LockResult<MutexGuard<'_, T>>) -> MutexGuard<'_, T> {
    locked.unwrap_or_else(PoisonError::into_inner)
}

/// This thread's last message, there until its next failure; empty if there is none.
pub(crate) fn last_error() -> *const c_char {
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    fn message() -> String {
        // SAFETY: the pointer is to this thread's message, which ends with a NUL and is not replaced meanwhile.
        unsafe { CStr::from_ptr(last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn panics_become_a_status() {
        for (body, expected) in [
            ((|| panic!("a text")) as fn() -> Outcome, "f: panicked: a text"),
            (|| panic!("number {}", 7), "f: panicked: number 7"),
            (|| std::panic::panic_any(7), "f: panicked: for no reason that is a text"),
        ] {
            assert_eq!(call("f", body), Status::Internal);
            assert_eq!(message(), expected);
        }
        assert_eq!(value(3, || panic!("no value")), 3);
    }

    #[test]
    fn messages_belong_to_threads_and_outlive_success() {
        assert_eq!(call("f", || Err(Failure::unsupported("a\0b"))), Status::Unsupported);
        std::thread::spawn(|| assert_eq!(message(), "")).join().unwrap();
        assert_eq!(call("f", || Ok(())), Status::Ok);
        assert_eq!(message(), "f: a?b");
    }
}
