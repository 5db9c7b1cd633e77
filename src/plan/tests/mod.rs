//! What plans must satisfy, whatever they choose.

mod float;
mod int8;
