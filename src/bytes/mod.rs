//! What all formats of files have in common: an envelope with a version, a length and a checksum, and reading numbers
//! from bytes of which nothing is known. Nothing is allocated before as many bytes are known to be there: what is
//! loaded takes memory in proportion to its bytes.

mod checksum;
pub(crate) mod envelope;
pub(crate) mod read;
